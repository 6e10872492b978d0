"""Long work of the asyncio face is done in parts, and other tasks have their turn in between: large
batches are written so, and many sockets closed. Nothing else is different for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mongokey import AsyncMongoClient, MongoClient, monitoring
from mongokey.aio import cores
from mongokey.errors import BulkWriteError, InvalidDocument
from mongokey.operations import InsertOne, UpdateOne
from tests.faces.cancelling import MOMENTS, cancelled_at, run
from tests.servers.scripted import Reply, Request, ScriptedServer, primary

#: Some 3 MB.
LARGE = [{"_id": number, "text": "x" * 250} for number in range(12_000)]
#: More of them than are written, or looked at, without a turn for others.
SMALL = 9_000
SECTIONS = {"insert": "documents", "update": "updates"}


class Store:
    """Answers as a server that takes everything; `taken` are the statements of each message."""

    def __init__(self) -> None:
        self.taken: list[list[Any]] = []

    def __call__(self, request: Request) -> dict[str, Any]:
        statements = request.document[SECTIONS[request.name]]
        self.taken.append(statements)
        return {"ok": 1.0, "n": len(statements), "nModified": len(statements)}

    @property
    def ids(self) -> list[list[Any]]:
        return [[each["_id"] for each in statements] for statements in self.taken]


class Turns(monitoring.CommandListener):
    """How many turns another task had until a command was written."""

    def __init__(self) -> None:
        self.count = 0
        self.until: dict[str, int] = {}

    async def take(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.count += 1

    def started(self, event: Any) -> None:
        self.until.setdefault(event.command_name, self.count)

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass


def serving(store: Store, **hello: Any) -> ScriptedServer:
    return ScriptedServer(hello=primary(**hello), on={"insert": store, "update": store})


async def turns_until_written(
    server: ScriptedServer, write: Callable[[Any], Awaitable[Any]]
) -> int:
    """How many turns another task has until the first message of `write` is written."""
    turns = Turns()
    async with AsyncMongoClient(server.uri(), event_listeners=[turns]) as client:
        await client.admin.command("ping")
        other = asyncio.ensure_future(turns.take())
        await asyncio.sleep(0)
        turns.count = 0
        await write(client["x"]["y"])
        other.cancel()
    return min(count for name, count in turns.until.items() if name in SECTIONS)


def test_others_have_a_turn_while_a_large_batch_is_written() -> None:
    store = Store()

    async def main() -> None:
        turns = await turns_until_written(server, lambda things: things.insert_many(LARGE))
        # As many as there are parts of 512 kB, at least.
        assert turns >= 6

    with serving(store) as server:
        run(main)
    assert store.taken == [LARGE]


def test_others_have_a_turn_while_many_small_statements_are_taken_and_written() -> None:
    store = Store()
    updates = [UpdateOne({"_id": n}, {"$set": {"a": n}}) for n in range(SMALL)]

    async def main() -> None:
        documents = ({"_id": n} for n in range(SMALL))
        assert await turns_until_written(server, lambda them: them.insert_many(documents)) >= 5
        # Looked at, checked and written.
        mixed = [InsertOne({"_id": 1}), *updates]
        assert await turns_until_written(server, lambda them: them.bulk_write(mixed)) >= 6

    with serving(store) as server:
        run(main)
    assert [each["_id"] for each in store.taken[0]] == list(range(SMALL))
    assert [each["q"]["_id"] for each in store.taken[2]] == list(range(SMALL))


def insert(face: str, server: ScriptedServer, documents: list[Any], **options: Any) -> None:
    """`insert_many` on either face."""

    async def main() -> None:
        async with AsyncMongoClient(server.uri()) as client:
            await client["x"]["y"].insert_many(documents, **options)

    if face == "asyncio":
        run(main)
    else:
        with MongoClient(server.uri()) as client:
            client["x"]["y"].insert_many(documents, **options)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("batch", [5000, 4096, 100_000])
def test_the_messages_are_those_of_the_blocking_face(batch: int, ordered: bool) -> None:
    """With parts and messages that end at the same statement or not, and statements that are too
    large to be sent: the first ones, one in a later part, the last one."""
    documents: list[Any] = [{"_id": n} for n in range(SMALL)]
    for number in (0, 1, 4096, 6000, SMALL - 1) if not ordered else (6000,):
        documents[number] = {"_id": number, "text": "x" * 3000}
    found = {}
    for face in ("blocking", "asyncio"):
        store = Store()
        with serving(store, maxBsonObjectSize=2000, maxWriteBatchSize=batch) as server:
            with pytest.raises(BulkWriteError) as caught:
                insert(face, server, documents, ordered=ordered)
        errors = caught.value.details["writeErrors"]
        found[face] = store.ids, [error["index"] for error in errors]
    assert found["asyncio"] == found["blocking"]
    sent = [each for message in found["asyncio"][0] for each in message]
    assert sent == list(range(6000)) if ordered else len(sent) == SMALL - 5


def test_a_message_that_is_full_ends_where_the_blocking_face_ends_it() -> None:
    found = []
    for face in ("blocking", "asyncio"):
        store = Store()
        with serving(store, maxMessageSizeBytes=1_100_000) as server:
            insert(face, server, LARGE)
        found.append(store.ids)
    assert found[0] == found[1]
    assert len(found[0]) == 4


def test_a_statement_of_a_later_part_that_cannot_be_encoded() -> None:
    store = Store()

    async def main() -> None:
        async with AsyncMongoClient(server.uri()) as client:
            things = client["x"]["y"]
            with pytest.raises(InvalidDocument):
                await things.insert_many([*LARGE, {"_id": object()}])
            pool = await client._pool()
            assert (pool.in_use, pool.idle_count) == (0, 1)
            await things.insert_many([{"_id": 1}])
            assert server.used == 1

    with serving(store) as server:
        run(main)
    assert store.ids == [[1]]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_task_that_is_cancelled_between_two_parts_leaves_the_pool_in_order(moment: str) -> None:
    store = Store()
    reached = 0

    async def main() -> None:
        nonlocal reached
        async with AsyncMongoClient(server.uri()) as client:
            things = client["x"]["y"]
            await client.admin.command("ping")
            pool = await client._pool()
            while await cancelled_at(lambda: things.insert_many(LARGE), reached + 1, moment):
                reached += 1
                assert pool.in_use == 0
                assert (await client.admin.command("ping"))["ok"] == 1
            # One was closed at most: that in whose exchange the task was cancelled.
            assert server.used <= 3

    with serving(store) as server:
        run(main)
    assert reached >= 6
    # What arrived is whole.
    assert all(each == LARGE for each in store.taken)


@pytest.mark.parametrize("how", ["close", "clear"])
def test_others_have_a_turn_while_many_sockets_are_closed(how: str) -> None:
    turns = Turns()
    sockets = 100

    async def main() -> None:
        client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri(), serverMonitoringMode="poll")
        pool = await client._pool()
        held = [await pool.checkout_soon() for _ in range(sockets)]
        for connection in held:
            pool.check_in(connection)
        assert pool.idle_count == sockets
        other = asyncio.ensure_future(turns.take())
        await asyncio.sleep(0)
        turns.count = 0
        if how == "close":
            await client.close()
        else:
            pool.clear()
            assert pool.idle_count == 0
            while not all(connection.stream.closed for connection in held):
                await asyncio.sleep(0)
        assert all(connection.stream.closed for connection in held)
        assert turns.count >= 5
        other.cancel()
        await client.close()

    with ScriptedServer() as server:
        run(main)
        assert server.wait_for(lambda: server.open == 0)


def test_sockets_that_the_loop_had_no_time_to_close_are_closed_with_the_next_loop() -> None:
    async def fill() -> None:
        pool = await client._pool()
        for connection in [await pool.checkout_soon() for _ in range(50)]:
            pool.check_in(connection)
        pool.clear()
        assert pool.is_closing

    async def next_one() -> None:
        pool = await client._pool()
        assert not pool.is_closing
        await client.close()

    with ScriptedServer() as server:
        client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri())
        loop = asyncio.new_event_loop()
        loop.run_until_complete(fill())
        loop.close()
        asyncio.run(next_one())
        assert server.wait_for(lambda: server.open == 0)


BINARY = bytes(250_000)


@pytest.mark.parametrize(
    ("document", "parts"),
    [
        pytest.param({"n": 1, "data": BINARY}, 0, id="little but binary data, which is copied"),
        pytest.param({"text": "x" * 250_000}, 8, id="text"),
        pytest.param({"a": {"data": BINARY}}, 8, id="what is in the document is not looked at"),
        pytest.param(
            {str(n): BINARY[:10_000] for n in range(25)}, 8, id="more fields than are looked at"
        ),
    ],
)
def test_a_batch_is_decoded_in_as_many_parts_as_it_takes(
    document: dict[str, Any], parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = []

    async def sleep(seconds: float) -> None:
        turns.append(seconds)
        await asyncio.sleep(seconds)

    monkeypatch.setattr(cores, "sleep", sleep)
    batch = [document] * 8

    async def main() -> None:
        async with AsyncMongoClient(server.uri()) as client:
            assert await client["x"]["y"].find().to_list() == batch

    cursor = {"id": 0, "ns": "x.y", "firstBatch": batch}
    with ScriptedServer(
        hello=primary(), on={"find": Reply({"ok": 1.0, "cursor": cursor})}
    ) as server:
        run(main)
    assert len(turns) == parts
