# cython: language_level=3
"""What all connections of a client share: limits, credential, metadata, TLS.

Knows which options bound the making of a connection. Must not know how one is made.
"""

from mongokey.connection.openings cimport Openings

from mongokey.auth.registry import find_rules
from mongokey.connection.pausable_clock import PausableClock


cdef class ConnectionSettings:
    """What all connections of a client share. Times are seconds; None or 0 means no limit."""

    def __cinit__(self, *args, **kwargs):
        self.openings = Openings()

    def __init__(
        self,
        metadata=None,
        credential=None,
        connect_timeout_s=20.0,
        socket_timeout_s=None,
        tls=None,
        server_api=None,
        bint load_balanced=False,
        timeout_s=None,
    ):
        self.metadata = metadata
        self.credential = credential
        self.connect_timeout_s = connect_timeout_s
        # What bounds the making of a connection, and where that is from, for errors.
        self.limit_s, self.deadline_text = connect_timeout_s or None, "connectTimeoutMS"
        if timeout_s and (self.limit_s is None or timeout_s < self.limit_s):
            self.limit_s, self.deadline_text = timeout_s, "timeoutMS"
        if self.limit_s is not None:
            self.deadline_text += f"={self.limit_s * 1000:.0f}"
        self.socket_timeout_s = socket_timeout_s
        self.tls = tls
        self.server_api = server_api
        self.load_balanced = load_balanced
        # timeoutMS, which bounds also what logins wait for besides the server.
        self.timeout_s = timeout_s
        self.pausable_clock = PausableClock()
        # Warns before a login shows a secret; None where no login of this client can.
        self.plaintext_warner = None
        if credential is not None and tls is None:
            rules = find_rules(credential.mechanism)
            if rules.shown_in_plaintext is not None:
                from mongokey.connection.plaintext_secrets import PlaintextSecretWarner

                self.plaintext_warner = PlaintextSecretWarner(rules.shown_in_plaintext, rules.name)
        # Servers that have said hello: TLS is not why they hang up.
        self.hello_seen = set()


__all__ = ["ConnectionSettings"]
