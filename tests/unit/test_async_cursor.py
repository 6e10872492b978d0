"""Cursors of the asyncio face, without a socket: documents at hand cost no coroutine and look like
one, and a fetch that is cancelled, interrupted or shared leaves its cursor in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from mongokey.aio import AsyncCommandCursor, AsyncMongoClient
from mongokey.commands.command import CursorCommand
from mongokey.cursor import CommandCursor
from mongokey.errors import AutoReconnect, InvalidOperation, OperationFailure
from mongokey.execution.cursors import ServerCursor
from mongokey.execution.execution import STEPS, Execution
from mongokey.execution.operation import Namespace, Operation
from mongokey.faces.cursor_cores import NextDocument
from tests.servers.scripted import primary
from tests.unit._executions import Deployment, ScriptedExecutor, lost
from tests.unit.test_cursor_state import batch, pending

Test = Callable[[], Coroutine[Any, Any, None]]


class AwaitedExecutor(ScriptedExecutor):
    """The scripted executor, with coroutines that stop where the deployment has a gate."""

    deployment: AwaitedDeployment

    async def execute(self, operation: Operation) -> Any:
        return await self.deployment.carry_out_awaited(Execution(self, operation))

    async def execute_for_cursor(self, operation: Operation, cursor: ServerCursor) -> Any:
        return await self.deployment.carry_out_awaited(Execution(self, operation, cursor))

    async def carry_out(self, plan: Any) -> Any:
        plan.close()
        self.deployment.told += 1


class AwaitedDeployment(Deployment):
    """A `Deployment` whose steps can be held up."""

    def __init__(self, **hello: Any) -> None:
        super().__init__(primary(**hello))
        self.executor = AwaitedExecutor(self.topology, retry_reads=True, retry_writes=True)
        self.executor.deployment = self
        #: Step -> what is awaited there.
        self.gates: dict[str, asyncio.Event] = {}
        #: How often a server was told something for good order.
        self.told = 0

    async def carry_out_awaited(self, execution: Execution) -> Any:
        self.execution = execution
        while True:
            try:
                while (step := STEPS[execution.advance()]) != "done":
                    if step in self.gates:
                        await self.gates[step].wait()
                    self.take(step, execution)
                return execution.result
            except BaseException as error:
                raised = execution.failed(error) if isinstance(error, AutoReconnect) else error
                if raised is not None:
                    if execution.connection is not None:
                        execution.connection.close()
                    raise
            finally:
                if sys.exc_info()[0] is not None or step == "done":
                    execution.end()


@pytest.fixture
def deployment() -> AwaitedDeployment:
    return AwaitedDeployment()


async def opened(deployment: AwaitedDeployment, *replies: Any) -> AsyncCommandCursor[Any]:
    """A cursor of `listCollections`, whose commands get `replies`."""
    deployment.script["exchange"].extend(replies)
    command = CursorCommand(Namespace("x"), {"listCollections": 1, "cursor": {}})
    first = await deployment.executor.execute(command)
    return AsyncCommandCursor._opened(None, deployment.executor, command, first)


def of(*documents: Any) -> AsyncCommandCursor[Any]:
    return AsyncCommandCursor._of(list(documents))


def finished(awaitable: Awaitable[Any]) -> Any:
    """What an awaitable gives that has nothing to wait for."""
    with pytest.raises(StopIteration) as end:
        awaitable.__await__().send(None)  # type: ignore[attr-defined]
    return end.value.value


# Documents at hand


def test_a_document_at_hand_costs_no_coroutine() -> None:
    cursor = of({"a": 1}, {"a": 2})
    found = cursor.__anext__()
    assert type(found) is NextDocument
    assert finished(found) == {"a": 1}
    assert finished(anext(cursor)) == {"a": 2}


def test_what_anext_gives_is_a_coroutine_for_everyone_who_looks() -> None:
    found = of({"a": 1}).__anext__()
    assert isinstance(found, Coroutine)
    assert asyncio.iscoroutine(found)
    assert inspect.isawaitable(found)


async def test_all_ways_to_ask_for_the_next_document() -> None:
    cursor = of(*({"a": n} for n in range(7)))
    assert await anext(cursor) == {"a": 0}
    assert await cursor.next() == {"a": 1}
    assert await asyncio.wait_for(anext(cursor), 10) == {"a": 2}
    assert await asyncio.create_task(cursor.__anext__()) == {"a": 3}
    assert await asyncio.ensure_future(anext(cursor)) == {"a": 4}
    assert await anext(cursor, None) == {"a": 5}
    assert await cursor.try_next() == {"a": 6}
    assert await cursor.try_next() is None
    assert await anext(cursor, "none") == "none"
    for ask in (cursor.next, cursor.__anext__):
        with pytest.raises(StopAsyncIteration):
            await ask()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(anext(cursor), 10)


@pytest.mark.parametrize("value", [(), (1, 2), StopIteration(3), KeyError("x"), None, KeyError])
async def test_documents_of_every_kind_come_out_as_they_are(value: Any) -> None:
    assert [each async for each in of(value)] == [value]
    assert await anext(of(value)) is value
    assert await anext(of(value), 0) is value
    assert await asyncio.create_task(of(value).__anext__()) is value


async def test_a_document_that_nobody_awaits_stays() -> None:
    cursor = of({"a": 1}, {"a": 2})
    first, second = cursor.__anext__(), cursor.__anext__()
    cursor.__anext__()
    assert await second == {"a": 1}
    assert await first == {"a": 2}
    # It was made while there was one.
    cursor = of({"a": 1})
    first, second = cursor.__anext__(), cursor.__anext__()
    assert await second == {"a": 1}
    with pytest.raises(StopAsyncIteration):
        await first


async def test_an_awaitable_is_used_once() -> None:
    cursor = of({"a": 1}, {"a": 2})
    found = cursor.__anext__()
    await found
    with pytest.raises(RuntimeError, match="already awaited"):
        await found
    assert await cursor.to_list() == [{"a": 2}]


async def test_thrown_into_or_closed_it_takes_no_document() -> None:
    cursor = of({"a": 1})
    with pytest.raises(KeyError, match="x"):
        cursor.__anext__().throw(KeyError("x"))
    closed = cursor.__anext__()
    closed.close()
    with pytest.raises(RuntimeError, match="already awaited"):
        await closed
    task = asyncio.create_task(cursor.__anext__())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await cursor.to_list() == [{"a": 1}]


async def test_documents_are_the_callers_alone() -> None:
    documents = [{"a": n} for n in range(3)]
    counts = [sys.getrefcount(each) for each in documents]
    cursor = AsyncCommandCursor._of(list(documents))
    kept = [each async for each in cursor]
    assert kept == documents
    del kept
    assert [sys.getrefcount(each) for each in documents] == counts


async def test_awaitables_keep_no_cursor() -> None:
    """The one that was awaited; one that was not does, as a coroutine would."""
    cursor = of({"a": 1}, {"a": 2})
    found = cursor.__anext__()
    count = sys.getrefcount(cursor)
    await found
    assert sys.getrefcount(cursor) == count - 1


def test_each_face_is_iterated_in_its_own_way() -> None:
    with pytest.raises(TypeError, match="not iterable"):
        iter(of({"a": 1}))  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="not an async iter"):
        aiter(CommandCursor._of([]))  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="context manager"):
        with of():  # type: ignore[attr-defined]
            pass


# Fetches


async def test_batch_after_batch(deployment: AwaitedDeployment) -> None:
    replies = batch(7, {"a": 1}, first=True), batch(7), batch(7, {"a": 2}, {"a": 3}), batch(0)
    cursor = await opened(deployment, *replies)
    assert [each async for each in cursor] == [{"a": n} for n in (1, 2, 3)]
    assert not cursor.alive
    assert pending(deployment) == 0


@pytest.mark.parametrize(
    ("length", "taken"), [(None, 5), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (9, 5)]
)
async def test_to_list(deployment: AwaitedDeployment, length: int | None, taken: int) -> None:
    documents = [{"a": n} for n in range(5)]
    replies = (
        batch(7, *documents[:2], first=True),
        batch(7, *documents[2:4]),
        batch(0, documents[4]),
    )
    cursor = await opened(deployment, *replies)
    assert await cursor.to_list(length) == documents[:taken]
    assert await cursor.to_list() == documents[taken:]
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="greater than 0"):
            await cursor.to_list(wrong)


async def test_try_next_looks_once(deployment: AwaitedDeployment) -> None:
    cursor = await opened(deployment, batch(7, first=True), batch(7), batch(0, {"a": 1}))
    assert await cursor.try_next() is None
    assert await cursor.try_next() == {"a": 1}
    assert await cursor.try_next() is None


async def begun(awaitable: Awaitable[Any]) -> asyncio.Future[Any]:
    """A task that has come to its first wait."""
    task = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_a_cursor_is_for_one_task_at_a_time(deployment: AwaitedDeployment) -> None:
    cursor = await opened(deployment, batch(7, first=True), batch(0, {"a": 1}, {"a": 2}))
    gate = deployment.gates["exchange"] = asyncio.Event()
    task = await begun(cursor.to_list())
    for other in (cursor.__anext__, cursor.next, cursor.try_next, cursor.to_list):
        with pytest.raises(InvalidOperation, match="one user at a time"):
            await other()
    gate.set()
    assert await task == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("ask", ["next", "try_next", "to_list", "__anext__"])
async def test_a_fetch_that_is_cancelled_ends_the_cursor(
    deployment: AwaitedDeployment, ask: str
) -> None:
    """Where its batch is nobody knows: the server's cursor is killed beside the program."""
    cursor = await opened(deployment, batch(7, first=True), batch(7, {"a": 1}))
    deployment.gates["exchange"] = asyncio.Event()
    task = await begun(getattr(cursor, ask)())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pending(deployment) == 1
    assert deployment.told == 0  # a task that is cancelled does not wait once more
    assert not cursor.alive
    assert [each async for each in cursor] == []


