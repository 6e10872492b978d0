"""Messages as the fleet reads and writes them: framing, and the few fields that it looks at.

Knows OP_MSG, and OP_QUERY for the legacy hello. What is passed on stays in the client's bytes; only
a txnNumber and a read concern can be taken out of them. Must not know roles.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from tests.servers.scripted.answers import (
    CHECKSUM_PRESENT,
    MORE_TO_COME,
    OP_MSG,
    OP_QUERY,
    Reply,
    Request,
)

_HEADER = struct.Struct("<iiii")
_INT = struct.Struct("<i")
#: An int64 element of that name, without its value.
_TXN_NUMBER = b"\x12txnNumber\0"
_TXN_NUMBER_SIZE = len(_TXN_NUMBER) + 8
MAX_SIZE = 48_000_000 + 16_384


class Malformed(Exception):
    """What came is no message of MongoDB's."""


def take_message(buffer: bytearray) -> bytes | None:
    """Take the first whole message out of what was received; None when it is not whole yet."""
    if len(buffer) < 16:
        return None
    (length,) = _INT.unpack_from(buffer)
    if not 16 <= length <= MAX_SIZE:
        raise Malformed(f"a message of {length} bytes")
    if len(buffer) < length:
        return None
    message = bytes(buffer[:length])
    del buffer[:length]
    return message


def read_request(raw: bytes, connection: int) -> Request:
    """The request in a message. Its `document` is the body alone, without kind-1 sections."""
    _, request_id, _, opcode = _HEADER.unpack_from(raw)
    try:
        if opcode == OP_MSG:
            (flags,) = struct.unpack_from("<I", raw, 16)
            at = 20
            while raw[at] != 0:  # a driver may put document sequences first
                at += 1 + _INT.unpack_from(raw, at + 1)[0]
            (size,) = _INT.unpack_from(raw, at + 1)
            document = bson.decode(raw[at + 1 : at + 1 + size])
        elif opcode == OP_QUERY:
            flags = 0
            end = raw.index(b"\0", 20)
            document = bson.decode(raw[end + 9 :])
            namespace = raw[20:end].decode()
            document.setdefault("$db", namespace.partition(".")[0])
        else:
            raise Malformed(f"opcode {opcode}")
    except (IndexError, ValueError, struct.error, bson.errors.InvalidBSON) as error:
        raise Malformed(str(error)) from error
    return Request(connection, opcode, request_id, flags, document, raw)


def without_txn_number(raw: bytes) -> bytes:
    """The same OP_MSG without its txnNumber, where that is beyond doubt an element of the body."""
    flags, kind = struct.unpack_from("<IB", raw, 16)
    if flags & CHECKSUM_PRESENT or kind != 0 or raw.count(_TXN_NUMBER) != 1:
        return raw
    (size,) = _INT.unpack_from(raw, 21)
    at = raw.index(_TXN_NUMBER)
    if at >= 21 + size:
        return raw
    shorter = bytearray(raw)
    del shorter[at : at + _TXN_NUMBER_SIZE]
    _INT.pack_into(shorter, 0, len(shorter))
    _INT.pack_into(shorter, 21, size - _TXN_NUMBER_SIZE)
    return bytes(shorter)


def without_read_concern(raw: bytes) -> bytes:
    """The same OP_MSG without its readConcern, which stands in a body of kind 0 at its front."""
    flags, kind = struct.unpack_from("<IB", raw, 16)
    if flags & CHECKSUM_PRESENT or kind != 0:
        return raw
    (size,) = _INT.unpack_from(raw, 21)
    document = bson.decode(raw[21 : 21 + size])
    if document.pop("readConcern", None) is None:
        return raw
    message = bytearray(raw[:21] + bson.encode(document) + raw[21 + size :])
    _INT.pack_into(message, 0, len(message))
    return bytes(message)


def reply_bytes(
    request: Request, document: Mapping[str, Any], request_id: int, *, more: bool = False
) -> bytes:
    """The message that answers a request; `more` says that another will follow by itself."""
    return Reply(document, flags=MORE_TO_COME if more else 0).to_bytes(request, request_id)


def answering(raw: bytes, request_id: int) -> bytes:
    """A reply that was kept, as the answer to another request."""
    return raw[:8] + _INT.pack(request_id) + raw[12:]


def more_to_come(raw: bytes) -> bool:
    """Whether an OP_MSG says that another message follows it without being asked for."""
    _, _, _, opcode = _HEADER.unpack_from(raw)
    return opcode == OP_MSG and bool(raw[16] & MORE_TO_COME)


def reply_document(raw: bytes) -> dict[str, Any]:
    """The document of a reply that the fleet changes or looks into."""
    at = 21 if _HEADER.unpack_from(raw)[3] == OP_MSG else 36
    return bson.decode(raw[at:])


def raw_reply(raw: bytes) -> RawBSONDocument:
    """The document of a reply of which only single fields are read."""
    return RawBSONDocument(raw[21:])
