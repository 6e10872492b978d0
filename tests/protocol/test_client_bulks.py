"""`MongoClient.bulk_write`: what its messages are, what is sent twice, and what comes of replies
that cannot be right, of errors in its midst, and of calls that are given up."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from mongokey import AsyncMongoClient, MongoClient, WriteConcern, monitoring
from mongokey.bson import Int64
from mongokey.bson.codec_options import CodecOptions, TypeEncoder, TypeRegistry
from mongokey.commands import client_bulk as plans
from mongokey.commands.client_batch import ClientBatch
from mongokey.errors import (
    AutoReconnect,
    ClientBulkWriteException,
    ConfigurationError,
    DocumentTooLarge,
    InvalidBSON,
    InvalidOperation,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ProtocolError,
    ServerSelectionTimeoutError,
)
from mongokey.operations import DeleteMany, DeleteOne, InsertOne, ReplaceOne, UpdateMany, UpdateOne
from tests.servers.scripted import (
    Close,
    Error,
    Request,
    ScriptedServer,
    Silence,
    in_turn,
    primary,
)

A, B = "x.a", "x.b"
HELLO = primary(maxWireVersion=25)
DONE: dict[str, Any] = {"ok": 1.0}


def reply(
    *results: Any,
    cursor_id: int = 0,
    batch: str = "firstBatch",
    ns: Any = "admin.$cmd.bulkWrite",
    **fields: Any,
) -> dict[str, Any]:
    """What a server says of a bulkWrite, or (`batch` nextBatch) of a getMore."""
    cursor = {"id": Int64(cursor_id), batch: list(results), "ns": ns}
    counts = dict.fromkeys(("nInserted", "nMatched", "nModified", "nUpserted", "nDeleted"), 0)
    return {"cursor": cursor, "nErrors": 0, **counts, **fields, "ok": 1.0}


def done(idx: Any, **fields: Any) -> dict[str, Any]:
    return {"ok": 1.0, "idx": idx, "n": 1, **fields}


def refused(idx: Any, code: int = 11000) -> dict[str, Any]:
    return {"ok": 0.0, "idx": idx, "code": code, "errmsg": "no", "n": 0}


class Store:
    """Answers bulkWrite as a server does that has nothing to object to."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []

    def take(self, request: Request) -> dict[str, Any]:
        command = request.document
        self.taken.append(command)
        results = [] if command["errorsOnly"] else [done(i) for i in range(len(command["ops"]))]
        return reply(*results, nInserted=len(command["ops"]))

    @property
    def sizes(self) -> list[tuple[int, list[str]]]:
        return [(len(each["ops"]), [ns["ns"] for ns in each["nsInfo"]]) for each in self.taken]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def server(store: Store) -> Iterator[ScriptedServer]:
    with ScriptedServer(hello=HELLO, on={"bulkWrite": store.take}) as server:
        yield server


@pytest.fixture
def client(face: str, server: ScriptedServer) -> Iterator[Any]:
    with MongoClient(server.uri(), serverSelectionTimeoutMS=10_000) as client:
        client.admin.command("ping")
        yield client


def inserts(count: int, *namespaces: str) -> list[Any]:
    spaces = namespaces or (A,)
    return [InsertOne({"_id": n}, namespace=spaces[n % len(spaces)]) for n in range(count)]


# Messages


def test_namespaces_are_numbered_in_each_message_anew(store: Store) -> None:
    hello = {**HELLO, "maxWriteBatchSize": 3}
    with ScriptedServer(hello=hello, on={"bulkWrite": store.take}) as server:
        with MongoClient(server.uri()) as client:
            spaces = [A, A, B, B, A, B, "x.c"]
            given = [InsertOne({"_id": n}, namespace=each) for n, each in enumerate(spaces)]
            assert client.bulk_write(given).inserted_count == 7
    assert store.sizes == [(3, [A, B]), (3, [B, A]), (1, ["x.c"])]
    assert [[op["insert"] for op in each["ops"]] for each in store.taken] == [
        [0, 0, 1],
        [0, 1, 0],
        [0],
    ]
    assert [op["document"]["_id"] for each in store.taken for op in each["ops"]] == list(range(7))
    assert {each["txnNumber"] for each in store.taken} == {1, 2, 3}
    assert len({bytes(each["lsid"]["id"]) for each in store.taken}) == 1


