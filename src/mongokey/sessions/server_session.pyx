# cython: language_level=3, boundscheck=False, wraparound=False
"""Server sessions and their pool (driver-sessions specification, "Server Session Pool"), and the
cluster time of a client ("Gossipping the cluster time").

It knows how long an idle session lives and which ones may not be used again; and it keeps the
highest `$clusterTime` of all replies, and writes it into commands. It must not know commands,
connections or which servers take part, and has no clock: times are monotonic nanoseconds, handed
in.
"""

import os

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from mongokey._support.cdefs cimport (
    MK_OK,
    mk_buffer,
    mk_buffer_append,
    mk_buffer_free,
    mk_buffer_init,
)


cdef extern from "mongokey/reply.h" nogil:
    int mk_write_cluster_time(mk_buffer *out, const uint8_t *doc, size_t size)


# driver-sessions: an idle session is not used again in the last minute that its server keeps it.
cdef int64_t MINUTE_NS = 60 * 1_000_000_000


@cython.final
cdef class ServerSession:
    """A session on a server, named by a random UUID."""

    def __cinit__(self):
        cdef bytes random = os.urandom(16)
        memcpy(self.id, <const unsigned char *>random, 16)
        # RFC 9562: version 4, variant 1.
        self.id[6] = (self.id[6] & 0x0F) | 0x40
        self.id[8] = (self.id[8] & 0x3F) | 0x80

    @property
    def session_id(self):
        """The 16 bytes of its UUID."""
        return self.id[:16]

    def next_txn_number(self):
        """The number of the next retryable write or transaction."""
        self.txn_number += 1
        return self.txn_number


@cython.final
cdef class ServerSessionPool:
    """The idle server sessions of one client; the one used last is used next."""

    def __init__(self):
        self.earlier = []

    def reset_after_fork(self):
        """In a forked child: the parent's sessions are not ours to use or to end."""
        self.forks += 1
        self.latest = None
        self.earlier = []

    cpdef ServerSession take(self, int64_t now_ns, int64_t timeout_ns):
        """An idle session, or a new one.

        `timeout_ns` is for how long the server that gets the command keeps an idle session
        (`logicalSessionTimeoutMinutes`). Sessions that it may forget within the next minute, seen
        from `now_ns`, are dropped.
        """
        cdef ServerSession session = self.latest
        self.latest = None
        while session is not None or self.earlier:
            if session is None:
                session = <ServerSession>self.earlier.pop()
            if now_ns - session.last_used_ns < timeout_ns - MINUTE_NS:
                return session
            session = None
        session = ServerSession.__new__(ServerSession)
        session.forks = self.forks
        return session

    cpdef int give_back(self, ServerSession session) except -1:
        """Take back a session for the next command; one that is dirty is dropped, and so is one
        from before a fork, which is the parent's to use again."""
        if session is None:
            raise TypeError("a ServerSession is needed, not None")
        if session.dirty or self.closed or session.forks != self.forks:
            return 0
        # A list that goes from empty to one and back is allocated each time.
        if self.latest is not None:
            self.earlier.append(self.latest)
        self.latest = session
        return 0

    @property
    def idle(self):
        """The idle sessions, the one used last at the end; they stay idle."""
        sessions = list(self.earlier)
        if self.latest is not None:
            sessions.append(self.latest)
        return sessions

    def close(self):
        """Drop all sessions, without a word to the server, and those that are given back later."""
        self.closed = True
        self.latest = None
        self.earlier = []


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
