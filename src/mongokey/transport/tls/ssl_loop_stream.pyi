from asyncio import AbstractEventLoop

from mongokey.transport.loop_stream import LoopStream
from mongokey.transport.polling import PolledSocket
from mongokey.transport.tls.ssl_engine import SSLEngine

class SSLLoopStream(LoopStream):
    """A TLS stream to a server, served by an asyncio loop; `ssl_stream_of` makes it."""

    @property
    def resumed(self) -> bool:
        """Whether the handshake was an abbreviated one."""
    @property
    def engine(self) -> SSLEngine: ...

def ssl_stream_of(
    socket: PolledSocket, peer: str, loop: AbstractEventLoop, engine: SSLEngine
) -> SSLLoopStream:
    """The stream that takes over a connected socket, and the engine after its handshake."""
