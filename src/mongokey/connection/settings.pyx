# cython: language_level=3
"""What all connections of a client share: limits, credential, metadata, TLS; and which of them are
being made just now, so that closing the client ends them.

Knows which options bound the making of a connection, and that a client can be closed. Must not know
how a connection is made.
"""

from mongokey._support.deadline cimport Timeout, shortest
from mongokey.transport.stream cimport Stream

from mongokey._support.lazy import late_imports
from mongokey.auth.registry import find_rules
from mongokey.errors import AutoReconnect, InvalidOperation

# connectTimeoutMS where it is not given.
cdef Timeout CONNECT_TIMEOUT = Timeout(20_000_000_000, "connectTimeoutMS")


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


cdef class ConnectionSettings:
    """What all connections of a client share. A timeout of None means no limit."""

    def __cinit__(self, *args, **kwargs):
        self.openings = Openings()

    def __init__(
        self,
        metadata=None,
        credential=None,
        Timeout connect_timeout=CONNECT_TIMEOUT,
        Timeout socket_timeout=None,
        tls=None,
        server_api=None,
        bint load_balanced=False,
        Timeout timeout=None,
        secrets=None,
        tls_watch=None,
        compression=None,
    ):
        self.metadata = metadata
        self.credential = credential
        self.connect_timeout = connect_timeout
        # What bounds the making of a connection.
        self.limit = shortest(connect_timeout, timeout)
        self.socket_timeout = socket_timeout
        self.secrets = secrets
        self.tls = tls
        self.tls_watch = tls_watch
        self.server_api = server_api
        self.load_balanced = load_balanced
        self.compression = compression
        # timeoutMS, which bounds also what logins wait for besides the server.
        self.timeout = timeout
        # Warns before a login shows a secret; None where no login of this client can.
        self.plaintext_warner = None
        if credential is not None and tls is None:
            rules = find_rules(credential.mechanism)
            if rules.shown_in_plaintext is not None:
                with late_imports:
                    from mongokey.connection.plaintext_secrets import PlaintextSecretWarner

                self.plaintext_warner = PlaintextSecretWarner(rules.shown_in_plaintext, rules.name)
        # Servers that have said hello: TLS is not why they hang up.
        self.hello_seen = set()


__all__ = ["ConnectionSettings", "Opening", "Openings"]
