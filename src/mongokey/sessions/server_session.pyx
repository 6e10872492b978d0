# cython: language_level=3, boundscheck=False, wraparound=False
"""Server sessions and their pool (driver-sessions specification, "Server Session Pool").

It knows how long an idle session lives and which ones may not be used again. It must not know
commands or connections, and has no clock: times are monotonic nanoseconds, handed in.
"""

import os

cimport cython
from libc.stdint cimport int64_t
from libc.string cimport memcpy

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
