"""What only the asyncio face has, with a real server: properties that are awaited, tasks that are
cancelled while they read, a close under way of others, and no thread."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mongokey import AsyncMongoClient, MongoClient
from mongokey.errors import InvalidOperation
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live

DOCUMENTS = 500
AWAITED = "address", "primary", "secondaries", "arbiters", "is_primary", "is_mongos"


@contextlib.asynccontextmanager
async def filled(secantus: SecantusServer, name: str) -> AsyncIterator[Any]:
    """A collection that takes several batches to read."""
    client: AsyncMongoClient[Any]
    async with AsyncMongoClient(secantus.uri("sha256")) as client:
        collection = client[name].things
        await collection.insert_many({"_id": n} for n in range(DOCUMENTS))
        yield collection


async def test_properties_are_awaited(secantus: SecantusServer) -> None:
    client: AsyncMongoClient[Any]
    async with contextlib.aclosing(AsyncMongoClient(secantus.uri("sha256"))) as client:
        assert client.nodes == frozenset()
        await client.aconnect()
        here = (secantus.host, secantus.port)
        assert await client.address == here
        assert client.nodes == {here}
        with MongoClient[Any](secantus.uri("sha256")) as blocking:
            for name in (
                "address",
                "primary",
                "secondaries",
                "arbiters",
                "is_primary",
                "is_mongos",
            ):
                assert await getattr(client, name) == getattr(blocking, name), name
    with pytest.raises(InvalidOperation, match="after close"):
        await client.address


async def test_a_client_has_no_thread(secantus: SecantusServer, database_name: str) -> None:
    """But for those of the login's key, which end with it."""
    before = set(threading.enumerate())
    async with filled(secantus, database_name) as collection:
        await asyncio.gather(*(collection.find_one({"_id": n}) for n in range(50)))
        assert await collection.find({}, batch_size=50).to_list(400)
        deadline = time.monotonic() + 30
        while set(threading.enumerate()) - before and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert set(threading.enumerate()) - before == set()


async def test_tasks_that_are_cancelled_while_they_read(
    secantus: SecantusServer, database_name: str
) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    complaints: list[Any] = []
    chance = random.Random(18)
    ended = []

    async def read() -> None:
        async with collection.find({}, batch_size=20) as cursor:
            ended.append(len([each async for each in cursor]))

    async with filled(secantus, database_name) as collection:
        for _ in range(12):
            tasks = [asyncio.create_task(read()) for _ in range(6)]
            await asyncio.sleep(chance.random() * 0.03)
            for task in tasks[chance.randrange(6) :]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert set(ended) == {DOCUMENTS}
        # Nothing is left in use, nobody waits, and whoever reads now reads all.
        pool = await collection.database.client._pool()
        assert "0 in use" in repr(pool)
        assert len(await collection.find({}, batch_size=20).to_list()) == DOCUMENTS
        assert await collection.count_documents({}) == DOCUMENTS
    gc.collect()
    assert complaints == []


async def test_close_while_others_read(secantus: SecantusServer, database_name: str) -> None:
    async def read_on() -> None:
        while True:
            await collection.find({}, batch_size=20).to_list()

    async with filled(secantus, database_name) as collection:
        client = collection.database.client
        readers = [asyncio.create_task(read_on()) for _ in range(10)]
        await asyncio.sleep(0.05)
        await client.close()
        ends = await asyncio.wait_for(asyncio.gather(*readers, return_exceptions=True), 30)
        assert {type(each) for each in ends} <= {InvalidOperation}
        assert "after close" in str(ends[0])


async def test_a_client_that_is_let_go_warns_once(secantus: SecantusServer) -> None:
    client: AsyncMongoClient[Any] = AsyncMongoClient(secantus.uri("sha256"))
    await client.admin.command("ping")
    cursor = client.admin.things.find()
    collection = cursor.collection
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        del client, cursor
        gc.collect()
        assert found == []  # a collection keeps its client
        del collection
        gc.collect()
    (warning,) = found
    found.clear()  # it has the client, which is closed all the same
    assert warning.category is ResourceWarning
    assert "AsyncMongoClient" in str(warning.message)
    assert "never closed" in str(warning.message)
    assert "pencil" not in str(warning.message)


async def test_a_client_that_is_let_go_closes_its_sockets_where_the_warning_is_an_error(
    secantus: SecantusServer,
) -> None:
    client: AsyncMongoClient[Any] = AsyncMongoClient(secantus.uri("sha256"))
    await client.admin.command("ping")
    pool = await client._pool()
    assert (pool.closed, pool.idle_count) == (False, 1)
    raised = []
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("error", ResourceWarning)
        patch.setattr(sys, "unraisablehook", lambda found: raised.append(found.exc_type))
        del client
        gc.collect()
    assert raised == [ResourceWarning]
    assert (pool.closed, pool.idle_count) == (True, 0)