def test_each_kind_of_operation(store: Store, client: Any) -> None:
    collation = {"locale": "en"}
    client.bulk_write(
        [
            InsertOne({"_id": 1}, namespace=A),
            UpdateOne(
                {"a": 1},
                {"$set": {"b.$[i]": 1}},
                upsert=True,
                collation=collation,
                array_filters=[{"i": 1}],
                hint="a_1",
                sort={"a": 1},
                namespace=A,
            ),
            UpdateMany({}, [{"$set": {"a": 1}}], hint=[("a", 1)], namespace=B),
            ReplaceOne({"a": 1}, {"b": 1}, upsert=False, sort=[("a", -1)], namespace=A),
            DeleteOne({"a": 1}, collation=collation, hint={"a": 1}, namespace=B),
            DeleteMany({}, namespace=B),
        ]
    )
    expected: list[dict[str, Any]] = [
        {"insert": 0, "document": {"_id": 1}},
        {
            "update": 0,
            "filter": {"a": 1},
            "updateMods": {"$set": {"b.$[i]": 1}},
            "multi": False,
            "upsert": True,
            "collation": collation,
            "arrayFilters": [{"i": 1}],
            "hint": "a_1",
            "sort": {"a": 1},
        },
        {
            "update": 1,
            "filter": {},
            "updateMods": [{"$set": {"a": 1}}],
            "multi": True,
            "hint": {"a": 1},
        },
        {
            "update": 0,
            "filter": {"a": 1},
            "updateMods": {"b": 1},
            "multi": False,
            "upsert": False,
            "sort": {"a": -1},
        },
        {
            "delete": 1,
            "filter": {"a": 1},
            "multi": False,
            "collation": collation,
            "hint": {"a": 1},
        },
        {"delete": 1, "filter": {}, "multi": True},
    ]
    (command,) = store.taken
    assert command["ops"] == expected
    assert [next(iter(each)) for each in command["ops"]] == [next(iter(each)) for each in expected]


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        ({"maxWriteBatchSize": 1}, [1] * 6),
        ({"maxWriteBatchSize": 4}, [4, 2]),
        # A command has 43 bytes, 1000 are set aside, the namespace has 17, and an operation 41.
        ({"maxMessageSizeBytes": 1043 + 17 + 41}, [1] * 6),
        ({"maxMessageSizeBytes": 1043 + 17 + 41 * 2 - 1}, [1] * 6),
        ({"maxMessageSizeBytes": 1043 + 17 + 41 * 2}, [2] * 3),
        ({"maxMessageSizeBytes": 1043 + 17 + 41 * 6 - 1}, [5, 1]),
        ({"maxMessageSizeBytes": 1043 + 17 + 41 * 6}, [6]),
    ],
)
@pytest.mark.parametrize("kept", [48_000_000, 100, 0])
def test_what_a_message_holds(
    monkeypatch: pytest.MonkeyPatch, store: Store, kept: int, limits: Any, sizes: list[int]
) -> None:
    monkeypatch.setattr(plans, "_MOST_KEPT", kept)
    with ScriptedServer(hello={**HELLO, **limits}, on={"bulkWrite": store.take}) as server:
        with MongoClient(server.uri()) as client:
            result = client.bulk_write(inserts(6), verbose_results=False)
            assert result.inserted_count == 6
    assert store.sizes == [(each, [A]) for each in sizes]
    ids = [op["document"]["_id"] for each in store.taken for op in each["ops"]]
    assert ids == list(range(6))


@pytest.mark.parametrize(
    "limits",
    [
        {"maxMessageSizeBytes": 1043 + 17 + 41 - 1},
        {"maxMessageSizeBytes": 1042},
        {"maxBsonObjectSize": 613},
    ],
)
def test_what_has_no_room_at_all(store: Store, limits: Any) -> None:
    with ScriptedServer(hello={**HELLO, **limits}, on={"bulkWrite": store.take}) as server:
        with MongoClient(server.uri()) as client:
            with pytest.raises(DocumentTooLarge, match="bytes"):
                client.bulk_write([InsertOne({"_id": 1, "a": "b" * 600}, namespace=A)])
    assert store.taken == []


def test_large_bulks_in_parts(store: Store, client: Any) -> None:
    """A loop has turns between the parts that a message is written in; the bytes are the same."""
    given = [InsertOne({"_id": n, "t": "x" * 500}, namespace=(A, B)[n % 2]) for n in range(9000)]
    result = client.bulk_write(given, verbose_results=True)
    assert result.inserted_count == 9000
    assert [each.inserted_id for each in result.insert_results.values()] == list(range(9000))
    (command,) = store.taken
    assert [op["document"]["_id"] for op in command["ops"]] == list(range(9000))
    assert [op["insert"] for op in command["ops"][:4]] == [0, 1, 0, 1]


