# cython: language_level=3
"""What all connections of a client share: limits, credential, metadata, TLS.

Knows which options bound the making of a connection. Must not know how one is made.
"""

from mongokey._support.deadline cimport Timeout, shortest
from mongokey.connection.openings cimport Openings

from mongokey._support.lazy import late_imports
from mongokey.auth.registry import find_rules

# connectTimeoutMS where it is not given.
cdef Timeout CONNECT_TIMEOUT = Timeout(20_000_000_000, "connectTimeoutMS")


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


__all__ = ["ConnectionSettings"]
