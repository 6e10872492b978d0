"""Compression on connections: what is agreed on in hello, which messages are compressed, and what
becomes of a compressed reply that is no right one."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.errors import AutoReconnect, OperationFailure, ProtocolError
from tests.servers import compressed as servers
from tests.servers.compressed import pack
from tests.servers.scripted import (
    Login,
    Raw,
    Reply,
    Request,
    ScriptedServer,
    in_turn,
    primary,
    standalone,
)

NAMES = ("snappy", "zlib", "zstd")
RIGHT = {"ok": 1.0, "right": True}
OP_COMPRESSED = 2012


def with_compression(*names: str) -> dict[str, Any]:
    return {**standalone(), "compression": list(names)}


def packed(document: dict[str, Any], name: str, **changed: int) -> Callable[[Request], Raw]:
    """An answer that is compressed."""

    def answer(request: Request) -> Raw:
        return Raw(pack(Reply(document).to_bytes(request, 77), name, **changed))

    return answer


@pytest.mark.parametrize(
    ("ours", "theirs", "used"),
    [
        ("zstd,zlib,snappy", NAMES, "zstd"),
        ("snappy,zstd", NAMES, "snappy"),
        ("zstd,zlib", ("zlib", "snappy"), "zlib"),
        ("zlib", ("lz4", "zlib"), "zlib"),
        ("zstd", ("zlib", "snappy"), None),
        ("zlib", (), None),
        ("", NAMES, None),
    ],
)
def test_the_first_of_ours_that_the_server_has_is_used(
    ours: str, theirs: tuple[str, ...], used: str | None
) -> None:
    hello = with_compression(*theirs)
    with ScriptedServer(hello=hello, on={"ping": RIGHT}) as server:
        with MongoClient(server.uri(compressors=ours) if ours else server.uri()) as client:
            assert client.admin.command("ping") == RIGHT
        pings = [each for each in server.requests if each.name == "ping"]
        assert [each.compressor for each in pings] == [used]
        offered = [each for each in server.commands("hello") if "client" in each]
        wanted = ours.split(",") if ours else []
        # Of the monitor's connections, by the first of which the pool may go on.
        assert offered
        assert [each["compression"] for each in offered] == [wanted] * len(offered)


@pytest.mark.parametrize("name", NAMES)
def test_no_login_is_compressed_and_all_else_is(name: str) -> None:
    hello = with_compression(name)
    found = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": [{"_id": 1}]}}
    answers: dict[str, Any] = {
        "find": found,
        "createUser": {"ok": 1.0},
        "insert": {"ok": 1, "n": 1},
    }
    with ScriptedServer(hello=hello, login=Login(speculate=False), on=answers) as server:
        with MongoClient(server.uri(compressors=name)) as client:
            assert client.x.y.find_one() == {"_id": 1}
            client.x.y.insert_one({"_id": 2})
            client.admin.command("createUser", "someone", pwd="secret", roles=[])
        by_name = {each.name: each.compressor for each in server.requests}
        assert {each for each, used in by_name.items() if used is None} == {
            *("hello", "saslStart", "saslContinue", "createUser")
        }
        assert {by_name["find"], by_name["insert"]} == {name}


@pytest.mark.parametrize("name", [*NAMES, "noop"])
def test_answers_of_any_compressor_that_was_agreed_on_are_read(name: str) -> None:
    with (
        ScriptedServer(
            hello=with_compression(*NAMES),
            on={"ping": packed(RIGHT, name), "hello": packed(with_compression(*NAMES), name)},
        ) as server,
        MongoClient(server.uri(compressors="zlib,zstd,snappy")) as client,
    ):
        assert client.admin.command("ping") == RIGHT
        assert client.admin.command("ping") == RIGHT


@pytest.mark.parametrize("name", NAMES)
def test_an_error_of_the_server_is_one_when_it_comes_compressed(name: str) -> None:
    refusal = {"ok": 0.0, "code": 26, "errmsg": "ns not found", "codeName": "NamespaceNotFound"}
    with (
        ScriptedServer(hello=with_compression(name), on={"drop": packed(refusal, name)}) as server,
        MongoClient(server.uri(compressors=name)) as client,
        pytest.raises(OperationFailure, match="ns not found"),
    ):
        client.x.command("drop", "y")


@pytest.mark.parametrize("name", NAMES)
def test_unacknowledged_writes_are_compressed(name: str) -> None:
    with (
        ScriptedServer(hello=with_compression(name), on={"ping": RIGHT}) as server,
        MongoClient(server.uri(compressors=name, w=0)) as client,
    ):
        client.x.y.insert_one({"_id": 1, "text": "x" * 100_000})
        assert client.admin.command("ping") == RIGHT
        assert server.wait_for(lambda: server.count("insert") == 1)
        (insert,) = [each for each in server.requests if each.name == "insert"]
        assert insert.compressor == name
        assert insert.document["documents"] == [{"_id": 1, "text": "x" * 100_000}]


@pytest.mark.parametrize("name", NAMES)
def test_large_messages_both_ways(name: str) -> None:
    """On asyncio a thread compresses and inflates these."""
    documents = [{"_id": n, "text": f"{n}" * 2000} for n in range(300)]
    found = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": documents}}
    with (
        ScriptedServer(
            hello=with_compression(name),
            on={"find": packed(found, name), "insert": packed({"ok": 1.0, "n": 300}, name)},
        ) as server,
        MongoClient(server.uri(compressors=name)) as client,
    ):
        client.x.y.insert_many(documents)
        (insert,) = [each for each in server.requests if each.name == "insert"]
        assert insert.compressor == name
        assert insert.document["documents"] == documents
        for _ in range(2):
            assert client.x.y.find().to_list() == documents


def hostile_answers() -> dict[str, tuple[Any, str]]:
    text = {"ok": 1.0, "text": "x" * 400_000}
    return {
        "too large": (packed(text, "zlib", size=48_000_000), "uncompressedSize is 48000000; at"),
        "negative": (packed(text, "zlib", size=-5), "uncompressedSize is -5"),
        "less": (packed(text, "zlib", size=300_000), "uncompressedSize is 300000, and its"),
        "more": (packed(text, "zlib", size=600_000), "uncompressedSize is 600000, and its"),
        "small less": (packed(RIGHT, "zlib", size=20), "uncompressedSize is 20, and its"),
        "unknown": (packed(text, "zlib", compressor=9), "compressed with compressor 9"),
        "another": (packed(text, "zstd"), "compressed with zstd, and agreed on is zlib"),
        "nested": (packed(text, "zlib", opcode=OP_COMPRESSED), "a compressed message inside"),
        "opcode": (packed(text, "zlib", opcode=2001), "unexpected opcode 2001"),
        "garbage": (
            Reply(opcode=OP_COMPRESSED, body=struct.pack("<iiB", 2013, 500_000, 2) + b"garbage"),
            "its zlib data cannot be read",
        ),
        "no data": (
            Reply(opcode=OP_COMPRESSED, body=struct.pack("<iiB", 2013, 30, 2)),
            "a message of its opcode has 26 at least",
        ),
        "cut": (
            lambda request: Raw(shortened(pack(Reply(text).to_bytes(request, 7), "zlib"))),
            "its end is missing",
        ),
        "other request": (
            lambda request: Raw(pack(Reply(text, response_to=1).to_bytes(request, 7), "zlib")),
            "answers request 1",
        ),
    }


def shortened(message: bytes) -> bytes:
    return struct.pack("<i", len(message) - 10) + message[4:-10]


@pytest.mark.parametrize("case", hostile_answers())
def test_a_hostile_answer_is_refused_and_its_connection_closed(case: str) -> None:
    answer, message = hostile_answers()[case]
    with (
        ScriptedServer(
            hello=with_compression("zlib", "zstd"), on={"ping": in_turn(answer, RIGHT)}
        ) as server,
        MongoClient(server.uri(compressors="zlib")) as client,
    ):
        with pytest.raises(ProtocolError, match=message):
            client.admin.command("ping")
        assert client.admin.command("ping") == RIGHT
        pings = [each.connection for each in server.requests if each.name == "ping"]
        assert len(set(pings)) == 2


def test_compressed_answers_that_nobody_asked_for_are_refused() -> None:
    with (
        ScriptedServer(hello=primary(), on={"ping": packed(RIGHT, "zlib")}) as server,
        MongoClient(server.uri()) as client,
        pytest.raises(ProtocolError, match="no compressor was agreed on"),
    ):
        client.admin.command("ping")


def test_a_connection_that_is_lost_in_the_middle_of_compressed_data() -> None:
    def half(request: Request) -> Reply:
        message = pack(Reply({"ok": 1.0, "text": "x" * 400_000}).to_bytes(request, 7), "zlib")
        return Reply(opcode=OP_COMPRESSED, body=message[16:], keep=len(message) - 50)

    with (
        ScriptedServer(hello=with_compression("zlib"), on={"ping": half}) as server,
        MongoClient(server.uri(compressors="zlib", retryReads=False)) as client,
        pytest.raises(AutoReconnect, match="closed by the server"),
    ):
        client.admin.command("ping")


def test_what_events_tell_is_the_message_before_it_is_compressed() -> None:
    from mongokey.monitoring import CommandListener

    class Listener(CommandListener):
        def __init__(self) -> None:
            self.commands: list[Any] = []

        def started(self, event: Any) -> None:
            self.commands.append(event.command)

        def succeeded(self, event: Any) -> None:
            self.commands.append(event.reply)

        def failed(self, event: Any) -> None:
            raise AssertionError(event)

    listener = Listener()
    with (
        ScriptedServer(
            hello=with_compression("zlib"), on={"ping": packed(RIGHT, "zlib")}
        ) as server,
        MongoClient(server.uri(compressors="zlib"), event_listeners=[listener]) as client,
    ):
        client.admin.command("ping", text="x" * 100_000)
        started, succeeded = listener.commands[:2]
        assert (started["ping"], started["text"]) == (1, "x" * 100_000)
        assert succeeded == RIGHT


def test_the_helper_reads_what_it_writes() -> None:
    """The server's own words, which the tests above rely on."""
    message = Reply(RIGHT).to_bytes(Request(1, 2013, 5, 0, {}, b""), 3)
    for name in servers.IDS:
        assert servers.unpack(pack(message, name)) == (message, name)