def test_100_001_operations(store: Store, client: Any) -> None:
    document = {"_id": 1}
    given = [InsertOne(document, namespace=A)] * 100_001
    assert client.bulk_write(given).inserted_count == 100_001
    assert [size for size, _ in store.sizes] == [100_000, 1]


class Counted:
    """A value that is counted each time it is encoded."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.times = 0


class CountedEncoder(TypeEncoder):
    python_type = Counted

    def transform_python(self, value: Counted) -> int:
        value.times += 1
        return value.number


@pytest.mark.parametrize(("kept", "times"), [(48_000_000, 1), (2000, 2), (0, 2)])
def test_operations_are_encoded_once(
    face: str, store: Store, monkeypatch: pytest.MonkeyPatch, kept: int, times: int
) -> None:
    """But for what is beyond the memory that is spent on it."""
    monkeypatch.setattr(plans, "_MOST_KEPT", kept)
    values = [Counted(number) for number in range(60)]
    given = [InsertOne({"_id": each, "t": "x" * 40}, namespace=A) for each in values]
    registry = TypeRegistry([CountedEncoder()])
    with ScriptedServer(
        hello={**HELLO, "maxWriteBatchSize": 20}, on={"bulkWrite": store.take}
    ) as server:
        with MongoClient(server.uri(), type_registry=registry) as client:
            assert client.codec_options == CodecOptions(type_registry=registry)
            assert client.bulk_write(given).inserted_count == 60
    assert [size for size, _ in store.sizes] == [20, 20, 20]
    assert max(value.times for value in values) == times
    assert kept == 0 or min(value.times for value in values) == 1


def test_a_document_that_was_changed_meanwhile(
    monkeypatch: pytest.MonkeyPatch, server: ScriptedServer, store: Store, client: Any
) -> None:
    monkeypatch.setattr(plans, "_MOST_KEPT", 0)
    server.hello = {**HELLO, "maxWriteBatchSize": 1}
    server.close_connections()
    documents: list[dict[str, Any]] = [{"_id": 1}, {"_id": 2}]

    def change(request: Request) -> dict[str, Any]:
        documents[1]["more"] = 1
        return store.take(request)

    server.on["bulkWrite"] = change
    with pytest.raises(ClientBulkWriteException) as caught:
        client.bulk_write([InsertOne(each, namespace=A) for each in documents])
    assert isinstance(caught.value.error, InvalidOperation)
    assert "insert at index 1 was changed" in str(caught.value.error)
    assert caught.value.partial_result is not None
    assert caught.value.partial_result.inserted_count == 1


# What is sent twice


def numbers(server: ScriptedServer) -> list[Any]:
    return [each.get("txnNumber") for each in server.commands("bulkWrite")]


def test_a_message_is_sent_again_after_a_lost_connection(
    server: ScriptedServer, store: Store, client: Any
) -> None:
    server.on["bulkWrite"] = in_turn(Close(), store.take)
    assert client.bulk_write(inserts(3)).inserted_count == 3
    assert numbers(server) == [1, 1]
    first, second = server.commands("bulkWrite")
    assert (first["ops"], first["nsInfo"]) == (second["ops"], second["nsInfo"])


@pytest.mark.parametrize(
    "multi", [UpdateMany({}, {"$set": {"a": 1}}, namespace=A), DeleteMany({}, namespace=A)]
)
def test_each_message_alone_says_whether_it_is(store: Store, multi: Any) -> None:
    """The second one of three cannot be sent twice."""
    hello = {**HELLO, "maxWriteBatchSize": 2}
    with ScriptedServer(hello=hello, on={"bulkWrite": store.take}) as server:
        with MongoClient(server.uri()) as client:
            given = [*inserts(2), InsertOne({}, namespace=A), multi, *inserts(2)]
            client.bulk_write(given)
            assert numbers(server) == [1, None, 2]
            server.on["bulkWrite"] = in_turn(store.take, Close(), store.take)
            with pytest.raises(ClientBulkWriteException) as caught:
                client.bulk_write(given)
    assert isinstance(caught.value.error, AutoReconnect)
    assert not caught.value.has_error_label("RetryableWriteError")
    assert caught.value.partial_result is not None
    assert caught.value.partial_result.inserted_count == 2


def test_no_more_is_sent_the_second_time(store: Store) -> None:
    """Another server may take more at once, but the number belongs to what was sent first."""
    hello = {**HELLO, "maxWriteBatchSize": 2}
    with ScriptedServer(hello=hello) as server:

        def fail(request: Request) -> Any:
            server.hello = {**HELLO, "maxWriteBatchSize": 100}
            server.on["bulkWrite"] = store.take
            return Close()

        server.on["bulkWrite"] = fail
        with MongoClient(server.uri()) as client:
            assert client.bulk_write(inserts(5)).inserted_count == 5
    assert [size for size, _ in store.sizes] == [2, 3]


def test_write_concern_errors_have_it_sent_again(
    server: ScriptedServer, store: Store, client: Any
) -> None:
    failed = reply(
        nInserted=3,
        writeConcernError={"code": 91, "errmsg": "shutting down"},
        errorLabels=["RetryableWriteError"],
    )
    server.on["bulkWrite"] = in_turn(failed, store.take)
    assert client.bulk_write(inserts(3)).inserted_count == 3
    assert numbers(server) == [1, 1]
    # The second attempt fails as well, in another way.
    kept = reply(done(0), refused(1), done(2), nErrors=1, nInserted=2)
    kept |= {name: failed[name] for name in ("writeConcernError", "errorLabels")}
    server.on["bulkWrite"] = in_turn(kept, Close(), store.take)
    with pytest.raises(ClientBulkWriteException) as caught:
        client.bulk_write(inserts(3), ordered=False, verbose_results=True)
    assert isinstance(caught.value.error, AutoReconnect)
    assert caught.value.has_error_label("RetryableWriteError")
    assert len(caught.value.write_concern_errors) == 1
    assert [each["idx"] for each in caught.value.write_errors] == [1]
    assert caught.value.partial_result is not None
    assert caught.value.partial_result.inserted_count == 2
    assert list(caught.value.partial_result.insert_results) == [0, 2]


def test_a_cursor_of_an_attempt_that_is_repeated_is_killed(
    server: ScriptedServer, store: Store, client: Any
) -> None:
    failed = reply(
        cursor_id=77,
        nInserted=3,
        writeConcernError={"code": 91, "errmsg": "shutting down"},
        errorLabels=["RetryableWriteError"],
    )
    server.on["bulkWrite"] = in_turn(failed, store.take)
    assert client.bulk_write(inserts(3)).inserted_count == 3
    assert server.wait_for(lambda: server.count("killCursors") == 1)
    (killed,) = server.commands("killCursors")
    assert (killed["killCursors"], killed["cursors"]) == ("$cmd.bulkWrite", [77])


# Errors that end it


def test_an_error_of_the_first_message_is_in_the_exception(
    server: ScriptedServer, client: Any
) -> None:
    server.on["bulkWrite"] = Error(code=8000, message="no", extra={"details": 1})
    with pytest.raises(ClientBulkWriteException) as caught:
        client.bulk_write(inserts(3))
    error = caught.value.error
    assert type(error) is OperationFailure
    assert error.details["details"] == 1
    assert (caught.value.__cause__, caught.value.partial_result) == (error, None)
    server.on["bulkWrite"] = Error(code=10107, message="not primary")
    with pytest.raises(ClientBulkWriteException) as caught:
        client.bulk_write([DeleteMany({}, namespace=A)])
    assert type(caught.value.error) is NotPrimaryError


def test_an_error_before_anything_is_sent_is_raised_as_it_is() -> None:
    with ScriptedServer(hello=HELLO) as server:
        uri = server.uri()
    with MongoClient(uri, serverSelectionTimeoutMS=100) as client:
        with pytest.raises(ServerSelectionTimeoutError):
            client.bulk_write(inserts(3))


def test_what_was_done_before_an_error(store: Store) -> None:
    hello = {**HELLO, "maxWriteBatchSize": 2}
    second = reply(done(1), refused(0), nInserted=1, nErrors=1)
    for last, kind in ((Close(), AutoReconnect), (Error(code=8, message="no"), OperationFailure)):
        with ScriptedServer(
            hello=hello, on={"bulkWrite": in_turn(store.take, second, last)}
        ) as server:
            with MongoClient(server.uri(), retryWrites=False) as client:
                with pytest.raises(ClientBulkWriteException) as caught:
                    client.bulk_write(inserts(6), ordered=False, verbose_results=True)
        assert isinstance(caught.value.error, kind)
        assert [each["idx"] for each in caught.value.write_errors] == [2]
        assert caught.value.write_errors[0]["op"] == {"insert": 0, "document": {"_id": 2}}
        assert caught.value.partial_result is not None
        assert caught.value.partial_result.inserted_count == 3
        assert list(caught.value.partial_result.insert_results) == [0, 1, 3]


def test_a_time_out_is_told(server: ScriptedServer) -> None:
    server.on["bulkWrite"] = Silence()
    with MongoClient(server.uri(), socketTimeoutMS=100, retryWrites=False) as client:
        with pytest.raises(ClientBulkWriteException) as caught:
            client.bulk_write(inserts(3))
    assert isinstance(caught.value.error, NetworkTimeout)
    assert caught.value.timeout
    assert caught.value.partial_result is None


def test_without_retry_writes_there_is_no_number(server: ScriptedServer) -> None:
    with MongoClient(server.uri(), retryWrites=False) as client:
        client.bulk_write(inserts(3))
    assert numbers(server) == [None]


# Results in several batches


def test_results_are_read_to_the_end(server: ScriptedServer, client: Any) -> None:
    server.on["bulkWrite"] = reply(done(0), cursor_id=9, nInserted=3)
    server.on["getMore"] = in_turn(
        reply(cursor_id=9, batch="nextBatch"),
        reply(done(2), done(1), batch="nextBatch"),
    )
    result = client.bulk_write(inserts(3), verbose_results=True)
    assert sorted(result.insert_results) == [0, 1, 2]
    more = server.commands("getMore")
    assert [each["collection"] for each in more] == ["$cmd.bulkWrite"] * 2
    (bulk,) = server.commands("bulkWrite")
    assert {bytes(each["lsid"]["id"]) for each in more} == {bytes(bulk["lsid"]["id"])}
    assert all(each["$db"] == "admin" for each in more)
    assert server.count("killCursors") == 0


def test_errors_are_read_without_verbose_results(server: ScriptedServer, client: Any) -> None:
    server.on["bulkWrite"] = reply(cursor_id=9, nInserted=1, nErrors=2)
    server.on["getMore"] = reply(refused(0), refused(2), batch="nextBatch")
    with pytest.raises(ClientBulkWriteException) as caught:
        client.bulk_write(inserts(3), ordered=False)
    assert [each["idx"] for each in caught.value.write_errors] == [0, 2]


def test_in_order_nothing_is_read_after_an_error(server: ScriptedServer, client: Any) -> None:
    server.on["bulkWrite"] = reply(done(0), refused(1), cursor_id=9, nInserted=1, nErrors=1)
    with pytest.raises(ClientBulkWriteException) as caught:
        client.bulk_write(inserts(3), verbose_results=True)
    assert [each["idx"] for each in caught.value.write_errors] == [1]
    assert server.count("getMore") == 0
    assert server.wait_for(lambda: server.count("killCursors") == 1)


@pytest.mark.parametrize("failure", [Error(code=8, message="no"), Close()], ids=["error", "closed"])
def test_a_get_more_that_fails_ends_it(server: ScriptedServer, client: Any, failure: Any) -> None:
    server.on["bulkWrite"] = reply(done(0), cursor_id=9, nInserted=3)
    server.on["getMore"] = failure
    with pytest.raises(ClientBulkWriteException) as caught:
        client.bulk_write(inserts(3), verbose_results=True)
    assert isinstance(caught.value.error, (OperationFailure, AutoReconnect))
    assert caught.value.partial_result is not None
    assert caught.value.partial_result.inserted_count == 3
    assert list(caught.value.partial_result.insert_results) == [0]
    assert server.count("bulkWrite") == 1
    # A lost connection leaves none to say it on, until there is another.
    client.admin.command("ping")
    assert server.wait_for(lambda: server.count("killCursors") == 1)


# Replies that cannot be right


def wrong_replies() -> dict[str, Any]:
    return {
        "no cursor": {"ok": 1.0, "nErrors": 0, "nInserted": 2},
        "cursor is no document": {**reply(), "cursor": 5},
        "cursor is an array": {**reply(), "cursor": [1]},
        "cursor without batch": {**reply(), "cursor": {"id": Int64(0), "ns": "admin.c"}},
        "batch is no array": {**reply(), "cursor": {"id": Int64(0), "firstBatch": 5}},
        "batch holds numbers": reply(1, 2),
        "id is a text": {**reply(), "cursor": {"id": "x", "firstBatch": [], "ns": "admin.c"}},
        "ns without collection": reply(cursor_id=5, ns="admin"),
        "ns with NUL": reply(cursor_id=5, ns="admin.a\0b"),
        "idx too large": reply(done(2)),
        "idx huge": reply(done(2**62)),
        "idx negative": reply(done(-1)),
        "idx a text": reply(done("0")),
        "idx not a number": reply(done(float("nan"))),
        "no idx": reply({"ok": 1.0, "n": 1}),
        "error with idx too large": reply(refused(2)),
        "n negative": reply(done(0, n=-1)),
        "n a document": reply(done(0, n={})),
        "too many results": reply(done(0), done(1), done(0)),
        "count negative": reply(nInserted=-5),
        "count a text": reply(nDeleted="5"),
        "count infinite": reply(nMatched=float("inf")),
        "errors negative": reply(nErrors=-1),
        "write concern error is a number": {**reply(), "writeConcernError": 5},
    }


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("what", wrong_replies())
def test_a_reply_that_cannot_be_right(
    server: ScriptedServer, client: Any, what: str, ordered: bool
) -> None:
    server.on["bulkWrite"] = wrong_replies()[what]
    with pytest.raises(ClientBulkWriteException) as caught:
        client.bulk_write(inserts(2), ordered=ordered, verbose_results=True)
    assert isinstance(caught.value.error, (ProtocolError, InvalidBSON))
    assert server.count("bulkWrite") == 1
    partial = caught.value.partial_result
    assert partial is None or partial.inserted_count >= 0
    server.on["bulkWrite"] = reply(done(0), done(1), nInserted=2)
    assert client.bulk_write(inserts(2), verbose_results=True).inserted_count == 2


def test_an_upsert_without_id(server: ScriptedServer, client: Any) -> None:
    upsert = [UpdateOne({}, {"$set": {"a": 1}}, upsert=True, namespace=A)]
    server.on["bulkWrite"] = reply(done(0, upserted=5), nUpserted=1)
    with pytest.raises(ClientBulkWriteException) as caught:
        client.bulk_write(upsert, verbose_results=True)
    assert type(caught.value.error) is ProtocolError
    server.on["bulkWrite"] = reply(done(0, upserted={"_id": None}), nUpserted=1)
    (result,) = client.bulk_write(upsert, verbose_results=True).update_results.values()
    assert (result.did_upsert, result.upserted_id) == (True, None)


@pytest.mark.parametrize("results", [[], [done(0)]], ids=["empty", "the same"])
def test_a_results_cursor_without_end(
    server: ScriptedServer, client: Any, results: list[Any]
) -> None:
    server.on["bulkWrite"] = reply(cursor_id=9, nInserted=3)
    server.on["getMore"] = reply(*results, cursor_id=9, batch="nextBatch")
    with pytest.raises(ClientBulkWriteException) as caught:
        client.bulk_write(inserts(3), verbose_results=True)
    assert type(caught.value.error) is ProtocolError
    assert server.count("getMore") <= 6
    assert server.wait_for(lambda: server.count("killCursors") == 1)


def test_words_of_the_server_that_are_no_text(server: ScriptedServer, client: Any) -> None:
    """Errors may have any fields, or none."""
    server.on["bulkWrite"] = reply({"ok": 0, "idx": 1}, nErrors=1)
    with pytest.raises(ClientBulkWriteException) as caught:
        client.bulk_write(inserts(2))
    (error,) = caught.value.write_errors
    assert (error["idx"], error["op"]["document"]) == (1, {"_id": 1})
    assert caught.value.partial_result is not None


# Calls that are given up


def test_a_signal_handler_in_its_midst(server: ScriptedServer, store: Store, client: Any) -> None:
    """What a listener raises stands for a Ctrl-C between two messages."""

    class Interrupting(monitoring.CommandListener):
        def started(self, event: Any) -> None:
            if event.command_name == "bulkWrite" and event.command["ops"][0]["document"]["_id"]:
                raise KeyboardInterrupt

        def succeeded(self, event: Any) -> None:
            """Nothing is asked of it."""

        def failed(self, event: Any) -> None:
            """Nothing is asked of it."""

    server.hello = {**HELLO, "maxWriteBatchSize": 2}
    with MongoClient(server.uri(), event_listeners=[Interrupting()]) as other:
        with pytest.raises(KeyboardInterrupt) as caught:
            other.bulk_write(inserts(6))
        done_before: Any = caught.value.partial_result  # type: ignore[attr-defined]
        assert done_before.inserted_count == 2
        other.admin.command("ping")


@pytest.mark.parametrize("where", ["bulkWrite", "getMore"])
def test_a_task_that_is_cancelled(where: str) -> None:
    """The cursor is killed, the connection is not used again, the bulk's outcome is told."""
    first = reply(done(0), cursor_id=9, nInserted=2)
    on = (
        {"bulkWrite": in_turn(reply(done(0), done(1), nInserted=2), Silence())}
        if where == "bulkWrite"
        else {"bulkWrite": first, "getMore": Silence()}
    )

    async def give_up(server: ScriptedServer) -> BaseException:
        async with AsyncMongoClient(server.uri()) as client:
            task = asyncio.ensure_future(client.bulk_write(inserts(4), verbose_results=True))
            count = 2 if where == "bulkWrite" else 1
            while server.count(where) < count:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            await client.admin.command("ping")
            if where == "getMore":
                while server.count("killCursors") < 1:
                    await asyncio.sleep(0.01)
            return caught.value

    with ScriptedServer(hello={**HELLO, "maxWriteBatchSize": 2}, on=on) as server:
        error = asyncio.run(asyncio.wait_for(give_up(server), 30))
    partial: Any = getattr(error, "partial_result", None)
    if partial is not None:  # asyncio may have made another error of it
        assert partial.inserted_count == 2
    gc.collect()


