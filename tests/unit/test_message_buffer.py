"""The framing of one connection's messages, without a connection: bytes in any pieces, and hostile
ones."""

from __future__ import annotations

import random
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mongokey import wire
from mongokey.errors import DocumentTooLarge, InvalidOperation, ProtocolError
from mongokey.wire.message_buffer import MessageBuffer, MessageExchange

PEER = "server:27017"


def request_id_of(message: bytes) -> int:
    return int.from_bytes(message[4:8], "little")


def asked(**options: Any) -> tuple[MessageExchange, int]:
    """An exchange that awaits a reply, and the id that the reply has to answer."""
    exchange = MessageExchange(PEER)
    return exchange, request_id_of(exchange.request("admin", {"ping": 1}, **options))


def reply_to(request_id: int, body: dict[str, Any], *, own_id: int = 7, flags: int = 0) -> bytes:
    return wire.encode_message(body, request_id=own_id, response_to=request_id, flags=flags)


def test_a_request_is_one_whole_message() -> None:
    exchange = MessageExchange(PEER)
    message = exchange.request("app", {"ping": 1})
    read = wire.decode_message(message)
    assert read.body == {"ping": 1, "$db": "app"}
    assert (read.flags, read.sections) == (0, {})
    assert exchange.awaits_reply
    assert exchange.missing_bytes == wire.HEADER_SIZE
    with pytest.raises(InvalidOperation, match="still to be received"):
        exchange.request("app", {"ping": 1})


def test_a_reply_is_read_however_it_is_cut() -> None:
    generator = random.Random(5)
    body = {"ok": 1.0, "text": "x" * 100_000}
    for most in (1, 7, 15, 16, 17, 1000, 10**6):
        exchange, request_id = asked()
        data = reply_to(request_id, body)
        if most == 1:
            data = reply_to(request_id, {"ok": 1.0})
        at = 0
        while exchange.missing_bytes:
            assert exchange.missing_bytes <= len(data) - at
            piece = data[at : at + generator.randint(1, most)]
            exchange.receive(piece)
            at += len(piece)
        assert at == len(data)
        assert exchange.reply() == (body if most > 1 else {"ok": 1.0})
        assert not exchange.awaits_reply


def test_a_connection_goes_on_with_the_next_request() -> None:
    exchange = MessageExchange(PEER)
    for number in range(5):
        request_id = request_id_of(exchange.request("admin", {"ping": number}))
        exchange.receive(bytearray(reply_to(request_id, {"n": number})))
        assert exchange.missing_bytes == 0
        assert exchange.reply() == {"n": number}


def test_a_reply_that_is_not_whole_is_not_given_out() -> None:
    exchange, request_id = asked()
    data = reply_to(request_id, {"ok": 1.0})
    exchange.receive(data[:-1])
    assert exchange.missing_bytes == 1
    with pytest.raises(InvalidOperation, match="not whole"):
        exchange.reply()
    exchange.receive(memoryview(data)[-1:])
    assert exchange.reply() == {"ok": 1.0}


def test_a_silent_request_awaits_nothing() -> None:
    exchange = MessageExchange(PEER)
    message = exchange.request("admin", {"insert": "c"}, silent=True)
    assert wire.decode_message(message).flags == wire.MORE_TO_COME
    assert not exchange.awaits_reply
    exchange.request("admin", {"ping": 1})


def test_a_stream_of_replies_is_read_one_by_one() -> None:
    """moreToCome, with several replies in one read: each answers the one before."""
    exchange, request_id = asked(exhaust=True)
    more = wire.MORE_TO_COME
    data = reply_to(request_id, {"n": 0}, own_id=100, flags=more)
    data += reply_to(100, {"n": 1}, own_id=101, flags=more)
    data += reply_to(101, {"n": 2}, own_id=102)
    exchange.receive(data)
    for number in range(3):
        assert exchange.missing_bytes == 0
        assert exchange.awaits_reply
        assert exchange.reply() == {"n": number}
    assert not exchange.awaits_reply


