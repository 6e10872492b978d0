"""Operations whose time is over: wherever the server falls silent, and with whatever options."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import mongokey
from mongokey import InsertOne, MongoClient, UpdateMany, WriteConcern
from mongokey.cursor import CursorType
from mongokey.errors import (
    AutoReconnect,
    ExecutionTimeout,
    MongoError,
    NetworkTimeout,
    OperationFailure,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)
from tests.pools import drop_connections
from tests.servers.scripted import (
    Close,
    Delay,
    Error,
    Login,
    Request,
    ScriptedServer,
    Silence,
    in_turn,
    primary,
)
from tests.threads import in_threads

WRITTEN = {"ok": 1.0, "n": 1, "nModified": 1}
FOUND = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": [{"_id": 1}]}}
OPENED = {"ok": 1.0, "cursor": {"id": 7, "ns": "x.y", "firstBatch": [{"_id": 1}]}}
MORE = {"ok": 1.0, "cursor": {"id": 7, "ns": "x.y", "nextBatch": [{"_id": 2}]}}
ANSWERS: dict[str, Any] = {
    "find": FOUND,
    "insert": WRITTEN,
    "update": WRITTEN,
    "commitTransaction": {"ok": 1.0},
    "abortTransaction": {"ok": 1.0},
}
#: So much later than its time may an operation end on a machine that has much to do.
LATE_S = 10.0


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(hello=primary(), on=dict(ANSWERS)) as server:
        yield server


@contextmanager
def soon(seconds: float) -> Iterator[None]:
    """What is done in the block takes its time, and no more; it may end sooner by a round trip."""
    began = time.monotonic()
    yield
    assert seconds / 2 <= time.monotonic() - began < seconds + LATE_S


def is_idle(client: Any) -> bool:
    pools = client._topology.pools
    return not any(pool.in_use or pool.connecting for pool in pools)


# Wherever the server falls silent


def test_in_the_selection(server: ScriptedServer) -> None:
    server.on["hello"] = Silence()
    with MongoClient(server.uri()) as client, soon(0.2), mongokey.timeout(0.2):
        with pytest.raises(ServerSelectionTimeoutError, match="within timeoutMS=200") as caught:
            client["x"]["y"].find_one()
    assert caught.value.timeout


def test_in_the_selection_the_sooner_of_two_options_counts(server: ScriptedServer) -> None:
    server.on["hello"] = Silence()
    with MongoClient(server.uri(serverSelectionTimeoutMS=150)) as client, mongokey.timeout(60):
        with (
            soon(0.15),
            pytest.raises(ServerSelectionTimeoutError, match="within serverSelectionTimeoutMS=150"),
        ):
            client["x"]["y"].find_one()


def test_where_it_is_no_operation(server: ScriptedServer) -> None:
    server.on["hello"] = Silence()
    with MongoClient(server.uri(timeoutMS=200)) as client:
        for ask in (lambda: client.address, lambda: client.is_primary):
            with soon(0.2), pytest.raises(ServerSelectionTimeoutError, match="timeoutMS=200"):
                ask()


@pytest.mark.parametrize("step", ["hello with login", "saslStart", "saslContinue"])
def test_in_a_login(step: str) -> None:
    login = Login()
    with ScriptedServer(hello=primary(), login=login, on=dict(ANSWERS)) as server:
        with MongoClient(server.uri()) as client:
            client["x"]["y"].find_one()
            drop_connections(client)
            # Without a login in hello there is a saslStart.
            login.speculate = step != "saslStart"
            server.on[step] = Silence()
            with soon(0.3), mongokey.timeout(0.3):
                with pytest.raises(MongoError, match="timeoutMS=300") as caught:
                    client["x"]["y"].find_one()
            assert caught.value.timeout
            assert is_idle(client)
            # Nothing was held against the server.
            server.on.clear()
            server.on.update(ANSWERS)
            assert client["x"]["y"].find_one() == {"_id": 1}


def test_in_a_login_that_error_391_asks_for() -> None:
    with ScriptedServer(hello=primary(), login=Login(), on=dict(ANSWERS)) as server:
        with MongoClient(server.uri()) as client:
            client["x"]["y"].find_one()
            server.on["saslStart"] = Silence()
            server.on["find"] = Error(code=391)
            with soon(0.3), mongokey.timeout(0.3):
                with pytest.raises(NetworkTimeout, match="timeoutMS=300"):
                    client["x"]["y"].find_one()
            assert is_idle(client)


def test_in_the_hello_of_a_connection(server: ScriptedServer) -> None:
    with MongoClient(server.uri(minPoolSize=0)) as client:
        client["x"]["y"].find_one()
        known = max(server.used_numbers)
        drop_connections(client)

        def silent_if_new(request: Request) -> Any:
            return Silence() if request.connection > known else None

        server.on["hello"] = silent_if_new
        with soon(0.3), mongokey.timeout(0.3):
            with pytest.raises(NetworkTimeout, match="timeoutMS=300"):
                client["x"]["y"].find_one()
        assert is_idle(client)
        del server.on["hello"]
        assert client["x"]["y"].find_one() == {"_id": 1}


def test_in_the_exchange(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        client["x"]["y"].find_one()
        server.on["find"] = Silence()
        with soon(0.2), mongokey.timeout(0.2):
            with pytest.raises(
                NetworkTimeout, match=r"waiting for the server's answer \(timeoutMS=200\)"
            ) as caught:
                client["x"]["y"].find_one()
        assert caught.value.timeout
        # Its connection is closed: the answer may still come.
        assert is_idle(client)
        assert client._topology.pools[0].idle_count == 0
        server.on["find"] = FOUND
        assert client["x"]["y"].find_one() == {"_id": 1}


@pytest.mark.parametrize("first", [Close(), Error(code=11600, labels=["RetryableWriteError"])])
@pytest.mark.parametrize("name", ["find", "insert"])
def test_in_the_second_attempt(server: ScriptedServer, name: str, first: Any) -> None:
    with MongoClient(server.uri()) as client:
        client["x"]["y"].find_one()
        server.on[name] = in_turn(first, Silence())
        collection = client["x"]["y"]
        ask = collection.find_one if name == "find" else lambda: collection.insert_one({})
        with soon(0.5), mongokey.timeout(0.5):
            with pytest.raises(MongoError, match="timeoutMS=500") as caught:
                ask()
        assert caught.value.timeout
        assert is_idle(client)


def test_attempts_go_on_until_the_time_is_over(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        client["x"]["y"].find_one()
        server.on["insert"] = Delay(0.02, Error(code=7, labels=["RetryableWriteError"]))
        with mongokey.timeout(1), pytest.raises(MongoError, match="timeoutMS=1000") as caught:
            client["x"]["y"].insert_one({})
        assert caught.value.timeout
        inserts = server.commands("insert")
        assert len(inserts) > 2
        assert len({each["txnNumber"] for each in inserts}) == 1
        times = [each["maxTimeMS"] for each in inserts]
        assert times == sorted(times, reverse=True)


def test_a_message_that_nobody_reads(server: ScriptedServer) -> None:
    with MongoClient(server.uri(w=0)) as client:
        client["x"]["y"].find_one()
        with mongokey.timeout(5):
            client["x"]["y"].insert_one({})
        assert server.wait_for(lambda: server.count("insert") == 1)
        assert 0 < server.commands("insert")[0]["maxTimeMS"] <= 5000
        with mongokey.timeout(1e-9), pytest.raises(ExecutionTimeout, match="not sent"):
            client["x"]["y"].insert_one({})
        with mongokey.timeout(1e-9), pytest.raises(ExecutionTimeout, match="not sent"):
            client["x"]["y"].insert_many([{}])


def test_when_nothing_is_left_nothing_is_sent(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        client["x"]["y"].find_one()
        with mongokey.timeout(0.01):
            time.sleep(0.02)
            for _ in range(3):
                with pytest.raises(ExecutionTimeout, match=r"not sent.*\(timeoutMS=10\)"):
                    client["x"]["y"].insert_one({})
        assert server.count("insert") == 0
        assert client._topology.pools[0].idle_count == 1  # it is as good as before


# The queue of a pool


def test_in_the_queue_for_a_connection(server: ScriptedServer) -> None:
    server.on["wait"] = Delay(1.5)
    with MongoClient(server.uri(maxPoolSize=1, waitQueueTimeoutMS=20)) as client:
        client["x"]["y"].find_one()

        def wait() -> None:
            client.admin.command("wait")

        def ask() -> None:
            assert server.wait_for(lambda: server.count("wait") == 1)
            with soon(0.2), mongokey.timeout(0.2):
                with pytest.raises(WaitQueueTimeoutError, match="timeoutMS=200") as caught:
                    client["x"]["y"].find_one()
            assert caught.value.timeout
            # waitQueueTimeoutMS does not count.
            with mongokey.timeout(30):
                assert client["x"]["y"].find_one() == {"_id": 1}

        works = iter((wait, ask))
        in_threads(2, lambda: next(works)())


# Deprecated options


def test_socket_timeout_ms_does_not_count(server: ScriptedServer) -> None:
    server.on["find"] = Delay(0.3, FOUND)
    with MongoClient(server.uri(socketTimeoutMS=100, retryReads=False)) as client:
        with pytest.raises(NetworkTimeout, match="socketTimeoutMS=100"):
            client["x"]["y"].find_one()
        for seconds in (30, 0):
            with mongokey.timeout(seconds):
                assert client["x"]["y"].find_one() == {"_id": 1}
        with pytest.raises(NetworkTimeout, match="socketTimeoutMS=100"):
            client["x"]["y"].find_one()
    with MongoClient(server.uri(socketTimeoutMS=100, timeoutMS=30_000)) as client:
        assert client["x"]["y"].find_one() == {"_id": 1}


def test_w_timeout_ms_and_max_time_ms_do_not_count(server: ScriptedServer) -> None:
    with MongoClient(server.uri(w=1, wTimeoutMS=77)) as client:
        collection = client["x"]["y"]
        collection.insert_one({})
        with mongokey.timeout(30):
            collection.insert_one({})
            collection.bulk_write([InsertOne({}), UpdateMany({}, {"$set": {"a": 1}})])
            collection.find_one(max_time_ms=77)
        assert server.commands("insert")[0]["writeConcern"] == {"w": 1, "wtimeout": 77}
        for command in (*server.commands("insert")[1:], *server.commands("update")):
            assert command["writeConcern"] == {"w": 1}
        (find,) = server.commands("find")
        assert 1000 < find["maxTimeMS"] <= 30_000
        only = collection.with_options(write_concern=WriteConcern(wtimeout=5))
        with mongokey.timeout(30):
            only.insert_one({})
        assert "writeConcern" not in server.commands("insert")[-1]


def test_a_block_may_be_longer_than_the_clients_time() -> None:
    with ScriptedServer(hello=primary(), login=Login(), on=dict(ANSWERS)) as server:
        server.on["find"] = Delay(0.5, FOUND)
        with MongoClient(server.uri(timeoutMS=250)) as client:
            with mongokey.timeout(30):
                # Also for the login.
                server.on["saslContinue"] = in_turn(Delay(0.4, None), None)
                assert client["x"]["y"].find_one() == {"_id": 1}
            with mongokey.timeout(0):
                assert client["x"]["y"].find_one() == {"_id": 1}
            with pytest.raises(NetworkTimeout, match="timeoutMS=250"):
                client["x"]["y"].find_one()


# Calls of several commands


def test_all_batches_of_a_bulk_have_one_deadline(server: ScriptedServer) -> None:
    server.on["insert"] = server.on["update"] = Delay(0.25, WRITTEN)
    requests = [InsertOne({}), UpdateMany({}, {"$set": {"a": 1}})] * 4
    with MongoClient(server.uri(timeoutMS=700)) as client:
        client["x"]["y"].find_one()
        with soon(0.7), pytest.raises(MongoError, match="timeoutMS=700") as caught:
            client["x"]["y"].bulk_write(requests)
        assert caught.value.timeout
        assert caught.value.partial_result is not None
        assert 0 < caught.value.partial_result.inserted_count < 4
        # The next call has its own time.
        server.on["insert"] = WRITTEN
        client["x"]["y"].insert_one({})


# Cursors


def test_a_cursor_has_one_time_for_all_of_its_batches(server: ScriptedServer) -> None:
    server.on["find"] = OPENED
    server.on["getMore"] = MORE
    with MongoClient(server.uri(timeoutMS=1000)) as client:
        cursor = client["x"]["y"].find()
        assert [next(cursor)["_id"] for _ in range(3)] == [1, 2, 2]
        assert 0 < server.commands("find")[0]["maxTimeMS"] <= 1000
        assert all("maxTimeMS" not in each for each in server.commands("getMore"))
        time.sleep(1.05)
        asked = server.count("getMore")
        with pytest.raises(ExecutionTimeout, match=r"not sent.*\(timeoutMS=1000\)"):
            next(cursor)
        assert server.count("getMore") == asked
        # A block gives it time.
        with mongokey.timeout(0):
            assert next(cursor)["_id"] == 2
        cursor.close()
        assert server.wait_for(lambda: server.count("killCursors") == 1)


def test_documents_at_hand_are_there_whatever_the_time(server: ScriptedServer) -> None:
    server.on["find"] = {
        "ok": 1.0,
        "cursor": {"id": 7, "ns": "x.y", "firstBatch": [{"_id": n} for n in range(3)]},
    }
    with MongoClient(server.uri(timeoutMS=500)) as client:
        cursor = client["x"]["y"].find()
        next(cursor)
        time.sleep(0.55)
        assert [next(cursor)["_id"], next(cursor)["_id"]] == [1, 2]
        with pytest.raises(ExecutionTimeout):
            next(cursor)


def test_a_command_that_opens_a_cursor_gives_it_its_time(server: ScriptedServer) -> None:
    server.on["aggregate"] = OPENED
    server.on["getMore"] = Silence()
    with MongoClient(server.uri(timeoutMS=500)) as client:
        cursor = client["x"]["y"].aggregate([])
        next(cursor)
        time.sleep(0.3)
        with soon(0), pytest.raises(NetworkTimeout, match="timeoutMS=500"):
            next(cursor)


def test_each_batch_of_a_tailable_cursor_has_the_whole_time(server: ScriptedServer) -> None:
    server.on["find"] = OPENED
    server.on["getMore"] = Delay(0.3, MORE)
    with MongoClient(server.uri(timeoutMS=1000)) as client:
        cursor = client["x"]["y"].find(cursor_type=CursorType.TAILABLE)
        assert [next(cursor)["_id"] for _ in range(5)] == [1, 2, 2, 2, 2]
        assert "maxTimeMS" not in server.commands("find")[0]
        assert all("maxTimeMS" not in each for each in server.commands("getMore"))
        server.on["getMore"] = Silence()
        with soon(1), pytest.raises(NetworkTimeout, match="timeoutMS=1000"):
            next(cursor)


def test_a_server_is_not_to_wait_longer_than_there_is_time(server: ScriptedServer) -> None:
    server.on["find"] = OPENED
    server.on["getMore"] = MORE
    with MongoClient(server.uri(timeoutMS=5000)) as client:
        cursor = client["x"]["y"].find(cursor_type=CursorType.TAILABLE_AWAIT)
        cursor.max_await_time_ms(1000)
        next(cursor)
        next(cursor)
        assert "maxTimeMS" in server.commands("find")[0]
        assert server.commands("getMore")[-1]["maxTimeMS"] == 1000
        with mongokey.timeout(0.5):
            next(cursor)
        assert 0 < server.commands("getMore")[-1]["maxTimeMS"] <= 500


@pytest.mark.parametrize("options", [{}, {"timeoutMS": 300}])
def test_closing_a_cursor_and_a_client_is_bounded(
    server: ScriptedServer, options: dict[str, Any]
) -> None:
    server.on["find"] = OPENED
    server.on["killCursors"] = server.on["endSessions"] = Silence()
    client: Any = MongoClient(server.uri(**options))
    with mongokey.timeout(0.3):
        cursor = client["x"]["y"].find()
        next(cursor)
        time.sleep(0.35)
        # Although that time is over, it is told; and with it once more.
        with soon(0.3):
            cursor.close()
        assert server.count("killCursors") == 1
        # The connection is closed: nothing is idle that it could be told by.
        client.close()


# Transactions


def test_with_transaction_has_one_deadline_and_aborts_beyond_it(server: ScriptedServer) -> None:
    server.on["insert"] = Delay(0.25, WRITTEN)
    with MongoClient(server.uri(timeoutMS=600)) as client:
        client["x"]["y"].find_one()
        calls = 0

        def callback(session: Any) -> None:
            nonlocal calls
            calls += 1
            for _ in range(10):
                client["x"]["y"].insert_one({}, session=session)

        with client.start_session() as session, soon(0.6):
            with pytest.raises(MongoError, match="timeoutMS=600") as caught:
                session.with_transaction(callback)
        assert caught.value.timeout
        assert calls == 1
        assert 1 < server.count("insert") < 5
        assert server.count("abortTransaction") == 1
        assert server.commands("abortTransaction")[0]["maxTimeMS"] > 300
        assert server.count("commitTransaction") == 0


def test_a_silent_commit_ends_in_time_and_its_outcome_is_not_known(server: ScriptedServer) -> None:
    server.on["commitTransaction"] = Silence()
    with MongoClient(server.uri(timeoutMS=300)) as client:
        client["x"]["y"].find_one()
        with client.start_session() as session:
            session.start_transaction(
                write_concern=WriteConcern("majority", wtimeout=7), max_commit_time_ms=7
            )
            client["x"]["y"].insert_one({}, session=session)
            with soon(0.3), pytest.raises(MongoError, match="timeoutMS=300") as caught:
                session.commit_transaction()
        assert caught.value.timeout
        assert caught.value.has_error_label("UnknownTransactionCommitResult")
        command = server.commands("commitTransaction")[0]
        assert command["writeConcern"] == {"w": "majority"}
        assert 7 < command["maxTimeMS"] <= 300


def test_a_transient_error_is_retried_until_the_time_is_over(server: ScriptedServer) -> None:
    server.on["insert"] = Delay(
        0.05, Error(code=24, labels=["TransientTransactionError"], message="lock timeout")
    )
    with MongoClient(server.uri(timeoutMS=800)) as client:
        client["x"]["y"].find_one()
        with client.start_session() as session:
            with pytest.raises(MongoError, match="timeoutMS=800") as caught:
                session.with_transaction(
                    lambda session: client["x"]["y"].insert_one({}, session=session)
                )
        assert caught.value.timeout
        assert server.count("insert") > 1
        assert isinstance(caught.value.__cause__, OperationFailure | AutoReconnect | type(None))


# The pool after a timeout


def test_a_timeout_clears_no_pool_and_forgets_no_server(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        client["x"]["y"].find_one()
        pool = client._topology.pools[0]
        generation = pool.generation
        server.on["find"] = Silence()
        for _ in range(3):
            with mongokey.timeout(0.1), pytest.raises(MongoError) as caught:
                client["x"]["y"].find_one()
            assert caught.value.timeout
        assert pool.generation == generation
        assert not pool.paused
        server.on["find"] = FOUND
        assert client["x"]["y"].find_one() == {"_id": 1}


def test_many_at_once_end_all(server: ScriptedServer) -> None:
    with MongoClient(server.uri(maxPoolSize=4, timeoutMS=400)) as client:
        client["x"]["y"].find_one()
        server.on["find"] = Silence()
        errors: list[MongoError] = []

        def ask() -> None:
            try:
                client["x"]["y"].find_one()
            except MongoError as error:
                errors.append(error)

        with soon(0.4):
            in_threads(12, ask)
        assert len(errors) == 12
        assert all(each.timeout for each in errors)
        assert is_idle(client)
        server.on["find"] = FOUND
        with mongokey.timeout(30):
            assert client["x"]["y"].find_one() == {"_id": 1}
