"""Tasks that are cancelled at each of their waits, with real servers: what they wrote is there once
or not at all, and the client goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from mongokey import AsyncMongoClient
from tests.faces.cancelling import MOMENTS, cancelled_at, run
from tests.servers.fleet import Fleet
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live
#: More points to wait at than any of these operations has.
MOST = 200


@pytest.fixture
def fleet(open_secantus: SecantusServer) -> Iterator[Fleet]:
    """A primary and two secondaries."""
    with Fleet(open_secantus) as fleet:
        yield fleet


async def in_order(client: Any) -> None:
    """Nobody holds or waits for a connection any more."""
    pool = await client._pool()
    for _ in range(1000):
        if (pool.in_use, pool.connecting, pool.waiting_count) == (0, 0, 0):
            return
        await asyncio.sleep(0.005)
    raise AssertionError((pool.in_use, pool.connecting, pool.waiting_count))


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("fault", [{"errorCode": 91}, {"closeConnection": True}])
def test_a_write_that_is_tried_again(fleet: Fleet, fault: dict[str, Any], moment: str) -> None:
    labels = {} if "closeConnection" in fault else {"errorLabels": ["RetryableWriteError"]}

    async def main() -> None:
        options: dict[str, Any] = {"replicaSet": fleet.set_name, "heartbeatFrequencyMS": 500}
        async with AsyncMongoClient(fleet.uri(), **options) as client:
            counter = client.cancelled.counter
            await counter.drop()
            await counter.insert_one({"_id": 0, "n": 0})
            counted = 0
            for at in range(1, MOST):
                primary = fleet.primary
                assert primary is not None
                fleet.fail_point(primary, ["update"], **fault, **labels)
                reached = await cancelled_at(
                    lambda: counter.update_one({"_id": 0}, {"$inc": {"n": 1}}), at, moment
                )
                fleet.clear_fail_point(primary)
                await asyncio.sleep(0.05)  # the server may still be at it
                n = (await counter.find_one({"_id": 0}))["n"]
                assert 0 <= n - counted <= 1
                assert reached or n == counted + 1
                counted = n
                await in_order(client)
                if not reached:
                    assert at > 2, "the second attempt has waits too"
                    return
            raise AssertionError("it never ends")

    run(main)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_login_a_find_and_a_write(
    secantus: SecantusServer, database_name: str, moment: str
) -> None:
    async def work(client: Any, number: int) -> None:
        things = client[database_name].things
        await things.insert_many([{"by": number, "n": n} for n in range(8)])
        found = [each["n"] async for each in things.find({"by": number}, batch_size=3).sort("n")]
        assert found == list(range(8))
        await things.delete_many({"by": number})

    async def main() -> None:
        async with AsyncMongoClient(secantus.uri("both")) as kept:
            for at in range(1, MOST):
                async with AsyncMongoClient(secantus.uri("both")) as client:
                    reached = await cancelled_at(lambda c=client, n=at: work(c, n), at, moment)
                    assert (await client.admin.command("ping"))["ok"] == 1
                    await in_order(client)
                left = await kept[database_name].things.count_documents({"by": at})
                assert left in (0, 8)
                if not reached:
                    assert left == 0
                    assert at > 5
                    return
            raise AssertionError("it never ends")

    run(main)
