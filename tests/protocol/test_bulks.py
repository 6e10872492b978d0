"""Bulks: what is sent, what stops them, and what is told when something fails in their midst."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pymongo
import pytest

from mongokey import MongoClient, WriteConcern
from mongokey.bson.codec_options import CodecOptions, TypeEncoder, TypeRegistry
from mongokey.commands import bulk_write as bulk_plans
from mongokey.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    DocumentTooLarge,
    InvalidDocument,
    NotPrimaryError,
    OperationFailure,
)
from mongokey.operations import DeleteMany, DeleteOne, InsertOne, ReplaceOne, UpdateMany, UpdateOne
from mongokey.results import BulkWriteResult
from tests.servers.scripted import Close, Error, Request, ScriptedServer, in_turn, primary

QUIET = WriteConcern(w=0)
TOO_LARGE = 10334
BIG = {"_id": "big", "text": "x" * 3000}
UPDATE = {"$set": {"a": 1}}


class Store:
    """Answers insert, update and delete as a server does that has nothing to object to; `taken`
    are the statements of each command."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, list[Any]]] = []
        self.on = {"insert": self.take, "update": self.take, "delete": self.take}

    def take(self, request: Request) -> dict[str, Any]:
        sections = {"insert": "documents", "update": "updates", "delete": "deletes"}
        statements = request.document[sections[request.name]]
        self.taken.append((request.name, statements))
        return {"ok": 1.0, "n": len(statements), "nModified": len(statements)}

    @property
    def ids(self) -> list[list[Any]]:
        return [[each["_id"] for each in each] for name, each in self.taken if name == "insert"]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def server(store: Store) -> Iterator[ScriptedServer]:
    with ScriptedServer(hello=primary(maxBsonObjectSize=2000), on=dict(store.on)) as server:
        yield server


@pytest.fixture
def things(server: ScriptedServer) -> Iterator[Any]:
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        yield client["x"]["y"]


def documents(count: int, *big: int) -> list[Any]:
    return [{**BIG, "_id": i} if i in big else {"_id": i} for i in range(count)]


# One document too large


@pytest.mark.parametrize(
    ("big", "ordered", "sent"),
    [
        ((1,), True, [[0]]),
        ((1,), False, [[0], [2, 3]]),
        ((0,), True, []),
        ((0,), False, [[1, 2, 3]]),
        ((3,), True, [[0, 1, 2]]),
        ((3,), False, [[0, 1, 2]]),
        ((0, 1), False, [[2, 3]]),
        ((1, 2), False, [[0], [3]]),
        ((0, 2, 3), False, [[1]]),
        ((0, 1, 2, 3), False, []),
        ((2, 3), True, [[0, 1]]),
    ],
)
def test_the_others_are_stored_and_counted(
    store: Store, things: Any, big: tuple[int, ...], ordered: bool, sent: list[Any]
) -> None:
    given = documents(4, *big)
    with pytest.raises(BulkWriteError) as caught:
        things.insert_many(given, ordered=ordered)
    assert store.ids == sent
    details = caught.value.details
    assert details["nInserted"] == sum(map(len, sent))
    told = details["writeErrors"]
    assert [each["index"] for each in told] == list(big[:1] if ordered else big)
    for each in told:
        assert each["code"] == TOO_LARGE
        assert f"index {each['index']} has 30" in each["errmsg"]
        assert each["op"] is given[each["index"]]


@pytest.mark.parametrize("ordered", [True, False])
def test_a_bulk_goes_on_or_stops_at_what_is_too_large(
    store: Store, things: Any, ordered: bool
) -> None:
    requests = [
        InsertOne({"_id": 1}),
        UpdateOne({"_id": 1}, {"$set": {"text": "x" * 40_000}}),
        UpdateOne({"_id": 1}, UPDATE),
        DeleteMany({}),
    ]
    with pytest.raises(BulkWriteError) as caught:
        things.bulk_write(requests, ordered=ordered)
    assert [name for name, _ in store.taken] == (
        ["insert"] if ordered else ["insert", "update", "delete"]
    )
    details = caught.value.details
    assert [each["index"] for each in details["writeErrors"]] == [1]
    assert (details["nInserted"], details["nMatched"]) == (1, 0 if ordered else 1)


