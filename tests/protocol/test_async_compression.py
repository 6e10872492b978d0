"""Compression on an asyncio loop: a thread compresses and inflates what takes long, and what comes
in between is dealt with."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mongokey import AsyncMongoClient
from mongokey._support import tasks
from mongokey.errors import AutoReconnect, InvalidOperation, ProtocolError
from mongokey.wire.compression import Compression
from tests.servers.compressed import pack
from tests.servers.scripted import Raw, Reply, Request, ScriptedServer, standalone

TEXT = "x" * 400_000
RIGHT = {"ok": 1.0, "text": TEXT}
HELLO = {**standalone(), "compression": ["zlib"]}


def large(request: Request) -> Raw:
    return Raw(pack(Reply(RIGHT).to_bytes(request, 77), "zlib"))


def serving(**on: Any) -> ScriptedServer:
    return ScriptedServer(hello=HELLO, on=on)


def client_of(server: ScriptedServer) -> AsyncMongoClient[Any]:
    return AsyncMongoClient(server.uri(compressors="zlib", retryReads=False))


class Watched:
    """Where compression is done, and a door that inflating has to pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads: list[tuple[str, bool, int]] = []
        self.door = threading.Event()
        self.door.set()
        self.waiting = threading.Event()
        loop_thread = threading.get_ident()
        compress, inflate = Compression.compress, Compression.inflate

        def note(what: str, size: int) -> None:
            self.threads.append((what, threading.get_ident() == loop_thread, size))

        def noted_compress(this: Compression, data: bytes) -> tuple[int, bytes]:
            note("compress", len(data))
            return compress(this, data)

        def noted_inflate(this: Compression, number: int, data: bytes, size: int) -> bytes:
            note("inflate", size)
            self.waiting.set()
            assert self.door.wait(30)
            return inflate(this, number, data, size)

        monkeypatch.setattr(Compression, "compress", noted_compress)
        monkeypatch.setattr(Compression, "inflate", noted_inflate)

    async def is_waiting(self) -> None:
        while not self.waiting.is_set():
            await asyncio.sleep(0.001)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


async def test_what_takes_long_is_done_in_a_thread_and_the_rest_here(watched: Watched) -> None:
    def small(request: Request) -> Raw:
        return Raw(pack(Reply({"ok": 1.0}).to_bytes(request, 77), "zlib"))

    with serving(ping=small, echo=large) as server:
        async with client_of(server) as client:
            await client.admin.command("ping")
            assert await client.admin.command({"echo": 1, "text": "y" * 100_000}) == RIGHT
            (echo,) = [each for each in server.requests if each.name == "echo"]
            assert echo.compressor == "zlib"
            assert echo.document["text"] == "y" * 100_000
            found = [(what, here, size > 60_000) for what, here, size in watched.threads]
            assert found == [
                ("compress", True, False),
                ("inflate", True, False),
                ("compress", False, True),
                ("inflate", False, True),
            ]


async def test_the_loop_goes_on_meanwhile(watched: Watched) -> None:
    with serving(ping=large) as server:
        async with client_of(server) as client:
            watched.door.clear()
            task = asyncio.ensure_future(client.admin.command("ping"))
            await watched.is_waiting()
            # It turns, and so far that whoever holds the thread up can be let go from here.
            await asyncio.sleep(0)
            assert not task.done()
            watched.door.set()
            assert await task == RIGHT
            await client.admin.command("ping")
            assert len({r.connection for r in server.requests if r.name == "ping"}) == 1


async def test_who_is_cancelled_meanwhile_leaves_no_connection_behind(watched: Watched) -> None:
    with serving(ping=large) as server:
        async with client_of(server) as client:
            watched.door.clear()
            task = asyncio.ensure_future(client.admin.command("ping"))
            await watched.is_waiting()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            watched.door.set()
            assert await client.admin.command("ping") == RIGHT
            assert len({r.connection for r in server.requests if r.name == "ping"}) == 2


async def test_a_client_that_is_closed_meanwhile(watched: Watched) -> None:
    with serving(ping=large) as server:
        client = client_of(server)
        watched.door.clear()
        task = asyncio.ensure_future(client.admin.command("ping"))
        await watched.is_waiting()
        closing = asyncio.ensure_future(client.close())
        await asyncio.sleep(0.01)
        watched.door.set()
        await closing
        try:
            # In time, as the connection is in use until then; or not.
            assert await task == RIGHT
        except (AutoReconnect, InvalidOperation):
            assert task.done()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": 500_000}, "uncompressedSize is 500000, and its"),
        ({"size": 300_000}, "uncompressedSize is 300000, and its"),
        ({"size": 2**31 - 1}, "at most 47999984 are accepted"),
        ({"opcode": 2012}, "a compressed message inside"),
        ({"compressor": 7}, "compressed with compressor 7"),
    ],
)
async def test_a_large_hostile_answer(changed: dict[str, int], message: str) -> None:
    answers: list[Callable[[bytes], bytes]] = [
        lambda reply: pack(reply, "zlib", **changed),
        lambda reply: pack(reply, "zlib"),
    ]

    def answer(request: Request) -> Raw:
        return Raw(answers.pop(0)(Reply(RIGHT).to_bytes(request, 77)))

    with serving(ping=answer) as server:
        async with client_of(server) as client:
            with pytest.raises(ProtocolError, match=message):
                await client.admin.command("ping")
            assert await client.admin.command("ping") == RIGHT
            assert len({r.connection for r in server.requests if r.name == "ping"}) == 2


async def test_where_no_thread_can_be_started_it_is_done_here(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*arguments: Any) -> None:
        raise tasks.NoThread("none is left")

    with serving(echo=large) as server:
        async with client_of(server) as client:
            await client.admin.command("ping")
            monkeypatch.setattr(tasks, "in_thread", refuse)
            watched.threads.clear()
            assert await client.admin.command({"echo": 1, "text": "y" * 100_000}) == RIGHT
            assert [each[:2] for each in watched.threads] == [("compress", True), ("inflate", True)]
            monkeypatch.undo()
