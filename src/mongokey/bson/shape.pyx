# cython: boundscheck=False, wraparound=False
"""Shapes: what documents of a collection have in common is their field names, in one order.

A dict for a document of a known shape is a copy of a template, which is smaller than a presized
one (its table is of the kind for names only) and needs no search for a free place; and a name
that is expected is compared, not looked up. A shape is never changed, so that whoever reads by it
may go on while another takes its place. Nothing here knows BSON's values.
"""
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
    cdef Shape shape
    cdef Name *name
    cdef Py_ssize_t position = 0, n
    cdef uint8_t[8] start
    cdef PyObject *key
    cdef PyObject *value
    if not 2 <= py.PyDict_GET_SIZE(<PyObject *>document) <= SHAPE_MAX:
        return None
    shape = Shape.__new__(Shape)
    shape.template = {}
    shape.count = shape.bytes = 0
    shape.score = 0
    while py.PyDict_Next(<PyObject *>document, &position, &key, &value):
        # A name that begins with "$" may make a reference of the document.
        if py.Py_TYPE(key) != &py.PyUnicode_Type or not py.mk_is_compact_ascii(key):
            return None
        n = py.PyUnicode_GET_LENGTH(key)
        if n > NAME_MAX or py.mk_ascii_data(key)[0] == c'$':
            return None
        name = &shape.names[shape.count]
        name.text = key
        name.size = <uint32_t>n
        start = [0, 0, 0, 0, 0, 0, 0, 0]
        memcpy(start, py.mk_ascii_data(key), min(n, 8))
        name.start = mk_load_u64(start)
        name.mask = (
            ~<uint64_t>0 if n >= 7 else (<uint64_t>1 << (8 * (n + 1))) - 1
        )
        PyDict_SetItem(shape.template, <object>key, None)
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
        shape.names[i].at = py.mk_find_in_table(table, size, <PyObject *>values[i])
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
