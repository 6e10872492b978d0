"""Change streams when something goes wrong: odd and hostile replies, servers that fail each time,
streams that are closed, interrupted or forked in the middle of a look or of a resume. No event is
lost or comes twice; what was open on a server is given back; nothing is asked without pause."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import bson
import pytest

import mongokey
from mongokey import MongoClient
from mongokey.bson.timestamp import Timestamp
from mongokey.errors import (
    AutoReconnect,
    ConfigurationError,
    DocumentTooLarge,
    InvalidOperation,
    MongoError,
    NotPrimaryError,
    OperationFailure,
    ProtocolError,
)
from tests.live.test_fork import in_child
from tests.servers.scripted import (
    Close,
    Delay,
    Error,
    Hold,
    Request,
    ScriptedServer,
    Silence,
    ghost,
    primary,
)

LABEL = ["ResumableChangeStreamError"]


class Feed:
    """The server's side: events with the numbers from 1 to `count`, whose tokens are those.

    A cursor begins after its token. `faults` are answers that are given instead of the next ones
    of a command, by its name.
    """

    def __init__(self, count: int = 0, batch: int = 2) -> None:
        self.count = count
        self.batch = batch
        self.cursors: dict[int, int] = {}
        self.faults: dict[str, list[Any]] = {}
        self._ids = itertools.count(100)

    def aggregate(self, request: Request) -> Any:
        if self.faults.get("aggregate"):
            return self.faults["aggregate"].pop(0)
        stage = request.document["pipeline"][0]["$changeStream"]
        token = stage.get("resumeAfter") or stage.get("startAfter") or {"_data": "0"}
        identifier = next(self._ids)
        self.cursors[identifier] = int(token["_data"])
        return self.reply(identifier, "firstBatch", [])

    def get_more(self, request: Request) -> Any:
        if self.faults.get("getMore"):
            return self.faults["getMore"].pop(0)
        identifier = int(request.document["getMore"])
        if identifier not in self.cursors:
            return Error(code=43, message="cursor not found")
        first = self.cursors[identifier] + 1
        numbers = range(first, min(first + self.batch, self.count + 1))
        self.cursors[identifier] += len(numbers)
        return self.reply(identifier, "nextBatch", [event(n) for n in numbers])

    def kill(self, request: Request) -> Any:
        for each in request.document["cursors"]:
            self.cursors.pop(int(each), None)
        return {"ok": 1.0}

    def reply(self, identifier: int, name: str, events: list[Any]) -> dict[str, Any]:
        place = {"_data": str(self.cursors[identifier])}
        return reply(name, events, bson.Int64(identifier), postBatchResumeToken=place)


def event(number: int, **more: Any) -> dict[str, Any]:
    return {"_id": {"_data": str(number)}, "operationType": "insert", "n": number, **more}


def reply(name: str, events: Any, identifier: Any = 7, **more: Any) -> dict[str, Any]:
    cursor = {"id": identifier, "ns": "x.y", name: events, **more}
    return {"cursor": cursor, "operationTime": bson.Timestamp(5, 1), "ok": 1.0}


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def server(feed: Feed) -> Iterator[ScriptedServer]:
    answers = {"aggregate": feed.aggregate, "getMore": feed.get_more, "killCursors": feed.kill}
    with ScriptedServer(hello=primary(), on=answers) as server:
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Any]:
    with MongoClient(server.uri(), replicaSet="rs", retryReads=False) as client:
        yield client


@pytest.fixture
def collection(client: Any) -> Any:
    return client["x"]["y"]


def numbers(stream: Any, count: int) -> list[int]:
    return [stream.next()["n"] for _ in range(count)]


def stages(server: ScriptedServer) -> list[dict[str, Any]]:
    return [each["pipeline"][0]["$changeStream"] for each in server.commands("aggregate")]


def lsids(server: ScriptedServer, name: str) -> list[bytes]:
    return [bytes(each["lsid"]["id"]) for each in server.commands(name)]


def killed(server: ScriptedServer, count: int = 1) -> bool:
    return server.wait_for(lambda: server.count("killCursors") == count)


# Hostile replies


@pytest.mark.parametrize(
    "odd",
    [
        {"_id": None},
        {"_id": 7},
        {"_id": "82"},
        {"_id": [1]},
        {},
    ],
    ids=str,
)
def test_an_event_without_a_token_ends_the_stream(
    server: ScriptedServer, collection: Any, odd: Any
) -> None:
    server.on["getMore"] = reply("nextBatch", [event(1), odd, event(3)])
    stream = collection.watch()
    assert numbers(stream, 1) == [1]
    token = stream.resume_token
    with pytest.raises(InvalidOperation, match="resume token is missing"):
        stream.next()
    assert not stream.alive
    assert stream.resume_token == token == {"_data": "1"}
    assert killed(server)
    assert server.count("aggregate") == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"ok": 1.0}, ProtocolError),
        (reply("nextBatch", "events"), ProtocolError),
        (reply("nextBatch", ["event"]), ProtocolError),
        (reply("nextBatch", [], postBatchResumeToken="82"), ProtocolError),
        (reply("nextBatch", [event(1)], postBatchResumeToken=[]), ProtocolError),
        (reply("nextBatch", [], identifier="7"), ProtocolError),
        (reply("nextBatch", [], identifier=None), ProtocolError),
        (reply("nextBatch", [], identifier=7.5), ProtocolError),
        ({"cursor": 7, "ok": 1.0}, ProtocolError),
    ],
    ids=str,
)
@pytest.mark.parametrize("at_first", [True, False])
def test_replies_that_make_no_sense_are_refused(
    server: ScriptedServer, client: Any, answer: Any, kind: type[Exception], *, at_first: bool
) -> None:
    if at_first:
        cursor = answer.get("cursor")
        if isinstance(cursor, dict):
            cursor = {each.replace("next", "first"): value for each, value in cursor.items()}
            answer = {**answer, "cursor": cursor}
        server.on["aggregate"] = answer
        with pytest.raises(kind):
            client["x"]["y"].watch()
    else:
        stream = client["x"]["y"].watch()
        server.on["getMore"] = answer
        with pytest.raises(kind):
            stream.next()
        assert not stream.alive
        assert stream.try_next() is None
    assert server.count("aggregate") == 1, "it is no error that another attempt mends"
    assert server.wait_for(lambda: client._pool().in_use == 0)


@pytest.mark.parametrize("identifier", [7, bson.Int64(7), 7.0], ids=repr)
def test_a_cursor_id_may_be_any_whole_number(
    server: ScriptedServer, collection: Any, identifier: Any
) -> None:
    server.on["aggregate"] = reply("firstBatch", [], identifier)
    server.on["getMore"] = reply("nextBatch", [event(1)], identifier)
    with collection.watch() as stream:
        assert numbers(stream, 2) == [1, 1]
    assert server.commands("getMore")[0]["getMore"] == 7
    assert server.commands("killCursors")[0]["cursors"] == [7]


@pytest.mark.parametrize("where", ["aggregate", "getMore"])
def test_a_cursor_that_has_ended_is_read_to_its_end(
    server: ScriptedServer, collection: Any, where: str
) -> None:
    name = "firstBatch" if where == "aggregate" else "nextBatch"
    server.on[where] = reply(name, [event(1), event(2)], 0)
    stream = collection.watch()
    assert [each["n"] for each in stream] == [1, 2]
    assert not stream.alive
    assert stream.resume_token == {"_data": "2"}
    assert server.count("killCursors") == 0
    assert server.count("aggregate") == 1


def test_a_cursor_that_ends_at_once_ends_the_stream(
    server: ScriptedServer, collection: Any
) -> None:
    server.on["aggregate"] = reply("firstBatch", [], 0)
    assert list(collection.watch()) == []
    assert server.names(used=True).count("aggregate") == 1


def test_a_null_token_of_a_batch_is_none(server: ScriptedServer, collection: Any) -> None:
    server.on["aggregate"] = reply("firstBatch", [], postBatchResumeToken=None)
    server.on["getMore"] = reply("nextBatch", [event(1)], postBatchResumeToken=None)
    with collection.watch() as stream:
        assert stream.resume_token is None
        numbers(stream, 1)
        assert stream.resume_token == {"_data": "1"}


def test_a_reply_without_a_place_is_no_stream(server: ScriptedServer, collection: Any) -> None:
    answer = reply("firstBatch", [])
    del answer["operationTime"]
    server.on["aggregate"] = answer
    with pytest.raises(OperationFailure, match="could not be resumed"):
        collection.watch()
    assert killed(server)


def test_a_token_that_is_too_large_to_be_sent_ends_the_stream(
    server: ScriptedServer, feed: Feed, collection: Any
) -> None:
    stream = collection.watch()
    large = {"_data": "8" * (16 * 1024 * 1024 + 32 * 1024)}
    feed.faults["getMore"] = [reply("nextBatch", [], postBatchResumeToken=large), Close()]
    assert stream.try_next() is None
    with pytest.raises(DocumentTooLarge):
        stream.next()
    assert not stream.alive
    assert server.count("aggregate") == 1


def test_a_first_error_of_the_server_has_its_table_or_its_label(
    feed: Feed, server: ScriptedServer
) -> None:
    server.hello = primary(maxWireVersion=8)
    with MongoClient(server.uri(), replicaSet="rs") as client, client.x.y.watch() as stream:
        feed.count = 1
        feed.faults["getMore"] = [Error(code=234), Error(code=11602), Error(code=136)]
        # Two looks, as it is resumed once in each.
        assert stream.try_next() is None
        assert stream.try_next() is None
        with pytest.raises(OperationFailure) as raised:
            stream.try_next()
        assert raised.value.code == 136
        assert not stream.alive


@pytest.mark.parametrize(("version", "expected"), [(8, None), (9, "why"), (21, "why")])
def test_servers_before_4_4_get_no_comment_with_getmores(
    server: ScriptedServer, version: int, expected: str | None
) -> None:
    server.hello = primary(maxWireVersion=version)
    server.on["find"] = reply("firstBatch", [{"_id": 1}])
    with MongoClient(server.uri(), replicaSet="rs") as client:
        with client.x.y.watch(comment="why", max_await_time_ms=9) as stream:
            assert stream.try_next() is None
        with client.x.y.find(comment="why") as cursor:
            next(cursor)
            server.on["getMore"] = reply("nextBatch", [{"_id": 2}], 0)
            assert [each["_id"] for each in cursor] == [2]
    of_stream, of_find = server.commands("getMore")
    assert of_stream.get("comment") == of_find.get("comment") == expected
    assert of_stream["maxTimeMS"] == 9
    for name in ("aggregate", "find"):
        assert server.commands(name)[0]["comment"] == "why"


def test_not_primary_without_its_label_is_for_good(
    feed: Feed, server: ScriptedServer, collection: Any
) -> None:
    stream = collection.watch()
    feed.faults["getMore"] = [Error(code=10107, message="not primary")]
    with pytest.raises(NotPrimaryError):
        stream.next()
    assert not stream.alive


# Resumed


@pytest.mark.parametrize(
    "fault",
    [
        Close(),
        Close(reset=True),
        Error(code=6, labels=LABEL),
        Error(code=10107, message="not primary", labels=LABEL),
        Error(code=43),
    ],
    ids=repr,
)
def test_no_event_is_lost_or_doubled(
    server: ScriptedServer, feed: Feed, collection: Any, fault: Any
) -> None:
    feed.count, feed.batch = 9, 3
    with collection.watch() as stream:
        assert numbers(stream, 2) == [1, 2]
        # The event at hand is handed out before anything is asked.
        feed.faults["getMore"] = [fault]
        assert numbers(stream, 7) == [3, 4, 5, 6, 7, 8, 9]
        assert stream.alive
    assert stages(server) == [{}, {"resumeAfter": {"_data": "3"}}]
    # "The resume attempt MUST use the same session as the previous attempt's command."
    assert len(set(lsids(server, "aggregate"))) == 1


def test_the_cursor_that_is_lost_is_killed_first_in_its_session(
    server: ScriptedServer, feed: Feed, collection: Any
) -> None:
    with collection.watch() as stream:
        feed.faults["getMore"] = [Error(code=6, labels=LABEL)]
        stream.try_next()
        names = [each for each in server.names(used=True) if each != "hello"]
        assert names == ["aggregate", "getMore", "killCursors", "aggregate"]
        assert server.commands("killCursors")[0]["cursors"] == [100]
        assert lsids(server, "killCursors") == lsids(server, "getMore")
    # The session of the stream is in one place: two streams never share it.
    with collection.watch(), collection.watch():
        ours = lsids(server, "aggregate")[-2:]
    assert len(set(ours)) == 2


@pytest.mark.parametrize(
    "fault", [Error(code=13, message="not allowed"), Error(code=6, labels=LABEL), Close()], ids=repr
)
def test_no_failure_of_killing_is_raised(
    server: ScriptedServer, feed: Feed, collection: Any, fault: Any
) -> None:
    feed.count = 1
    with collection.watch() as stream:
        feed.faults["getMore"] = [Error(code=6, labels=LABEL)]
        server.on["killCursors"] = fault
        assert numbers(stream, 1) == [1]
        assert stream.alive


def test_a_resume_that_fails_is_raised_and_tried_again(
    server: ScriptedServer, feed: Feed, collection: Any
) -> None:
    feed.count = 3
    with collection.watch() as stream:
        assert numbers(stream, 2) == [1, 2]
        feed.faults = {"getMore": [Close()], "aggregate": [Error(code=6, labels=LABEL)] * 2}
        for _ in range(2):
            with pytest.raises(OperationFailure) as raised:
                stream.next()
            assert raised.value.code == 6
            assert stream.alive
        assert stream.resume_token == {"_data": "2"}
        assert numbers(stream, 1) == [3]
    assert server.count("aggregate") == 4


def test_a_resume_that_is_refused_ends_the_stream(
    server: ScriptedServer, feed: Feed, collection: Any
) -> None:
    stream = collection.watch()
    feed.faults = {"getMore": [Close()], "aggregate": [Error(code=286, message="history lost")]}
    with pytest.raises(OperationFailure) as raised:
        stream.next()
    assert raised.value.code == 286
    assert not stream.alive
    assert stream.try_next() is None
    assert server.count("aggregate") == 2


def test_without_a_token_it_goes_on_at_the_first_time(
    server: ScriptedServer, feed: Feed, collection: Any
) -> None:
    feed.faults = {"aggregate": [reply("firstBatch", [])], "getMore": [Close()]}
    with collection.watch() as stream:
        stream.try_next()
    assert stages(server)[1] == {"startAtOperationTime": bson.Timestamp(5, 1)}
    start = Timestamp(3, 4)
    feed.faults = {"aggregate": [reply("firstBatch", [])], "getMore": [Close()]}
    with collection.watch(start_at_operation_time=start) as stream:
        stream.try_next()
    assert stages(server)[2:] == [{"startAtOperationTime": bson.Timestamp(3, 4)}] * 2


# A server that fails each time


@pytest.mark.parametrize("fault", [Error(code=6, labels=LABEL), Error(code=43)], ids=repr)
def test_a_server_that_always_fails_is_not_asked_without_pause(
    server: ScriptedServer, collection: Any, fault: Any
) -> None:
    server.on["getMore"] = fault
    stream = collection.watch()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(list(stream)))
    began = time.monotonic()
    thread.start()
    assert server.wait_for(lambda: server.count("aggregate") == 5)
    # 0.1, 0.2 and 0.4 s, of which up to half is taken off; the first time it is resumed at once.
    assert time.monotonic() - began > 0.3
    stream.close()
    thread.join(20)
    assert found == [[]]
    assert server.count("aggregate") < 12


def test_closing_the_client_ends_a_pause(server: ScriptedServer, collection: Any) -> None:
    server.on["getMore"] = Error(code=6, labels=LABEL)
    stream = collection.watch()
    raised: list[BaseException] = []

    def look() -> None:
        try:
            stream.next()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    assert server.wait_for(lambda: server.count("aggregate") >= 4)
    collection.database.client.close()
    thread.join(20)
    assert [type(each) for each in raised] == [InvalidOperation]


# timeoutMS


def test_a_look_has_the_time_of_one_call(server: ScriptedServer, feed: Feed) -> None:
    feed.count = 2
    with MongoClient(server.uri(), replicaSet="rs", timeoutMS=300) as client:
        stream = client.x.y.watch(max_await_time_ms=100)
        assert numbers(stream, 2) == [1, 2]
        server.on["getMore"] = Silence()
        with pytest.raises(MongoError) as raised:
            stream.next()
        assert raised.value.timeout
        assert stream.alive
        # The call after it opens the stream anew, without a pause.
        server.on["getMore"] = feed.get_more
        feed.count = 3
        assert numbers(stream, 1) == [3]
        aggregate, again = server.commands("aggregate")
        assert again["pipeline"] == [{"$changeStream": {"resumeAfter": {"_data": "2"}}}]
        assert 0 < aggregate["maxTimeMS"] <= 300
        assert {each["maxTimeMS"] for each in server.commands("getMore")} == {100}
        stream.close()


def test_each_look_has_its_own_time(server: ScriptedServer, feed: Feed) -> None:
    slow = Delay(0.15, feed.get_more)
    server.on["getMore"] = slow
    with MongoClient(server.uri(), replicaSet="rs", timeoutMS=1000) as client:
        stream = client.x.y.watch()
        for _ in range(8):
            assert stream.try_next() is None
        assert server.count("aggregate") == 1
        # `next` waits for an event, and no longer than for all of its looks together.
        with pytest.raises(MongoError) as raised:
            stream.next()
        assert raised.value.timeout
        assert stream.alive
        stream.close()


def test_a_pause_is_no_longer_than_the_time(server: ScriptedServer) -> None:
    server.on["getMore"] = Error(code=6, labels=LABEL)
    with MongoClient(server.uri(), replicaSet="rs") as client:
        stream = client.x.y.watch()
        stream._state._losses = 1000
        began = time.monotonic()
        with mongokey.timeout(0.1), pytest.raises(MongoError) as raised:
            stream.next()
        assert raised.value.timeout
        assert time.monotonic() - began < 1.0
        stream.close()


def test_the_servers_wait_has_to_be_shorter_than_the_time(server: ScriptedServer) -> None:
    with MongoClient(server.uri(), replicaSet="rs", timeoutMS=100) as client:
        for too_long in (100, 101):
            with pytest.raises(ConfigurationError, match="must be less than timeoutMS"):
                client.x.y.watch(max_await_time_ms=too_long)
        assert server.count("aggregate") == 0


# Closed, let go, interrupted


@pytest.mark.parametrize("command", ["getMore", "aggregate"])
def test_closing_in_the_middle_leaves_nothing_open(
    server: ScriptedServer, feed: Feed, collection: Any, command: str
) -> None:
    feed.count = 5
    stream = collection.watch()
    held = Hold()
    if command == "getMore":
        held.answer = feed.get_more
        server.on["getMore"] = held
    else:
        feed.faults["getMore"] = [Close()]
        held.answer = feed.aggregate
        server.on["aggregate"] = held
    count = server.count(command)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(list(stream)))
    thread.start()
    assert server.wait_for(lambda: server.count(command) > count)
    stream.close()
    held.event.set()
    thread.join(20)
    assert found == [[]]
    assert not stream.alive
    assert server.wait_for(lambda: feed.cursors == {})


def test_a_stream_that_is_let_go_leaves_nothing_open(
    server: ScriptedServer, feed: Feed, collection: Any
) -> None:
    feed.count = 5
    for _ in range(3):
        stream = collection.watch()
        numbers(stream, 1)
        del stream
    gc.collect()
    assert server.wait_for(lambda: feed.cursors == {})
    assert len(set(lsids(server, "killCursors"))) <= 3


@pytest.mark.parametrize("command", ["getMore", "aggregate"])
def test_a_ctrl_c_costs_the_cursor_and_not_the_stream(
    server: ScriptedServer, feed: Feed, collection: Any, command: str
) -> None:
    feed.count = 5
    stream = collection.watch()
    assert numbers(stream, 2) == [1, 2]
    held = Hold()
    if command == "aggregate":
        feed.faults["getMore"] = [Close()]
    server.on[command] = held
    count = server.count(command)

    interrupted = threading.Event()

    def interrupt() -> None:
        server.wait_for(lambda: server.count(command) > count)
        # Again, as one may come just before the wait for the reply begins.
        while not interrupted.wait(0.1):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            stream.next()
    finally:
        interrupted.set()
    thread.join(20)
    server.on[command] = feed.get_more if command == "getMore" else feed.aggregate
    held.event.set()
    assert stream.alive
    assert stream.resume_token == {"_data": "2"}
    assert numbers(stream, 3) == [3, 4, 5]
    stream.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_parent_and_child_each_get_all_events(
    server: ScriptedServer, feed: Feed, collection: Any
) -> None:
    feed.count = 6
    stream = collection.watch()
    assert numbers(stream, 1) == [1]
    in_child(lambda: _check_child(stream))
    assert server.count("killCursors") == 0, "the parent's cursor is not the child's to kill"
    assert numbers(stream, 5) == [2, 3, 4, 5, 6]
    assert server.count("aggregate") == 2
    stream.close()
    assert server.wait_for(lambda: 100 not in feed.cursors)


def _check_child(stream: Any) -> None:
    assert numbers(stream, 5) == [2, 3, 4, 5, 6]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_of_a_look_can_look(server: ScriptedServer, feed: Feed, collection: Any) -> None:
    feed.count = 6
    stream = collection.watch()
    held = Hold(answer=feed.get_more)
    server.on["getMore"] = held
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(stream.next()["n"]))
    thread.start()
    assert server.wait_for(lambda: server.count("getMore") == 1)
    server.on["getMore"] = feed.get_more
    in_child(lambda: _check_all(stream))
    held.event.set()
    thread.join(20)
    assert found == [1]
    stream.close()


def _check_all(stream: Any) -> None:
    assert numbers(stream, 6) == [1, 2, 3, 4, 5, 6]


def test_a_stream_in_a_closed_client_ends(server: ScriptedServer, collection: Any) -> None:
    stream = collection.watch()
    collection.database.client.close()
    with pytest.raises(InvalidOperation):
        stream.next()
    stream.close()
    assert not stream.alive


def test_who_is_told_of_a_lost_server_can_go_on_later(server: ScriptedServer, feed: Feed) -> None:
    feed.count = 3
    options = {"serverSelectionTimeoutMS": 100, "heartbeatFrequencyMS": 500}
    with MongoClient(server.uri(), replicaSet="rs", **options) as client:
        stream = client.x.y.watch()
        assert numbers(stream, 2) == [1, 2]
        hello, server.hello = server.hello, ghost()
        feed.faults["getMore"] = [Close()]
        server.close_connections()
        with pytest.raises(AutoReconnect):
            stream.next()
        assert stream.alive
        server.hello = hello
        found: list[int] = []
        while not found:
            with contextlib.suppress(AutoReconnect):
                found = numbers(stream, 1)
        assert found == [3]
        stream.close()
