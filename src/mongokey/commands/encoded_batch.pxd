# A large batch that is decoded in parts, for who must let others have their turn in between.
from libc.stdint cimport uint8_t

from mongokey.bson.codec cimport CodecContext

cdef enum:
    # So much is decoded at a time, in bytes of ordinary documents: about a millisecond's work. What
    # is not much more than that need not wait for another turn.
    PART = 131072
    LARGE = 2 * PART


cdef class EncodedBatch:
    cdef CodecContext context
    cdef list parts                         # bytes objects, the first one last: BSON arrays
    cdef readonly Py_ssize_t count          # documents in all of them

    # The documents of the next part, which there is.
    cdef list next_part(self)


cdef class RawBatch:
    cdef bytes data                         # BSON documents, one after another
    cdef Py_ssize_t count


# The same as bytes, for who decodes them otherwise.
cdef RawBatch raw_batch(const uint8_t *batch, size_t size)
# Whether it takes long to decode a `firstBatch` or `nextBatch` array.
cdef bint takes_long(const uint8_t *batch, size_t size) except -1
# The documents of such an array, copied.
cdef EncodedBatch encoded_batch(const uint8_t *batch, size_t size, CodecContext context)