def test_errors_of_the_server_stand_beside_it(server: ScriptedServer, things: Any) -> None:
    refused = {"index": 1, "code": 11000, "errmsg": "dup"}
    server.on["insert"] = in_turn(
        {"ok": 1.0, "n": 1, "writeErrors": [refused]},
        {"ok": 1.0, "n": 0, "writeErrors": [{**refused, "index": 0}]},
    )
    with pytest.raises(BulkWriteError) as caught:
        things.insert_many(documents(4, 2), ordered=False)
    told = [(each["index"], each["code"]) for each in caught.value.details["writeErrors"]]
    assert told == [(1, 11000), (2, TOO_LARGE), (3, 11000)]
    assert caught.value.details["nInserted"] == 1
    server.on["insert"] = {"ok": 1.0, "n": 1, "writeErrors": [refused]}
    with pytest.raises(BulkWriteError) as caught:
        things.insert_many(documents(4, 2))
    # It was never reached.
    assert [each["code"] for each in caught.value.details["writeErrors"]] == [11000]


def test_a_batch_is_repeated_with_what_is_too_large_behind_it(
    server: ScriptedServer, store: Store, things: Any
) -> None:
    server.on["insert"] = in_turn(Close(), store.take)
    with pytest.raises(BulkWriteError) as caught:
        things.insert_many(documents(3, 1))
    assert server.count("insert") == 2
    assert [each["index"] for each in caught.value.details["writeErrors"]] == [1]
    assert caught.value.details["nInserted"] == 1
    server.on["insert"] = in_turn(store.take, Close(), store.take)
    with pytest.raises(BulkWriteError) as caught:
        things.insert_many(documents(3, 1), ordered=False)
    assert [each["index"] for each in caught.value.details["writeErrors"]] == [1]
    assert caught.value.details["nInserted"] == 2


@pytest.mark.parametrize("ordered", [True, False])
def test_without_an_answer_it_is_told_nevertheless(
    store: Store, server: ScriptedServer, things: Any, ordered: bool
) -> None:
    """As PyMongo: nobody else would learn it."""
    quiet = things.with_options(write_concern=QUIET)
    with pytest.raises(DocumentTooLarge, match="index 1 has"):
        quiet.insert_many(documents(4, 1), ordered=ordered)
    assert server.wait_for(lambda: len(store.ids) == (1 if ordered else 2))
    assert store.ids == ([[0]] if ordered else [[0], [2, 3]])


def test_the_message_does_not_hold_the_whole_document(things: Any) -> None:
    with pytest.raises(BulkWriteError) as caught:
        things.insert_many([{"text": "x" * 1_000_000}])
    assert len(str(caught.value)) < 100_000
    assert "characters more in `details`" in str(caught.value)
    assert len(caught.value.details["writeErrors"][0]["op"]["text"]) == 1_000_000


SINGLE: dict[str, Callable[[Any, Any], Any]] = {
    "insert_one": lambda c, text: c.insert_one({"text": text}),
    "replace_one": lambda c, text: c.replace_one({}, {"text": text}),
    "update_many": lambda c, text: c.update_many({}, {"$set": {"text": text}}),
    "delete_one": lambda c, text: c.delete_one({"text": text}),
    "find_one_and_replace": lambda c, text: c.find_one_and_replace({}, {"text": text}),
    "find_one": lambda c, text: c.find_one({"text": text}),
    "aggregate": lambda c, text: c.aggregate([{"$match": {"text": text}}]),
    "command": lambda c, text: c.database.command("ping", text=text),
    "let": lambda c, text: c.delete_many({}, let={"text": text}),
    "let of a bulk": lambda c, text: c.bulk_write([DeleteOne({})], let={"text": text}),
    "comment": lambda c, text: c.insert_many([{}], comment=text),
}


