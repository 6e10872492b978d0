"""Compression of wire messages, without a connection: what is offered and agreed on, what is sent
compressed, and that nothing which a peer says of a size is believed."""

from __future__ import annotations

import os
import struct
import sys
import tracemalloc
import warnings
import zlib
from pathlib import Path
from typing import Any

import pytest

import mongokey
from mongokey import wire
from mongokey.errors import ConfigurationError, ProtocolError
from mongokey.wire import compression as module
from mongokey.wire.compression import Compression
from tests.servers import compressed as servers

NAMES = ("snappy", "zlib", "zstd")
LIMIT = 48_000_000
#: What a wire message may be: nothing that gets shorter, much that does, and something of both.
TEXTS = {
    "short": b"x" * 21,
    "random": os.urandom(70_000),
    "repeated": b"abcdefgh" * 200_000,
    "mixed": os.urandom(5000) + bytes(300_000) + os.urandom(5000),
}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_is_compressed_comes_back_and_others_can_read_it(name: str, text: bytes) -> None:
    number, data = Compression(name).compress(text)
    assert number == servers.IDS[name]
    assert servers.inflated(data, name) == text
    assert Compression(name).inflate(number, data, len(text)) == text
    assert Compression(name).inflate(number, servers.compressed(text, name), len(text)) == text


def test_the_level_is_zlibs(name: str) -> None:
    text = bytes(range(256)) * 500
    sizes = {level: len(Compression("zlib", level).compress(text)[1]) for level in (-1, 0, 1, 9)}
    assert sizes[0] > len(text)
    assert sizes[1] > sizes[9]
    assert Compression("zlib", 1).compress(text)[1] == zlib.compress(text, 1)
    # It says nothing to the others.
    assert Compression(name, 0).inflate(*Compression(name, 0).compress(text), len(text)) == text


def test_noop_is_taken_and_its_size_compared() -> None:
    compression = Compression("zlib")
    assert compression.inflate(0, b"abc", 3) == b"abc"
    with pytest.raises(ProtocolError, match="uncompressedSize is 4, and its noop data has 3 bytes"):
        compression.inflate(0, b"abc", 4)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("lie", [-20, -1, 1, 100_000])
def test_a_size_that_is_a_lie_is_refused(name: str, text: bytes, lie: int) -> None:
    number, data = Compression(name).compress(text)
    with pytest.raises(ProtocolError, match=f"uncompressedSize is {len(text) + lie}, and its"):
        Compression(name).inflate(number, data, len(text) + lie)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_data_that_is_cut_or_has_more_behind_it_is_refused(name: str, text: bytes) -> None:
    number, data = Compression(name).compress(text)
    for wrong in (data[:-1], data[: len(data) // 2], data[:1], data + b"\0", data + data):
        with pytest.raises(ProtocolError, match=r"data cannot be read|uncompressedSize"):
            Compression(name).inflate(number, wrong, len(text))


def test_garbage_is_refused(name: str) -> None:
    for size in (1, 5, 25, 1000, 100_000):
        with pytest.raises(ProtocolError):
            Compression(name).inflate(servers.IDS[name], os.urandom(size), 7777)


@pytest.mark.parametrize("number", [*servers.IDS.values(), 4, 255])
def test_only_what_was_agreed_on_is_inflated(name: str, number: int) -> None:
    if number in (0, servers.IDS[name]):
        return
    with pytest.raises(ProtocolError, match=f"agreed on is {name}"):
        Compression(name).inflate(number, b"x" * 30, 30)


def bomb(name: str) -> bytes:
    """What 64 MiB of zeros come to."""
    return servers.compressed(bytes(1 << 26), name)


def test_a_bomb_is_not_inflated_beyond_what_it_announced(name: str) -> None:
    data = bomb(name)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="uncompressedSize"):
            Compression(name).inflate(servers.IDS[name], data, 100_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_snappy_data_is_not_believed_to_be_longer_than_it_can_be() -> None:
    """The library would make room for it first."""
    announced = b"\xff\xff\xff\x16"  # 48,234,495
    size = 0x2DFFFFF
    with pytest.raises(ProtocolError, match="uncompressedSize is 48234495"):
        Compression("snappy").inflate(1, announced + b"\0a", size)


@pytest.mark.parametrize("announced", [b"\xff" * 5, b"\xff" * 9 + b"\1", b"\x80" * 20])
def test_a_length_of_snappy_that_does_not_end_is_refused(announced: bytes) -> None:
    with pytest.raises(ProtocolError):
        Compression("snappy").inflate(1, announced, 21)


def test_a_window_of_zstandard_that_takes_much_memory_is_refused() -> None:
    zstd = servers._zstd()
    options = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    stream = zstd.ZstdCompressor(options=options)
    data = stream.compress(b"x" * 1000) + stream.flush()
    assert zstd.decompress(data) == b"x" * 1000
    with pytest.raises(ProtocolError, match="too much memory"):
        Compression("zstd").inflate(3, data, 1000)


@pytest.mark.parametrize("size", [100, 3_000_000, 20_000_000])
def test_zstandard_of_any_level_is_read(size: int) -> None:
    zstd = servers._zstd()
    text = bytes(size)
    for level in (1, 3, 22):
        assert Compression("zstd").inflate(3, zstd.compress(text, level), size) == text
    stream = zstd.ZstdCompressor(level=19)  # which does not know the size
    data = stream.compress(text) + stream.flush()
    assert Compression("zstd").inflate(3, data, size) == text


# What is agreed on


def test_what_both_have_is_common_in_the_order_of_preference() -> None:
    ours = Compression(("zstd", "snappy", "zlib"), 3)
    assert ours.common(["zlib", "snappy", "zstd"]) is ours
    found = ours.common(("zlib", "zstd", "lz4"))
    assert found is not None
    assert (found.names, found.zlib_level) == (("zstd", "zlib"), 3)
    assert ours.common(()) is None
    assert ours.common(["lz4"]) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["lz4"],), "'lz4' is no compressor"),
        (((),), "no compressor"),
        ((["zlib"], 10), "zlib_level must be from -1 to 9, not 10"),
        ((["zlib"], -2), "zlib_level"),
        ((["zlib"], "1"), "zlib_level"),
    ],
)
def test_what_is_no_compressor_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Compression(*arguments)


