# cython: language_level=3
"""The connections that a client is making just now, so that closing the client ends them.

Knows streams and that a client can be closed. Must not know how a connection is made.
"""

from mongokey.transport.stream cimport Stream

from mongokey.errors import AutoReconnect, InvalidOperation


cdef class Openings:
    """Streams that are not yet a pool's. Every method may be called from any thread."""

    def __cinit__(self):
        self._streams = set()

    cdef bint ended(self) except -1:
        return self.closed

    def is_closed(self):
        """Whether nothing more is to be opened."""
        return self.ended()

    cpdef int add(self, Stream stream) except -1:
        """Close `stream` when the client is closed, at once if it is."""
        if stream is None:
            raise TypeError("a stream is opened, not None")
        self._streams.add(stream)
        if self.ended():
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


cdef class Opening(Openings):
    """One connection that is being made for a pool, which may give it up by `end`.

    Who makes it calls `begin`, tells of each stream by `add` and `remove`, and of the server's
    hello by `hello_received`.
    """

    cpdef int begin(self, Openings client) except -1:
        """It is one of those of `client`: it ends with them."""
        self.client = client
        return 0

    cpdef int hello_received(self, hello) except -1:
        """The server has said hello (a `HelloReply`); what is left is the login."""
        self.hello = hello
        return 0

    cdef bint ended(self) except -1:
        """Whether the pool has given it up, or the client is closed."""
        return self.closed or (self.client is not None and self.client.ended())

    cpdef int add(self, Stream stream) except -1:
        """Close `stream` when the pool or the client ends this."""
        if self.client is not None:
            self.client.add(stream)
        return Openings.add(self, stream)

    cpdef int remove(self, Stream stream) except -1:
        """`stream` is a pool's now, or closed."""
        if self.client is not None:
            self.client.remove(stream)
        return Openings.remove(self, stream)

    def abandon(self):
        """End it, and have the client forget it: whoever makes it may never go on."""
        self.closed = True
        while self._streams:
            try:
                stream = self._streams.pop()
            except KeyError:
                return
            if self.client is not None:
                self.client.remove(stream)
            stream.close()

    def refuse(self):
        """The error of who goes on making it."""
        if self.client is not None and self.client.ended():
            return self.client.refuse()
        return AutoReconnect("this connection was given up while it was being made")


__all__ = ["Opening", "Openings"]
