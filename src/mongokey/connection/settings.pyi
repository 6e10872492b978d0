from mongokey._support.address import AddressLike
from mongokey._support.deadline import Timeout
from mongokey.auth.credential import MongoCredential
from mongokey.auth.provided import ProvidedSecrets
from mongokey.connection.openings import Openings
from mongokey.connection.plaintext_secrets import PlaintextSecretWarner
from mongokey.handshake.hello import ServerApiLike
from mongokey.handshake.metadata import ClientMetadata
from mongokey.transport.tls.context import ClientTLS
from mongokey.transport.tls.watch import WatchedTLS
from mongokey.wire.compression import Compression

class ConnectionSettings:
    """What all connections of a client share. A timeout of None means no limit."""

    metadata: ClientMetadata | None
    credential: MongoCredential | None
    secrets: ProvidedSecrets | None
    socket_timeout: Timeout | None
    connect_timeout: Timeout | None
    tls: ClientTLS | None
    tls_watch: WatchedTLS | None
    server_api: ServerApiLike | None
    load_balanced: bool
    compression: Compression | None
    timeout: Timeout | None
    limit: Timeout | None
    plaintext_warner: PlaintextSecretWarner | None
    hello_seen: set[AddressLike]
    @property
    def openings(self) -> Openings: ...
    def __init__(
        self,
        metadata: ClientMetadata | None = None,
        credential: MongoCredential | None = None,
        connect_timeout: Timeout | None = ...,
        socket_timeout: Timeout | None = None,
        tls: ClientTLS | None = None,
        server_api: ServerApiLike | None = None,
        load_balanced: bool = False,
        timeout: Timeout | None = None,
        secrets: ProvidedSecrets | None = None,
        tls_watch: WatchedTLS | None = None,
        compression: Compression | None = None,
    ) -> None: ...