@pytest.fixture
def pairs(store: Store) -> Iterator[ScriptedServer]:
    """A server that takes two operations in a message."""
    hello = {**HELLO, "maxWriteBatchSize": 2}
    with ScriptedServer(hello=hello, on={"bulkWrite": store.take}) as server:
        yield server


def test_w_0_asks_for_no_answers(pairs: ScriptedServer) -> None:
    with MongoClient(pairs.uri()) as client:
        send_quietly(pairs, client)


def send_quietly(server: ScriptedServer, client: Any) -> None:
    quiet = WriteConcern(w=0)
    result = client.bulk_write(inserts(5), ordered=False, write_concern=quiet)
    assert not result.acknowledged
    client.admin.command("ping")
    assert server.wait_for(lambda: server.count("bulkWrite") == 3)
    for command in server.commands("bulkWrite"):
        assert (command["ordered"], command["errorsOnly"]) == (False, True)
        assert command["writeConcern"] == {"w": 0}
        assert "txnNumber" not in command
        assert "lsid" not in command
    with pytest.raises(ConfigurationError, match="arrayFilters"):
        client.bulk_write(
            [UpdateOne({}, {"$set": {"a": 1}}, array_filters=[{"i": 1}], namespace=A)],
            ordered=False,
            write_concern=quiet,
        )


