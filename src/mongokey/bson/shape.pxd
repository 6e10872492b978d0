# Shapes: the field names that documents have in common, in their order, and how they are met again.
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from mongokey._support.cdefs cimport mk_load_u64
from mongokey.bson cimport python as py

cdef enum:
    SHAPE_MAX = 64                          # fields; longer documents have no shape
    NAME_MAX = 64                           # bytes of a name that may be part of one


cdef struct Name:
    PyObject *text                          # exact str, ASCII; owned by the shape's template
    uint64_t start                          # its first eight bytes, its NUL among them
    uint64_t mask                           # those of them that count
    uint32_t size
    uint32_t at                             # of its value in a copy's table


cdef class Shape:
    cdef dict template                      # each name with None
    cdef Name[SHAPE_MAX] names
    cdef Py_ssize_t count
    cdef bint direct                        # `at` is known
    cdef Py_ssize_t bytes                   # what a document of it takes at least, without values
    cdef int score                          # of documents that had it, against those that did not
    cdef bint proven                        # so many had it that `compact` was tried


# The shape of a document that was just read; None if it has none.
cdef Shape shape_of(dict document)
# The same shape for documents that take less memory, or None.
cdef Shape compact(Shape shape)
# The first `fields` items of a document that turned out not to have the shape.
cdef dict without_rest(Shape shape, dict document, Py_ssize_t fields)


# Whether the name, with its NUL, stands at p before `end`; up to `limit` may be read.
cdef inline bint is_next(
    const Name *name, const uint8_t *p, const uint8_t *end, const uint8_t *limit
) noexcept:
    if end - p <= <Py_ssize_t>name.size:
        return False
    if limit - p < 8:
        return memcmp(p, py.mk_ascii_data(name.text), name.size + 1) == 0
    if (mk_load_u64(p) ^ name.start) & name.mask:
        return False
    return name.size < 8 or memcmp(
        p + 8, py.mk_ascii_data(name.text) + 8, name.size - 7
    ) == 0
