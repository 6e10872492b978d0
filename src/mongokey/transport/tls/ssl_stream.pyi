import ssl

from mongokey._support.deadline import Deadline
from mongokey.transport.stream import SocketStream
from mongokey.transport.tls.context import ClientTLS

class SSLStream(SocketStream):
    """A TLS stream to a server; `wrap_tls` makes it."""

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """What speaks TLS, for its certificate and cipher; not for reading or writing."""

    @property
    def resumed(self) -> bool:
        """Whether the handshake went on from an earlier one, without certificates."""

    def verified_chain(self) -> list[bytes]:
        """The chain from the server's certificate to the trusted authority, a list of DER."""

def wrap_tls(
    stream: SocketStream,
    context: ssl.SSLContext,
    server_hostname: str | None,
    *,
    deadline: Deadline | None = None,
    tls: ClientTLS | None = None,
) -> SSLStream:
    """Do the TLS handshake on `stream` and return the SSLStream that takes its socket over.

    `stream` is closed afterwards, whatever happens. `tls`, the client's, lets errors name its options, has revocation checked and keeps
    sessions, which the next connection to the same peer resumes.

    Raises `NetworkTimeout` when the deadline passes, `AutoReconnect` (a `TLSError` where TLS itself is the
    cause) when the handshake fails, and `ConfigurationError` for a `server_hostname` that is
    neither a host name nor an address.
    """
