# cython: language_level=3, boundscheck=False, wraparound=False
"""A large batch that is decoded in parts.

Decoding the 16 MB that a server sends at most takes longer than the other tasks of an asyncio loop
should wait. It knows the array of a batch; it must not know cursors, nor who has a turn when.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memcpy

from mongokey._support.cdefs cimport mk_store_i32
from mongokey.bson.bson_c cimport (
    MK_BSON_BINARY,
    MK_BSON_DOCUMENT,
    mk_bson_iter,
    mk_bson_iter_init,
    mk_bson_iter_next,
)
from mongokey.bson.codec cimport CodecContext, read_documents
from mongokey.execution.operation cimport check

from mongokey.errors import ProtocolError


cdef enum:
    # A document of this size may be little but binary data, which is copied and not decoded: if it
    # has few fields, each byte of those that are is reckoned as a part of one.
    BIG_DOCUMENT = 16384
    FEW_FIELDS = 16
    BINARY_BYTES = 16


cdef size_t work_of(const uint8_t *document, size_t size) noexcept nogil:
    """How long it takes to decode a document, in bytes of an ordinary one."""
    cdef mk_bson_iter it
    cdef size_t work = size
    cdef int fields = 0
    if size < BIG_DOCUMENT or mk_bson_iter_init(&it, document, size) != 0:
        return size
    while mk_bson_iter_next(&it) == 1:
        fields += 1
        if fields > FEW_FIELDS:
            return size
        if it.type == MK_BSON_BINARY:
            work -= it.value_size - it.value_size // BINARY_BYTES
    return work


cdef bint takes_long(const uint8_t *batch, size_t size) except -1:
    cdef mk_bson_iter it
    cdef size_t work = 0
    if size < LARGE:
        return False
    check(mk_bson_iter_init(&it, batch, size))
    while check(mk_bson_iter_next(&it)):
        work += work_of(it.value, it.value_size)
        if work >= LARGE:
            return True
    return False


@cython.final
cdef class EncodedBatch:
    """The documents of a batch, not decoded yet."""

    cdef list next_part(self):
        cdef bytes part = self.parts.pop()
        cdef list documents = read_documents(
            <const uint8_t *>PyBytes_AS_STRING(part), <size_t>PyBytes_GET_SIZE(part), self.context
        )
        self.count -= len(documents)
        return documents


cdef EncodedBatch encoded_batch(const uint8_t *batch, size_t size, CodecContext context):
    cdef EncodedBatch result = EncodedBatch.__new__(EncodedBatch)
    cdef mk_bson_iter it
    cdef const uint8_t *start = batch + 4
    cdef const uint8_t *end = start
    cdef size_t work = 0
    cdef list parts = []
    check(mk_bson_iter_init(&it, batch, size))
    while check(mk_bson_iter_next(&it)):
        if it.type != MK_BSON_DOCUMENT:
            raise ProtocolError("the server's batch holds something that is not a document")
        result.count += 1
        end = it.value + it.value_size
        work += work_of(it.value, it.value_size)
        if work >= PART:
            parts.append(_array(start, end))
            start = end
            work = 0
    if end != start:
        parts.append(_array(start, end))
    parts.reverse()
    result.context = context
    result.parts = parts
    return result


@cython.final
cdef class RawBatch:
    """The documents of a batch, which are not decoded here."""


cdef RawBatch raw_batch(const uint8_t *batch, size_t size):
    cdef RawBatch result = RawBatch.__new__(RawBatch)
    cdef mk_bson_iter it
    cdef size_t total = 0
    cdef char *data
    check(mk_bson_iter_init(&it, batch, size))
    while check(mk_bson_iter_next(&it)):
        if it.type != MK_BSON_DOCUMENT:
            raise ProtocolError("the server's batch holds something that is not a document")
        result.count += 1
        total += it.value_size
    result.data = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>total)
    data = PyBytes_AS_STRING(result.data)
    check(mk_bson_iter_init(&it, batch, size))
    while check(mk_bson_iter_next(&it)):
        memcpy(data, it.value, it.value_size)
        data += it.value_size
    return result


cdef bytes _array(const uint8_t *start, const uint8_t *end):
    """A BSON array with the elements in start[0:end - start]."""
    cdef Py_ssize_t size = end - start
    cdef bytes made = PyBytes_FromStringAndSize(NULL, size + 5)
    cdef char *data = PyBytes_AS_STRING(made)
    mk_store_i32(data, <int32_t>(size + 5))
    memcpy(data + 4, start, <size_t>size)
    data[size + 4] = 0
    return made


__all__ = ["EncodedBatch"]
