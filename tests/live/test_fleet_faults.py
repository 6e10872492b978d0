"""The fleet's faults, by PyMongo's measure: what is cut, interrupted, refused, slow or silent."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import bson
import pymongo
import pytest
from pymongo.errors import AutoReconnect, NetworkTimeout, OperationFailure

from tests.live._fleet import EXHAUST_ALLOWED, MORE_TO_COME, RawClient, ask
from tests.live.test_fleet import connect
from tests.servers.fleet import Fleet
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live


@pytest.fixture
def fleet(open_secantus: SecantusServer) -> Iterator[Fleet]:
    """A primary and two secondaries."""
    with Fleet(open_secantus) as fleet:
        yield fleet


@pytest.fixture
def counter(fleet: Fleet) -> Iterator[Any]:
    """A collection of a PyMongo client with one document, `{_id: 0, n: 0}`."""
    with connect(fleet) as client:
        collection = client.fleet.counter
        collection.drop()
        collection.insert_one({"_id": 0, "n": 0})
        yield collection


def numbered(session: int, number: int, **command: Any) -> dict[str, Any]:
    """A command with an lsid and a txnNumber."""
    lsid = {"id": bson.Binary(session.to_bytes(16, "big"), 4)}
    return {**command, "lsid": lsid, "txnNumber": bson.Int64(number), "$db": "fleet"}


def increase(session: int, number: int) -> dict[str, Any]:
    updates = [{"q": {"_id": 0}, "u": {"$inc": {"n": 1}}}]
    return numbered(session, number, update="counter", updates=updates)


def value(collection: Any) -> int:
    return int(collection.find_one({"_id": 0})["n"])


def in_thread(work: Any) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


# Writes that come twice


def test_a_write_cut_off_before_its_reply_is_retried_and_done_once(
    fleet: Fleet, counter: Any
) -> None:
    fleet.cut_writes(0)
    counter.update_one({"_id": 0}, {"$inc": {"n": 1}})
    assert value(counter) == 1
    assert fleet.status()["replayed_writes"] == 1


def test_without_retries_a_cut_write_fails_and_is_done(fleet: Fleet, counter: Any) -> None:
    with connect(fleet, retryWrites=False) as client:
        client.admin.command("ping")
        fleet.cut_writes(0, 1)
        with pytest.raises(AutoReconnect):
            client.fleet.counter.update_one({"_id": 0}, {"$inc": {"n": 1}})
    assert value(counter) == 1


def test_a_second_attempt_waits_for_the_first(
    fleet: Fleet, counter: Any, open_secantus: SecantusServer
) -> None:
    slow = {"failCommands": ["update"], "blockConnection": True, "blockTimeMS": 500}
    point = {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": slow}
    open_secantus.command("admin", point)
    with RawClient(fleet.ports[0]) as first, RawClient(fleet.ports[0]) as second:
        first.send(increase(1, 1))
        assert fleet.wait_for(lambda: "update" in fleet.member(0)["commands"])
        assert second.ask(increase(1, 1))["n"] == 1
        assert first.receive()["n"] == 1
    assert value(counter) == 1


def test_a_batch_that_failed_in_part_is_not_done_again(fleet: Fleet, counter: Any) -> None:
    documents = [{"_id": 1}, {"_id": 1}, {"_id": 2}]
    insert = numbered(2, 1, insert="counter", documents=documents, ordered=False)
    with RawClient(fleet.ports[0]) as client:
        first, second = client.ask(insert), client.ask(insert)
    assert first["n"] == second["n"] == 2
    assert first["writeErrors"] == second["writeErrors"]


def test_a_write_that_failed_is_done_by_the_next_attempt(fleet: Fleet, counter: Any) -> None:
    fleet.fail_point(0, ["update"], errorCode=91)
    with RawClient(fleet.ports[0]) as client:
        refused = client.ask(increase(3, 1))
        assert (refused["code"], refused["errorLabels"]) == (91, ["RetryableWriteError"])
        assert client.ask(increase(3, 1))["n"] == 1
    assert value(counter) == 1


def test_a_number_that_the_session_has_passed_is_too_old(fleet: Fleet, counter: Any) -> None:
    with RawClient(fleet.ports[0]) as client:
        assert client.ask(increase(4, 2))["n"] == 1
        assert client.ask(increase(4, 1))["code"] == 225
    assert value(counter) == 1


def test_a_step_down_interrupts_a_write_that_may_be_done_all_the_same(
    fleet: Fleet, counter: Any, open_secantus: SecantusServer
) -> None:
    slow = {"failCommands": ["update"], "blockConnection": True, "blockTimeMS": 500}
    point = {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": slow}
    open_secantus.command("admin", point)
    with RawClient(fleet.ports[0]) as old, RawClient(fleet.ports[1]) as new:
        before = old.ask({"hello": 1})["topologyVersion"]["counter"]
        old.send(increase(5, 1))
        assert fleet.wait_for(lambda: "update" in fleet.member(0)["commands"])
        fleet.elect(1)
        reply = old.receive()
        assert (reply["code"], reply["errorLabels"]) == (11602, ["RetryableWriteError"])
        assert reply["topologyVersion"]["counter"] > before
        assert new.ask(increase(5, 1))["n"] == 1
        # The old connection is in order: what SecantusDB answered late is nobody's.
        assert old.ask({"ping": 1})["ok"] == 1
    assert value(counter) == 1


def test_pymongo_hides_a_step_down_in_the_middle_of_a_write(
    fleet: Fleet, counter: Any, open_secantus: SecantusServer
) -> None:
    slow = {"failCommands": ["update"], "blockConnection": True, "blockTimeMS": 300}
    point = {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": slow}
    open_secantus.command("admin", point)
    thread = in_thread(lambda: counter.update_one({"_id": 0}, {"$inc": {"n": 1}}))
    assert fleet.wait_for(lambda: "update" in fleet.member(0)["commands"])
    fleet.elect(1)
    thread.join(20)
    assert value(counter) == 1
    assert fleet.member(1)["commands"]["update"] == 1


# Members that end


def test_a_killed_member_resets_its_connections(fleet: Fleet) -> None:
    with RawClient(fleet.ports[0]) as client:
        client.ask({"ping": 1})
        fleet.kill(0)
        with pytest.raises(ConnectionResetError):
            client.ask({"ping": 1})
    fleet.restart(0)
    with RawClient(fleet.ports[0]) as client:
        client.ask({"ping": 1})
        fleet.kill(0, reset=False)
        with pytest.raises(ConnectionError, match="closed"):
            client.receive()


def test_a_member_that_shuts_down_says_so(
    fleet: Fleet, counter: Any, open_secantus: SecantusServer
) -> None:
    slow = {"failCommands": ["find"], "blockConnection": True, "blockTimeMS": 1500}
    point = {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": slow}
    with RawClient(fleet.ports[0]) as monitor, RawClient(fleet.ports[0]) as worker:
        version = monitor.ask({"hello": 1})["topologyVersion"]
        monitor.send({"hello": 1, "topologyVersion": version, "maxAwaitTimeMS": 20_000})
        open_secantus.command("admin", point)
        worker.send({"find": "counter", "$db": "fleet"})
        assert fleet.wait_for(lambda: "find" in fleet.member(0)["commands"])
        fleet.shut_down(0, quiesce_ms=300)
        reply = monitor.receive()
        assert (reply["code"], reply["codeName"]) == (91, "ShutdownInProgress")
        assert 0 < reply["remainingQuiesceTimeMillis"] <= 300
        assert reply["topologyVersion"]["counter"] > version["counter"]
        interrupted = worker.receive()
        assert (interrupted["code"], interrupted["codeName"]) == (11600, "InterruptedAtShutdown")
        with pytest.raises(ConnectionError):
            worker.receive()
    with pytest.raises(ConnectionRefusedError):
        RawClient(fleet.ports[0])
    fleet.elect(1)
    counter.update_one({"_id": 0}, {"$inc": {"n": 1}})


# Silence and slowness


def test_a_silent_member_answers_nothing_until_it_resumes(fleet: Fleet, counter: Any) -> None:
    with RawClient(fleet.ports[0], timeout=0.3) as client:
        client.ask({"ping": 1})
        fleet.silence(0)
        client.send({"ping": 1})
        with pytest.raises(TimeoutError):
            client.receive()
        with RawClient(fleet.ports[0], timeout=0.3) as late:
            late.send({"hello": 1})
            with pytest.raises(TimeoutError):
                late.receive()
            fleet.resume(0)
            client.sock.settimeout(10)
            late.sock.settimeout(10)
            assert client.receive()["ok"] == 1
            assert late.receive()["isWritablePrimary"] is True


def test_what_a_silent_primary_got_is_not_done_when_it_resumes(fleet: Fleet, counter: Any) -> None:
    with RawClient(fleet.ports[0]) as old, RawClient(fleet.ports[1]) as new:
        fleet.silence(0)
        old.send(increase(6, 1))
        fleet.elect(1)
        assert new.ask(increase(6, 1))["n"] == 1
        fleet.resume(0)
        assert old.receive()["code"] == 10107
    assert value(counter) == 1


def test_pymongo_gives_a_silent_primary_up(fleet: Fleet) -> None:
    with connect(
        fleet, socketTimeoutMS=400, connectTimeoutMS=400, heartbeatFrequencyMS=500
    ) as client:
        client.fleet.silent.insert_one({})
        fleet.silence(0)
        fleet.elect(1)
        client.fleet.silent.insert_one({})
        assert client.primary == ("127.0.0.1", fleet.ports[1])


def test_nobody_can_connect_to_a_black_hole(fleet: Fleet) -> None:
    fleet.black_hole(1)
    with pytest.raises(TimeoutError):
        RawClient(fleet.ports[1], timeout=0.3)
    fleet.resume(1)
    assert ask(fleet, 1, {"ping": 1})["ok"] == 1


def test_a_slow_member_takes_its_time(fleet: Fleet) -> None:
    fleet.slow(0, 200)
    started = time.monotonic()
    ask(fleet, 0, {"ping": 1})
    assert time.monotonic() - started >= 0.2
    fleet.slow(0, 0)
    with RawClient(fleet.ports[0], timeout=0.15) as client:
        for _ in range(3):
            client.ask({"ping": 1})


def test_so_many_connections_fail(fleet: Fleet) -> None:
    fleet.fail_connects(0, 2)
    for _ in range(2):
        # Where the reset is quick it is seen by connect().
        with pytest.raises(ConnectionResetError):
            ask(fleet, 0, {"ping": 1})
    assert ask(fleet, 0, {"ping": 1})["ok"] == 1


# Fail points


def test_a_fail_point_holds_on_one_member_alone(fleet: Fleet, counter: Any) -> None:
    data = {"failCommands": ["find"], "errorCode": 10107}
    point = {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data}
    assert ask(fleet, 1, point)["ok"] == 1
    find = {"find": "counter", "$db": "fleet", "$readPreference": {"mode": "nearest"}}
    assert ask(fleet, 0, find)["ok"] == 1
    refused = ask(fleet, 1, find)
    assert refused["codeName"] == "NotWritablePrimary"
    assert "topologyVersion" in refused
    assert ask(fleet, 1, find)["ok"] == 1
    assert ask(fleet, 1, {"configureFailPoint": "other", "mode": "off"})["code"] == 2


def test_a_fail_point_can_close_and_skip_and_label_and_wait(fleet: Fleet, counter: Any) -> None:
    find = {"find": "counter", "$db": "fleet"}
    with RawClient(fleet.ports[0]) as client:
        fleet.fail_point(0, ["find"], {"skip": 1, "times": 1}, closeConnection=True)
        assert client.ask(find)["ok"] == 1
        with pytest.raises(ConnectionError):
            client.ask(find)
    with RawClient(fleet.ports[0]) as client:
        fleet.fail_point(0, ["find"], errorCode=5, errorLabels=["One", "Two"])
        assert client.ask(find)["errorLabels"] == ["One", "Two"]
        fleet.fail_point(0, ["find"], blockConnection=True, blockTimeMS=200)
        started = time.monotonic()
        assert client.ask(find)["ok"] == 1
        assert time.monotonic() - started >= 0.2
        fleet.fail_point(0, ["insert"], writeConcernError={"code": 91})
        reply = client.ask({"insert": "counter", "documents": [{}], "$db": "fleet"})
        assert (reply["n"], reply["writeConcernError"]) == (1, {"code": 91})
        fleet.fail_point(0, ["find"], "alwaysOn", errorCode=6)
        assert [client.ask(find)["code"] for _ in range(3)] == [6, 6, 6]
        fleet.clear_fail_point(0)
        assert client.ask(find)["ok"] == 1


def test_a_write_concern_error_comes_with_a_retry_too(fleet: Fleet, counter: Any) -> None:
    fleet.fail_point(0, ["update"], {"times": 2}, writeConcernError={"code": 91})
    with RawClient(fleet.ports[0]) as client:
        for _ in range(2):
            reply = client.ask(increase(5, 1))
            assert (reply["n"], reply["writeConcernError"]) == (1, {"code": 91})
            assert reply["errorLabels"] == ["RetryableWriteError"]
        assert "writeConcernError" not in client.ask(increase(5, 1))
    assert value(counter) == 1


@pytest.mark.parametrize("code", [None, 1])
def test_a_retryable_write_is_cut_off_after_it_is_done_or_before(
    fleet: Fleet, counter: Any, code: int | None
) -> None:
    data = {} if code is None else {"failBeforeCommitExceptionCode": code}
    point = {"configureFailPoint": "onPrimaryTransactionalWrite", "mode": {"times": 1}}
    assert ask(fleet, 0, {**point, "data": data})["ok"] == 1
    with RawClient(fleet.ports[0]) as client:
        plain = {key: each for key, each in increase(6, 1).items() if key != "txnNumber"}
        assert client.ask(plain)["n"] == 1
        with pytest.raises(ConnectionError):
            client.ask(increase(6, 1))
    assert value(counter) == (2 if code is None else 1)
    with RawClient(fleet.ports[0]) as client:
        assert client.ask(increase(6, 1))["n"] == 1
    assert value(counter) == 2


def test_a_retryable_write_can_be_refused_before_it_is_done(fleet: Fleet, counter: Any) -> None:
    data = {"failBeforeCommitExceptionCode": 11602, "closeConnection": False}
    point = {"configureFailPoint": "onPrimaryTransactionalWrite", "mode": {"skip": 1}}
    assert ask(fleet, 0, {**point, "data": data})["ok"] == 1
    with RawClient(fleet.ports[0]) as client:
        assert client.ask(increase(7, 1))["n"] == 1
        refused = client.ask(increase(7, 2))
        assert (refused["code"], refused["errorLabels"]) == (11602, ["RetryableWriteError"])
        fleet.clear_fail_point(0)
        assert client.ask(increase(7, 2))["n"] == 1
    assert value(counter) == 2


def test_a_fail_point_can_concern_one_application(fleet: Fleet, counter: Any) -> None:
    fleet.fail_point(0, ["find"], "alwaysOn", errorCode=50, appName="unlucky")
    with connect(fleet, appname="unlucky") as client, pytest.raises(OperationFailure):
        client.fleet.counter.find_one()
    with connect(fleet, appname="lucky") as client:
        assert client.fleet.counter.find_one() is not None


def test_a_hello_can_fail(fleet: Fleet) -> None:
    fleet.fail_point(0, ["hello"], errorCode=91)
    assert ask(fleet, 0, {"isMaster": 1})["code"] == 91
    assert ask(fleet, 0, {"hello": 1})["ok"] == 1


@pytest.mark.parametrize("closes", [False, True])
def test_a_streamed_hello_can_fail(fleet: Fleet, closes: bool) -> None:
    with RawClient(fleet.ports[0]) as client:
        version = client.ask({"hello": 1})["topologyVersion"]
        command = {"hello": 1, "topologyVersion": version, "maxAwaitTimeMS": 50}
        client.send(command, EXHAUST_ALLOWED)
        assert client.receive()["ok"] == 1
        fleet.fail_point(0, ["hello"], blockConnection=True, blockTimeMS=300)
        longest, before = 0.0, time.monotonic()
        while longest < 0.25:
            assert client.receive()["ok"] == 1
            longest, before = time.monotonic() - before, time.monotonic()
        fleet.fail_point(0, ["isMaster"], errorCode=91, closeConnection=closes)
        with contextlib.suppress(ConnectionError):
            while client.receive()["ok"] == 1:
                previous = client.reply_id
            assert not closes
            assert not client.flags & MORE_TO_COME
            assert client.response_to == previous
            assert client.ask({"ping": 1})["ok"] == 1
            return
        assert closes


def test_pymongo_retries_reads_and_writes(fleet: Fleet, counter: Any) -> None:
    fleet.fail_point(0, ["find"], errorCode=11600)
    assert value(counter) == 0
    fleet.fail_point(0, ["update"], closeConnection=True)
    counter.update_one({"_id": 0}, {"$inc": {"n": 1}})
    assert value(counter) == 1


def test_pymongo_times_out_on_a_blocked_read(fleet: Fleet, counter: Any) -> None:
    fleet.fail_point(0, ["find"], {"times": 2}, blockConnection=True, blockTimeMS=2000)
    with connect(fleet, socketTimeoutMS=200) as client, pytest.raises(NetworkTimeout):
        client.fleet.counter.find_one()


# What a client does wrong


def test_a_message_that_is_none_closes_the_connection(fleet: Fleet) -> None:
    for raw in (
        b"\x05\0\0\0" + bytes(12),
        b"\xff\xff\xff\x7f" + bytes(12),
        b"\x10\0\0\0" + bytes(8) + b"\xdd\x07\0\0",
        b"\x16\0\0\0" + bytes(8) + b"\xdd\x07\0\0" + bytes(4) + b"\1\xff",
        b"\x10\0\0\0" + bytes(8) + b"\x63\0\0\0",
    ):
        with RawClient(fleet.ports[0]) as client:
            client.sock.sendall(raw)
            with pytest.raises(ConnectionError):
                client.receive()
    assert len(fleet.member(0)["faults"]) == 5
    assert ask(fleet, 0, {"ping": 1})["ok"] == 1


def test_unacknowledged_writes_are_done_in_order(fleet: Fleet) -> None:
    with connect(fleet) as client:
        collection = client.fleet.unacknowledged
        collection.drop()
        fast = collection.with_options(write_concern=pymongo.WriteConcern(w=0))
        for number in range(20):
            fast.insert_one({"_id": number})
        assert fleet.wait_for(lambda: collection.count_documents({}) == 20)
        fleet.elect(1)
    with RawClient(fleet.ports[0]) as raw:
        # A secondary cannot say no to what wants no answer: it closes the connection.
        raw.send({"insert": "unacknowledged", "documents": [{}], "$db": "fleet"}, 2)
        with pytest.raises(ConnectionError):
            raw.receive()
