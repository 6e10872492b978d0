"""The connections that a client is making just now, so that closing the client ends them.

Knows streams and that a client can be closed. Must not know how a connection is made.
"""

from __future__ import annotations

from mongokey.errors import InvalidOperation

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.transport import Stream


class Openings:
    """Streams that are not yet a pool's. Every method may be called from any thread."""

    __slots__ = ("_streams", "closed")

    def __init__(self) -> None:
        self._streams: set[Stream] = set()
        self.closed = False

    def is_closed(self) -> bool:
        """Whether nothing more is to be opened."""
        return self.closed

    def add(self, stream: Stream) -> None:
        """Close `stream` when the client is closed, at once if it is."""
        self._streams.add(stream)
        if self.closed:
            stream.close()

    def remove(self, stream: Stream) -> None:
        """`stream` is a pool's now, or closed."""
        self._streams.discard(stream)

    def end(self) -> None:
        """Close them all; who waits for one of them gets an error at once."""
        self.closed = True
        while self._streams:
            try:
                self._streams.pop().close()
            except KeyError:
                return  # another thread took the last one out

    def refuse(self) -> InvalidOperation:
        """The error of who opens a connection of a closed client."""
        return InvalidOperation("Cannot use MongoClient after close")


__all__ = ["Openings"]
