"""Cursors from their first command to their end, without a socket: batches, sessions, servers, and
what is left to be killed."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from mongokey.commands.command import CursorCommand
from mongokey.cursor import CommandCursor
from mongokey.errors import (
    AutoReconnect,
    CursorNotFound,
    InvalidOperation,
    OperationFailure,
    ProtocolError,
    WaitQueueTimeoutError,
)
from mongokey.execution.operation import Namespace
from tests.servers.scripted import primary
from tests.unit._executions import OK, Deployment, lost


def batch(identifier: int, *documents: Any, first: bool = False, ns: str = "x.y") -> dict[str, Any]:
    name = "firstBatch" if first else "nextBatch"
    return {"ok": 1, "cursor": {"id": identifier, "ns": ns, name: list(documents)}}


@pytest.fixture
def deployment() -> Deployment:
    return Deployment(primary())


def opened(deployment: Deployment, *replies: Any, **options: Any) -> Any:
    """A cursor of `listCollections`, whose commands get `replies`."""
    deployment.script["exchange"].extend(replies)
    command = CursorCommand(
        Namespace("x"), {"listCollections": 1, "cursor": {}}, retryable_read=True, **options
    )
    batch = deployment.executor.execute(command)
    return CommandCursor._opened(None, deployment.executor, command, batch)


def names(deployment: Deployment) -> list[str]:
    return [next(iter(command)) for command in deployment.commands]


def pending(deployment: Deployment) -> int:
    return len(deployment.executor.pending)


def test_a_cursor_reads_batch_after_batch_in_one_session(deployment: Deployment) -> None:
    cursor = opened(
        deployment, batch(7, {"a": 1}, first=True), batch(7, {"a": 2}, {"a": 3}), batch(0, {"a": 4})
    )
    assert deployment.executor.sessions.idle == []  # the cursor has it
    assert cursor.cursor_id == 7
    assert cursor.to_list() == [{"a": n} for n in (1, 2, 3, 4)]
    assert names(deployment) == ["listCollections", "getMore", "getMore"]
    first, second, third = deployment.commands
    assert first["lsid"] == second["lsid"] == third["lsid"]
    assert (second["getMore"], second["collection"]) == (7, "y")
    assert cursor.cursor_id == 0
    assert not cursor.alive
    assert len(deployment.executor.sessions.idle) == 1
    assert pending(deployment) == 0


def test_what_fits_into_one_batch_leaves_nothing(deployment: Deployment) -> None:
    cursor = opened(deployment, batch(0, {"a": 1}, first=True))
    assert len(deployment.executor.sessions.idle) == 1
    assert cursor.to_list() == [{"a": 1}]
    assert names(deployment) == ["listCollections"]
    assert cursor.address == deployment.pool.address


def test_the_server_names_the_collection_of_the_get_mores(deployment: Deployment) -> None:
    ns = "x.$cmd.listCollections"
    cursor = opened(deployment, batch(7, first=True, ns=ns), batch(0, {"a": 1}, ns=ns))
    assert cursor.to_list() == [{"a": 1}]
    assert deployment.commands[1]["collection"] == "$cmd.listCollections"


def test_get_mores_go_to_the_server_that_has_the_cursor(deployment: Deployment) -> None:
    cursor = opened(deployment, batch(7, {"a": 1}, first=True), batch(0))
    deployment.says(None)
    deployment.steps.clear()
    assert cursor.to_list() == [{"a": 1}]
    assert deployment.steps == ["check out", "exchange", "done"]


def test_a_get_more_is_not_tried_again(deployment: Deployment) -> None:
    cursor = opened(deployment, batch(7, first=True), lost())
    with pytest.raises(AutoReconnect):
        next(cursor)
    assert names(deployment) == ["listCollections", "getMore"]
    # Where the batch is now nobody knows: the cursor is closed on the server, and here.
    assert pending(deployment) == 1
    assert deployment.executor.has_pending_cursors
    assert not cursor.alive
    assert list(cursor) == []


def test_a_cursor_is_where_it_was_when_no_connection_was_to_be_had(
    deployment: Deployment,
) -> None:
    cursor = opened(deployment, batch(7, first=True))
    deployment.script["check out"].append(WaitQueueTimeoutError("all in use"))
    with pytest.raises(WaitQueueTimeoutError):
        next(cursor)
    assert pending(deployment) == 0
    assert cursor.alive
    deployment.script["exchange"].append(batch(0, {"a": 1}))
    assert next(cursor) == {"a": 1}
    assert deployment.commands[0]["lsid"] == deployment.commands[1]["lsid"]


@pytest.mark.parametrize("code", [43, 175, 237])
def test_a_cursor_that_the_server_has_closed_is_not_killed(
    deployment: Deployment, code: int
) -> None:
    gone = {"ok": 0, "code": code, "errmsg": "gone"}
    cursor = opened(deployment, batch(7, first=True), gone)
    with pytest.raises(CursorNotFound if code == 43 else OperationFailure):
        next(cursor)
    assert pending(deployment) == 0
    assert not cursor.alive
    assert len(deployment.executor.sessions.idle) == 1


@pytest.mark.parametrize(("identifier", "left"), [(7, 1), (0, 0)])
def test_a_batch_that_cannot_be_read_ends_the_cursor(
    deployment: Deployment, identifier: int, left: int
) -> None:
    cursor = opened(deployment, batch(7, first=True), batch(identifier, 5))
    with pytest.raises(ProtocolError):
        next(cursor)
    assert pending(deployment) == left
    assert not cursor.alive
    assert len(deployment.executor.sessions.idle) == 1 - left


def test_a_cursor_whose_first_batch_cannot_be_read_is_killed(deployment: Deployment) -> None:
    with pytest.raises(ProtocolError):
        opened(deployment, batch(7, 5, first=True))
    assert pending(deployment) == 1
    assert deployment.executor.sessions.idle == []  # the killing will be in its session


def test_a_cursor_whose_place_is_not_told_cannot_be_killed(deployment: Deployment) -> None:
    with pytest.raises(ProtocolError, match=r"'listCollections'.*'x'"):
        opened(deployment, batch(7, first=True, ns="x"))
    assert pending(deployment) == 0
    assert len(deployment.executor.sessions.idle) == 1


def test_an_opening_command_is_tried_again_in_its_session(deployment: Deployment) -> None:
    cursor = opened(deployment, lost(), batch(7, {"a": 1}, first=True), batch(0))
    first, second = deployment.commands
    assert first["lsid"] == second["lsid"]
    assert cursor.to_list() == [{"a": 1}]


def test_a_cursor_that_nobody_has_any_more_is_left_to_be_killed(deployment: Deployment) -> None:
    cursor = opened(deployment, batch(7, {"a": 1}, first=True))
    del cursor
    gc.collect()
    assert pending(deployment) == 1
    assert names(deployment) == ["listCollections"]


def test_a_forked_child_leaves_the_parents_cursors_alone(deployment: Deployment) -> None:
    cursor = opened(deployment, batch(7, {"a": 1}, first=True))
    deployment.executor.reset_after_fork()
    del cursor
    gc.collect()
    assert pending(deployment) == 0
    assert deployment.executor.sessions.idle == []


def test_a_command_without_a_cursor_in_its_reply(deployment: Deployment) -> None:
    assert opened(deployment, OK).to_list() == []
    with pytest.raises(InvalidOperation, match="does not return a cursor"):
        opened(deployment, OK, needs_cursor=True)


def test_the_cursor_of_a_plain_command_is_its_callers(deployment: Deployment) -> None:
    deployment.script["exchange"].append(batch(7, first=True))
    assert deployment.run({"find": "y"})["cursor"]["id"] == 7
    assert pending(deployment) == 0  # it is the caller's, who has its id


def test_after_the_end_nothing_is_deferred(deployment: Deployment) -> None:
    cursor = opened(deployment, batch(7, {"a": 1}, first=True))
    deployment.executor.close()
    del cursor
    gc.collect()
    assert pending(deployment) == 0
