"""What all connections of a client share: limits, credential, metadata, TLS.

Knows which options bound the making of a connection. Must not know how one is made.
"""

from __future__ import annotations

from mongokey.auth.registry import find_rules
from mongokey.connection.openings import Openings
from mongokey.connection.pausable_clock import PausableClock

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey._support.address import AddressLike
    from mongokey.auth.credential import MongoCredential
    from mongokey.connection.plaintext_secrets import PlaintextSecretWarner
    from mongokey.handshake.hello import ServerApiLike
    from mongokey.handshake.metadata import ClientMetadata
    from mongokey.transport.tls.context import ClientTLS


class ConnectionSettings:
    """What all connections of a client share. Times are seconds; None or 0 means no limit."""

    __slots__ = (
        "connect_timeout_s",
        "credential",
        "deadline_text",
        "hello_seen",
        "limit_s",
        "load_balanced",
        "metadata",
        "openings",
        "pausable_clock",
        "plaintext_warner",
        "server_api",
        "socket_timeout_s",
        "timeout_s",
        "tls",
    )

    def __init__(
        self,
        metadata: ClientMetadata | None = None,
        credential: MongoCredential | None = None,
        connect_timeout_s: float | None = 20.0,
        socket_timeout_s: float | None = None,
        tls: ClientTLS | None = None,
        server_api: ServerApiLike | None = None,
        load_balanced: bool = False,
        timeout_s: float | None = None,
    ) -> None:
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
        self.openings = Openings()
        # Warns before a login shows a secret; None where no login of this client can.
        self.plaintext_warner: PlaintextSecretWarner | None = None
        if credential is not None and tls is None:
            rules = find_rules(credential.mechanism)
            if rules.shown_in_plaintext is not None:
                from mongokey.connection.plaintext_secrets import PlaintextSecretWarner

                self.plaintext_warner = PlaintextSecretWarner(rules.shown_in_plaintext, rules.name)
        # Servers that have said hello: TLS is not why they hang up.
        self.hello_seen: set[AddressLike] = set()


__all__ = ["ConnectionSettings"]