LOGINS = [
    *("hello", "isMaster", "ismaster", "saslStart", "saslContinue", "getnonce", "authenticate"),
    *("createUser", "updateUser", "copydbSaslStart", "copydbgetnonce", "copydb"),
]


@pytest.mark.parametrize("command", [*LOGINS, "SASLSTART", "CreateUser"])
def test_logins_are_never_compressed(command: str) -> None:
    compression = Compression("zlib")
    assert not compression.allows(command)
    exchange = agreed(compression)
    assert opcode(exchange.request("admin", {command: 1, "text": "x" * 1000})) == wire.OP_MSG
    message = wire.encode_message({command: 1}, compression=compression)
    assert opcode(message) == wire.OP_MSG


# Messages


def opcode(message: bytes) -> int:
    found: int = struct.unpack_from("<i", message, 12)[0]
    return found


def agreed(compression: Compression) -> wire.MessageExchange:
    exchange = wire.MessageExchange("server")
    exchange.offer_compression(compression)
    exchange.accept_hello(LIMIT, compression.names)
    return exchange


def reply_to(request: bytes, body: dict[str, Any], **fields: Any) -> bytes:
    (request_id,) = struct.unpack_from("<i", request, 4)
    return wire.encode_message(body, response_to=request_id, **fields)


def test_a_message_and_its_answer(name: str) -> None:
    exchange = agreed(Compression(name))
    command = {"insert": "x", "text": "y" * 1000}
    request = exchange.request("db", command)
    plain, used = servers.unpack(request)
    assert used == name
    assert wire.decode_message(plain).body == {**command, "$db": "db"}
    answer = servers.pack(reply_to(request, {"ok": 1, "text": "z" * 100_000}), name)
    exchange.receive(answer[:20])
    assert exchange.missing_bytes == len(answer) - 20
    exchange.receive(answer[20:])
    assert exchange.reply() == {"ok": 1, "text": "z" * 100_000}
    assert not exchange.awaits_reply
    # Where there is an answer that is not compressed, it is taken as well.
    request = exchange.request("db", {"ping": 1})
    exchange.receive(reply_to(request, {"ok": 1}))
    assert exchange.reply() == {"ok": 1}


