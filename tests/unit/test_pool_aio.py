"""`AsyncPool`: who gets which connection when tasks wait for their turn, and what a cancelled task
leaves behind. The rules are `PoolState`'s, tested in test_pool_state."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from mongokey._support.deadline import Timeout
from mongokey.connection.connection import Connection
from mongokey.errors import InvalidOperation, PoolClearedError, WaitQueueTimeoutError
from mongokey.events.publisher import Publisher
from mongokey.monitoring import ConnectionPoolListener
from mongokey.pool.aio import AsyncPool
from tests.pools import ADDRESS, ConnectionFactory


class AsyncFactory:
    """Makes connections of socket pairs, for who awaits them."""

    def __init__(self) -> None:
        self.made = ConnectionFactory()

    async def __call__(self, opening: Any) -> Connection:
        await asyncio.sleep(0)
        return self.made(opening)


@pytest.fixture
def factory() -> Iterator[AsyncFactory]:
    factory = AsyncFactory()
    yield factory
    factory.made.close()


def ready_pool(connect: Any, **options: Any) -> AsyncPool:
    pool = AsyncPool(ADDRESS, connect, **options)
    pool.ready()
    return pool


def counts(pool: AsyncPool) -> tuple[int, int, int, int]:
    return pool.in_use, pool.idle_count, pool.connecting, pool.waiting_count


def test_connections_are_opened_lent_and_lent_again(factory: AsyncFactory) -> None:
    async def main() -> None:
        pool = ready_pool(factory)
        first = await pool.checkout_soon()
        assert counts(pool) == (1, 0, 0, 0)
        pool.check_in(first)
        assert await pool.checkout_soon() is first

    asyncio.run(main())


def test_a_task_waits_for_its_turn_and_turns_are_fair(factory: AsyncFactory) -> None:
    async def main() -> None:
        pool = ready_pool(factory, max_size=1)
        connection = await pool.checkout_soon()
        order: list[int] = []

        async def use(number: int) -> None:
            mine = await pool.checkout_soon()
            order.append(number)
            await asyncio.sleep(0)
            pool.check_in(mine)

        tasks = [asyncio.create_task(use(number)) for number in range(50)]
        await asyncio.sleep(0)
        assert pool.waiting_count == 50
        pool.check_in(connection)
        await asyncio.gather(*tasks)
        assert order == list(range(50))
        assert counts(pool) == (0, 1, 0, 0)

    asyncio.run(main())


def test_ten_thousand_tasks_share_a_hundred_connections(factory: AsyncFactory) -> None:
    async def main() -> None:
        pool = ready_pool(factory, max_size=100)
        used = 0

        async def use() -> None:
            nonlocal used
            mine = await pool.checkout_soon()
            assert pool.in_use <= 100
            await asyncio.sleep(0)
            used += 1
            pool.check_in(mine)

        await asyncio.gather(*(use() for _ in range(10_000)))
        assert used == 10_000
        assert pool.in_use == pool.connecting == pool.waiting_count == 0

    asyncio.run(main())


def test_who_waits_too_long_is_told(factory: AsyncFactory) -> None:
    async def main() -> None:
        timeout = Timeout(10_000_000, "waitQueueTimeoutMS")
        pool = ready_pool(factory, max_size=1, wait_queue_timeout=timeout)
        connection = await pool.checkout_soon()
        with pytest.raises(WaitQueueTimeoutError, match="within waitQueueTimeoutMS=10"):
            await pool.checkout_soon()
        assert counts(pool) == (1, 0, 0, 0)
        pool.check_in(connection)
        assert counts(pool) == (0, 1, 0, 0)

    asyncio.run(main())


def test_a_cancelled_task_leaves_the_queue(factory: AsyncFactory) -> None:
    async def main() -> None:
        pool = ready_pool(factory, max_size=1)
        connection = await pool.checkout_soon()
        waiting = [asyncio.create_task(pool.checkout_soon()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        assert counts(pool) == (1, 0, 0, 2)
        pool.check_in(connection)
        assert await waiting[1] is connection

    asyncio.run(main())


def test_what_was_handed_to_a_cancelled_task_goes_to_the_next(factory: AsyncFactory) -> None:
    async def main() -> None:
        pool = ready_pool(factory, max_size=1)
        connection = await pool.checkout_soon()
        first, second = (asyncio.create_task(pool.checkout_soon()) for _ in range(2))
        await asyncio.sleep(0)
        pool.check_in(connection)  # handed to the first, which has not gone on yet
        first.cancel()
        assert await second is connection
        assert first.cancelled()
        assert counts(pool) == (1, 0, 0, 0)

    asyncio.run(main())


def test_a_task_cancelled_while_it_connects_lets_others_connect(factory: AsyncFactory) -> None:
    async def main() -> None:
        hold = asyncio.Event()
        ended: list[str] = []

        async def slow(opening: Any) -> Connection:
            try:
                await hold.wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
            return await factory(opening)

        pool = ready_pool(slow, max_connecting=1)
        first, second = (asyncio.create_task(pool.checkout_soon()) for _ in range(2))
        await asyncio.sleep(0)
        assert counts(pool) == (0, 0, 1, 1)
        first.cancel()
        hold.set()
        pool.check_in(await second)
        assert first.cancelled()
        assert ended == ["cancelled"]
        assert counts(pool) == (0, 1, 0, 0)

    asyncio.run(main())


def test_a_coroutine_that_is_dropped_in_mid_wait_leaves_the_queue(factory: AsyncFactory) -> None:
    async def main() -> None:
        pool = ready_pool(factory, max_size=1)
        connection = await pool.checkout_soon()
        dropped = pool.checkout_soon()
        dropped.send(None)
        assert pool.waiting_count == 1
        dropped.close()
        gc.collect()
        assert counts(pool) == (1, 0, 0, 0)
        pool.check_in(connection)

    asyncio.run(main())


def test_clearing_and_closing_wake_who_waits(factory: AsyncFactory) -> None:
    async def main() -> None:
        pool = ready_pool(factory, max_size=1)
        connection = await pool.checkout_soon()
        waiting = asyncio.create_task(pool.checkout_soon())
        await asyncio.sleep(0)
        pool.clear(ValueError("why"))
        with pytest.raises(PoolClearedError, match="ValueError: why"):
            await waiting
        with pytest.raises(PoolClearedError):
            await pool.checkout_soon()
        pool.check_in(connection)
        assert counts(pool) == (0, 0, 0, 0)
        pool.ready()
        connection = await pool.checkout_soon()
        waiting = asyncio.create_task(pool.checkout_soon())
        await asyncio.sleep(0)
        pool.close()
        with pytest.raises(InvalidOperation, match="after close"):
            await waiting
        pool.check_in(connection)
        assert connection.closed

    asyncio.run(main())


def test_a_connection_given_back_by_another_thread_wakes_the_task(factory: AsyncFactory) -> None:
    async def main() -> None:
        pool = ready_pool(factory, max_size=1)
        connection = await pool.checkout_soon()
        waiting = asyncio.create_task(pool.checkout_soon())
        await asyncio.sleep(0)
        await asyncio.to_thread(pool.check_in, connection)
        assert await asyncio.wait_for(waiting, 10) is connection

    asyncio.run(main())


def test_the_waiters_of_a_loop_that_is_gone_hurt_nobody(factory: AsyncFactory) -> None:
    pool = ready_pool(factory, max_size=1)
    held: list[Any] = []

    async def first() -> None:
        held.append(await pool.checkout_soon())
        held.append(pool.checkout_soon())
        held[1].send(None)

    asyncio.run(first())
    pool.check_in(held[0])  # the waiter's loop is closed
    held[1].close()

    async def second() -> None:
        assert await asyncio.wait_for(pool.checkout_soon(), 10) is held[0]

    asyncio.run(second())


def test_filling_opens_min_pool_size_and_rests_after_a_failure(factory: AsyncFactory) -> None:
    async def main() -> None:
        pool = ready_pool(factory, min_size=3)
        await pool.fill()
        assert counts(pool) == (0, 3, 0, 0)

        async def refuse(_opening: Any) -> Connection:
            raise PoolClearedError("no")

        pool = ready_pool(refuse, min_size=3)
        await pool.fill()
        assert counts(pool) == (0, 0, 0, 0)

    asyncio.run(main())


def test_listeners_are_told(factory: AsyncFactory) -> None:
    told: list[str] = []

    class Listener(ConnectionPoolListener):
        def __getattribute__(self, name: str) -> Any:
            if name.startswith(("connection_", "pool_")):
                return lambda event: told.append(type(event).__name__)
            return super().__getattribute__(name)

    async def main() -> None:
        pool = ready_pool(factory, max_size=1, publisher=Publisher((Listener(),)))
        connection = await pool.checkout_soon()
        waiting = asyncio.create_task(pool.checkout_soon())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        pool.check_in(connection)

    asyncio.run(main())
    names = [each.removeprefix("Connection").removesuffix("Event") for each in told]
    assert [each for each in names if "Check" in each] == [
        *("CheckOutStarted", "CheckedOut", "CheckOutStarted", "CheckOutFailed", "CheckedIn"),
    ]
