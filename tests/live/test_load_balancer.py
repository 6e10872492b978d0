"""A client behind a load balancer: the fleet's leads to two services, by turns."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mongokey import MongoClient, monitoring
from mongokey.errors import (
    AutoReconnect,
    ConfigurationError,
    OperationFailure,
    WaitQueueTimeoutError,
)
from tests.servers.fleet import Fleet
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live

DATABASE = "balanced"


class Recorder(monitoring.ConnectionPoolListener):
    """Keeps the names of the events, and what closed or cleared."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith(("pool_", "connection_")):
            return self.events.append
        return super().__getattribute__(name)

    def of(self, kind: type) -> list[Any]:
        return [each for each in self.events if type(each) is kind]


@pytest.fixture(scope="module")
def fleet(open_secantus: SecantusServer) -> Iterator[Fleet]:
    with Fleet(open_secantus, ["load_balancer"]) as fleet:
        yield fleet


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def client(fleet: Fleet, recorder: Recorder) -> Iterator[MongoClient]:
    with MongoClient(fleet.uri(loadBalanced=True), event_listeners=[recorder]) as client:
        things = client[DATABASE]["things"]
        things.drop()
        things.insert_many([{"_id": number} for number in range(9)])
        yield client


def fail(client: MongoClient, command: str, **data: Any) -> None:
    client.admin.command(
        {
            "configureFailPoint": "failCommand",
            "mode": {"times": 1},
            "data": {"failCommands": [command], **data},
        }
    )


