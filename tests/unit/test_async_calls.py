"""Calls of the asyncio classes without a socket: the same operations and plans as on the blocking
face, awaited; what goes wrong on the way, a cancellation too, comes to the plan and to the caller.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mongokey import AsyncMongoClient, InsertOne, UpdateOne
from mongokey.aio import AsyncCommandCursor
from mongokey.errors import AutoReconnect, CollectionInvalid, OperationFailure
from tests.unit._executions import lost
from tests.unit.test_async_cursor import AwaitedDeployment, batch, begun

OK = {"ok": 1, "n": 1}


class Used:
    """A client whose operations are carried out by a script."""

    def __init__(self, *replies: Any) -> None:
        self.deployment = AwaitedDeployment(maxWriteBatchSize=2)
        self.deployment.script["exchange"].extend(replies)
        self.client: AsyncMongoClient[Any] = AsyncMongoClient("mongodb://127.0.0.1:1/")
        self.client._set_up(self.client._inherited, self.deployment.executor)
        self.collection = self.client.d.c

    @property
    def names(self) -> list[str]:
        return [next(iter(command)) for command in self.deployment.commands]


async def test_operations_are_those_of_the_blocking_face() -> None:
    used = Used(OK, batch(0, {"_id": 7}, first=True), OK, {"ok": 1, "value": {"_id": 8}}, OK)
    assert (await used.collection.insert_one({"_id": 7})).inserted_id == 7
    assert await used.collection.find_one({"_id": 7}) == {"_id": 7}
    assert (await used.collection.delete_one({"_id": 7})).deleted_count == 1
    assert await used.collection.find_one_and_delete({}) == {"_id": 8}
    assert await used.client.admin.command("ping") == OK
    assert used.names == ["insert", "find", "delete", "findAndModify", "ping"]


async def test_a_plan_takes_its_results_one_after_the_other() -> None:
    used = Used(batch(7, {"name": "a"}, first=True), batch(0, {"name": "b"}))
    assert await used.client.d.list_collection_names() == ["a", "b"]
    assert used.names == ["listCollections", "getMore"]


async def test_cursors_of_commands_keep_their_client() -> None:
    used = Used({"ok": 1, "databases": [{"name": "a"}]}, batch(0, {"a": 1}, first=True))
    listed = await used.client.list_databases()
    found = await used.collection.aggregate([])
    assert type(listed) is type(found) is AsyncCommandCursor
    assert await listed.to_list() == [{"name": "a"}]
    assert found._owner == used.collection
    assert await found.to_list() == [{"a": 1}]


async def test_errors_come_to_the_plan() -> None:
    missing = {"ok": 0, "code": 26, "errmsg": "ns does not exist"}
    used = Used(missing, missing, batch(0, {"name": "c"}, first=True), {**missing, "code": 13})
    assert await (await used.collection.list_indexes()).to_list() == []
    assert await used.collection.index_information() == {}
    with pytest.raises(CollectionInvalid):
        await used.client.d.create_collection("c")
    with pytest.raises(OperationFailure) as failed:
        await used.collection.index_information()
    assert failed.value.code == 13


async def test_wrong_arguments_are_refused_where_a_call_is_awaited() -> None:
    used = Used()
    wrong: list[Any] = [
        used.collection.insert_one(5),
        used.collection.update_one({}, {}),
        used.collection.insert_many([]),
        used.collection.bulk_write([5]),  # type: ignore[list-item]
        used.collection.aggregate(5),  # type: ignore[arg-type]
        used.client.d.command(5),  # type: ignore[arg-type]
        used.collection.find_one({}, limit="x"),
        used.collection.create_index([]),
    ]
    for call in wrong:
        with pytest.raises((TypeError, ValueError)):
            await call
    assert used.names == []


@pytest.mark.parametrize("kind", ["insert_many", "bulk_write"])
async def test_a_bulk_that_is_cancelled_says_what_is_confirmed(kind: str) -> None:
    used = Used({"ok": 1, "n": 2}, {"ok": 1, "n": 2})
    deployment = used.deployment
    if kind == "insert_many":
        call: Any = used.collection.insert_many([{"_id": n} for n in range(5)])
    else:
        requests = [InsertOne({"_id": n}) for n in range(4)]
        call = used.collection.bulk_write([*requests, UpdateOne({}, {"$set": {"a": 1}})])
    caught: list[Any] = []

    async def write() -> None:
        try:
            await call
        except BaseException as error:
            caught.append(error)
            raise

    async def hold() -> None:
        while len(deployment.commands) < 1:
            await asyncio.sleep(0)

    gate = deployment.gates["exchange"] = asyncio.Event()
    task = await begun(write())
    gate.set()
    del deployment.gates["exchange"]
    deployment.gates["check out"] = asyncio.Event()
    await hold()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (error,) = caught
    assert isinstance(error, asyncio.CancelledError)
    assert error.partial_result.inserted_count == 2  # type: ignore[attr-defined]
    assert len(deployment.commands) == 1


async def test_a_call_that_fails_in_its_midst_says_what_is_confirmed() -> None:
    used = Used({"ok": 1, "n": 2}, lost(), lost())
    with pytest.raises(AutoReconnect) as failed:
        await used.collection.insert_many([{"_id": n} for n in range(5)])
    assert failed.value.partial_result.inserted_count == 2  # type: ignore[attr-defined]


async def test_plans_are_closed_when_their_call_is_let_go() -> None:
    used = Used()
    used.deployment.gates["exchange"] = asyncio.Event()
    ended = []

    def plan() -> Any:
        from mongokey.commands.command import Command
        from mongokey.execution.operation import Namespace

        try:
            yield Command(Namespace("d"), {"ping": 1})
        finally:
            ended.append(True)

    call = used.client._run(plan())
    call.send(None)
    call.close()
    assert ended == [True]
    connection = used.deployment.execution.connection
    assert connection is None or connection.stream.closed