@pytest.mark.parametrize("call", SINGLE)
def test_a_command_that_is_too_large_is_not_sent(
    server: ScriptedServer, things: Any, call: str
) -> None:
    before = len(server.requests)
    with pytest.raises(DocumentTooLarge, match="bytes"):
        SINGLE[call](things, "x" * 30_000)
    assert len(server.requests) == before
    assert things.database.command("ping")["ok"] == 1


# Limits of all sizes


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    "limits",
    [
        {"maxWriteBatchSize": 1},
        {"maxBsonObjectSize": 1},
        {"maxBsonObjectSize": 60},
        {"maxMessageSizeBytes": 500},
        {"maxMessageSizeBytes": 200},
        {"maxMessageSizeBytes": 50},
        {"maxWriteBatchSize": 2, "maxBsonObjectSize": 40, "maxMessageSizeBytes": 400},
    ],
)
def test_tiny_limits_come_to_an_end(store: Store, limits: dict[str, int], ordered: bool) -> None:
    with ScriptedServer(hello=primary(**limits), on=dict(store.on)) as server:
        with MongoClient(server.uri()) as client:
            things = client["x"]["y"]
            given = [{"_id": i, "text": "x" * (i * 10)} for i in range(6)]
            try:
                done = len(things.insert_many(given, ordered=ordered).inserted_ids)
            except BulkWriteError as error:
                done = error.details["nInserted"]
                refused = [each["index"] for each in error.details["writeErrors"]]
                taken = [identifier for batch in store.ids for identifier in batch]
                assert refused == ([done] if ordered else [i for i in range(6) if i not in taken])
            except (DocumentTooLarge, OperationFailure):
                done = 0
    assert sum(map(len, store.ids)) == done
    most = limits.get("maxWriteBatchSize", 6)
    assert all(0 < len(batch) <= most for batch in store.ids)


# An error that ends a bulk in its midst


