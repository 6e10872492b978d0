"""timeoutMS of single calls and of cursors on a real server: every method takes it, and each
command of a call carries what is left of it."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from mongokey import AsyncMongoClient, MongoClient
from mongokey.aio import AsyncCollection, AsyncDatabase
from mongokey.cursor import CursorType
from mongokey.errors import MongoError
from tests.live.test_sessions import CALLS, Started, client, collection, seen

__all__ = ["client", "collection", "seen"]  # fixtures

pytestmark = pytest.mark.live

#: Far more than any call takes, and another number than any default.
LIMIT = 54_321


class InTime:
    """A collection, its database or its client, whose methods get `timeout_ms` in place of
    `session`."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name in ("database", "client"):
            return InTime(found)
        if not callable(found):
            return found

        def call(*args: Any, session: None, **kwargs: Any) -> Any:
            return found(*args, timeout_ms=LIMIT, **kwargs)

        return call


@pytest.mark.parametrize("name", CALLS)
def test_each_command_of_a_call_has_what_is_left_of_its_time(
    collection: Any, seen: Started, name: str
) -> None:
    collection.create_index("c")
    seen.commands.clear()
    if name == "database.validate_collection":
        collection.database.validate_collection(collection.name, timeout_ms=LIMIT)
    else:
        CALLS[name](InTime(collection), None)
    assert seen.commands
    for command in seen.commands:
        if "killCursors" in command:
            assert 0 < command["maxTimeMS"] <= 2000  # never longer
        elif "getMore" not in command:
            assert LIMIT / 2 < command["maxTimeMS"] <= LIMIT, command
        elif "watch" not in name:
            assert "maxTimeMS" not in command


@pytest.mark.parametrize("cls", [AsyncMongoClient, AsyncDatabase, AsyncCollection])
def test_what_takes_a_session_takes_a_time(cls: Any) -> None:
    for name in dir(cls):
        method = inspect.getattr_static(cls, name)
        if name.startswith("_") or not inspect.isfunction(method):
            continue
        parameters = inspect.signature(method).parameters
        if "session" in parameters and name != "dereference":
            assert "timeout_ms" in parameters, name
        # By keyword only, so that no call of PyMongo's means something else.
        for added in {"timeout_ms", "timeout_mode"} & set(parameters):
            assert parameters[added].kind is inspect.Parameter.KEYWORD_ONLY


def test_a_reference_is_followed_in_time(collection: Any, seen: Started) -> None:
    from mongokey.bson.dbref import DBRef

    reference = DBRef(collection.name, 3)
    assert collection.database.dereference(reference, timeout_ms=LIMIT)["_id"] == 3
    assert LIMIT / 2 < seen.commands[-1]["maxTimeMS"] <= LIMIT


# Tailable cursors: what the specification's tests do not come to, as their finds bring all at once.


@pytest.fixture
def capped(collection: Any) -> Any:
    made = collection.database.create_collection("capped", capped=True, size=4096, max=9)
    made.insert_many([{"_id": n} for n in range(6)])
    return made


def block(client: MongoClient, times: int, seconds: float, *names: str) -> None:
    data = {"failCommands": list(names), "blockConnection": True, "blockTimeMS": seconds * 1000}
    point = {"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data}
    client.admin.command(point)


@pytest.mark.parametrize("wait", [None, 1])
def test_each_batch_of_an_awaiting_cursor_has_the_time_anew(
    client: MongoClient, capped: Any, seen: Started, wait: int | None
) -> None:
    block(client, 3, 0.6, "find", "getMore")
    seen.commands.clear()
    cursor = capped.find(cursor_type=CursorType.TAILABLE_AWAIT, batch_size=2, timeout_ms=1500)
    if wait is not None:
        cursor.max_await_time_ms(wait)
    # Three commands that take 0.6 s each, of 1.5 s.
    assert [cursor.next()["_id"] for _ in range(5)] == [0, 1, 2, 3, 4]
    find, *more = seen.commands
    assert (find["tailable"], find["awaitData"]) == (True, True)
    assert 0 < find["maxTimeMS"] <= 1500
    assert [each.get("maxTimeMS") for each in more] == [wait] * 2
    cursor.close()


def test_each_batch_of_a_tailable_cursor_has_the_time_anew(
    client: MongoClient, capped: Any, seen: Started
) -> None:
    block(client, 3, 0.6, "find", "getMore")
    seen.commands.clear()
    cursor = capped.find(cursor_type=CursorType.TAILABLE, batch_size=2, timeout_ms=1500)
    assert [cursor.next()["_id"] for _ in range(5)] == [0, 1, 2, 3, 4]
    assert all("maxTimeMS" not in each for each in seen.commands)
    cursor.close()


@pytest.mark.parametrize("kind", [CursorType.TAILABLE, CursorType.TAILABLE_AWAIT])
def test_a_blocked_batch_of_a_tailable_cursor_ends_in_time(
    client: MongoClient, capped: Any, kind: int
) -> None:
    block(client, 1, 2, "getMore")
    cursor = capped.find(cursor_type=kind, batch_size=2, timeout_ms=400)
    assert [cursor.next()["_id"] for _ in range(2)] == [0, 1]
    with pytest.raises(MongoError, match="timeoutMS=400") as caught:
        cursor.next()
    assert caught.value.timeout
    cursor.close()
