"""Change streams on a real server: what `watch` brings and asks for, and the prose tests of the
change-streams specification (tests/README.md there), by their numbers."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.bson import Int64
from mongokey.bson.codec_options import CodecOptions, TypeDecoder, TypeRegistry
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.bson.son import SON
from mongokey.bson.timestamp import Timestamp
from mongokey.errors import AutoReconnect, CursorNotFound, InvalidOperation, OperationFailure
from mongokey.monitoring import CommandListener
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live
APP_NAME = "change streams"


class Events(CommandListener):
    """Every command that was begun, and every reply."""

    def __init__(self) -> None:
        self.commands: list[Any] = []
        self.replies: list[Any] = []

    def started(self, event: Any) -> None:
        self.commands.append(event.command)

    def succeeded(self, event: Any) -> None:
        self.replies.append(event.reply)

    def failed(self, event: Any) -> None:
        """Not looked at."""

    def named(self, name: str) -> list[Any]:
        return [each for each in list(self.commands) if name in each]

    def opening(self) -> Any:
        """The reply that opened the latest stream."""
        return [each for each in self.replies if "firstBatch" in each.get("cursor", {})][-1]

    def stages(self) -> list[Any]:
        """The `$changeStream` stages that were sent."""
        return [each["pipeline"][0]["$changeStream"] for each in self.named("aggregate")]


@pytest.fixture
def seen() -> Events:
    return Events()


@pytest.fixture
def client(face: str, open_secantus: SecantusServer, seen: Events) -> Iterator[Any]:
    uri = open_secantus.uri(None, replicaSet="secantus")
    with MongoClient(uri, event_listeners=[seen], appname=APP_NAME, retryReads=False) as made:
        yield made


@pytest.fixture
def collection(client: Any, database_name: str) -> Iterator[Any]:
    collection = client[database_name]["things"]
    client[database_name].create_collection("things")
    yield collection
    client.drop_database(database_name)


@pytest.fixture
def fail(open_secantus: SecantusServer) -> Iterator[Any]:
    """Sets a fail point for commands of this module's clients: `fail(["getMore"], errorCode=6)`."""

    def fail(commands: list[str], times: int = 1, **data: Any) -> None:
        data = {"failCommands": commands, "appName": APP_NAME, **data}
        point = {"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data}
        assert open_secantus.command("admin", point)["ok"]

    yield fail
    open_secantus.command("admin", {"configureFailPoint": "failCommand", "mode": "off"})


def ids(stream: Any, count: int) -> list[Any]:
    """The `_id`s of the documents that so many events are about."""
    return [stream.next()["documentKey"]["_id"] for _ in range(count)]


def resumable(error_code: int = 6) -> dict[str, Any]:
    return {"errorCode": error_code, "errorLabels": ["ResumableChangeStreamError"]}


# What it is over


def test_a_collection_a_database_and_a_deployment_are_watched(client: Any, collection: Any) -> None:
    database = collection.database
    with (
        collection.watch() as one,
        database.watch([{"$match": {"ns.coll": "others"}}]) as two,
        client.watch([{"$match": {"ns.db": database.name}}]) as three,
    ):
        database["others"].insert_one({"_id": "other"})
        collection.insert_one({"_id": "own"})
        assert ids(one, 1) == ["own"]
        assert ids(two, 1) == ["other"]
        assert ids(three, 2) == ["other", "own"]
        names = [
            "CollectionChangeStream",
            "DatabaseChangeStream",
            "ClusterChangeStream",
        ]
        for stream, name in zip((one, two, three), names, strict=True):
            kind = type(getattr(stream, "_inner", stream)).__name__
            assert kind.removeprefix("Async") == name
    assert not one.alive


def test_what_is_sent(client: Any, collection: Any, seen: Events) -> None:
    seen.commands.clear()
    with collection.watch(
        [{"$match": {"x": 1}}],
        full_document="updateLookup",
        full_document_before_change="off",
        max_await_time_ms=50,
        batch_size=3,
        collation={"locale": "simple"},
        comment={"why": "test"},
        show_expanded_events=True,
    ) as stream:
        assert stream.try_next() is None
    aggregate, get_more, kill = seen.commands
    stage = {
        "fullDocument": "updateLookup",
        "fullDocumentBeforeChange": "off",
        "showExpandedEvents": True,
    }
    assert aggregate["aggregate"] == "things"
    assert aggregate["pipeline"] == [{"$changeStream": stage}, {"$match": {"x": 1}}]
    assert aggregate["cursor"] == {"batchSize": 3}
    assert aggregate["collation"] == {"locale": "simple"}
    assert aggregate["comment"] == get_more["comment"] == {"why": "test"}
    assert "maxTimeMS" not in aggregate
    assert get_more["maxTimeMS"] == 50
    assert get_more["batchSize"] == 3
    assert get_more["collection"] == kill["killCursors"] == "things"
    assert aggregate["lsid"] == get_more["lsid"] == kill["lsid"]


def test_what_is_not_given_is_not_sent(client: Any, collection: Any, seen: Events) -> None:
    seen.commands.clear()
    with client.watch():
        pass
    aggregate = seen.commands[0]
    assert aggregate["aggregate"] == 1
    assert aggregate["$db"] == "admin"
    assert aggregate["pipeline"] == [{"$changeStream": {"allChangesForCluster": True}}]
    assert aggregate["cursor"] == {}
    assert not {"comment", "collation", "maxTimeMS", "$readPreference"} & set(aggregate)


def test_a_batch_size_of_none_at_first_is_sent(collection: Any, seen: Events) -> None:
    with collection.watch(batch_size=0) as stream:
        collection.insert_one({"_id": 1})
        assert ids(stream, 1) == [1]
    assert seen.named("aggregate")[0]["cursor"] == {"batchSize": 0}
    assert "batchSize" not in seen.named("getMore")[0]


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        ({"pipeline": {}}, TypeError, "pipeline must be a list"),
        ({"pipeline": [1]}, TypeError, "index 0 of pipeline"),
        ({"full_document": 1}, TypeError, "full_document must be a string"),
        ({"full_document_before_change": 1}, TypeError, "full_document_before_change must be"),
        ({"resume_after": "8263"}, TypeError, "resume_after must be a mapping"),
        ({"start_after": 1}, TypeError, "start_after must be a mapping"),
        ({"start_at_operation_time": 1}, TypeError, "start_at_operation_time must be a Timestamp"),
        ({"batch_size": -1}, ValueError, "batchSize"),
        ({"batch_size": "1"}, TypeError, "batchSize"),
        ({"max_await_time_ms": -1}, ValueError, "maxAwaitTimeMS"),
        ({"collation": 1}, TypeError, "collation must be"),
        ({"session": 1}, ValueError, "session"),
    ],
)
def test_wrong_arguments_are_refused_by_name(
    collection: Any, seen: Events, given: dict[str, Any], kind: type[Exception], text: str
) -> None:
    seen.commands.clear()
    with pytest.raises(kind, match=text):
        collection.watch(**given)
    assert seen.commands == []


