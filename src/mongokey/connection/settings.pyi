from mongokey._support.address import AddressLike
from mongokey._support.deadline import Deadline, Timeout
from mongokey.auth.credential import MongoCredential
from mongokey.auth.provided import ProvidedSecrets
from mongokey.connection.plaintext_secrets import PlaintextSecretWarner
from mongokey.errors import MongoError
from mongokey.handshake import HelloReply
from mongokey.handshake.hello import ServerApiLike
from mongokey.handshake.metadata import ClientMetadata
from mongokey.transport import Stream
from mongokey.transport.tls.context import ClientTLS
from mongokey.transport.tls.watch import WatchedTLS
from mongokey.wire.compression import Compression

class Openings:
    """Streams that are not yet a pool's. Every method may be called from any thread."""

    @property
    def closed(self) -> bool: ...
    def is_closed(self) -> bool:
        """Whether nothing more is to be opened."""
    def add(self, stream: Stream) -> None:
        """Close `stream` when the client is closed, at once if it is."""
    def remove(self, stream: Stream) -> None:
        """`stream` is a pool's now, or closed."""
    def end(self) -> None:
        """Close them all; who waits for one of them gets an error at once."""
    def refuse(self) -> MongoError:
        """The error of who opens a connection of a closed client."""

class Opening(Openings):
    """One connection that is being made for a pool, which may give it up by `end`."""

    until: Deadline | None
    @property
    def hello(self) -> HelloReply | None:
        """What the server said, once it has."""
    def abandon(self) -> None:
        """End it, and have the client forget it: whoever makes it may never go on."""
    def begin(self, client: Openings) -> None:
        """It is one of those of `client`: it ends with them."""
    def hello_received(self, hello: HelloReply) -> None:
        """The server has said hello; what is left is the login."""

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