ENDINGS: dict[str, tuple[Any, type[Exception]]] = {
    "a lost connection": (Close(), AutoReconnect),
    "a refusal": (Error(code=13, message="not yours"), OperationFailure),
    "a step-down": (Error(code=10107), NotPrimaryError),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_was_done_before_is_told(server: ScriptedServer, things: Any, ending: str) -> None:
    answer, kind = ENDINGS[ending]
    server.on["update"] = {
        "ok": 1.0,
        "n": 2,
        "nModified": 1,
        "upserted": [{"index": 0, "_id": 7}],
    }
    server.on["delete"] = answer
    with pytest.raises(kind) as caught:
        things.bulk_write(
            [InsertOne({}), InsertOne({}), UpdateOne({}, UPDATE, upsert=True), DeleteOne({})]
        )
    done = caught.value.partial_result  # type: ignore[attr-defined]
    assert isinstance(done, BulkWriteResult)
    assert (done.inserted_count, done.matched_count, done.modified_count) == (2, 1, 1)
    assert (done.upserted_ids, done.deleted_count) == ({2: 7}, 0)
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.partial_result.inserted_count == 2


def test_errors_before_a_lost_connection_are_told(server: ScriptedServer, things: Any) -> None:
    refused = {"index": 1, "code": 11000, "errmsg": "dup"}
    server.on["insert"] = {"ok": 1.0, "n": 1, "writeErrors": [refused]}
    server.on["delete"] = Close()
    with pytest.raises(AutoReconnect) as caught:
        things.bulk_write([InsertOne({}), InsertOne({}), DeleteOne({})], ordered=False)
    done = caught.value.partial_result
    assert done is not None
    assert done.inserted_count == 1
    assert [each["index"] for each in done.bulk_api_result["writeErrors"]] == [1]


def test_a_document_that_cannot_be_encoded_ends_insert_many(store: Store) -> None:
    hello = primary(maxWriteBatchSize=2)
    with ScriptedServer(hello=hello, on=dict(store.on)) as server:
        with MongoClient(server.uri()) as client:
            with pytest.raises(InvalidDocument) as caught:
                client["x"]["y"].insert_many([{"_id": 1}, {"_id": 2}, {}, {"a": object()}])
    assert store.ids == [[1, 2]]
    assert caught.value.partial_result.inserted_count == 2  # type: ignore[attr-defined]


def test_what_is_known_of_a_batch_that_could_not_be_repeated(
    server: ScriptedServer, things: Any
) -> None:
    """The write was done, its concern was not met, and the second attempt finds nobody."""
    done = {
        "ok": 1.0,
        "n": 3,
        "writeConcernError": {"code": 91, "errmsg": "shutting down"},
        "errorLabels": ["RetryableWriteError"],
    }
    server.on["insert"] = in_turn(done, Close(), done)
    with pytest.raises(AutoReconnect) as caught:
        things.insert_many([{}, {}, {}])
    assert server.count("insert") == 2
    assert caught.value.partial_result is not None
    assert caught.value.partial_result.inserted_count == 3
    assert len(caught.value.partial_result.bulk_api_result["writeConcernErrors"]) == 1


def test_other_errors_have_no_partial_result(server: ScriptedServer, things: Any) -> None:
    server.on["insert"] = Close()
    with pytest.raises(AutoReconnect) as caught:
        things.insert_one({})
    assert caught.value.partial_result is None
    server.on["insert"] = {"ok": 1.0, "n": 0, "writeErrors": [{"index": 0, "code": 11000}]}
    with pytest.raises(BulkWriteError) as refused:
        things.insert_many([{}])
    assert refused.value.partial_result is None


def test_old_servers_without_labels_repeat_a_batch_by_code(store: Store) -> None:
    late = {"ok": 1.0, "n": 1, "writeConcernError": {"code": 91, "errmsg": "shutting down"}}
    with ScriptedServer(hello=primary(maxWireVersion=8)) as server:
        server.on["insert"] = in_turn(late, store.take)
        with MongoClient(server.uri()) as client:
            client["x"]["y"].insert_many([{}])
        first, second = server.commands("insert")
        assert first["txnNumber"] == second["txnNumber"]


# w=0


def bulk(module: Any) -> list[Any]:
    return [
        module.InsertOne({"_id": 1}),
        module.InsertOne({"_id": 2}),
        module.UpdateOne({}, UPDATE),
        module.DeleteMany({}),
    ]


def sent(server: ScriptedServer) -> list[Any]:
    """Each write: its name, how many statements, and whether it asks for an answer."""
    found = []
    for request in server.requests:
        if request.name in ("insert", "update", "delete"):
            document = request.document
            count = len(document.get("documents") or document.get("updates") or document["deletes"])
            concern = document.get("writeConcern")
            answered = not request.flags & 2
            found.append((request.name, count, document["ordered"], concern, answered))
    return found


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    "call",
    [
        lambda c, module, ordered: c.bulk_write(bulk(module), ordered=ordered),
        lambda c, module, ordered: c.bulk_write(bulk(module)[:3], ordered=ordered),
        lambda c, module, ordered: c.bulk_write(bulk(module)[:2], ordered=ordered),
        lambda c, module, ordered: c.bulk_write(bulk(module)[:1], ordered=ordered),
        lambda c, module, ordered: c.insert_many([{}, {}, {}], ordered=ordered),
        lambda c, module, ordered: c.insert_many([{}], ordered=ordered),
    ],
)
def test_an_unacknowledged_bulk_asks_for_answers_where_pymongos_does(
    store: Store, call: Callable[..., Any], ordered: bool
) -> None:
    outcomes = []
    for driver in (pymongo, None):
        with ScriptedServer(hello=primary(), on=dict(store.on)) as server:
            maker = pymongo.MongoClient if driver else MongoClient
            with maker(server.uri(w=0)) as client:  # type: ignore[operator]
                from mongokey import operations as ours

                result = call(client["x"]["y"], pymongo if driver else ours, ordered)
                assert not result.acknowledged
                client["x"].command("ping")  # all that was sent before has arrived
            outcomes.append(sent(server))
    assert outcomes[0] == outcomes[1]