def test_two_starting_points_are_the_servers_to_refuse(collection: Any, seen: Events) -> None:
    with collection.watch() as stream:
        token = stream.resume_token
    time = Timestamp(2_000_000_000, 1)
    # MongoDB refuses; SecantusDB takes one of them.
    with contextlib.suppress(OperationFailure):
        collection.watch(
            resume_after=token, start_after=token, start_at_operation_time=time
        ).close()
    assert seen.stages()[-1] == {
        "resumeAfter": token,
        "startAfter": token,
        "startAtOperationTime": time,
    }


def test_an_aggregation_of_a_change_stream_is_still_one(collection: Any) -> None:
    with collection.aggregate([{"$changeStream": {}}]) as cursor:
        collection.insert_one({"_id": 1})
        assert cursor.next()["documentKey"] == {"_id": 1}


# From where


@pytest.mark.parametrize("option", ["resume_after", "start_after"])
def test_a_stored_token_is_where_another_stream_begins(collection: Any, option: str) -> None:
    with collection.watch() as stream:
        collection.insert_many([{"_id": n} for n in range(4)])
        ids(stream, 2)
        token = stream.resume_token
    with collection.watch(**{option: token}) as stream:
        assert stream.resume_token == token
        assert ids(stream, 2) == [2, 3]