def test_a_stream_of_replies_that_answers_something_else_is_refused() -> None:
    exchange, request_id = asked(exhaust=True)
    exchange.receive(reply_to(request_id, {"n": 0}, own_id=100, flags=wire.MORE_TO_COME))
    assert exchange.reply() == {"n": 0}
    exchange.receive(reply_to(99, {"n": 1}, own_id=101))
    with pytest.raises(ProtocolError, match="answers request 99, not request 100"):
        exchange.reply()


def test_a_stream_of_replies_may_answer_the_request_each_time() -> None:
    """SecantusDB's does."""
    exchange, request_id = asked(exhaust=True)
    for number in range(3):
        flags = wire.MORE_TO_COME if number < 2 else 0
        exchange.receive(reply_to(request_id, {"n": number}, own_id=100 + number, flags=flags))
        assert exchange.reply() == {"n": number}
    assert not exchange.awaits_reply


def test_a_stream_of_replies_that_nobody_allowed_is_refused() -> None:
    exchange, request_id = asked()
    exchange.receive(reply_to(request_id, {"n": 0}, flags=wire.MORE_TO_COME))
    with pytest.raises(ProtocolError, match=f"^{PEER}: .*nobody asked for"):
        exchange.reply()


def test_bytes_after_a_reply_are_refused() -> None:
    exchange, request_id = asked()
    exchange.receive(reply_to(request_id, {"ok": 1.0}) + b"\0")
    with pytest.raises(ProtocolError, match="1 bytes after its reply that nobody asked for"):
        exchange.reply()


def test_a_reply_to_another_request_is_refused() -> None:
    exchange, request_id = asked()
    exchange.receive(reply_to(request_id + 1, {"ok": 1.0}))
    with pytest.raises(ProtocolError, match="answers request"):
        exchange.reply()


def header(length: int, request_id: int, opcode: int = wire.OP_MSG) -> bytes:
    return struct.pack("<iiii", length, 1, request_id, opcode)


@pytest.mark.parametrize("length", [-(2**31), -1, 0, 15, 25, 1024 * 1024 + 1, 2**31 - 1])
def test_a_length_that_cannot_be_is_refused_before_anything_is_allocated(length: int) -> None:
    exchange, request_id = asked()
    exchange.receive(header(length, request_id))
    with pytest.raises(ProtocolError, match="invalid wire message"):
        _ = exchange.missing_bytes


def test_a_proved_server_may_send_as_much_as_its_hello_said_and_no_more() -> None:
    limit = 48_000_000
    exchange, request_id = asked()
    exchange.accept_hello(limit)
    assert exchange.max_message_size == limit
    exchange.receive(header(limit, request_id))
    assert exchange.missing_bytes == limit - wire.HEADER_SIZE
    exchange, request_id = asked()
    exchange.accept_hello(limit)
    exchange.receive(header(limit + 1, request_id))
    with pytest.raises(ProtocolError, match="at most 48000000 are accepted"):
        _ = exchange.missing_bytes


@pytest.mark.parametrize("opcode", [0, 3, wire.OP_COMPRESSED, -1, 2**31 - 1])
def test_an_opcode_that_nobody_asked_for_is_refused(opcode: int) -> None:
    exchange, request_id = asked()
    exchange.receive(header(100, request_id, opcode))
    with pytest.raises(ProtocolError, match="byte 12"):
        _ = exchange.missing_bytes


def test_a_legacy_reply_is_no_answer_to_a_message() -> None:
    exchange, request_id = asked()
    document = b"\x05\0\0\0\0"
    exchange.receive(
        header(16 + 20 + len(document), request_id, wire.OP_REPLY)
        + struct.pack("<iqii", 0, 0, 0, 1)
        + document
    )
    with pytest.raises(ProtocolError, match=f"^{PEER}: .*opcode 1$"):
        exchange.reply()


@pytest.mark.parametrize(
    ("greeting", "told"),
    [
        (b"SSH-2.0-OpenSSH\r\n"[:4], "53 53 48 2d"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "alert of TLS"),
        (b"+OK\r", "2b 4f 4b 0d"),
        (b"\0\0\0\0", "00 00 00 00"),
    ],
)
def test_another_protocol_is_seen_before_there_is_a_header(greeting: bytes, told: str) -> None:
    exchange, _ = asked()
    exchange.receive(greeting)
    with pytest.raises(ProtocolError, match=told):
        _ = exchange.missing_bytes
    assert exchange.received_bytes(64) == greeting
    # Once the server has said hello, it speaks MongoDB, and the header is waited for.
    exchange, _ = asked()
    exchange.accept_hello(48_000_000)
    exchange.receive(greeting)
    assert exchange.missing_bytes == wire.HEADER_SIZE - len(greeting)


