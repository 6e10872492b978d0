"""MongoDB's wire messages, usable alone: commands to bytes, bytes to replies.

It knows OP_MSG with all its sections and flags, OP_COMPRESSED, and OP_QUERY and OP_REPLY for the
legacy hello (specifications: message/OP_MSG.md, compression/OP_COMPRESSED.md). It must not know
sockets, logins or what a command means.
"""

from __future__ import annotations

from mongokey._support.lazy import loader

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.wire.compression import Compression
    from mongokey.wire.message import Message
    from mongokey.wire.message_buffer import MessageExchange
    from mongokey.wire.standalone import (
        CHECKSUM_PRESENT,
        EXHAUST_ALLOWED,
        HEADER_SIZE,
        MORE_TO_COME,
        OP_COMPRESSED,
        OP_MSG,
        OP_QUERY,
        OP_REPLY,
        QUERY_FAILURE,
        SECONDARY_OK,
        crc32c,
        decode_message,
        encode_legacy_hello,
        encode_message,
        message_length,
        next_request_id,
    )

__all__ = [
    "CHECKSUM_PRESENT",
    "EXHAUST_ALLOWED",
    "HEADER_SIZE",
    "MORE_TO_COME",
    "OP_COMPRESSED",
    "OP_MSG",
    "OP_QUERY",
    "OP_REPLY",
    "QUERY_FAILURE",
    "SECONDARY_OK",
    "Compression",
    "Message",
    "MessageExchange",
    "crc32c",
    "decode_message",
    "encode_legacy_hello",
    "encode_message",
    "message_length",
    "next_request_id",
]


__getattr__ = loader(
    __name__,
    # The driver itself frames its messages in C and needs none of these.
    dict.fromkeys(__all__, "mongokey.wire.standalone")
    | {
        "Compression": "mongokey.wire.compression",
        "Message": "mongokey.wire.message",
        "MessageExchange": "mongokey.wire.message_buffer",
    },
)
