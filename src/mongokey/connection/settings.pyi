from mongokey._support.address import AddressLike
from mongokey.auth.credential import MongoCredential
from mongokey.connection.openings import Openings
from mongokey.connection.pausable_clock import PausableClock
from mongokey.connection.plaintext_secrets import PlaintextSecretWarner
from mongokey.handshake.hello import ServerApiLike
from mongokey.handshake.metadata import ClientMetadata
from mongokey.transport.tls.context import ClientTLS

class ConnectionSettings:
    """What all connections of a client share. Times are seconds; None or 0 means no limit."""

    metadata: ClientMetadata | None
    credential: MongoCredential | None
    connect_timeout_s: float | None
    socket_timeout_s: float | None
    tls: ClientTLS | None
    server_api: ServerApiLike | None
    load_balanced: bool
    timeout_s: float | None
    limit_s: float | None
    deadline_text: str
    pausable_clock: PausableClock
    plaintext_warner: PlaintextSecretWarner | None
    hello_seen: set[AddressLike]
    @property
    def openings(self) -> Openings: ...
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
    ) -> None: ...