def test_start_after_leads_over_an_invalidate_event(collection: Any) -> None:
    with collection.watch() as stream:
        collection.drop()
        assert [each["operationType"] for each in stream] == ["drop", "invalidate"]
        assert not stream.alive
        assert stream.try_next() is None
        token = stream.resume_token
    collection.insert_one({"_id": 1})
    with collection.watch(start_after=token) as stream:
        assert ids(stream, 1) == [1]


def test_an_operation_time_is_where_it_begins(client: Any, collection: Any) -> None:
    with client.start_session() as session:
        collection.insert_one({"_id": "before"}, session=session)
        collection.insert_one({"_id": "then"}, session=session)
        time = session.operation_time
    collection.insert_one({"_id": "after"})
    with collection.watch(start_at_operation_time=time) as stream:
        assert ids(stream, 2) == ["then", "after"]


def test_a_pipeline_is_the_streams_own(collection: Any, seen: Events, fail: Any) -> None:
    pipeline = [{"$match": {"operationType": "insert"}}]
    with collection.watch(pipeline) as stream:
        pipeline[0]["$match"]["operationType"] = "delete"
        fail(["getMore"], closeConnection=True)
        collection.insert_one({"_id": 1})
        assert ids(stream, 1) == [1]
    assert [each["pipeline"][1:] for each in seen.named("aggregate")] == [
        [{"$match": {"operationType": "insert"}}]
    ] * 2


# In which form


def test_events_are_documents_of_the_collections_class(collection: Any) -> None:
    options: CodecOptions[Any] = CodecOptions(document_class=SON)
    with collection.with_options(codec_options=options).watch() as stream:
        collection.insert_one({"_id": 1})
        event = stream.next()
        assert type(event) is type(event["_id"]) is type(event["fullDocument"]) is SON
        assert stream.resume_token == event["_id"]


def test_raw_documents_stay_raw(collection: Any, fail: Any) -> None:
    options: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument)
    with collection.with_options(codec_options=options).watch() as stream:
        for number in range(3):
            collection.insert_one({"_id": number})
            event = stream.next()
            assert isinstance(event, RawBSONDocument)
            assert event["documentKey"]["_id"] == number
            assert stream.resume_token == event["_id"]
            fail(["getMore"], closeConnection=True)


def test_type_decoders_are_for_events_and_not_for_tokens(collection: Any, fail: Any) -> None:
    class Loud(TypeDecoder):
        bson_type = str

        def transform_bson(self, value: str) -> Any:
            return value.upper() + "!"

    options: CodecOptions[Any] = CodecOptions(type_registry=TypeRegistry([Loud()]))
    with collection.with_options(codec_options=options).watch() as stream:
        for word in ("one", "two", "three"):
            collection.insert_one({"_id": word})
            assert stream.next()["documentKey"] == {"_id": word.upper() + "!"}
            fail(["getMore"], closeConnection=True)
        token = stream.resume_token
    collection.insert_one({"_id": "four"})
    with collection.watch(resume_after=token) as stream:
        assert ids(stream, 1) == ["four"]


