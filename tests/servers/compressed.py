"""OP_COMPRESSED, and a relay that speaks it for a server which does not.

Knows the compression specification, from which it is written independently of mongokey: which ids
compressors have, what stands in front of the compressed bytes, what hello says. It must not know
the code under test.

    with CompressingRelay(server.host, server.port) as relay:
        MongoClient(relay.redirect(server.uri("both")), compressors="zlib").app.things.find_one()
        assert relay.compressed["find"] == ["zlib"]
"""

from __future__ import annotations

import struct
import sys
import threading
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import bson

from tests.servers.relay import Relay, _Link

OP_COMPRESSED = 2012
IDS = {"noop": 0, "snappy": 1, "zlib": 2, "zstd": 3}
_HEADER = struct.Struct("<iiii")
_HEAD = struct.Struct("<iiB")


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def compressed(data: bytes, name: str) -> bytes:
    """`data`, compressed by the compressor called `name`."""
    if name == "zlib":
        return zlib.compress(data)
    if name == "zstd":
        return bytes(_zstd().compress(data))
    if name == "snappy":
        import snappy

        return bytes(snappy.compress(data))
    return data


def inflated(data: bytes, name: str) -> bytes:
    """What `data` was made of."""
    if name == "zlib":
        return zlib.decompress(data)
    if name == "zstd":
        return bytes(_zstd().decompress(data))
    if name == "snappy":
        import snappy

        return bytes(snappy.uncompress(data))
    return data


def pack(message: bytes, name: str, **changed: int) -> bytes:
    """The OP_COMPRESSED of a message; `changed` are fields that say something else: `opcode`,
    `size`, `compressor`."""
    _, request_id, response_to, opcode = _HEADER.unpack_from(message)
    data = compressed(message[16:], name)
    head = _HEAD.pack(
        changed.get("opcode", opcode),
        changed.get("size", len(message) - 16),
        changed.get("compressor", IDS[name]),
    )
    length = 16 + len(head) + len(data)
    return _HEADER.pack(length, request_id, response_to, OP_COMPRESSED) + head + data


def unpack(message: bytes) -> tuple[bytes, str]:
    """The message in an OP_COMPRESSED, and the compressor's name. Raises ValueError where its head
    does not tell the truth."""
    _, request_id, response_to, _ = _HEADER.unpack_from(message)
    opcode, size, number = _HEAD.unpack_from(message, 16)
    name = next(name for name, each in IDS.items() if each == number)
    data = inflated(message[25:], name)
    if len(data) != size:
        raise ValueError(f"uncompressedSize is {size}, and {len(data)} bytes came out")
    return _HEADER.pack(16 + size, request_id, response_to, opcode) + data, name


class CompressingRelay(Relay):
    """A `Relay` whose server seems to know `compressors`.

    `answers` names the compressor of all replies, whatever was agreed on, "noop" too; None: the one
    of the request. With `compress_hello` also the answer to the first hello is compressed.
    To read: `compressed`, by the command's name the compressors of its messages in order, None for
    one that came as it is; `offered`, what the hellos offered; `up` and `down`, the bytes that the
    client sent and got.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        compressors: Sequence[str] = ("snappy", "zlib", "zstd"),
        answers: str | None = None,
        compress_hello: bool = False,
        hello: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(host, port, hello=hello)
        self.compressors = compressors
        self.answers = answers
        self.compress_hello = compress_hello
        self.compressed: dict[str, list[str | None]] = defaultdict(list)
        self.offered: list[list[str] | None] = []
        self.up = self.down = 0
        self._counting = threading.Lock()
        # By request: the compressor of its answer.
        self._asked: dict[tuple[_Link, int], str | None] = {}
        self._agreed: dict[_Link, list[str]] = {}

    def _from_client(self, link: _Link, message: bytes) -> bytes:
        with self._counting:
            self.up += len(message)
        name = None
        if _HEADER.unpack_from(message)[3] == OP_COMPRESSED:
            message, name = unpack(message)
            assert name in self._agreed.get(link, ()), f"{name} was never agreed on"
        _, request_id, _, opcode = _HEADER.unpack_from(message)
        at = message.index(b"\0", 20) + 9 if opcode == 2004 else 21
        command = bson.decode(message[at : at + struct.unpack_from("<i", message, at)[0]])
        with self._counting:
            self.compressed[next(iter(command))].append(name)
        answer = self.answers or name
        if next(iter(command)).lower() in ("hello", "ismaster"):
            if "client" in command:
                offered = command.get("compression")
                with self._counting:
                    self.offered.append(offered)
                self._agreed[link] = [each for each in offered or () if each in self.compressors]
            answer = None
            if self.compress_hello and self._agreed.get(link):
                answer = self.answers or self._agreed[link][0]
        self._asked[link, request_id] = answer if self._agreed.get(link) else None
        return message

    def _hello_of(self, link: _Link) -> Mapping[str, Any]:
        agreed = self._agreed.get(link)
        return {"compression": agreed} if agreed else {}

    def _to_client(self, link: _Link, message: bytes) -> bytes:
        response_to = _HEADER.unpack_from(message)[2]
        answer = self._asked.get((link, response_to))
        if message[16] & 2:
            # The next reply of the stream answers this one.
            self._asked[link, _HEADER.unpack_from(message)[1]] = answer
        if answer is not None:
            message = pack(message, answer)
        with self._counting:
            self.down += len(message)
        return message