async def test_a_fetch_that_is_cancelled_before_it_has_a_connection_can_be_repeated(
    deployment: AwaitedDeployment,
) -> None:
    cursor = await opened(deployment, batch(7, first=True), batch(0, {"a": 1}))
    deployment.gates["check out"] = asyncio.Event()
    task = await begun(cursor.__anext__())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pending(deployment) == 0
    del deployment.gates["check out"]
    assert await cursor.to_list() == [{"a": 1}]


async def test_a_fetch_that_fails_ends_the_cursor(deployment: AwaitedDeployment) -> None:
    cursor = await opened(deployment, batch(7, first=True), lost())
    with pytest.raises(AutoReconnect):
        await cursor.next()
    assert pending(deployment) == 1
    assert await cursor.to_list() == []


async def test_a_server_that_has_answered_with_an_error_is_told_at_once(
    deployment: AwaitedDeployment,
) -> None:
    error = {"ok": 0, "code": 50, "errmsg": "too long"}
    cursor = await opened(deployment, batch(7, first=True), error)
    with pytest.raises(OperationFailure, match="too long"):
        await cursor.next()
    assert deployment.told == 1
    assert pending(deployment) == 0
    assert not cursor.alive


async def test_closing_while_a_fetch_is_on_its_way(deployment: AwaitedDeployment) -> None:
    cursor = await opened(deployment, batch(7, first=True), batch(7, {"a": 1}))
    gate = deployment.gates["exchange"] = asyncio.Event()
    task = await begun(cursor.to_list())
    await cursor.close()
    assert deployment.told == 0
    gate.set()
    assert await task == []
    assert pending(deployment) == 1  # the fetch has seen to it
    assert not cursor.alive