def test_others_have_their_turns_while_models_are_looked_at(client: Any) -> None:
    plan = plans.client_bulk_write(client._inherited, inserts(3000), True, True, None, None, None)
    steps = [next(plan)]
    while steps[-1] is plans.GIVE_WAY:
        steps.append(plan.send(None))
    assert isinstance(steps.pop(), ClientBatch)
    assert len(steps) == 2
    plan.close()


def test_others_have_their_turns_while_results_are_looked_at() -> None:
    """3000 results, and a task that counts how often it was its turn meanwhile."""

    async def turns_during(server: ScriptedServer) -> int:
        async with AsyncMongoClient(server.uri()) as client:
            await client.admin.command("ping")
            turns: list[int] = []
            models = inserts(3000)
            taken: list[Any] = []
            noted = plans._Outcome._note

            def note(self: Any, document: Any) -> None:
                noted(self, document)
                taken.append(len(turns))

            async def others() -> None:
                while True:
                    turns.append(1)
                    await asyncio.sleep(0)

            task = asyncio.ensure_future(others())
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(plans._Outcome, "_note", note)
                await client.bulk_write(models, verbose_results=True)
            task.cancel()
            return taken[-1] - taken[0]

    with ScriptedServer(hello=HELLO, on={"bulkWrite": Store().take}) as server:
        assert asyncio.run(asyncio.wait_for(turns_during(server), 30)) >= 3000 // 512 - 1
