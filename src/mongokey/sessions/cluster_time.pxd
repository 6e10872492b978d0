# The highest `$clusterTime` that a client has seen.
from libc.stdint cimport uint8_t, uint64_t

from mongokey._support.cdefs cimport mk_buffer


cdef class ClusterTime:
    cdef mk_buffer document                 # the whole document; empty until one was seen
    cdef uint64_t timestamp                 # its `clusterTime`

    # Takes over a document that mk_read_command_reply accepted, if its timestamp is higher.
    cdef int advance(self, const uint8_t *document, size_t size, uint64_t timestamp) except -1
    # Appends the element `$clusterTime` to an open document; nothing until one was seen.
    cdef int write(self, mk_buffer *out) except -1
