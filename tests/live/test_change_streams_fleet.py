"""Change streams of a set, of routers and behind a load balancer while members fall: every event
comes, in its order and once, and who is lost is not waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pymongo
import pytest

from mongokey import MongoClient
from mongokey.errors import AutoReconnect
from mongokey.read_preferences import ReadPreference
from tests.live._fleet import counts
from tests.servers.fleet import Fleet
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live

#: So long a test waits for what is to come at once. Whoever waited for a lost member would wait for
#: the whole of SELECTION.
AT_ONCE = 30.0
SELECTION = 120.0
LABEL = "ResumableChangeStreamError"
OPTIONS = {"serverSelectionTimeoutMS": SELECTION * 1000, "heartbeatFrequencyMS": 60_000}


@pytest.fixture
def fleet(open_secantus: SecantusServer) -> Iterator[Fleet]:
    with Fleet(open_secantus, election_ms=50) as fleet:
        yield fleet


@pytest.fixture
def client(face: str, fleet: Fleet) -> Iterator[Any]:
    with MongoClient(fleet.uri(), replicaSet="fleet", **OPTIONS) as client:
        yield client


@pytest.fixture
def source(fleet: Fleet, database_name: str, open_secantus: SecantusServer) -> Iterator[Any]:
    """The watched collection, as somebody else writes it, straight to where the data is."""
    with pymongo.MongoClient(open_secantus.uri(None)) as writer:
        collection: Any = writer[database_name]["things"]
        collection.insert_one({"_id": 0})
        yield collection
        writer.drop_database(database_name)


def ids(stream: Any, count: int) -> list[Any]:
    return [stream.next()["documentKey"]["_id"] for _ in range(count)]


def reader_of(fleet: Fleet, before: list[int]) -> int:
    """The member that was asked for a stream since."""
    return next(
        number
        for number, (now, then) in enumerate(zip(counts(fleet, "aggregate"), before, strict=True))
        if now > then
    )


# One that is lost


@pytest.mark.parametrize("known", [True, False], ids=["known to be lost", "not known yet"])
@pytest.mark.parametrize("how", ["kill", "shut_down", "set_role"])
def test_a_stream_of_a_lost_member_goes_on_on_another_at_once(
    fleet: Fleet, client: Any, source: Any, how: str, *, known: bool
) -> None:
    collection = client[source.database.name]["things"]
    collection = collection.with_options(read_preference=ReadPreference.SECONDARY)
    client.admin.command("ping")
    assert fleet.wait_for(lambda: len(client.secondaries) == 2)
    before = counts(fleet, "aggregate")
    with collection.watch(max_await_time_ms=50) as stream:
        source.insert_one({"_id": 1})
        assert ids(stream, 1) == [1]
        lost = reader_of(fleet, before)
        if how == "set_role":
            fleet.set_role(lost, "other")
        else:
            getattr(fleet, how)(lost)
        source.insert_one({"_id": 2})
        if known:
            address = ("127.0.0.1", fleet.ports[lost])
            assert fleet.wait_for(lambda: address not in client.secondaries)
        began = time.monotonic()
        assert ids(stream, 1) == [2]
        assert time.monotonic() - began < AT_ONCE
        if how != "set_role" or known:
            # One that recovers goes on with the cursors that it has, until it is asked no more.
            other = 3 - lost
            assert counts(fleet, "aggregate")[other] == before[other] + 1


def test_it_stays_with_its_read_preference(fleet: Fleet, client: Any, source: Any) -> None:
    collection = client[source.database.name]["things"]
    with collection.watch(max_await_time_ms=50) as stream:
        assert stream.try_next() is None
        first = fleet.primary
        assert first is not None
        assert counts(fleet, "aggregate")[first] == 1
        fleet.kill(first)
        source.insert_one({"_id": 1})
        began = time.monotonic()
        assert ids(stream, 1) == [1]
        assert time.monotonic() - began < AT_ONCE
        second = fleet.primary
        assert second not in (None, first)
        assert [number for number in range(3) if counts(fleet, "aggregate")[number]] == sorted(
            (first, second)  # type: ignore[type-var]
        )


def test_without_another_it_waits_as_any_read_does(fleet: Fleet, source: Any, face: str) -> None:
    options = {**OPTIONS, "serverSelectionTimeoutMS": 200}
    with MongoClient(fleet.uri(), replicaSet="fleet", **options) as client:
        collection = client[source.database.name]["things"]
        with collection.watch(max_await_time_ms=50) as stream:
            source.insert_one({"_id": 1})
            assert ids(stream, 1) == [1]
            for number in range(3):
                fleet.kill(number)
            with pytest.raises(AutoReconnect):
                stream.next()
            assert stream.alive
            for number in range(3):
                fleet.restart(number)
            assert fleet.wait_for(lambda: fleet.primary is not None)
            source.insert_one({"_id": 2})
            found: list[Any] = []
            deadline = time.monotonic() + AT_ONCE
            while not found:
                assert time.monotonic() < deadline
                try:
                    found = ids(stream, 1)
                except AutoReconnect:
                    assert stream.alive
            assert found == [2]


# A storm


def test_no_event_is_lost_or_doubled_while_members_fall(
    fleet: Fleet, client: Any, source: Any
) -> None:
    total = 400
    collection = client[source.database.name]["things"]
    found: list[Any] = []
    errors: list[BaseException] = []
    opened = threading.Event()

    def read() -> None:
        try:
            with collection.watch(max_await_time_ms=20, batch_size=3) as stream:
                opened.set()
                while len(found) < total:
                    found.append(stream.next()["documentKey"]["_id"])
        except BaseException as error:
            errors.append(error)
            opened.set()

    def lose_primary() -> None:
        primary = fleet.primary
        if primary is not None:
            fleet.kill(primary)
            fleet.restart(primary)

    def everywhere(do: Any) -> None:
        for number in range(3):
            do(number)

    faults = [
        lose_primary,
        fleet.step_down,
        fleet.elect,
        lambda: everywhere(fleet.close_connections),
        lambda: everywhere(lambda n: fleet.fail_point(n, ["getMore"], closeConnection=True)),
        lambda: everywhere(lambda n: fleet.fail_point(n, ["getMore"], errorCode=43)),
        lambda: everywhere(
            lambda n: fleet.fail_point(n, ["getMore"], errorCode=11602, errorLabels=[LABEL])
        ),
    ]
    thread = threading.Thread(target=read)
    thread.start()
    assert opened.wait(AT_ONCE)
    for number in range(1, total + 1):
        source.insert_one({"_id": number})
        if number % (total // len(faults)) == 0:
            # In the midst of what the stream reads, and not behind it.
            assert fleet.wait_for(lambda n=number: errors or len(found) > n - 20)  # type: ignore[misc]
            faults[number // (total // len(faults)) - 1]()
            assert fleet.wait_for(lambda: fleet.primary is not None)
    thread.join(AT_ONCE)
    assert errors == []
    assert found == list(range(1, total + 1))
    # A member that is no primary any more goes on with its cursors; each other fault costs one.
    assert sum(counts(fleet, "aggregate")) >= 5, "the faults have met the stream"


# Routers, and a load balancer


def test_a_stream_of_a_lost_router_goes_on_on_another(
    face: str, open_secantus: SecantusServer, source: Any
) -> None:
    with (
        Fleet(open_secantus, ["mongos", "mongos"]) as fleet,
        MongoClient(fleet.uri(), **OPTIONS) as client,
        client[source.database.name]["things"].watch(max_await_time_ms=50) as stream,
    ):
        source.insert_one({"_id": 1})
        assert ids(stream, 1) == [1]
        lost = reader_of(fleet, [0, 0])
        fleet.kill(lost)
        source.insert_one({"_id": 2})
        assert ids(stream, 1) == [2]
        assert counts(fleet, "aggregate") == [1, 1]


@pytest.mark.parametrize(
    "fault", [{"closeConnection": True}, {"errorCode": 6, "errorLabels": [LABEL]}, {"errorCode": 8}]
)
def test_behind_a_load_balancer_it_keeps_a_connection(
    face: str, open_secantus: SecantusServer, source: Any, fault: dict[str, Any]
) -> None:
    with (
        Fleet(open_secantus, ["load_balancer"]) as fleet,
        MongoClient(fleet.uri(loadBalanced=True)) as client,
    ):
        pool = client._pool()
        stream = client[source.database.name]["things"].watch(max_await_time_ms=20)
        assert pool.in_use == 1
        source.insert_one({"_id": 1})
        assert ids(stream, 1) == [1]
        fleet.fail_point(0, ["getMore"], **fault)
        source.insert_one({"_id": 2})
        if fault.get("errorCode") == 8:
            with pytest.raises(Exception, match="failCommand"):
                stream.next()
            assert not stream.alive
        else:
            assert ids(stream, 1) == [2]
            assert pool.in_use == 1
        stream.close()
        assert fleet.wait_for(lambda: pool.in_use == 0)
