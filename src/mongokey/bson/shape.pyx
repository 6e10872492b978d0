# cython: boundscheck=False, wraparound=False
"""Shapes: what documents of a collection have in common is their field names, in one order.

A dict for a document of a known shape is a copy of a template, which is smaller than a presized
one (its table is of the kind for names only) and needs no search for a free place; and a name
that is expected is compared, not looked up. Once a shape has proved right, documents of it share
one table of names, as instances of a class do (PEP 412), until a program changes their fields. The
names of a shape never change, so that whoever reads by it may go on while another takes its place.
Nothing here knows BSON's values.
"""
import gc

cimport cython
from cpython.dict cimport PyDict_SetItem
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from mongokey.bson cimport python as py


cdef extern from *:
    """
    #define mk_new_dict(n) __Pyx_PyDict_NewPresized(n)
    """
    dict mk_new_dict(Py_ssize_t n)


# Not tracked by the garbage collector: it holds only names, and nobody is to find the template.
@cython.final
@cython.no_gc
cdef class Shape:
    pass


cdef Shape shape_of(dict document):
    cdef dict template = {}
    cdef Py_ssize_t position = 0
    cdef PyObject *key
    cdef PyObject *value
    if not 2 <= py.PyDict_GET_SIZE(<PyObject *>document) <= SHAPE_MAX:
        return None
    while py.PyDict_Next(<PyObject *>document, &position, &key, &value):
        # A name that begins with "$" may make a reference of the document.
        if py.Py_TYPE(key) != &py.PyUnicode_Type or not py.mk_is_compact_ascii(key):
            return None
        if py.PyUnicode_GET_LENGTH(key) > NAME_MAX or py.mk_ascii_data(key)[0] == c'$':
            return None
        PyDict_SetItem(template, <object>key, None)
    return _shape_with(template)


cdef Shape compact(Shape shape):
    cdef Shape smaller
    if not shape.direct:
        return None
    template = _template_with_shared_names(list(shape.template))
    trial, usual = template.copy(), shape.template.copy()
    if dict.__sizeof__(trial) >= dict.__sizeof__(usual) or (
        gc.is_tracked(trial) and not gc.is_tracked(usual)
    ):
        return None
    smaller = _shape_with(template)
    smaller.score = shape.score
    smaller.proven = True
    return smaller if smaller.direct else None


# Dicts share their names when they are (or were) of instances of one class.
cdef dict _template_with_shared_names(list names):
    kind = type("Document", (), {})
    first, second = kind(), None
    cdef dict fields = first.__dict__
    for name in names:
        fields[name] = None
    # Each further instance makes the class expect fewer attributes that are not known yet.
    for _ in range(SHAPE_MAX):
        second = kind()
    fields = second.__dict__
    for name in names:
        fields[name] = None
    # A copy belongs to no instance.
    return fields.copy()


cdef Shape _shape_with(dict template):
    cdef Shape shape = Shape.__new__(Shape)
    cdef Name *name
    cdef Py_ssize_t position = 0, n
    cdef uint8_t[8] start
    cdef PyObject *key
    cdef PyObject *value
    shape.template = template
    shape.count = shape.bytes = 0
    shape.score = 0
    while py.PyDict_Next(<PyObject *>template, &position, &key, &value):
        n = py.PyUnicode_GET_LENGTH(key)
        name = &shape.names[shape.count]
        name.text = key
        name.size = <uint32_t>n
        start = [0, 0, 0, 0, 0, 0, 0, 0]
        memcpy(start, py.mk_ascii_data(key), min(n, 8))
        name.start = mk_load_u64(start)
        name.mask = (
            ~<uint64_t>0 if n >= 7 else (<uint64_t>1 << (8 * (n + 1))) - 1
        )
        shape.count += 1
        shape.bytes += n + 2
    shape.direct = _find_places(shape)
    return shape


# Finds out where in a copy of the template each value stands; False if that is not to be known.
cdef bint _find_places(Shape shape) except -1:
    cdef dict trial = shape.template.copy()
    cdef list values = [object() for _ in range(shape.count)]
    cdef Py_ssize_t i, size = dict.__sizeof__(trial) - dict.__basicsize__
    cdef char *table
    for i in range(shape.count):
        PyDict_SetItem(trial, <object>shape.names[i].text, values[i])
    table = py.mk_dict_table(<PyObject *>trial)
    if table == NULL or size <= 0 or dict.__sizeof__(shape.template.copy()) != size + (
        dict.__basicsize__
    ):
        return False
    for i in range(shape.count):
        shape.names[i].at = py.mk_find_in_table(
            table, py.mk_dict_table_reach(<PyObject *>trial, size), <PyObject *>values[i]
        )
        if shape.names[i].at == 0:
            return False
    return True


cdef dict without_rest(Shape shape, dict document, Py_ssize_t fields):
    cdef dict found = mk_new_dict(fields)
    cdef Py_ssize_t i
    cdef PyObject *value
    for i in range(fields):
        value = py.PyDict_GetItemWithError(<PyObject *>document, shape.names[i].text)
        if value != NULL:
            PyDict_SetItem(found, <object>shape.names[i].text, <object>value)
    return found
