from mongokey._support.deadline import Deadline
from mongokey.errors import MongoError
from mongokey.handshake import HelloReply
from mongokey.transport import Stream

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
