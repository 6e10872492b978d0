from collections.abc import Iterable, Mapping
from typing import Any

from mongokey.bson.codec_options import CodecOptions
from mongokey.wire.compression import Compression

# Anything with the buffer protocol and contiguous bytes.
_Bytes = bytes | bytearray | memoryview

LENIENT: CodecOptions[dict[str, Any]]

class MessageBuffer:
    """The messages of one connection to `peer`, without the connection: for use from Cython."""

    def __init__(self, peer: str) -> None: ...
    @property
    def peer(self) -> str:
        """The server, for errors."""
    @property
    def max_message_size(self) -> int:
        """The longest message that the server takes, in bytes."""
    @property
    def compression(self) -> Compression | None:
        """The compressors in which messages may come: those offered, after hello those agreed on;
        None for none."""
    def offer_compression(self, compression: Compression) -> None:
        """Take messages in these compressors, the answer to hello too, which is to offer them (its
        field `compression`: `Compression.names`)."""
    def agree_on_compression(self, names: Iterable[str]) -> None:
        """The server's hello names the compressors `names`: what both have is used from now on."""
    @property
    def kept_memory(self) -> int:
        """How many bytes of memory are kept from message to message."""
    def received_bytes(self, most: int = 16) -> bytes:
        """The first bytes, at most `most`, of a message that did not arrive whole."""

class MessageExchange(MessageBuffer):
    """Commands and replies of one connection, as documents and bytes: moved by whoever uses it.

    One after another: `request`, send what it returns, `receive` until `missing_bytes` is 0,
    `reply`. After a `ProtocolError` the connection cannot be used any more.
    """

    def request(
        self,
        database: str,
        command: Mapping[str, Any],
        *,
        exhaust: bool = False,
        silent: bool = False,
    ) -> bytes:
        """The bytes of a message with `command`, for which a reply is then awaited.

        `exhaust` allows the server a stream of replies, `silent` asks for none (moreToCome). It is
        compressed where a compressor is agreed on, unless the command may not be. Raises
        `InvalidOperation` while a reply is awaited, and `DocumentTooLarge`.
        """
    @property
    def missing_bytes(self) -> int:
        """How many bytes of the reply are still to be received, at least; 0: it is whole.

        Raises `ProtocolError` as soon as what came cannot be the beginning of a reply.
        """
    @property
    def awaits_reply(self) -> bool:
        """Whether a reply, or the rest of a stream of them, is to come."""
    def receive(self, data: _Bytes) -> None:
        """Take in `data`, bytes of the server's; more than one reply's are kept for the next."""
    def reply(self) -> dict[str, Any]:
        """The reply as a document, once `missing_bytes` is 0.

        Raises `ProtocolError` unless it is a valid message that answers the one sent, and
        `InvalidOperation` while bytes are missing.
        """
    def accept_hello(self, max_message_size: int, compressors: Iterable[str] = ()) -> None:
        """The server is one of MongoDB: its `maxMessageSizeBytes` bounds messages both ways, and
        what it named of the compressors offered (the field `compression`) is used."""