def test_a_stream_of_replies_is_inflated_one_by_one() -> None:
    exchange = agreed(Compression(["zlib", "zstd"]))
    request = exchange.request("db", {"getMore": 1}, exhaust=True)
    more = wire.MORE_TO_COME
    first = reply_to(request, {"n": 0, "text": "a" * 50_000}, request_id=1, flags=more)
    second = wire.encode_message({"n": 1}, request_id=2, response_to=1, flags=more)
    third = wire.encode_message({"n": 2, "text": "b" * 9999}, request_id=3, response_to=2)
    together = servers.pack(first, "zstd") + second + servers.pack(third, "noop")
    exchange.receive(together)
    found = []
    while exchange.awaits_reply:
        assert exchange.missing_bytes == 0
        found.append(exchange.reply())
    assert [each["n"] for each in found] == [0, 1, 2]
    assert found[0]["text"] == "a" * 50_000
    assert found[2]["text"] == "b" * 9999


def test_the_answer_to_hello_may_be_compressed_and_what_it_says_counts() -> None:
    exchange = wire.MessageExchange("server")
    exchange.offer_compression(Compression(["zstd", "zlib"]))
    hello = exchange.request("admin", {"hello": 1, "compression": ["zstd", "zlib"]})
    assert opcode(hello) == wire.OP_MSG
    exchange.receive(servers.pack(reply_to(hello, {"ok": 1, "compression": ["zlib"]}), "zlib"))
    answer = exchange.reply()
    exchange.accept_hello(LIMIT, answer["compression"])
    assert servers.unpack(exchange.request("admin", {"ping": 1}))[1] == "zlib"


def test_without_an_agreement_nothing_is_compressed_nor_taken() -> None:
    exchange = wire.MessageExchange("server")
    exchange.offer_compression(Compression("zlib"))
    exchange.accept_hello(LIMIT)
    assert exchange.compression is None
    request = exchange.request("admin", {"ping": 1})
    assert opcode(request) == wire.OP_MSG
    exchange.receive(servers.pack(reply_to(request, {"ok": 1}), "zlib"))
    with pytest.raises(ProtocolError, match="no compressor was agreed on"):
        _ = exchange.missing_bytes


def test_a_message_that_would_become_too_long_is_sent_as_it_is() -> None:
    exchange = wire.MessageExchange("server")
    exchange.offer_compression(Compression("zlib"))
    exchange.accept_hello(10_000, ["zlib"])
    empty = exchange.request("d", {"insert": "c", "data": b""}, silent=True)
    data = os.urandom(10_000 - len(servers.unpack(empty)[0]))
    assert opcode(exchange.request("d", {"insert": "c", "data": data}, silent=True)) == wire.OP_MSG


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": 0}, "uncompressedSize is 0; a message of its opcode has 10 at least"),
        ({"size": -1}, "uncompressedSize is -1"),
        ({"size": -(2**31)}, "uncompressedSize is -2147483648"),
        ({"size": LIMIT - 15}, "uncompressedSize is 47999985; at most 47999984 are accepted"),
        ({"size": 2**31 - 1}, "uncompressedSize is 2147483647; at most"),
        ({"size": 30}, "uncompressedSize is 30, and its"),
        ({"size": 5000}, "uncompressedSize is 5000, and its"),
        ({"opcode": 2012}, "a compressed message inside a compressed message"),
        ({"opcode": 2010}, "unexpected opcode 2010"),
        ({"opcode": 0}, "unexpected opcode 0"),
        ({"compressor": 4}, "compressed with compressor 4"),
        ({"compressor": 255}, "compressed with compressor 255"),
    ],
)
def test_a_hostile_head_is_refused(name: str, changed: dict[str, int], message: str) -> None:
    exchange = agreed(Compression(name))
    request = exchange.request("admin", {"ping": 1})
    hostile = servers.pack(reply_to(request, {"ok": 1, "text": "x" * 1000}), name, **changed)
    exchange.receive(hostile)
    assert exchange.missing_bytes == 0
    with pytest.raises(ProtocolError, match=message):
        exchange.reply()
    with pytest.raises(ProtocolError, match=message):
        wire.decode_message(hostile, compression=Compression(name))


