# cython: language_level=3, boundscheck=False, wraparound=False
"""The cluster time of a client (driver-sessions specification, "Gossipping the cluster time").

It keeps the highest `$clusterTime` of all replies, and writes it into commands. It must not know
which servers take part: who writes a command asks the connection.
"""

cimport cython
from libc.stdint cimport uint8_t, uint64_t

from mongokey._support.cdefs cimport (
    MK_OK,
    mk_buffer,
    mk_buffer_append,
    mk_buffer_free,
    mk_buffer_init,
)


cdef extern from "mongokey/reply.h" nogil:
    int mk_write_cluster_time(mk_buffer *out, const uint8_t *doc, size_t size)


@cython.final
cdef class ClusterTime:
    """The highest cluster time that a client has seen; none at first."""

    def __cinit__(self):
        mk_buffer_init(&self.document)

    def __dealloc__(self):
        mk_buffer_free(&self.document)

    cdef int advance(self, const uint8_t *document, size_t size, uint64_t timestamp) except -1:
        if timestamp <= self.timestamp:
            return 0
        # Written anew, of its known fields: what else a server put in is not passed on.
        self.document.size = 0
        self.timestamp = timestamp
        if mk_write_cluster_time(&self.document, document, size) != MK_OK:
            self.document.size = self.timestamp = 0
            raise MemoryError("no memory for the cluster time")
        return 0

    cdef int write(self, mk_buffer *out) except -1:
        if self.document.size and (
            mk_buffer_append(out, b"\x03$clusterTime\0", 14) != MK_OK
            or mk_buffer_append(out, self.document.data, self.document.size) != MK_OK
        ):
            raise MemoryError("no memory for a message")
        return 0

    def take_in(self, bytes document not None, uint64_t timestamp):
        """Advance to a `$clusterTime` that does not come from a reply, if its time is higher."""
        self.advance(<const uint8_t *><const char *>document, <size_t>len(document), timestamp)

    @property
    def encoded(self):
        """The document in BSON; None until one was seen."""
        if self.document.size == 0:
            return None
        return (<char *>self.document.data)[:self.document.size]
