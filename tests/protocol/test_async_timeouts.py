"""Timeouts of operations in tasks: blocks that they inherit, cancellation at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

import mongokey
from mongokey import AsyncMongoClient
from mongokey.errors import MongoError, NetworkTimeout
from tests.servers.scripted import Delay, ScriptedServer, Silence, primary

FOUND = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": [{"_id": 1}]}}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(hello=primary(), on={"find": FOUND, "silence": Silence()}) as server:
        yield server


def run(main: Callable[[Any], Awaitable[None]], server: ScriptedServer, **options: Any) -> None:
    async def with_client() -> None:
        async with AsyncMongoClient(server.uri(**options)) as client:
            await client.x.y.find_one()
            await main(client)
            pools = client._topology.pools
            for _ in range(1000):
                # A cursor may be on its way to be killed.
                if not any(pool.in_use or pool.connecting for pool in pools):
                    break
                await asyncio.sleep(0.01)
            else:
                pytest.fail(f"in use for good: {pools}")
            # Whatever happened, it goes on.
            assert await client.x.y.find_one() == {"_id": 1}

    asyncio.run(with_client())


def test_tasks_of_a_block_share_its_deadline_also_behind_it(server: ScriptedServer) -> None:
    async def main(client: Any) -> None:
        with mongokey.timeout(0.3):
            tasks = [asyncio.ensure_future(client.x.command("silence")) for _ in range(3)]
        with mongokey.timeout(30):
            others = [asyncio.ensure_future(client.x.y.find_one()) for _ in range(3)]
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, NetworkTimeout)
            assert "timeoutMS=300" in str(outcome)
        assert await asyncio.gather(*others) == [{"_id": 1}] * 3

    run(main, server)


def test_a_block_in_one_task_is_none_in_another(server: ScriptedServer) -> None:
    server.on["find"] = Delay(0.2, FOUND)

    async def main(client: Any) -> None:
        async def hurried() -> Any:
            with mongokey.timeout(0.05):
                return await client.x.y.find_one()

        outcomes = await asyncio.gather(hurried(), client.x.y.find_one(), return_exceptions=True)
        assert isinstance(outcomes[0], MongoError)
        assert outcomes[0].timeout
        assert outcomes[1] == {"_id": 1}

    run(main, server)


def test_a_task_that_is_cancelled_in_a_block_is_cancelled(server: ScriptedServer) -> None:
    async def main(client: Any) -> None:
        with mongokey.timeout(30):
            task = asyncio.ensure_future(client.x.command("silence"))
        while not server.count("silence"):
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main, server)


@pytest.mark.parametrize("options", [{}, {"maxPoolSize": 2}])
def test_cancellation_may_strike_together_with_the_deadline(
    server: ScriptedServer, options: dict[str, Any]
) -> None:
    async def main(client: Any) -> None:
        async def once(seconds: float) -> BaseException | None:
            with mongokey.timeout(0.1):
                try:
                    await asyncio.wait_for(client.x.command("silence"), seconds)
                except (MongoError, asyncio.TimeoutError) as error:
                    return error
            return None

        outcomes = await asyncio.gather(*(once(0.09 + 0.002 * n) for n in range(12)))
        for each in outcomes:
            assert each is not None
            assert not isinstance(each, MongoError) or each.timeout

    run(main, server, **options)


def test_a_cursor_that_is_forgotten_with_its_time_over_is_killed(server: ScriptedServer) -> None:
    server.on["find"] = {
        "ok": 1.0,
        "cursor": {"id": 7, "ns": "x.y", "firstBatch": [{"_id": 1}]},
    }

    async def main(client: Any) -> None:
        with mongokey.timeout(0.1):
            cursor = client.x.y.find()
            await cursor.next()
            await asyncio.sleep(0.12)
            del cursor
            for _ in range(1000):
                if server.count("killCursors"):
                    break
                await asyncio.sleep(0.01)
        assert server.count("killCursors") >= 1
        server.on["find"] = FOUND

    run(main, server)
