from collections.abc import Iterable, Mapping
from typing import Any, Final

from mongokey.wire.compression import Compression
from mongokey.wire.message import Message

# Anything with the buffer protocol and contiguous bytes.
_Bytes = bytes | bytearray | memoryview

HEADER_SIZE: Final = 16
OP_REPLY: Final = 1
OP_QUERY: Final = 2004
OP_COMPRESSED: Final = 2012
OP_MSG: Final = 2013
CHECKSUM_PRESENT: Final = 1
MORE_TO_COME: Final = 2
EXHAUST_ALLOWED: Final = 65536
SECONDARY_OK: Final = 4
QUERY_FAILURE: Final = 2

def next_request_id() -> int:
    """The next request id of this process, from a random one on: up to 2**31 - 1, then from 1."""

def crc32c(data: _Bytes, value: int = 0) -> int:
    """The CRC-32C of `data`; `value` is the checksum of what came before it (0: nothing)."""

def message_length(
    header: _Bytes, max_message_size: int = 48000000, *, compressed: bool = False
) -> int:
    """The length in bytes of the message that starts with `header` (16 bytes or more).

    Raises `ProtocolError` when the opcode is unknown, or OP_COMPRESSED and not `compressed`, or the
    length is below what the opcode needs or above `max_message_size` bytes.
    """

def encode_message(
    command: Mapping[str, Any],
    *,
    request_id: int | None = None,
    response_to: int = 0,
    sections: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
    flags: int = 0,
    checksum: bool = False,
    max_message_size: int = 48000000,
    codec_options: Any = None,
    compression: Compression | None = None,
) -> bytes:
    """One OP_MSG with `command` as its body (kind 0) and `sections` as its kind-1 sections.

    `request_id` None takes the next one; `response_to` is for answering as a server; `checksum`
    appends a CRC-32C and sets its flag. With `compression` it is an OP_COMPRESSED of the first
    compressor, unless the command may not be compressed. Raises `InvalidDocument` for what BSON cannot hold and
    `DocumentTooLarge` when the message exceeds `max_message_size` bytes.
    """

def encode_legacy_hello(command: Mapping[str, Any], request_id: int | None = None) -> bytes:
    """The OP_QUERY on ``admin.$cmd`` that carries the legacy hello `command`.

    Raises `ValueError` when `command` is no hello: nothing else may use OP_QUERY.
    """

def decode_message(
    data: _Bytes,
    *,
    response_to: int | None = None,
    max_message_size: int = 48000000,
    codec_options: Any = None,
    compression: Compression | None = None,
) -> Message:
    """The one complete message in `data`: a reply (OP_MSG, OP_REPLY) or a request (OP_QUERY too).

    With `response_to`, only a reply to that request is accepted; with `compression`, also an
    OP_COMPRESSED of one of its compressors. Raises `ProtocolError` with the byte offset when the
    message is not well formed, its checksum is wrong, it is compressed otherwise, longer than
    `max_message_size` bytes (what is compressed in it, too) or answers another request;
    `InvalidBSON` when a document in it is not valid.
    """

def message_parts(message: bytes) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    """What the OP_MSG `message` is made of, in BSON: its body, and its document sequences (kind 1),
    each a name and documents one after another. Raises `ProtocolError` for what is no message."""
