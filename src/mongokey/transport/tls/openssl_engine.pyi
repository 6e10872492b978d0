from typing import Any

from mongokey._support.deadline import Deadline
from mongokey.transport.tls.context import ClientTLS

# Anything with the buffer protocol and contiguous bytes.
_Bytes = bytes | bytearray | memoryview

class OpenSSLContext:
    """An SSL_CTX at `address`, kept alive by `owner`; made by `openssl_context`."""

    def __init__(self, owner: Any, address: int, check_hosts: bool) -> None: ...
    @property
    def check_hosts(self) -> bool: ...
    @property
    def full_handshakes(self) -> int:
        """How many of its handshakes exchanged certificates."""
    @property
    def resumed_handshakes(self) -> int:
        """How many of its handshakes went on from an earlier one."""
    def forget_sessions(self) -> None:
        """Have the next handshake with each server exchange certificates again."""
    def session_count(self, peer: str) -> int:
        """How many sessions there are to resume with `peer`."""

class TLSSession:
    """One session that can be resumed; freed with its last reference."""

class OpenSSLEngine:
    """TLS with the server `host` (named `peer` in errors), as a client of `context`; no socket.

    `do_handshake` until it is True, then `encrypt` and `decrypt`. After each of them send what
    `pending` returns; where more bytes of the server's are needed, `feed` them. Each method raises
    `TLSError` when TLS fails or the certificate is revoked, and `AutoReconnect` when the server has
    ended the connection; `pending` has the alert that tells the server why then.
    """

    def __init__(self, tls: ClientTLS, context: OpenSSLContext, host: str, peer: str) -> None: ...
    @property
    def context(self) -> OpenSSLContext: ...
    @property
    def host(self) -> str: ...
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
    def group(self) -> str:
        """The name of the group that the keys were agreed on in, such as ``x25519``."""
    def version(self) -> str:
        """The protocol's version: ``TLSv1.2`` or ``TLSv1.3``."""
    def cipher(self) -> str:
        """The name of the cipher suite."""
    def peer_certificate(self) -> bytes | None:
        """The server's certificate in DER; None if it sent none."""
    def verified_chain(self) -> list[bytes]:
        """The chain from the server's certificate to the trusted authority, a list of DER."""
    def stapled_response(self) -> bytes | None:
        """The OCSP response that came with the certificate, in DER; None if none came."""
