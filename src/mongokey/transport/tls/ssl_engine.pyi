import ssl

from mongokey._support.deadline import Deadline
from mongokey.transport.tls.context import ClientTLS

# Anything with the buffer protocol and contiguous bytes.
_Bytes = bytes | bytearray | memoryview

class SSLEngine:
    """TLS with the server `host` (named `peer` in errors), as a client of `context`; no socket.

    Used as an `OpenSSLEngine` is. `host` None is not checked. `tls`, the client's, lets errors name
    its options, has revocation checked and keeps sessions. Raises `ValueError` for a `host` of None
    where `context` checks it, and `ConfigurationError` for one that is neither a host name nor an
    address.
    """

    def __init__(
        self, tls: ClientTLS | None, context: ssl.SSLContext, host: str | None, peer: str
    ) -> None: ...
    @property
    def ssl_object(self) -> ssl.SSLObject:
        """What speaks TLS, for its certificate and cipher; not for reading or writing."""
    @property
    def host(self) -> str | None: ...
    @property
    def peer(self) -> str: ...
    @property
    def first_received(self) -> bytes | None:
        """The first bytes of the server's, at most 64; None: none yet."""
    @property
    def handshake_done(self) -> bool: ...
    @property
    def resumed(self) -> bool:
        """Whether the handshake went on from an earlier one, without certificates."""
    @property
    def last_error(self) -> Exception | None:
        """What ssl raised last."""
    def do_handshake(self, deadline: Deadline | None = None) -> bool:
        """Go on with the handshake; whether it is over. If not, bytes of the server's are needed.

        `deadline` bounds what the check for revocation asks, which happens in here.
        """
    def feed(self, data: _Bytes) -> None:
        """Take in `data`, bytes of the server's."""
    def pending(self) -> bytes:
        """The bytes to be sent to the server by now; they are gone from here then."""
    def encrypt(self, data: _Bytes) -> None:
        """Encrypt all of `data`, for `pending`."""
    def decrypt(self, most: int) -> bytes | None:
        """1 to `most` bytes of data that the server sent; None: more of its bytes are needed."""
    def connection_lost(self, code: int = 0) -> Exception | None:
        """Why the connection ended, an exception of TLS's; None: TLS has nothing to say to it.

        `code` is the system's negated error number, 0 for the end of the stream. What had come
        before is to be fed first.
        """
    def forget_session(self) -> None:
        """Have the next handshake with this server exchange certificates."""
    def close(self) -> None:
        """Say goodbye, for `pending`; nothing can be written any more."""
    def verified_chain(self) -> list[bytes]:
        """The chain from the server's certificate to the trusted authority, a list of DER."""
