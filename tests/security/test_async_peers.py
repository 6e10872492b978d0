"""Hostile servers of connections on an asyncio loop: what they send beyond what was asked, before
it, or never; the loop is not kept busy, memory does not grow, and every wait ends."""

from __future__ import annotations

import asyncio
import random
import struct
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import bson
import pytest

from mongokey.connection.establish_aio import open_connection
from mongokey.errors import AutoReconnect, MongoError, NetworkTimeout, ProtocolError
from tests.loops import each_loop, ms, run, settings
from tests.servers.scripted import Drip, Reply, ScriptedServer, Silence

pytestmark = pytest.mark.usefixtures("each_loop")
__all__ = ["each_loop"]

HELLO = {
    "ok": 1.0,
    "isWritablePrimary": True,
    "maxWireVersion": 21,
    "minWireVersion": 0,
    "maxBsonObjectSize": 16777216,
    "maxMessageSizeBytes": 48000000,
    "maxWriteBatchSize": 100000,
}
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def connect(port: int, **options: Any) -> Any:
    connection, _ = await open_connection(("127.0.0.1", port), settings(**options))
    return connection


async def received(reader: asyncio.StreamReader) -> int:
    """The id of the next message."""
    header = await reader.readexactly(16)
    length, number = struct.unpack("<ii", header[:8])
    await reader.readexactly(length - 16)
    return int(number)


def message(document: Any, answers: int) -> bytes:
    body = struct.pack("<IB", 0, 0) + bson.encode(document)
    return struct.pack("<iiii", 16 + len(body), 7, answers, 2013) + body


def with_peer(serve: Serve, main: Callable[[Any], Awaitable[None]], **options: Any) -> None:
    """Run `main` with a connection to a server that says hello, and then does what `serve` does, in
    another thread's loop."""
    ended: list[BaseException] = []
    over = threading.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(message(HELLO, await received(reader)))
            await asyncio.sleep(0.05)
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has closed
        except BaseException as error:
            ended.append(error)
        finally:
            writer.close()
            over.set()

    async def whole() -> None:
        connection = await connect(port, **options)
        try:
            await main(connection)
        finally:
            connection.close()

    loop = asyncio.SelectorEventLoop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(peer, "127.0.0.1", 0)

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    port = server.sockets[0].getsockname()[1]
    try:
        run(whole)
        assert over.wait(20)
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.call_later, 0.05, loop.stop)
        thread.join(10)
        loop.close()
    assert not ended


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Reply({"ok": 1}, append=b"x"), "1 bytes after its reply"),
        (Reply({"ok": 1}, append=b"x" * 100_000), "after its reply"),
        (Reply({"ok": 1}, flags=2), "moreToCome"),
        (Reply({"ok": 1}, length=48_000_001), "48000001"),
        (Reply({"ok": 1}, length=2**31 - 1), "2147483647"),
        (Reply({"ok": 1}, length=15), "15"),
        (Reply({"ok": 1}, opcode=2012), "OP_COMPRESSED"),
        (Reply(body=b"\xff" * 40), "."),
    ],
)
def test_more_or_other_than_was_asked_for(answer: Any, words: str) -> None:
    async def main() -> None:
        connection = await connect(server.port)
        with pytest.raises(ProtocolError, match=words):
            await connection.command("x", {"odd": 1}, ms(10_000).start())
        assert connection.closed

    with ScriptedServer(on={"odd": answer}) as server:
        run(main)


def test_bytes_that_nobody_asked_for_close_an_idle_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"surprise")
        await reader.read()

    async def main(connection: Any) -> None:
        for _ in range(200):
            if connection.closed:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("nobody noticed")

    with_peer(serve, main)


def test_a_flood_is_not_read() -> None:
    """What comes unasked is not stored: the connection is closed at the first bytes."""
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(2000):
            writer.write(bytes(65536))
            sent += 65536
            await writer.drain()

    async def main(connection: Any) -> None:
        for _ in range(500):
            if connection.closed:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("nobody noticed")

    with_peer(serve, main)
    assert sent < 64 * 1024 * 1024


def test_an_error_may_come_before_all_is_sent_but_nothing_after_it() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        header = await reader.readexactly(16)
        number = struct.unpack("<i", header[4:8])[0]
        early = message({"ok": 0.0, "code": 17280, "errmsg": "too large"}, number)
        writer.write(early + early)
        await writer.drain()
        await reader.read()

    async def main(connection: Any) -> None:
        with pytest.raises((ProtocolError, AutoReconnect)):
            await connection.command("x", {"big": bytes(30_000_000)}, ms(20_000).start())
        assert connection.closed

    with_peer(serve, main)


def test_a_server_that_takes_nothing_is_left_in_time() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1.5)

    async def main(connection: Any) -> None:
        began = time.monotonic()
        with pytest.raises(NetworkTimeout, match="waiting for the server to take data"):
            await connection.command("x", {"big": bytes(40_000_000)}, ms(300).start())
        assert time.monotonic() - began < 10
        assert connection.closed

    with_peer(serve, main)


def test_a_cancelled_send_closes_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)

    async def main(connection: Any) -> None:
        task = asyncio.ensure_future(connection.command("x", {"big": bytes(40_000_000)}))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert connection.closed

    with_peer(serve, main)


def test_a_long_message_that_never_comes_takes_no_memory() -> None:
    """Its length is believed only as far as bytes come."""

    async def main() -> None:
        connection = await connect(server.port)
        with pytest.raises(NetworkTimeout):
            await connection.command("x", {"big": 1}, ms(300).start())

    big = Reply({"ok": 1}, length=47_000_000, keep=20, then_close=False)
    with ScriptedServer(on={"big": big}) as server:
        tracemalloc.start()
        try:
            run(main)
        finally:
            tracemalloc.stop()


def test_drips_hold_up_no_other_connection() -> None:
    async def main() -> None:
        slow, fast = await connect(server.port), await connect(server.port)
        drips = asyncio.ensure_future(slow.command("x", {"drip": 1}, ms(1500).start()))
        turns = 0
        while not drips.done():
            assert (await fast.command("x", {"ping": 1}))["ok"] == 1
            turns += 1
        assert isinstance(drips.exception(), NetworkTimeout)
        assert turns > 20
        fast.close()

    drip = Drip(Reply({"ok": 1, "a": "x" * 100_000}), pause=0.0005)
    with ScriptedServer(on={"drip": drip}) as server:
        run(main)


def test_random_bytes_are_clean_errors() -> None:
    chance = random.Random(18)

    async def main() -> None:
        for number in range(60):
            answer = Reply({"ok": 1, "a": number})
            kind = chance.randrange(4)
            if kind == 0:
                answer.body = chance.randbytes(chance.randrange(64))
            elif kind == 1:
                answer.length = chance.randrange(-5, 200)
            elif kind == 2:
                answer.keep = chance.randrange(40)
            else:
                answer.append = chance.randbytes(chance.randrange(1, 40))
            server.on["odd"] = answer
            connection = await connect(server.port)
            try:
                await connection.command("x", {"odd": 1}, ms(50).start())
            except MongoError:
                assert connection.closed
            connection.close()

    with ScriptedServer() as server:
        run(main)


def test_a_server_that_never_says_hello() -> None:
    async def main() -> None:
        with pytest.raises(NetworkTimeout, match=r"connectTimeoutMS=200"):
            await connect(server.port, connect_timeout=ms(200))

    with ScriptedServer(on={"hello": Silence()}) as server:
        run(main)