def test_what_came_of_a_message_is_shown() -> None:
    exchange, request_id = asked()
    assert exchange.received_bytes() == b""
    data = reply_to(request_id, {"ok": 1.0})
    exchange.receive(data[:20])
    assert exchange.received_bytes() == data[:16]
    assert exchange.received_bytes(100) == data[:20]
    assert exchange.received_bytes(-1) == b""


def test_a_body_that_is_no_document_is_refused() -> None:
    exchange, request_id = asked()
    data = bytearray(reply_to(request_id, {"ok": 1.0}))
    data[data.index(b"\x01ok")] = 0x42
    exchange.receive(data)
    with pytest.raises(ProtocolError, match=f"^{PEER}: "):
        exchange.reply()


def test_any_bytes_at_all_end_in_a_reply_or_an_error() -> None:
    generator = random.Random(16)
    for _ in range(3000):
        exchange, request_id = asked(exhaust=generator.random() < 0.5)
        data = bytearray(reply_to(request_id, {"ok": 1.0, "a": [1, "b", {"c": None}]}))
        for _ in range(generator.randint(1, 4)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        if generator.random() < 0.3:
            data[:4] = struct.pack("<i", len(data) + generator.randint(-4, 4))
        at = 0
        try:
            while exchange.missing_bytes and at < len(data):
                exchange.receive(data[at : at + generator.randint(1, 40)])
                at = len(data) if generator.random() < 0.1 else at + 40
            reply = exchange.reply()
        except (ProtocolError, InvalidOperation):
            continue
        assert isinstance(reply, dict)


def test_a_request_above_the_servers_limit_is_refused_and_leaves_nothing_behind() -> None:
    exchange = MessageExchange(PEER)
    exchange.accept_hello(1000)
    with pytest.raises(DocumentTooLarge, match="at most 1000"):
        exchange.request("admin", {"x": "y" * 2000})
    assert not exchange.awaits_reply
    assert wire.decode_message(exchange.request("admin", {"ping": 1})).body["ping"] == 1


@pytest.mark.parametrize("wrong", [None, 5, "text"])
def test_only_bytes_are_received(wrong: Any) -> None:
    exchange, _ = asked()
    with pytest.raises(TypeError):
        exchange.receive(wrong)


def test_a_buffer_made_halfway_can_be_looked_at() -> None:
    assert "MessageBuffer" in repr(MessageBuffer.__new__(MessageBuffer))
    with pytest.raises(TypeError):
        MessageBuffer(None)  # type: ignore[arg-type]


ROOT = Path(__file__).resolve().parents[2]
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def take_in_a_long_reply() -> None:
    """In a process of its own, whose memory nobody has asked large pages for before."""

    def advised() -> int:
        """How many kB somebody asked large pages for ("hg": proc(5), VmFlags)."""
        regions = re.findall(
            r"^Size: +(\d+) kB$|^VmFlags:(.*)$", Path("/proc/self/smaps").read_text(), re.M
        )
        sizes = [int(size) for size, _ in regions[::2]]
        return sum(n for n, (_, flags) in zip(sizes, regions[1::2], strict=True) if " hg" in flags)

    exchange, request_id = asked()
    exchange.accept_hello(48_000_000)
    reply = reply_to(request_id, {"ok": 1, "long": "x" * (9 << 20)})
    assert advised() < 1024
    exchange.receive(reply)
    assert advised() >= 9 * 1024
    assert exchange.missing_bytes == 0
    assert exchange.reply()["long"] == "x" * (9 << 20)


@pytest.mark.skipif(not HUGE_PAGES.exists(), reason="this system has no large pages")
def test_a_long_reply_gets_large_pages() -> None:
    code = "import tests.unit.test_message_buffer as here; here.take_in_a_long_reply()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
