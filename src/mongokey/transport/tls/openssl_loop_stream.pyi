from asyncio import AbstractEventLoop

from mongokey.transport.loop_stream import LoopStream
from mongokey.transport.polling import PolledSocket
from mongokey.transport.tls.openssl_engine import OpenSSLEngine

class OpenSSLLoopStream(LoopStream):
    """A TLS stream to a server, served by an asyncio loop; `openssl_stream_of` makes it."""

    @property
    def resumed(self) -> bool:
        """Whether the handshake was an abbreviated one."""
    @property
    def engine(self) -> OpenSSLEngine: ...

def openssl_stream_of(
    socket: PolledSocket, peer: str, loop: AbstractEventLoop, engine: OpenSSLEngine
) -> OpenSSLLoopStream:
    """The stream that takes over a connected socket, and the engine after its handshake."""