async def test_close_tells_the_server(deployment: AwaitedDeployment) -> None:
    async with await opened(deployment, batch(7, {"a": 1}, first=True)) as cursor:
        assert cursor.alive
    assert deployment.told == 1
    await cursor.close()
    assert deployment.told == 1
    assert await cursor.to_list() == [{"a": 1}]  # what was at hand, as in PyMongo
    assert not cursor.alive
    assert await cursor.to_list() == []


async def test_a_fetch_that_nobody_waits_for_any_more(deployment: AwaitedDeployment) -> None:
    """A coroutine that is let go in the middle, as those of a loop that is closed are."""
    cursor = await opened(deployment, batch(7, first=True))
    deployment.gates["exchange"] = asyncio.Event()
    fetch = cursor.__anext__()
    fetch.send(None)
    del fetch
    gc.collect()
    assert pending(deployment) == 1
    assert not cursor.alive
    with contextlib.suppress(StopAsyncIteration):
        await cursor.next()


async def test_a_cursor_that_is_let_go_is_killed(deployment: AwaitedDeployment) -> None:
    cursor = await opened(deployment, batch(7, {"a": 1}, first=True))
    await cursor.next()
    del cursor
    gc.collect()
    assert pending(deployment) == 1


# What does not wait


async def test_settings_are_those_of_the_blocking_cursor() -> None:
    client: AsyncMongoClient[Any] = AsyncMongoClient("mongodb://127.0.0.1:1/")
    cursor = client.d.c.find({"a": 1}, batch_size=3).sort("a").limit(2)
    assert cursor[4:9] is cursor
    assert cursor.clone()._query.document() == cursor._query.document()
    assert cursor._query.document()["skip"] == 4
    assert type(cursor.clone()) is type(cursor)
    with pytest.raises(IndexError, match=r"await cursor\.skip\(7\)"):
        cursor[3]  # as the skip of the slice counts on the blocking face too
    with pytest.raises(IndexError, match="negative"):
        cursor[-1]
    assert cursor.collection == client.d.c
    assert (cursor.cursor_id, cursor.address, cursor.session) == (None, None, None)
    assert cursor.alive
    await cursor.rewind()
    await cursor.close()
    with pytest.raises(InvalidOperation):
        cursor.limit(1)


def test_a_command_cursor_is_made_by_commands() -> None:
    for cls in (AsyncCommandCursor, CommandCursor):
        with pytest.raises(TypeError, match="made by `aggregate`"):
            cls()