def wait_until(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def in_use(client: MongoClient) -> int:
    return client._pool().in_use


def test_connections_are_of_services_and_a_cursor_stays_on_its_own(client: MongoClient) -> None:
    things = client[DATABASE]["things"]
    cursors = [things.find(batch_size=2) for _ in range(4)]
    rows = list(zip(*cursors, strict=True))
    assert rows == [({"_id": number},) * 4 for number in range(9)]
    assert in_use(client) == 0
    # Four at once had four connections, each to the other service than the one before.
    assert client._pool().idle_count == 4


def test_a_cursor_keeps_its_connection_until_it_is_exhausted(
    client: MongoClient, recorder: Recorder
) -> None:
    recorder.events.clear()
    cursor = client[DATABASE]["things"].find(batch_size=4)
    assert in_use(client) == 0
    next(cursor)
    assert (in_use(client), client._pool().pinned_count) == (1, 1)
    assert len(list(cursor)) == 8
    assert (in_use(client), client._pool().pinned_count) == (0, 0)
    # It was lent once, for three commands.
    assert len(recorder.of(monitoring.ConnectionCheckedOutEvent)) == 1
    assert len(recorder.of(monitoring.ConnectionCheckedInEvent)) == 1
    cursor.close()
    assert in_use(client) == 0


def test_a_cursor_whose_documents_are_all_in_the_first_batch_keeps_none(
    client: MongoClient,
) -> None:
    cursor = client[DATABASE]["things"].find()
    next(cursor)
    assert in_use(client) == 0


@pytest.mark.parametrize("way", ["close", "with", "garbage", "limit"])
def test_a_cursor_that_is_let_go_gives_its_connection_back(client: MongoClient, way: str) -> None:
    things = client[DATABASE]["things"]
    cursor = things.find(batch_size=2, limit=3 if way == "limit" else 0)
    next(cursor)
    assert in_use(client) == 1
    if way == "close":
        cursor.close()
        assert in_use(client) == 0
    elif way == "with":
        with cursor:
            pass
        assert in_use(client) == 0
    elif way == "limit":
        assert len(list(cursor)) == 2
    else:
        del cursor
        gc.collect()
    wait_until(lambda: in_use(client) == 0)
    assert client._pool().pinned_count == 0
    assert client._pool().idle_count == 1, "it was not closed"


def test_commands_that_open_cursors_are_pinned_too(client: MongoClient) -> None:
    things = client[DATABASE]["things"]
    cursor = things.aggregate([{"$match": {}}], batchSize=2)
    next(cursor)
    assert in_use(client) == 1
    assert len(list(cursor)) == 8
    assert in_use(client) == 0
    for number in range(3):
        things.create_index(f"field{number}")
    assert len(things.index_information()) == 4
    assert DATABASE in client.list_database_names()
    assert in_use(client) == 0


def test_after_a_network_error_the_cursor_keeps_it_until_closed(
    client: MongoClient, fleet: Fleet, recorder: Recorder
) -> None:
    cursor = client[DATABASE]["things"].find(batch_size=2)
    assert [next(cursor)["_id"], next(cursor)["_id"]] == [0, 1]
    fail(client, "getMore", closeConnection=True)
    recorder.events.clear()
    with pytest.raises(AutoReconnect):
        next(cursor)
    assert in_use(client) == 1
    with pytest.raises(StopIteration):
        next(cursor)
    killed = fleet.member(0)["commands"].get("killCursors", 0)
    cursor.close()
    assert in_use(client) == 0
    assert fleet.member(0)["commands"].get("killCursors", 0) == killed
    (closed,) = [
        each
        for each in recorder.of(monitoring.ConnectionClosedEvent)
        if each.reason == monitoring.ConnectionClosedReason.ERROR
    ]
    (cleared,) = recorder.of(monitoring.PoolClearedEvent)
    assert cleared.service_id is not None
    assert closed.connection_id > 0
    assert not client._pool().paused
    assert client[DATABASE]["things"].find_one() == {"_id": 0}


def test_after_another_error_too_and_then_the_cursor_is_killed(
    client: MongoClient, fleet: Fleet
) -> None:
    cursor = client[DATABASE]["things"].find(batch_size=2)
    next(cursor), next(cursor)
    fail(client, "getMore", errorCode=7)
    with pytest.raises(OperationFailure):
        next(cursor)
    assert in_use(client) == 1
    killed = fleet.member(0)["commands"].get("killCursors", 0)
    cursor.close()
    assert in_use(client) == 0
    assert fleet.member(0)["commands"]["killCursors"] == killed + 1
    assert client._pool().idle_count >= 1


def test_a_kill_that_fails_gives_the_connection_back_too(client: MongoClient) -> None:
    cursor = client[DATABASE]["things"].find(batch_size=2)
    next(cursor)
    fail(client, "killCursors", closeConnection=True)
    cursor.close()
    assert in_use(client) == 0
    assert client[DATABASE]["things"].find_one() == {"_id": 0}


def test_who_waits_in_vain_is_told_what_connections_are_used_for(fleet: Fleet) -> None:
    with MongoClient(fleet.uri(loadBalanced=True, maxPoolSize=1, waitQueueTimeoutMS=50)) as client:
        cursor = client[DATABASE]["things"].find(batch_size=2)
        next(cursor)
        with pytest.raises(WaitQueueTimeoutError) as caught:
            client.admin.command("ping")
        assert (
            "maxPoolSize: 1, connections in use by cursors: 1, connections in use by "
            "transactions: 0, connections in use by other operations: 0"
        ) in str(caught.value)
        cursor.close()
        assert client.admin.command("ping")["ok"] == 1


def test_who_waits_gets_the_connection_that_a_cursor_gives_back(fleet: Fleet) -> None:
    with MongoClient(fleet.uri(loadBalanced=True, maxPoolSize=1)) as client:
        cursor = client[DATABASE]["things"].find(batch_size=2)
        next(cursor)
        answers: list[Any] = []
        waiting = threading.Thread(
            target=lambda: answers.append(client.admin.command("ping")["ok"])
        )
        waiting.start()
        wait_until(lambda: client._pool().waiting_count == 1)
        assert len(list(cursor)) == 8
        waiting.join(20)
        assert answers == [1]


def test_only_the_connections_to_the_service_that_failed_are_closed(
    client: MongoClient, recorder: Recorder
) -> None:
    things = client[DATABASE]["things"]
    cursors = [things.find(batch_size=2) for _ in range(4)]
    for each in cursors:
        next(each)
    for each in cursors:
        each.close()
    idle = client._pool().idle_count
    assert idle == 4
    recorder.events.clear()
    fail(client, "insert", closeConnection=True)
    with pytest.raises(AutoReconnect):
        client[DATABASE].command({"insert": "things", "documents": [{"_id": 100}]})
    (cleared,) = recorder.of(monitoring.PoolClearedEvent)
    assert cleared.service_id is not None
    # The broken one, and the other one to the same service.
    assert client._pool().idle_count == 2
    reasons = [each.reason for each in recorder.of(monitoring.ConnectionClosedEvent)]
    assert sorted(reasons) == ["error", "stale"]
    assert client.admin.command("ping")["ok"] == 1


def test_an_error_before_hello_is_no_reason_to_close_anything(
    client: MongoClient, recorder: Recorder
) -> None:
    fail(client, "hello", closeConnection=True)
    recorder.events.clear()
    cursor = client[DATABASE]["things"].find(batch_size=2)
    next(cursor)  # so that the next operation needs a connection of its own
    # It may be load: the command waits a moment, and is tried again.
    assert client.admin.command("ping")["ok"] == 1
    (failed,) = recorder.of(monitoring.ConnectionCheckOutFailedEvent)
    assert failed.reason == monitoring.ConnectionCheckOutFailedReason.CONN_ERROR
    assert recorder.of(monitoring.PoolClearedEvent) == []
    assert len(list(cursor)) == 8


def test_a_server_without_a_service_id_is_refused(open_secantus: SecantusServer) -> None:
    uri = f"mongodb://{open_secantus.host}:{open_secantus.port}/?loadBalanced=true"
    with MongoClient(uri, serverSelectionTimeoutMS=2000) as client:
        with pytest.raises(ConfigurationError, match="the server does not support this mode"):
            client.admin.command("ping")


def test_closing_the_client_closes_what_cursors_hold(fleet: Fleet, recorder: Recorder) -> None:
    client: MongoClient = MongoClient(fleet.uri(loadBalanced=True), event_listeners=[recorder])
    cursor = client[DATABASE]["things"].find(batch_size=2)
    next(cursor)
    pool = client._pool()
    client.close()
    cursor.close()
    assert (pool.in_use, pool.pinned_count) == (0, 0)
    (closed,) = recorder.of(monitoring.ConnectionClosedEvent)
    assert closed.reason == monitoring.ConnectionClosedReason.POOL_CLOSED
