"""timeoutMS of databases, collections, sessions, calls and cursors: which of them counts, what it
is for, and what is refused before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import mongokey
from mongokey import MongoClient
from mongokey.cursor import CursorType
from mongokey.errors import (
    ConfigurationError,
    ExecutionTimeout,
    InvalidOperation,
    MongoError,
    NetworkTimeout,
)
from tests.servers.scripted import Delay, Request, ScriptedServer, Silence, in_turn, primary

WRITTEN = {"ok": 1.0, "n": 1, "nModified": 1}
OPENED = {"ok": 1.0, "cursor": {"id": 7, "ns": "x.y", "firstBatch": [{"_id": 1}]}}
MORE = {"ok": 1.0, "cursor": {"id": 7, "ns": "x.y", "nextBatch": [{"_id": 2}]}}
NONE = {"ok": 1.0, "cursor": {"id": 7, "ns": "x.y", "nextBatch": []}}
ENDED = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "nextBatch": [{"_id": 3}]}}
FOUND = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": [{"_id": 1}]}}
ANSWERS: dict[str, Any] = {
    "find": FOUND,
    "aggregate": FOUND,
    "insert": WRITTEN,
    "ping": {"ok": 1.0},
    "commitTransaction": {"ok": 1.0},
    "abortTransaction": {"ok": 1.0},
    "killCursors": {"ok": 1.0},
    "explain": {"ok": 1.0},
    "distinct": {"ok": 1.0, "values": []},
}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(hello=primary(), on=dict(ANSWERS)) as server:
        yield server


def sent(server: ScriptedServer, name: str = "find") -> int | None:
    """The `maxTimeMS` of the last command of that name."""
    found: int | None = server.commands(name)[-1].get("maxTimeMS")
    return found


def is_from(limit: int, value: int | None) -> bool:
    """Whether a maxTimeMS is what is left of so many milliseconds, and of no less."""
    return value is not None and limit / 2 < value <= limit


# Which of them counts


def test_each_level_has_its_own_or_the_one_above(server: ScriptedServer) -> None:
    with MongoClient(server.uri(timeoutMS=100_000)) as client:
        database = client.get_database("x", timeout_ms=200_000)
        named = database.get_collection("y", timeout_ms=300_000)
        for part, limit in (
            (client["x"]["y"], 100_000),
            (client.get_database("x")["y"], 100_000),
            (client.get_default_database("x", timeout_ms=50_000)["y"], 50_000),
            (database["y"], 200_000),
            (database["y"]["z"], 200_000),
            (database.get_collection("y"), 200_000),
            (database.with_options()["y"], 200_000),
            (database.with_options(timeout_ms=300_000)["y"], 300_000),
            (named, 400_000),
            (named["z"], 400_000),
            (named.with_options(), 400_000),
            (named.with_options(timeout_ms=25_000), 25_000),
            # The database of a collection is the one that it was made from.
            (named.database["y"], 200_000),
        ):
            part.find_one()
            assert is_from(limit, sent(server)), limit
            part.insert_one({})
            assert is_from(limit, sent(server, "insert")), limit
            part.find().to_list()
            assert is_from(limit, sent(server)), limit
        database.command("ping")
        assert is_from(200_000, sent(server, "ping"))


def test_a_call_goes_before_its_collection_and_a_block_before_all(server: ScriptedServer) -> None:
    with MongoClient(server.uri(timeoutMS=100_000)) as client:
        things = client["x"].get_collection("y", timeout_ms=200_000)
        calls: list[tuple[str, Callable[..., Any]]] = [
            ("insert", lambda **time: things.insert_one({}, **time)),
            ("find", lambda **time: things.find_one({}, **time)),
            ("find", lambda **time: things.find({}, **time).to_list()),
            ("aggregate", lambda **time: things.aggregate([], **time).to_list()),
            ("ping", lambda **time: client["x"].command("ping", **time)),
        ]
        for name, call in calls:
            call(timeout_ms=300_000)
            assert is_from(400_000, sent(server, name))
            call(timeout_ms=0)
            assert sent(server, name) is None
            call()
            assert is_from(100_000 if name == "ping" else 200_000, sent(server, name))
            with mongokey.timeout(25):
                call(timeout_ms=300_000)
            assert is_from(25_000, sent(server, name))


def test_no_limit_can_be_said_at_each_level(server: ScriptedServer) -> None:
    with MongoClient(server.uri(timeoutMS=100_000)) as client:
        for part in (
            client.get_database("x", timeout_ms=0)["y"],
            client["x"].get_collection("y", timeout_ms=0),
            client["x"]["y"].with_options(timeout_ms=0),
        ):
            # What is deprecated does not count beside it either.
            part.find_one({}, max_time_ms=7)
            assert sent(server) is None


def test_without_any_there_is_none(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        things = client["x"]["y"]
        things.with_options(timeout_ms=100_000).find_one({}, max_time_ms=7)
        assert is_from(100_000, sent(server))
        things.find_one({}, max_time_ms=7)
        assert sent(server) == 7


def test_what_is_deprecated_does_not_count_beside_it(server: ScriptedServer) -> None:
    server.on["insert"] = Delay(0.3, WRITTEN)
    with MongoClient(server.uri(socketTimeoutMS=100, wTimeoutMS=7)) as client:
        client.admin.command("ping")
        things = client["x"].get_collection("y", timeout_ms=60_000)
        things.insert_one({})
        assert "writeConcern" not in server.commands("insert")[-1]
        with pytest.raises(NetworkTimeout, match="socketTimeoutMS=100"):
            client["x"]["y"].insert_one({})


@pytest.mark.parametrize(
    "limited",
    [
        lambda client: client.get_database("x", timeout_ms=300)["y"],
        lambda client: client["x"].get_collection("y", timeout_ms=300),
        lambda client: client["x"]["y"].with_options(timeout_ms=300),
    ],
)
def test_a_silent_server_is_left_in_time(server: ScriptedServer, limited: Any) -> None:
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        server.on["insert"] = Silence()
        with pytest.raises(NetworkTimeout, match="timeoutMS=300") as caught:
            limited(client).insert_one({})
        assert caught.value.timeout
        with pytest.raises(NetworkTimeout, match="timeoutMS=250"):
            client["x"]["y"].insert_one({}, timeout_ms=250)


def test_of_many_commands_of_one_call(server: ScriptedServer) -> None:
    server.on["insert"] = Delay(0.3, WRITTEN)
    documents = [{"_id": n} for n in range(9)]
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        # Each message alone has time enough.
        server.hello["maxWriteBatchSize"] = 1
        with MongoClient(server.uri()) as other, pytest.raises(MongoError) as caught:
            other["x"]["y"].insert_many(documents, timeout_ms=1000)
        assert caught.value.timeout
        assert server.count("insert") < 9


# What is refused


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, ValueError),
        (-0.5, ValueError),
        (math.nan, ValueError),
        ("5", TypeError),
        (True, TypeError),
        ([], TypeError),
    ],
)
def test_what_is_no_time_is_refused(server: ScriptedServer, value: Any, error: Any) -> None:
    with MongoClient(server.uri()) as client:
        calls: list[tuple[str, Callable[[], Any]]] = [
            ("timeout_ms", lambda: client.get_database("x", timeout_ms=value)),
            ("timeout_ms", lambda: client["x"].get_collection("y", timeout_ms=value)),
            ("timeout_ms", lambda: client["x"]["y"].with_options(timeout_ms=value)),
            ("timeout_ms", lambda: client["x"]["y"].find(timeout_ms=value)),
            ("timeout_ms", lambda: client["x"]["y"].find_one({}, timeout_ms=value)),
            ("timeout_ms", lambda: client["x"]["y"].insert_one({}, timeout_ms=value)),
            ("timeout_ms", lambda: client["x"]["y"].aggregate([], timeout_ms=value)),
            ("timeout_ms", lambda: client["x"]["y"].watch(timeout_ms=value)),
            ("timeout_ms", lambda: client.list_database_names(timeout_ms=value)),
            ("default_timeout_ms", lambda: client.start_session(default_timeout_ms=value)),
        ]
        for option, call in calls:
            with pytest.raises(error, match=f"^{option} "):
                call()
    assert not server.names(used=True)


def test_very_long_times_are_none_that_ends(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        for long in (10**400, math.inf, 2**63):
            client["x"]["y"].find_one({}, timeout_ms=long)
            # More than servers take.
            assert sent(server) is None


def test_modes_of_cursors_that_cannot_be(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        limited = client["x"].get_collection("y", timeout_ms=100_000)
        plain = client["x"]["y"]
        tail = {"cursor_type": CursorType.TAILABLE_AWAIT}
        for call in (
            lambda: plain.find(timeout_mode="iteration"),
            lambda: plain.aggregate([], timeout_mode="cursorLifetime"),
            lambda: plain.list_indexes(timeout_mode="iteration"),
            lambda: client["x"].list_collections(timeout_mode="iteration"),
            lambda: client["x"].cursor_command("find", "y", timeout_mode="iteration"),
            lambda: limited.find(timeout_mode="cursorLifetime", **tail),
            lambda: limited.aggregate([{"$out": "z"}], timeout_mode="iteration"),
            lambda: limited.aggregate([{"$merge": "z"}], timeout_mode="iteration"),
            lambda: client["x"].cursor_command(
                {"find": "y", "tailable": True}, timeout_ms=5, timeout_mode="cursorLifetime"
            ),
        ):
            with pytest.raises(ConfigurationError, match="timeout_mode="):
                call()
        # It became a tailable one afterwards.
        with pytest.raises(ConfigurationError, match="tailable"):
            limited.find(timeout_mode="cursorLifetime").add_option(2).to_list()
        for wrong in ("ITERATION", "", 5):
            with pytest.raises(ValueError, match="timeout_mode must be"):
                limited.find(timeout_mode=wrong)
    assert not server.names(used=True)


def test_a_wait_as_long_as_a_given_time_is_refused(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        for part, time in (
            (client["x"].get_collection("y", timeout_ms=500), {}),
            (client["x"]["y"], {"timeout_ms": 500}),
        ):
            cursor = part.find(cursor_type=CursorType.TAILABLE_AWAIT, **time)
            for wait in (500, 501):
                with pytest.raises(ConfigurationError, match=r"max_await_time_ms.*timeoutMS \(500"):
                    cursor.clone().max_await_time_ms(wait).to_list()
            with pytest.raises(ConfigurationError, match="max_await_time_ms"):
                part.aggregate([], maxAwaitTimeMS=500, **time)
            with pytest.raises(ConfigurationError, match="max_await_time_ms"):
                part.watch(max_await_time_ms=500, **time)
        command = {"find": "y", "tailable": True, "awaitData": True}
        with pytest.raises(ConfigurationError, match="max_await_time_ms"):
            client["x"].cursor_command(command, max_await_time_ms=500, timeout_ms=500)
        assert not server.names(used=True)
        # As programs of PyMongo's may have both: it is shortened.
    server.on["find"], server.on["getMore"] = OPENED, MORE
    with MongoClient(server.uri(timeoutMS=5000)) as client:
        cursor = client["x"]["y"].find(cursor_type=CursorType.TAILABLE_AWAIT)
        cursor.max_await_time_ms(9000)
        assert [next(cursor)["_id"], next(cursor)["_id"]] == [1, 2]
        assert is_from(5000, sent(server, "getMore"))


# Cursors


def test_a_cursor_keeps_the_time_that_it_was_given(server: ScriptedServer) -> None:
    server.on["find"] = server.on["aggregate"] = OPENED
    server.on["getMore"] = Silence()
    with MongoClient(server.uri(timeoutMS=100_000)) as client:
        things = client["x"]["y"]
        for made in (
            lambda: things.find(timeout_ms=300),
            lambda: things.find(timeout_ms=300).clone().sort("a"),
            lambda: things.aggregate([], timeout_ms=300),
            lambda: things.aggregate_raw_batches([], timeout_ms=300),
            lambda: things.find_raw_batches(timeout_ms=300),
            lambda: client["x"].cursor_command("find", "y", timeout_ms=300),
            lambda: client["x"].get_collection("y", timeout_ms=300).find(),
        ):
            cursor = made()
            next(cursor)
            with pytest.raises(MongoError, match="timeoutMS=300") as caught:
                next(cursor)
            assert caught.value.timeout
            cursor.close()


def test_with_iteration_each_batch_has_the_whole_time(server: ScriptedServer) -> None:
    server.on["find"] = OPENED
    with MongoClient(server.uri(timeoutMS=1000)) as client:
        things = client["x"]["y"]
        for made in (
            lambda: things.find(timeout_mode="iteration"),
            lambda: things.find(timeout_mode="iteration").clone(),
            lambda: client["x"].cursor_command("find", "y", timeout_mode="iteration"),
        ):
            server.on["getMore"] = Delay(0.3, MORE)
            cursor = made()
            assert [next(cursor)["_id"] for _ in range(5)] == [1, 2, 2, 2, 2]
            assert sent(server) is None
            assert all("maxTimeMS" not in each for each in server.commands("getMore"))
            cursor.close()
        server.on["getMore"] = Silence()
        cursor = things.find(timeout_mode="iteration", timeout_ms=300)
        next(cursor)
        with pytest.raises(NetworkTimeout, match="timeoutMS=300"):
            next(cursor)


def test_one_call_of_next_has_one_time_for_empty_batches_too(server: ScriptedServer) -> None:
    server.on["find"] = OPENED
    server.on["getMore"] = Delay(0.2, NONE)
    with MongoClient(server.uri()) as client:
        cursor = client["x"]["y"].find(timeout_ms=1000, timeout_mode="iteration")
        next(cursor)
        with pytest.raises(MongoError, match="timeoutMS=1000") as caught:
            next(cursor)
        assert caught.value.timeout
        assert 1 < server.count("getMore") < 20


def test_with_cursor_lifetime_all_batches_share_it(server: ScriptedServer) -> None:
    server.on["find"] = OPENED
    server.on["getMore"] = Delay(0.2, MORE)
    with MongoClient(server.uri()) as client:
        cursor = client["x"]["y"].find(timeout_ms=1000, timeout_mode="cursorLifetime")
        with pytest.raises(MongoError, match="timeoutMS=1000") as caught:
            cursor.to_list()
        assert caught.value.timeout
        assert is_from(1000, sent(server))
        assert 1 < server.count("getMore") < 20


@pytest.mark.parametrize("awaits", [False, True])
def test_a_users_own_find_of_a_tailable_cursor(server: ScriptedServer, awaits: bool) -> None:
    server.on["find"] = OPENED
    server.on["getMore"] = in_turn(*[Delay(0.3, MORE)] * 4, Silence())
    command = {"find": "y", "tailable": True, "awaitData": awaits}
    with MongoClient(server.uri()) as client:
        cursor = client["x"].cursor_command(command, timeout_ms=1000, max_await_time_ms=900)
        assert [next(cursor)["_id"] for _ in range(5)] == [1, 2, 2, 2, 2]
        assert (sent(server) is not None) == awaits
        assert 0 < (sent(server, "getMore") or 0) <= 900
        with pytest.raises(NetworkTimeout, match="timeoutMS=1000"):
            next(cursor)


def test_a_cursor_that_timed_out_is_killed_by_close(server: ScriptedServer) -> None:
    server.on["find"] = OPENED
    server.on["getMore"] = Silence()
    with MongoClient(server.uri()) as client:
        cursor = client["x"]["y"].find(timeout_ms=1000)
        next(cursor)
        with pytest.raises(NetworkTimeout):
            next(cursor)
        assert not cursor.alive
        assert server.count("killCursors") == 0
        # On a new connection, as none is left, and with the time once more.
        cursor.close()
        assert server.commands("killCursors")[0]["cursors"] == [7]
        assert is_from(1000, sent(server, "killCursors"))
        cursor.close()
        assert server.count("killCursors") == 1


def test_a_cursor_that_timed_out_and_is_dropped_is_killed_later(server: ScriptedServer) -> None:
    server.on["find"] = OPENED
    server.on["getMore"] = Silence()
    with MongoClient(server.uri()) as client:
        cursor = client["x"]["y"].find(timeout_ms=300)
        next(cursor)
        with pytest.raises(NetworkTimeout):
            next(cursor)
        del cursor
        client.admin.command("ping")  # there is an idle connection again
        assert server.wait_for(lambda: server.count("killCursors") == 1)


def test_what_else_a_cursor_asks_has_its_time(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        things = client["x"].get_collection("y", timeout_ms=200_000)
        for cursor, limit in ((things.find(), 200_000), (things.find(timeout_ms=50_000), 50_000)):
            cursor.distinct("a")
            assert is_from(limit, sent(server, "distinct"))
            cursor.explain()
            assert is_from(limit, sent(server, "explain"))


# Sessions


def test_the_default_of_a_session(server: ScriptedServer) -> None:
    with MongoClient(server.uri(timeoutMS=100_000)) as client:
        things = client["x"]["y"]
        with client.start_session(default_timeout_ms=200_000) as session:
            assert session.options.default_timeout_ms == 200_000
            assert "default_timeout_ms=200000" in repr(session.options)
            session.start_transaction()
            things.insert_one({}, session=session)
            # Operations have their collection's.
            assert is_from(100_000, sent(server, "insert"))
            session.commit_transaction()
            assert is_from(200_000, sent(server, "commitTransaction"))
            session.start_transaction()
            things.insert_one({}, session=session)
            session.abort_transaction(timeout_ms=50_000)
            assert is_from(50_000, sent(server, "abortTransaction"))
            session.start_transaction()
            things.insert_one({}, session=session)
            session.commit_transaction(timeout_ms=25_000)
            assert is_from(25_000, sent(server, "commitTransaction"))
            session.start_transaction()
            things.insert_one({}, session=session)
        # Its end is the transaction's.
        assert is_from(200_000, sent(server, "abortTransaction"))
        with client.start_session() as session:
            session.start_transaction()
            things.insert_one({}, session=session)
            session.commit_transaction()
            assert is_from(100_000, sent(server, "commitTransaction"))


@pytest.mark.parametrize("given", ["session", "call"])
def test_with_transaction_and_the_calls_in_it(server: ScriptedServer, given: str) -> None:
    default = 200_000 if given == "session" else None
    times = {} if given == "session" else {"timeout_ms": 200_000}
    with MongoClient(server.uri()) as client:
        things = client["x"].get_collection("y", timeout_ms=300_000)

        def callback(session: Any) -> None:
            # One time for all, whatever the collection's.
            things.insert_one({}, session=session)
            assert is_from(200_000, sent(server, "insert"))
            with mongokey.timeout(50):
                things.insert_one({}, session=session)
            assert is_from(50_000, sent(server, "insert"))
            for call in (
                lambda: things.insert_one({}, session=session, timeout_ms=5),
                lambda: things.find({}, session=session, timeout_ms=5).to_list(),
                lambda: things.aggregate([], session=session, timeout_ms=5),
            ):
                with pytest.raises(ConfigurationError, match="timeout_ms cannot be given"):
                    call()
            # Without the session it is another matter.
            things.find_one({}, timeout_ms=25_000)

        with client.start_session(default_timeout_ms=default) as session:
            session.with_transaction(callback, **times)
            assert is_from(200_000, sent(server, "commitTransaction"))
            # It is over: a call may have its own again.
            things.insert_one({}, session=session, timeout_ms=25_000)
            assert is_from(25_000, sent(server, "insert"))


def test_a_call_may_have_its_time_in_a_transaction_without_one(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client, client.start_session() as session:
        session.with_transaction(
            lambda session: client["x"]["y"].insert_one({}, session=session, timeout_ms=25_000)
        )
        assert is_from(25_000, sent(server, "insert"))
        assert sent(server, "commitTransaction") is None


def test_a_session_is_of_its_client_whatever_the_time(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client, MongoClient(server.uri()) as other:
        limited = client["x"].get_collection("y", timeout_ms=100_000)
        with client.start_session(default_timeout_ms=50_000) as session:
            limited.insert_one({}, session=session)
            client["x"]["y"].insert_one({}, session=session)
            with pytest.raises(InvalidOperation, match="another client"):
                other["x"].get_collection("y", timeout_ms=5).insert_one({}, session=session)


# What they share with their client


def test_a_closed_client_is_closed_for_all(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        limited = client["x"].get_collection("y", timeout_ms=100_000)
        limited.find_one()
    with pytest.raises(InvalidOperation, match="close"):
        limited.find_one()


def test_connections_and_sessions_are_those_of_the_client(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        for limit in range(1, 6):
            client["x"].get_collection("y", timeout_ms=limit * 100_000).find_one()
            client["x"]["y"].find_one()
        found: list[Request] = [each for each in server.requests if each.name == "find"]
        assert len({each.connection for each in found}) == 1
        assert len({bytes(each.document["lsid"]["id"]) for each in found}) == 1


def test_a_time_too_short_sends_nothing(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        with pytest.raises(ExecutionTimeout, match="not sent"):
            client["x"]["y"].find_one({}, timeout_ms=1e-6)
        assert server.count("find") == 0