def test_the_message_inside_is_checked_as_any_other() -> None:
    exchange = agreed(Compression("zlib"))
    request = exchange.request("admin", {"ping": 1})
    other = wire.encode_message({"ok": 1}, response_to=4711)
    exchange.receive(servers.pack(other, "zlib"))
    with pytest.raises(ProtocolError, match="answers request 4711"):
        exchange.reply()
    exchange = agreed(Compression("zlib"))
    request = exchange.request("admin", {"ping": 1})
    broken = bytearray(reply_to(request, {"ok": 1}))
    broken[20] = 9  # a section's kind
    exchange.receive(servers.pack(bytes(broken), "zlib"))
    with pytest.raises(ProtocolError, match="unknown section kind 9"):
        exchange.reply()


def test_what_is_inside_the_answer_to_hello_may_not_be_long() -> None:
    """Nobody has proved who it is yet: 1 MiB is the limit, inflated as well."""
    exchange = wire.MessageExchange("server")
    exchange.offer_compression(Compression("zlib"))
    hello = exchange.request("admin", {"hello": 1})
    exchange.receive(servers.pack(reply_to(hello, {"ok": 1, "text": "x" * (1 << 20)}), "zlib"))
    with pytest.raises(ProtocolError, match="uncompressedSize is"):
        exchange.reply()


def test_the_wire_layer_alone_compresses_too(name: str) -> None:
    compression = wire.Compression(name)
    body = {"insert": "c", "text": "x" * 1000}
    message = wire.encode_message(
        body, request_id=7, sections={"documents": [{"_id": 1}]}, compression=compression
    )
    assert opcode(message) == wire.OP_COMPRESSED
    assert wire.message_length(message, compressed=True) == len(message)
    decoded = wire.decode_message(message, compression=compression)
    assert (decoded.request_id, decoded.opcode, decoded.body) == (7, wire.OP_MSG, body)
    assert decoded.sections == {"documents": [{"_id": 1}]}
    assert wire.decode_message(servers.unpack(message)[0]) == decoded
    for refusing in (wire.message_length, wire.decode_message):
        with pytest.raises(ProtocolError, match="no compressor was agreed on"):
            refusing(message)
    with pytest.raises(ProtocolError):
        wire.decode_message(message, compression=compression, max_message_size=900)


# Options


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither library is installed."""

    def absent() -> Any:
        raise ImportError("not here")

    monkeypatch.setattr(module, "_libraries", {})
    monkeypatch.setattr(module, "_told", set())
    monkeypatch.setitem(module._IMPORTS, "snappy", absent)
    monkeypatch.setitem(module._IMPORTS, "zstd", absent)


@pytest.mark.usefixtures("missing")
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python has zstd itself")
def test_a_missing_library_is_told_once_with_what_installs_it() -> None:
    with pytest.warns(UserWarning, match="is not used") as caught:
        mongokey.MongoClient("mongodb://h/?compressors=zstd,zlib,snappy").close()
    assert [str(each.message) for each in caught] == [
        f"compressors: {name} is not used, as its library is missing: "
        f'pip install "mongokey[{name}]"'
        for name in ("zstd", "snappy")
    ]
    assert {Path(each.filename).name for each in caught} == {Path(__file__).name}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client = mongokey.MongoClient("h", compressors="zstd,zlib,snappy", zlibCompressionLevel=2)
        compression = client._context.settings().compression
        assert (compression.names, compression.zlib_level) == (("zlib",), 2)
        client.close()
    with pytest.raises(ConfigurationError, match=r"pip install \"mongokey\[zstd\]\""):
        Compression("zstd")


@pytest.mark.usefixtures("missing")
def test_without_any_library_nothing_is_offered() -> None:
    with pytest.warns(UserWarning, match="snappy"):
        client = mongokey.MongoClient("h", compressors="snappy")
    assert client._context.settings().compression is None
    client.close()


def test_an_unknown_compressor_is_left_out_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="1 of the compressors given is not one of snappy, zlib"):
        client = mongokey.MongoClient("mongodb://h/?compressors=snoopy,zlib")
    assert client._context.settings().compression.names == ("zlib",)
    client.close()


def test_without_compressors_no_library_is_imported() -> None:
    """In another interpreter, as this one has them."""
    import subprocess

    program = (
        "import sys, mongokey\n"
        "mongokey.MongoClient('mongodb://127.0.0.1:1').close()\n"
        "assert not {'mongokey.wire.compression', 'snappy', 'zlib'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    subprocess.run([sys.executable, "-S", "-c", PATH + program], check=True, env=environment)


PATH = f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\n"
