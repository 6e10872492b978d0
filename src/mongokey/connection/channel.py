"""One connection of a loop that serves many: what it has sent and received, and how it ended.

Knows the framing (`wire.message_buffer`), the socket that a poller waits for, and the words of the
errors that a lost connection becomes. Nothing here waits; who serves it (`step_loop`) does.
"""

from __future__ import annotations

from mongokey._support.address import format_address
from mongokey.errors import AutoReconnect
from mongokey.transport.polling import PolledSocket, SocketFailed
from mongokey.wire.message_buffer import MessageExchange

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey._support.deadline import Deadline
    from mongokey.handshake import HelloReply

SENDING = "sending"
ANSWER = "waiting for the server's answer"


class Channel:
    """A connected socket to the server at `address`; `deadline` bounds its handshake."""

    __slots__ = (
        "address",
        "deadline",
        "duration_ns",
        "exchange",
        "hello",
        "last_words",
        "lost",
        "more_to_come",
        "peer",
        "socket",
    )

    def __init__(
        self, address: AddressLike, socket: PolledSocket, deadline: Deadline | None
    ) -> None:
        self.address = address
        self.peer = format_address(address)
        self.socket = socket
        self.deadline = deadline
        self.exchange = MessageExchange(self.peer)
        self.hello: HelloReply | None = None
        self.more_to_come = False
        self.duration_ns = 0
        # The server, or the network, ended it; and what it had said, unread, before a write failed.
        self.lost = False
        self.last_words = b""

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent or received any more."""
        return self.socket.closed

    def accept_hello(self, hello: HelloReply) -> None:
        """The server has said `hello`. Its limits for messages are not taken over: what is sent and
        received here is never longer than a hello."""
        self.hello = hello

    def request(self, database: str, command: Mapping[str, Any], *, exhaust: bool) -> bytes:
        """The bytes to be sent for a command."""
        return self.exchange.request(database, command, exhaust=exhaust)

    def send(self, data: bytes) -> int:
        """Send what fits now; how many bytes that is."""
        try:
            return self.socket.send(data)
        except SocketFailed as failed:
            # A server that greets in another protocol may be gone before anything could be sent.
            try:
                self.last_words = self.socket.receive() or b""
            except SocketFailed:
                self.last_words = b""
            raise self._lost(failed.reason, SENDING) from None

    def receive(self) -> bool:
        """Take in what is there; whether anything was."""
        try:
            data = self.socket.receive()
        except SocketFailed as failed:
            raise self._lost(failed.reason, ANSWER) from None
        if data is None:
            return False
        if not data:
            raise self._lost("connection closed by the server", ANSWER)
        self.exchange.receive(data)
        return True

    def reply(self) -> dict[str, Any]:
        """The reply, once it is whole."""
        document = self.exchange.reply()
        self.more_to_come = self.exchange.awaits_reply
        return document

    def received_bytes(self, most: int) -> bytes:
        """The first bytes, at most `most`, of a message that did not arrive whole."""
        return self.exchange.received_bytes(most)

    @property
    def stream(self) -> Channel:
        """What `missing_tls` asks how the connection ended."""
        return self

    def close(self) -> None:
        """Close the socket; more than once is allowed."""
        self.more_to_come = False
        self.socket.close()

    def _lost(self, reason: str, doing: str) -> AutoReconnect:
        self.lost = True
        return AutoReconnect(f"{self.peer}: {reason} (while {doing})")