def test_an_event_that_cannot_be_decoded_costs_no_other(collection: Any) -> None:
    class Picky(TypeDecoder):
        bson_type = Int64

        def transform_bson(self, value: Any) -> Any:
            if value == 2:
                raise LookupError("two is not wanted")
            return value

    options: CodecOptions[Any] = CodecOptions(type_registry=TypeRegistry([Picky()]))
    with collection.with_options(codec_options=options).watch() as stream:
        collection.insert_many([{"_id": Int64(n)} for n in (1, 2, 3)])
        assert ids(stream, 1) == [1]
        token = stream.resume_token
        with pytest.raises(LookupError, match="two is not wanted"):
            stream.next()
        assert stream.resume_token == token, "it was not handed out"
        assert ids(stream, 1) == [3]
        assert stream.resume_token != token


# Sessions


def test_all_its_commands_are_in_its_session(
    client: Any, collection: Any, seen: Events, fail: Any
) -> None:
    with client.start_session() as session:
        seen.commands.clear()
        with collection.watch(session=session) as stream:
            fail(["getMore"], closeConnection=True)
            collection.insert_one({"_id": 1})
            assert ids(stream, 1) == [1]
        lsid = session.session_id
        names = ("aggregate", "getMore", "killCursors")
        found = [each for name in names for each in seen.named(name)]
        assert len(found) >= 4
        assert {each["lsid"]["id"] for each in found[:4]} == {lsid["id"]}


def test_a_stream_of_a_session_that_has_ended_ends(client: Any, collection: Any) -> None:
    session = client.start_session()
    stream = collection.watch(session=session)
    session.end_session()
    with pytest.raises(InvalidOperation, match="ended session"):
        stream.try_next()
    assert not stream.alive


# Ends


def test_closing_is_told_to_the_server_once(collection: Any, seen: Events) -> None:
    stream = collection.watch()
    stream.close()
    stream.close()
    assert len(seen.named("killCursors")) == 1
    assert stream.try_next() is None
    with pytest.raises(StopIteration):
        stream.next()
    assert list(stream) == []


def test_a_stream_that_is_let_go_is_closed(collection: Any, seen: Events, eventually: Any) -> None:
    stream = collection.watch()
    assert stream.alive
    del stream
    gc.collect()
    assert eventually(lambda: len(seen.named("killCursors")) == 1)


def test_closing_from_another_thread_ends_a_wait(collection: Any, seen: Events) -> None:
    stream = collection.watch(max_await_time_ms=200)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(list(stream)))
    thread.start()
    while not seen.named("getMore"):
        gc.collect(0)
    stream.close()
    thread.join(20)
    assert found == [[]]
    assert not stream.alive


def test_one_user_at_a_time(collection: Any, seen: Events) -> None:
    with collection.watch(max_await_time_ms=500) as stream:
        thread = threading.Thread(target=stream.try_next)
        thread.start()
        while not seen.named("getMore"):
            gc.collect(0)
        with pytest.raises(InvalidOperation, match="for one user at a time"):
            stream.try_next()
        thread.join()
        collection.insert_one({"_id": 1})
        assert ids(stream, 1) == [1]


def test_a_stream_is_neither_copied_nor_pickled(collection: Any) -> None:
    import copy
    import pickle

    with collection.watch() as stream:
        inner = getattr(stream, "_inner", stream)
        for do in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot pickle"):
                do(inner)
        assert "open" in repr(inner)
    assert "closed" in repr(inner)


# The prose tests


def test_prose_1_it_tracks_the_last_token(collection: Any) -> None:
    with collection.watch() as stream:
        for number in range(4):
            collection.insert_one({"_id": number})
            event = stream.next()
            assert stream.resume_token == event["_id"]


def test_prose_2_an_event_without_its_token_ends_it(collection: Any) -> None:
    with collection.watch([{"$project": {"_id": 0}}]) as stream:
        collection.insert_one({"_id": 1})
        with pytest.raises(OperationFailure) as raised:
            stream.next()
        assert raised.value.code == 280
        assert not stream.alive


