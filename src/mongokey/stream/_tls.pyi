import ssl

from mongokey.stream._stream import SocketStream, Stream

class SSLStream(Stream):
    """A TLS stream to a server; `wrap_tls` makes it."""

    @property
    def ssl_socket(self) -> ssl.SSLSocket:
        """The socket below, for its certificate and cipher; not for reading or writing."""

def wrap_tls(
    stream: SocketStream,
    context: ssl.SSLContext,
    server_hostname: str | None,
    *,
    deadline_ns: int = 0,
) -> SSLStream:
    """Do the TLS handshake on `stream` and return the SSLStream that takes its socket over.

    `stream` is closed afterwards, whatever happens. `deadline_ns` is a time of `monotonic_ns`, 0
    for none. Raises `NetworkTimeout` when it passes, and `AutoReconnect` when the handshake
    fails, with ssl's error as its cause.
    """
