from asyncio import AbstractEventLoop

from mongokey.transport.polling import PolledSocket
from mongokey.transport.stream import Stream

class LoopStream(Stream):
    """A stream over the connected socket `fd`, which it owns from now on, served by `loop`."""

    @property
    def loop(self) -> AbstractEventLoop: ...
    def __init__(self, fd: int, peer: str, loop: AbstractEventLoop) -> None: ...

def stream_of(socket: PolledSocket, peer: str, loop: AbstractEventLoop) -> LoopStream:
    """The stream that takes over a connected socket; `socket` is closed then."""