def test_prose_3_it_is_resumed_once_with_what_it_was_opened_with(
    collection: Any, seen: Events, fail: Any
) -> None:
    pipeline = [{"$match": {"operationType": "insert"}}]
    seen.commands.clear()
    with collection.watch(pipeline, full_document="updateLookup", batch_size=7) as stream:
        collection.insert_one({"_id": 1})
        ids(stream, 1)
        token = stream.resume_token
        fail(["getMore"], **resumable())
        collection.insert_one({"_id": 2})
        assert ids(stream, 1) == [2]
    first, second = seen.named("aggregate")
    assert second["pipeline"][0]["$changeStream"] == {
        "fullDocument": "updateLookup",
        "resumeAfter": token,
    }
    for each in (first, second):
        del each["pipeline"][0], each["$clusterTime"]
    # "The resume attempt MUST use the same session": an implicit one too.
    assert first == second


def test_prose_3_a_second_failure_of_the_attempt_is_raised(
    collection: Any, seen: Events, fail: Any
) -> None:
    with collection.watch() as stream:
        collection.insert_one({"_id": 1})
        fail(["getMore", "aggregate"], times=2, **resumable())
        with pytest.raises(OperationFailure) as raised:
            stream.next()
        assert raised.value.code == 6
        assert len(seen.named("aggregate")) == 2
        # Nobody could do it now; it is not over.
        assert stream.alive
        assert ids(stream, 1) == [1]


@pytest.mark.parametrize("error", [{"errorCode": 8000}, {"closeConnection": True}])
def test_prose_4_an_aggregation_that_fails_is_not_resumed(
    collection: Any, seen: Events, fail: Any, error: dict[str, Any]
) -> None:
    fail(["aggregate"], **error)
    with pytest.raises((OperationFailure, AutoReconnect)):
        collection.watch()
    assert len(seen.named("aggregate")) == 1


def test_prose_7_an_empty_first_batch_leaves_it_open(collection: Any, seen: Events) -> None:
    with collection.watch() as stream:
        first = seen.opening()
        assert first["cursor"]["firstBatch"] == []
        assert first["cursor"]["id"] != 0
        assert stream.alive
        assert seen.named("killCursors") == []
        assert seen.named("getMore") == []


@pytest.mark.parametrize("error", [{"errorCode": 8000}, {"closeConnection": True}])
def test_prose_8_no_failure_of_killing_is_raised(
    collection: Any, seen: Events, fail: Any, error: dict[str, Any]
) -> None:
    with collection.watch() as stream:
        collection.insert_one({"_id": 1})
        fail(["getMore"], **resumable())
        # The fail point can have one kind of failure: the killing fails where the cursor is not.
        assert ids(stream, 1) == [1]
        fail(["killCursors"], times=2, **error)
        stream.close()
    assert len(seen.named("killCursors")) >= 1


def test_prose_11_at_the_end_of_a_batch_it_is_the_batchs_token(
    collection: Any, seen: Events
) -> None:
    with collection.watch() as stream:
        first = seen.opening()
        assert stream.resume_token == first["cursor"]["postBatchResumeToken"]
        collection.insert_many([{"_id": 1}, {"_id": 2}])
        seen.replies.clear()
        ids(stream, 2)
        last = seen.replies[-1]["cursor"]
        assert len(last["nextBatch"]) == 2
        assert stream.resume_token == last["postBatchResumeToken"]
        collection.database["others"].insert_one({})
        assert stream.try_next() is None
        last = seen.replies[-1]["cursor"]
        assert last["nextBatch"] == []
        assert stream.resume_token == last["postBatchResumeToken"]


def test_prose_13_in_a_batch_it_is_the_events_token(collection: Any) -> None:
    with collection.watch() as stream:
        collection.insert_many([{"_id": n} for n in range(3)])
        for _ in range(2):
            event = stream.next()
            assert stream.resume_token == event["_id"]


