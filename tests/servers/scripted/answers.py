"""What the scripted server can be told to answer, and the bytes it comes to.

Knows the framing of MongoDB's messages (from the wire specification, independent of mongokey's)
and how to damage it; must not know sockets, nor when an answer is given.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import bson

OP_REPLY = 1
OP_QUERY = 2004
OP_COMPRESSED = 2012
OP_MSG = 2013
CHECKSUM_PRESENT = 1 << 0
MORE_TO_COME = 1 << 1
EXHAUST_ALLOWED = 1 << 16


@dataclass
class Request:
    """One message of a client. `document` has its kind-1 sections merged in by their names; of one
    that came compressed `compressor` is the name, and `raw` the message before."""

    connection: int
    opcode: int
    request_id: int
    flags: int
    document: dict[str, Any]
    raw: bytes
    compressor: str | None = None

    @property
    def name(self) -> str:
        """The command's name; "hello" for every kind of hello."""
        name: str = next(iter(self.document), "")
        return "hello" if name.lower() == "ismaster" else name

    @property
    def database(self) -> str | None:
        """The command's `$db`."""
        return self.document.get("$db")

    @property
    def is_bare_hello(self) -> bool:
        """Whether it is a hello that nothing of a login goes along with: all that a monitor says.
        A connection of a pool may say it too, where nobody logs in."""
        asks = "saslSupportedMechs" in self.document or "speculativeAuthenticate" in self.document
        return self.name == "hello" and not asks


@dataclass
class Reply:
    """A reply, right unless told otherwise.

    `response_to`, `length`, `opcode`, `flags` and `request_id` override fields of the message;
    `keep` sends only so many bytes of it and then closes the connection (with `then_close` false:
    sends no more of it); `body` replaces everything behind the header; `append` is put behind
    the message; `checksum` adds a CRC-32C, right (True) or wrong (False).
    """

    document: Mapping[str, Any] | bytes = field(default_factory=lambda: {"ok": 1.0})
    response_to: int | None = None
    length: int | None = None
    opcode: int | None = None
    flags: int = 0
    request_id: int | None = None
    keep: int | None = None
    then_close: bool = True
    body: bytes | None = None
    append: bytes = b""
    checksum: bool | None = None

    def to_bytes(self, request: Request, request_id: int) -> bytes:
        """The message that answers `request`, damage and all."""
        document = self.document
        encoded = document if isinstance(document, bytes) else bson.encode(document)
        legacy = request.opcode == OP_QUERY
        opcode = (OP_REPLY if legacy else OP_MSG) if self.opcode is None else self.opcode
        flags = self.flags | (CHECKSUM_PRESENT if self.checksum is not None else 0)
        if self.body is not None:
            body = self.body
        elif legacy:
            body = struct.pack("<iqii", self.flags | 8, 0, 0, 1) + encoded
        else:
            body = struct.pack("<IB", flags, 0) + encoded
        length = 16 + len(body) + (4 if self.checksum is not None else 0)
        message = (
            struct.pack(
                "<iiii",
                length if self.length is None else self.length,
                request_id if self.request_id is None else self.request_id,
                request.request_id if self.response_to is None else self.response_to,
                opcode,
            )
            + body
        )
        if self.checksum is not None:
            value = crc32c(message)
            message += struct.pack("<I", value if self.checksum else value ^ 1)
        return message + self.append


@dataclass
class Error(Reply):
    """A reply with `ok: 0`."""

    code: int = 8000
    message: str = "the script says so"
    code_name: str = "AtlasError"
    labels: Sequence[str] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.document = {
            "ok": 0.0,
            "errmsg": self.message,
            "code": self.code,
            "codeName": self.code_name,
            **({"errorLabels": list(self.labels)} if self.labels else {}),
            **self.extra,
        }


@dataclass
class Raw:
    """These bytes instead of a reply."""

    data: bytes


@dataclass
class Silence:
    """No reply; the connection stays open, and what comes next on it is answered as scripted."""


@dataclass
class Close:
    """No reply; the connection is closed, with a reset rather than an orderly end if asked."""

    reset: bool = False


@dataclass
class Delay:
    """The answer, after so many seconds (less when the server stops)."""

    seconds: float
    answer: Answer = field(default_factory=Reply)


@dataclass
class Drip:
    """The answer in chunks of `size` bytes, `pause` seconds apart."""

    answer: Answer = field(default_factory=Reply)
    size: int = 1
    pause: float = 0.001


@dataclass
class Hold:
    """The answer, once `event` is set (the server sets it at the latest when it stops)."""

    event: threading.Event = field(default_factory=threading.Event)
    answer: Answer = field(default_factory=Reply)


@dataclass
class InTurn:
    """The first answer for the first request, and so on; the last one for all that follow."""

    answers: list[Answer]
    _next: int = 0

    def take(self) -> Answer:
        answer = self.answers[min(self._next, len(self.answers) - 1)]
        self._next += 1
        return answer


def in_turn(*answers: Answer) -> InTurn:
    """Answer the first request with the first, and so on; the last serves all that follow."""
    return InTurn(list(answers))


#: A document means a plain `Reply` of it; a function is called with the `Request` and returns any
#: other answer; None means that the server answers as if nothing were scripted; a list means
#: several messages for one request (an exhaust cursor).
Answer = (
    Reply
    | Raw
    | Silence
    | Close
    | Delay
    | Drip
    | Hold
    | InTurn
    | Mapping[str, Any]
    | Callable[[Request], "Answer"]
    | list[Any]
    | None
)


def _crc32c_table() -> list[int]:
    table = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC32C_TABLE = _crc32c_table()


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `data`."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _CRC32C_TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF
