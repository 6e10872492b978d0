"""Change streams in tasks that are cancelled, at every turn of the loop: also in the middle of a
resume. No event is lost or comes twice, and nothing stays open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from mongokey import AsyncMongoClient
from tests.loops import each_loop, run
from tests.protocol.test_change_stream_faults import LABEL, Feed
from tests.servers.scripted import Close, Error, Hold, ScriptedServer, Silence, primary

pytestmark = pytest.mark.usefixtures("each_loop")
__all__ = ["each_loop"]

EVENTS = 12


@pytest.fixture
def feed() -> Feed:
    return Feed(count=EVENTS, batch=1)


@pytest.fixture
def server(feed: Feed) -> Iterator[ScriptedServer]:
    answers = {"aggregate": feed.aggregate, "getMore": feed.get_more, "killCursors": feed.kill}
    with ScriptedServer(hello=primary(), on=answers) as server:
        yield server


@pytest.mark.parametrize(
    "faults",
    [
        {},
        {"getMore": [Error(code=6, labels=LABEL)] * 5},
        {"getMore": [Close()] * 5},
        {"getMore": [Close()] * 5, "aggregate": [Error(code=6, labels=LABEL)] * 2},
    ],
    ids=["none", "refused", "lost", "lost and refused"],
)
def test_a_cancelled_look_loses_nothing(
    server: ScriptedServer, feed: Feed, faults: dict[str, list[Any]]
) -> None:
    async def main() -> None:
        client: Any = AsyncMongoClient(server.uri(), replicaSet="rs")
        async with client:
            stream = await client.x.y.watch()
            feed.faults = {name: list(each) for name, each in faults.items()}
            found: list[int] = []
            turns = 0
            while len(found) < EVENTS:
                task = asyncio.ensure_future(stream.try_next())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                turns = (turns + 1) % 40
                try:
                    event = await task
                except (asyncio.CancelledError, client_errors()):
                    # Now and then one that is let be, as it may take any number of turns.
                    if turns % 4 == 0:
                        try:
                            event = await stream.try_next()
                        except client_errors():
                            continue
                    else:
                        continue
                if event is not None:
                    found.append(event["n"])
                assert stream.alive
            assert found == list(range(1, EVENTS + 1))
            await stream.close()
        assert await asyncio.to_thread(server.wait_for, lambda: server.open == 0)

    run(main)


def client_errors() -> type[Exception]:
    from mongokey.errors import OperationFailure

    return OperationFailure


def test_a_look_that_is_cancelled_before_it_is_sent_leaves_no_cursor(
    server: ScriptedServer, feed: Feed
) -> None:
    async def main() -> None:
        held = Hold()
        client: Any = AsyncMongoClient(server.uri(), replicaSet="rs", maxPoolSize=1)
        async with client:
            stream = await client.x.y.watch()
            server.on["ping"] = held
            ping = asyncio.ensure_future(client.admin.command("ping"))
            while not server.count("ping"):
                await asyncio.sleep(0)
            task = asyncio.ensure_future(stream.try_next())
            for _ in range(20):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            held.event.set()
            await ping
            assert server.count("getMore") == 0
            assert (await stream.next())["n"] == 1
            first = {100}
            assert await asyncio.to_thread(server.wait_for, lambda: not first & feed.cursors.keys())
            await stream.close()

    run(main)


def test_wait_for_does_not_end_a_stream(server: ScriptedServer, feed: Feed) -> None:
    async def main() -> None:
        client: Any = AsyncMongoClient(server.uri(), replicaSet="rs")
        async with client, await client.x.y.watch() as stream:
            assert (await stream.next())["n"] == 1
            server.on["getMore"] = Silence()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(stream.next(), 0.05)
            server.on["getMore"] = feed.get_more
            assert stream.alive
            assert (await stream.next())["n"] == 2

    run(main)


def test_closing_while_a_task_waits(server: ScriptedServer, feed: Feed) -> None:
    feed.count = 0

    async def main() -> None:
        client: Any = AsyncMongoClient(server.uri(), replicaSet="rs")
        async with client:
            stream = await client.x.y.watch()

            async def events() -> list[Any]:
                return [each async for each in stream]

            task = asyncio.ensure_future(events())
            while not server.count("getMore"):
                await asyncio.sleep(0)
            await stream.close()
            assert await asyncio.wait_for(task, 20) == []
        assert await asyncio.to_thread(server.wait_for, lambda: feed.cursors == {})

    run(main)


def test_a_pause_ends_with_the_stream(server: ScriptedServer) -> None:
    server.on["getMore"] = Error(code=6, labels=LABEL)

    async def main() -> None:
        client: Any = AsyncMongoClient(server.uri(), replicaSet="rs")
        async with client:
            stream = await client.x.y.watch()

            async def events() -> list[Any]:
                return [each async for each in stream]

            task = asyncio.ensure_future(events())
            while server.count("aggregate") < 4:
                await asyncio.sleep(0.01)
            await stream.close()
            assert await asyncio.wait_for(task, 20) == []
        assert server.count("aggregate") < 12

    run(main)