def test_an_ordered_bulk_without_answers_stops_at_the_first_error(
    server: ScriptedServer, things: Any
) -> None:
    refused = {"index": 0, "code": 11000, "errmsg": "dup"}
    quiet = things.with_options(write_concern=QUIET)
    for answer in (
        {"ok": 1.0, "n": 0, "writeErrors": [refused]},
        Error(code=13, message="not yours"),
    ):
        server.on["insert"] = answer
        before = server.count("delete")
        result = quiet.bulk_write([InsertOne({"_id": 1}), DeleteMany({})])
        assert not result.acknowledged
        things.database.command("ping")
        assert server.count("delete") == before
    # A lost connection is told: whether the rest was done is not known.
    server.on["insert"] = Close()
    with pytest.raises(AutoReconnect):
        quiet.bulk_write([InsertOne({"_id": 1}), DeleteMany({})])
    assert server.count("delete") == before
    assert all("txnNumber" not in each for each in server.commands("insert"))


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    "request_",
    [
        UpdateOne({}, UPDATE, collation={"locale": "en"}),
        ReplaceOne({}, {}, collation={"locale": "en"}),
        DeleteOne({}, collation={"locale": "en"}),
        UpdateMany({}, UPDATE, array_filters=[{"x": 1}]),
        UpdateOne({}, UPDATE, sort={"a": 1}),
        ReplaceOne({}, {}, sort={"a": 1}),
        DeleteOne({}, hint="a_1"),
    ],
)
def test_what_needs_an_answer_is_refused_before_anything_is_sent(
    request_: Any, ordered: bool
) -> None:
    with ScriptedServer(hello=primary(maxWireVersion=8), on=dict(Store().on)) as server:
        with MongoClient(server.uri(w=0)) as client:
            with pytest.raises(ConfigurationError):
                client["x"]["y"].bulk_write([DeleteMany({}), request_], ordered=ordered)
            client["x"].command("ping")
        assert sent(server) == []


def test_a_bulk_without_answers_cannot_bypass_validation(
    server: ScriptedServer, things: Any
) -> None:
    quiet = things.with_options(write_concern=QUIET)
    for call in (
        lambda: quiet.bulk_write([DeleteMany({})], bypass_document_validation=True),
        lambda: quiet.insert_many([{}], bypass_document_validation=True),
    ):
        with pytest.raises(OperationFailure, match="bypass_document_validation"):
            call()
    assert sent(server) == []


class Counted:
    """Encoded as its number; counts how often."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.times = 0


class CountedEncoder(TypeEncoder):
    python_type = Counted

    def transform_python(self, value: Any) -> int:
        value.times += 1
        number: int = value.number
        return number


@pytest.mark.parametrize(("kept", "times"), [(48_000_000, 1), (2000, 2), (0, 2)])
def test_a_mixed_bulk_is_encoded_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, kept: int, times: int
) -> None:
    """But for what is beyond the memory that is spent on it, in messages of any size."""
    monkeypatch.setattr(bulk_plans, "_MOST_KEPT", kept)
    values = [Counted(number) for number in range(50)]
    requests: list[Any] = []
    for value in values[:45]:
        requests.append(InsertOne({"_id": value, "text": "x" * 40}))
    requests += [UpdateOne({"_id": value}, UPDATE) for value in values[45:]]
    requests += [DeleteOne({"_id": 7}), InsertOne(BIG)]
    options = CodecOptions(type_registry=TypeRegistry([CountedEncoder()]))
    hello = primary(maxBsonObjectSize=2000, maxWriteBatchSize=20)
    with (
        ScriptedServer(hello=hello, on=dict(store.on)) as server,
        MongoClient(server.uri()) as client,
    ):
        collection = client["x"].get_collection("y", options)
        with pytest.raises(BulkWriteError) as caught:
            collection.bulk_write(requests, ordered=False)
        # What the server does not take was encoded, and is told where it stands.
        assert [each["index"] for each in caught.value.details["writeErrors"]] == [51]
        assert caught.value.details["nInserted"] == 45
    assert store.ids == [list(range(20)), list(range(20, 40)), list(range(40, 45))]
    assert [name for name, _ in store.taken] == ["insert"] * 3 + ["update", "delete"]
    updates = next(each for name, each in store.taken if name == "update")
    assert [each["q"]["_id"] for each in updates] == list(range(45, 50))
    assert max(value.times for value in values) == times
    assert kept == 0 or min(value.times for value in values) == 1
