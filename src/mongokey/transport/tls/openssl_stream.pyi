from mongokey._support.deadline import Deadline
from mongokey.transport.stream import SocketStream
from mongokey.transport.tls.context import ClientTLS
from mongokey.transport.tls.openssl_engine import OpenSSLContext

class OpenSSLStream(SocketStream):
    """A TLS stream to a server; `wrap_openssl` makes it."""

    @property
    def resumed(self) -> bool:
        """Whether the handshake went on from an earlier one, without certificates."""
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

def wrap_openssl(
    stream: SocketStream,
    tls: ClientTLS,
    context: OpenSSLContext,
    host: str,
    *,
    deadline: Deadline | None = None,
    hold: bool = False,
) -> OpenSSLStream:
    """Do the TLS handshake on `stream` and return the OpenSSLStream that takes its socket over.

    `stream` is closed afterwards, whatever happens. A session that an earlier connection of
    `context` to the same peer left behind is resumed. `hold` lets the handshake's last message wait for the first bytes written (or the first
    read, or the close). Raises `NetworkTimeout` when the deadline passes, `TLSError` when TLS fails
    or the certificate is revoked, `AutoReconnect` when the connection breaks.
    """
