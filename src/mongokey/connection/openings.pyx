# cython: language_level=3
"""The connections that a client is making just now, so that closing the client ends them.

Knows streams and that a client can be closed. Must not know how a connection is made.
"""

from mongokey.transport.stream cimport Stream

from mongokey.errors import InvalidOperation


cdef class Openings:
    """Streams that are not yet a pool's. Every method may be called from any thread."""

    def __cinit__(self):
        self._streams = set()

    def is_closed(self):
        """Whether nothing more is to be opened."""
        return self.closed

    cpdef int add(self, Stream stream) except -1:
        """Close `stream` when the client is closed, at once if it is."""
        if stream is None:
            raise TypeError("a stream is opened, not None")
        self._streams.add(stream)
        if self.closed:
            stream.close()
        return 0

    cpdef int remove(self, Stream stream) except -1:
        """`stream` is a pool's now, or closed."""
        self._streams.discard(stream)
        return 0

    def end(self):
        """Close them all; who waits for one of them gets an error at once."""
        self.closed = True
        while self._streams:
            try:
                stream = self._streams.pop()
            except KeyError:
                return  # another thread took the last one out
            stream.close()

    def refuse(self):
        """The error of who opens a connection of a closed client."""
        return InvalidOperation("Cannot use MongoClient after close")


__all__ = ["Openings"]