@pytest.mark.parametrize("option", ["start_after", "resume_after", None])
def test_prose_14_before_the_first_event_it_is_what_was_given(
    client: Any, collection: Any, option: str | None, seen: Events
) -> None:
    with client.start_session() as session, collection.watch() as stream:
        collection.insert_one({"_id": 1}, session=session)
        ids(stream, 1)
        token = stream.resume_token
        collection.insert_one({"_id": 2}, session=session)
        time = session.operation_time
    given = {"start_at_operation_time": time} if option is None else {option: token}
    seen.replies.clear()
    with collection.watch(**given) as stream:
        first = seen.opening()
        expected = None if option is None else token
        if not first["cursor"]["firstBatch"]:
            expected = first["cursor"]["postBatchResumeToken"]
        assert stream.resume_token == expected
        assert ids(stream, 1) == [2]


def test_prose_17_start_after_is_kept_before_the_first_event(
    collection: Any, seen: Events, fail: Any
) -> None:
    with collection.watch() as stream:
        token = stream.resume_token
    seen.commands.clear()
    with collection.watch(start_after=token) as stream:
        fail(["getMore"], closeConnection=True)
        collection.insert_one({"_id": 1})
        assert ids(stream, 1) == [1]
    assert [list(each) for each in seen.stages()] == [["startAfter"], ["startAfter"]]


def test_prose_18_and_is_resume_after_from_then_on(
    collection: Any, seen: Events, fail: Any
) -> None:
    with collection.watch() as stream:
        token = stream.resume_token
    seen.commands.clear()
    with collection.watch(start_after=token) as stream:
        collection.insert_one({"_id": 1})
        ids(stream, 1)
        fail(["getMore"], closeConnection=True)
        collection.insert_one({"_id": 2})
        assert ids(stream, 1) == [2]
    assert [list(each) for each in seen.stages()] == [["startAfter"], ["resumeAfter"]]


def test_prose_19_large_events_come_in_fragments(client: Any, database_name: str) -> None:
    collection = client[database_name].create_collection(
        "large", changeStreamPreAndPostImages={"enabled": True}
    )
    size = 10 * 1024 * 1024
    collection.insert_one({"value": "q" * size})
    with collection.watch(
        [{"$changeStreamSplitLargeEvent": {}}], full_document_before_change="required"
    ) as stream:
        collection.update_one({}, {"$set": {"value": "z" * size}})
        first, second = stream.next(), stream.next()
        assert first["splitEvent"] == {"fragment": 1, "of": 2}
        assert second["splitEvent"] == {"fragment": 2, "of": 2}
    client.drop_database(database_name)


# Errors of getMores


def test_a_cursor_that_is_gone_is_opened_anew(collection: Any, seen: Events, fail: Any) -> None:
    with collection.watch() as stream:
        seen.commands.clear()
        fail(["getMore"], errorCode=43)
        collection.insert_one({"_id": 1})
        assert ids(stream, 1) == [1]
        # The server has none to kill.
        assert [next(iter(each)) for each in seen.commands[:4]].count("killCursors") == 0


def test_an_error_for_good_ends_it(collection: Any, seen: Events, fail: Any) -> None:
    stream = collection.watch()
    fail(["getMore"], errorCode=286, errorLabels=["NonResumableChangeStreamError"])
    with pytest.raises(OperationFailure) as raised:
        stream.next()
    assert raised.value.code == 286
    assert not isinstance(raised.value, CursorNotFound)
    assert not stream.alive
    assert len(seen.named("aggregate")) == 1
    assert len(seen.named("killCursors")) == 1


def test_a_time_limit_does_not_end_it(collection: Any, fail: Any) -> None:
    with collection.watch() as stream:
        collection.insert_one({"_id": 1})
        fail(["getMore"], errorCode=50, errorLabels=[])
        with pytest.raises(OperationFailure) as raised:
            stream.next()
        assert raised.value.timeout
        assert stream.alive
        assert ids(stream, 1) == [1]
