"""One connection of a loop that serves many: what it has sent and received, and how it ended.

Knows the framing (`wire.message_buffer`), TLS as an engine without a socket, the socket that a
poller waits for, and the words of the errors that a lost connection becomes. Nothing here waits;
who serves it (`step_loop`) does.
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
    from mongokey.transport.tls.context import ClientTLS
    from mongokey.transport.tls.openssl_engine import OpenSSLEngine
    from mongokey.transport.tls.ssl_engine import SSLEngine
    from mongokey.wire.compression import Compression

SENDING = "sending"
ANSWER = "waiting for the server's answer"
# So much is decrypted at a time: a TLS record.
MOST = 16384

_left_alone: list[OpenSSLEngine | SSLEngine] = []


class Channel:
    """A connected socket to the server at `address`; `deadline` bounds its handshake."""

    __slots__ = (
        "address",
        "deadline",
        "duration_ns",
        "engine",
        "engine_in_use",
        "exchange",
        "hello",
        "last_words",
        "lost",
        "more_to_come",
        "peer",
        "socket",
        "tls",
    )

    def __init__(
        self, address: AddressLike, socket: PolledSocket, deadline: Deadline | None
    ) -> None:
        self.address = address
        self.peer = format_address(address)
        self.socket = socket
        self.deadline = deadline
        self.exchange = MessageExchange(self.peer)
        self.engine: OpenSSLEngine | SSLEngine | None = None
        # What made the engine.
        self.tls: ClientTLS | None = None
        # Another thread has the engine, which asks whether a certificate was revoked.
        self.engine_in_use = False
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
        self.exchange.agree_on_compression(hello.compression)

    def offer_compression(self, compression: Compression) -> None:
        """Take answers in these compressors, which hello is going to offer."""
        self.exchange.offer_compression(compression)

    def request(self, database: str, command: Mapping[str, Any], *, exhaust: bool) -> bytes:
        """The bytes to be sent for a command, encrypted where there is TLS."""
        data = self.exchange.request(database, command, exhaust=exhaust)
        if self.engine is None:
            return data
        self.engine.encrypt(data)
        return self.engine.pending()

    def send(self, data: bytes) -> int:
        """Send what fits now; how many bytes that is."""
        try:
            return self.socket.send(data)
        except SocketFailed as failed:
            # A server that greets in another protocol, or refuses TLS, may be gone before anything
            # could be sent.
            try:
                said = self.socket.receive() or b""
            except SocketFailed:
                said = b""
            if self.engine is None:
                self.last_words = said
            else:
                self.engine.feed(said)
            raise self._lost(failed.code, failed.reason, SENDING) from None

    def receive(self) -> bool:
        """Take in what is there; whether anything was."""
        data = self.receive_raw()
        engine = self.engine
        if engine is None or data is None:
            if data is not None:
                self.exchange.receive(data)
            return data is not None
        engine.feed(data)
        while True:
            plain = engine.decrypt(MOST)
            if plain is None:
                return True
            self.exchange.receive(plain)

    def receive_raw(self) -> bytes | None:
        """The bytes that are there, encrypted where there is TLS; None where none are."""
        try:
            data = self.socket.receive()
        except SocketFailed as failed:
            raise self._lost(failed.code, failed.reason, ANSWER) from None
        if data is not None and not data:
            raise self._lost(0, "connection closed by the server", ANSWER)
        return data

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
        """What is asked how the connection ended (`missing_tls`) and who is there."""
        return self

    def fileno(self) -> int:
        """The socket's number, -1 once it is closed: who is at the other end is asked of it."""
        return self.socket.fileno()

    def close(self) -> None:
        """Close the socket, saying goodbye where there is TLS; more than once is allowed."""
        self.more_to_come = False
        engine, self.engine = self.engine, None
        if engine is not None and not self.engine_in_use and not self.socket.closed:
            if engine.handshake_done:
                engine.close()
            # After a failed handshake that is the alert that tells the server why.
            data = engine.pending()
            if data:
                self.socket.send_last(data)
        self.socket.close()

    def abandon(self) -> None:
        """Close the socket, in a forked child."""
        engine, self.engine = self.engine, None
        if engine is not None and (self.engine_in_use or not engine.handshake_done):
            # A thread of the parent may have been in the middle of it: not even to be freed.
            _left_alone.append(engine)
        self.socket.close()

    def _lost(self, code: int, reason: str, doing: str) -> Exception:
        """The error for a connection that the server or the network ended; `code` is the negated
        error number, 0 for the end of the stream."""
        self.lost = True
        found = None
        if self.engine is not None:
            found = self.engine.connection_lost(code)
        return found or AutoReconnect(f"{self.peer}: {reason} (while {doing})")
