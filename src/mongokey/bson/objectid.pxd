# The ObjectId as a C struct, for the codec.
from libc.stdint cimport uint8_t


cdef class ObjectId:
    cdef uint8_t data[12]                   # big-endian: 4 seconds, 5 random, 3 counter

    cdef int _set(self, bytes value) except -1


# A new ObjectId (exactly that class) holding the 12 bytes at `data`.
cdef ObjectId objectid_from_bytes(const uint8_t *data)
# Fills `data` with a new id.
cdef int generate(uint8_t *data) except -1
