"""What is tried again after a failure, what is not, and what the second failure says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from mongokey import MongoClient, WriteConcern
from mongokey.errors import (
    AutoReconnect,
    BulkWriteError,
    CursorNotFound,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidBSON,
    MongoError,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ProtocolError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
    WTimeoutError,
)
from tests.pools import drop_connections
from tests.servers.scripted import (
    Close,
    Error,
    Reply,
    Request,
    ScriptedServer,
    Silence,
    in_turn,
    primary,
    standalone,
)

CURSOR = {"id": 0, "ns": "x.y", "firstBatch": [{"_id": 1, "n": 1}]}
WRITTEN = {"ok": 1.0, "n": 1, "nModified": 1}
ANSWERS: dict[str, Any] = {
    "find": {"ok": 1.0, "cursor": CURSOR},
    "aggregate": {"ok": 1.0, "cursor": CURSOR},
    "listIndexes": {"ok": 1.0, "cursor": CURSOR},
    "listCollections": {"ok": 1.0, "cursor": CURSOR},
    "listDatabases": {"ok": 1.0, "databases": []},
    "count": {"ok": 1.0, "n": 1},
    "distinct": {"ok": 1.0, "values": [1]},
    "insert": WRITTEN,
    "update": WRITTEN,
    "delete": WRITTEN,
    "findAndModify": {"ok": 1.0, "value": {"_id": 1}},
    "create": {"ok": 1.0},
    "drop": {"ok": 1.0},
    "createIndexes": {"ok": 1.0},
}

READS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "find_one": ("find", lambda c: c.find_one()),
    "find": ("find", lambda c: list(c.find())),
    "count_documents": ("aggregate", lambda c: c.count_documents({})),
    "estimated_document_count": ("count", lambda c: c.estimated_document_count()),
    "distinct": ("distinct", lambda c: c.distinct("a")),
    "aggregate": ("aggregate", lambda c: list(c.aggregate([]))),
    "list_indexes": ("listIndexes", lambda c: list(c.list_indexes())),
    "list_collections": ("listCollections", lambda c: list(c.database.list_collections())),
    "list_databases": ("listDatabases", lambda c: list(c.database.client.list_databases())),
    "list_database_names": ("listDatabases", lambda c: c.database.client.list_database_names()),
}
WRITES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "insert_one": ("insert", lambda c: c.insert_one({"_id": 1})),
    "insert_many": ("insert", lambda c: c.insert_many([{"_id": 1}])),
    "update_one": ("update", lambda c: c.update_one({}, {"$set": {"a": 1}})),
    "replace_one": ("update", lambda c: c.replace_one({}, {})),
    "delete_one": ("delete", lambda c: c.delete_one({})),
    "find_one_and_update": (
        "findAndModify",
        lambda c: c.find_one_and_update({}, {"$set": {"a": 1}}),
    ),
    "find_one_and_delete": ("findAndModify", lambda c: c.find_one_and_delete({})),
    "find_one_and_replace": ("findAndModify", lambda c: c.find_one_and_replace({}, {})),
}
NEVER: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "update_many": ("update", lambda c: c.update_many({}, {"$set": {"a": 1}})),
    "delete_many": ("delete", lambda c: c.delete_many({})),
    "drop": ("drop", lambda c: c.drop()),
    "create_index": ("createIndexes", lambda c: c.create_index("a")),
    "aggregate with $out": ("aggregate", lambda c: c.aggregate([{"$out": "z"}])),
    "command": ("ping", lambda c: c.database.command("ping")),
}

FAILURES = {
    "closed": Close(),
    "reset": Close(reset=True),
    "a step-down": Error(code=10107, labels=["RetryableWriteError"]),
    "a shutdown": Error(code=11600, labels=["RetryableWriteError"]),
    "another host's failure": Error(code=7, labels=["RetryableWriteError"]),
}


@pytest.fixture
def server() -> Any:
    with ScriptedServer(hello=primary(), on=dict(ANSWERS)) as server:
        yield server


def collection(client: Any) -> Any:
    return client["x"]["y"]


def fail_once(server: ScriptedServer, name: str, *failures: Any) -> None:
    server.on[name] = in_turn(*failures, Reply(ANSWERS.get(name, {"ok": 1.0})))


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("read", READS)
def test_reads_are_tried_again_once(server: Any, read: str, failure: str) -> None:
    name, call = READS[read]
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        fail_once(server, name, FAILURES[failure])
        call(collection(client))
        assert server.count(name) == 2
        first, second = server.commands(name)
        assert first["lsid"] == second["lsid"]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("write", WRITES)
def test_writes_are_tried_again_with_the_same_number(server: Any, write: str, failure: str) -> None:
    name, call = WRITES[write]
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        fail_once(server, name, FAILURES[failure])
        call(collection(client))
        first, second = server.commands(name)
        assert first["txnNumber"] == second["txnNumber"] == 1
        assert first["lsid"] == second["lsid"]


@pytest.mark.parametrize("write", NEVER)
def test_what_cannot_be_repeated_is_not_tried_again(server: Any, write: str) -> None:
    name, call = NEVER[write]
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        before = server.count(name)
        fail_once(server, name, Close())
        with pytest.raises(AutoReconnect):
            call(collection(client))
        assert server.count(name) == before + 1
        assert "txnNumber" not in server.commands(name)[-1]
        # The client goes on.
        assert client.admin.command("ping")["ok"] == 1


@pytest.mark.parametrize("name", ["retryReads", "retryWrites"])
def test_retries_can_be_switched_off(server: Any, name: str) -> None:
    table = READS if name == "retryReads" else WRITES
    command, call = table["find_one" if name == "retryReads" else "insert_one"]
    with MongoClient(server.uri(**{name: False})) as client:
        client.admin.command("ping")
        fail_once(server, command, Close())
        with pytest.raises(AutoReconnect):
            call(collection(client))
        assert server.count(command) == 1
        assert "txnNumber" not in server.commands(command)[0]


def test_a_second_failure_is_told(server: Any) -> None:
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        fail_once(server, "find", Close(), Close())
        with pytest.raises(AutoReconnect):
            collection(client).find_one()
        assert server.count("find") == 2
        fail_once(server, "insert", Close(), Error(code=11000, message="E11000 twice"))
        with pytest.raises(DuplicateKeyError):
            collection(client).insert_one({})


def test_a_second_failure_that_wrote_nothing_shows_the_first(server: Any) -> None:
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        labels = ["RetryableWriteError"]
        fail_once(
            server,
            "insert",
            Error(code=91, message="the first", labels=labels),
            Error(code=10107, message="the second", labels=[*labels, "NoWritesPerformed"]),
        )
        with pytest.raises(NotPrimaryError, match="the first"):
            collection(client).insert_one({})


@pytest.mark.usefixtures("soon_checked")
def test_a_second_attempt_that_never_began_shows_the_first_failure(server: Any) -> None:
    """retryable-writes, "Determining Which Error to Return": the first perhaps wrote."""
    labels = ["RetryableWriteError"]
    for again in (Error(code=18, message="who are you"), Close()):
        with MongoClient(server.uri(serverSelectionTimeoutMS=500)) as client:
            client.admin.command("ping")

            def refuse(request: Request, again: Any = again) -> Any:
                # Not before: a monitor that is told so first leaves no server for any attempt.
                server.on["hello"] = again
                return Error(code=91, message="the first", labels=labels)

            server.on["insert"] = refuse
            with pytest.raises(NotPrimaryError, match="the first"):
                collection(client).insert_one({})
            server.on.pop("hello")
            client.admin.command("ping")
    # A pool without a free connection for the second attempt.
    with MongoClient(server.uri(maxPoolSize=1, waitQueueTimeoutMS=1500)) as client:
        client.admin.command("ping")
        go = threading.Event()

        def refuse(request: Any) -> Any:
            taker.start()
            time.sleep(0.3)  # it stands in the queue, and gets the only connection
            return Error(code=8000, message="the first", labels=labels)

        def hold(request: Any) -> Any:
            go.wait(10)
            return {"ok": 1.0}

        taker = threading.Thread(target=client.admin.command, args=("hold",))
        server.on.update(insert=refuse, hold=hold)
        with pytest.raises(OperationFailure, match="the first") as caught:
            collection(client).insert_one({})
        assert isinstance(caught.value.__cause__, WaitQueueTimeoutError)
        go.set()
        taker.join(10)


def test_a_deployment_without_retryable_writes_is_told_what_to_do(server: Any) -> None:
    message = "Transaction numbers are only allowed on a replica set member or mongos"
    server.on["insert"] = Error(code=20, message=message)
    with MongoClient(server.uri()) as client:
        for call in (lambda c: c.insert_one({}), lambda c: c.insert_many([{}])):
            with pytest.raises(OperationFailure, match="add retryWrites=false") as caught:
                call(collection(client))
            assert caught.value.code == 20


def test_when_no_server_is_left_the_first_failure_is_shown(server: Any) -> None:
    for call in (lambda c: c.find_one(), lambda c: c.insert_one({})):
        with MongoClient(server.uri(serverSelectionTimeoutMS=100)) as client:
            client.admin.command("ping")
            server.on = {"find": Close(), "insert": Close(), "hello": Close()}
            with pytest.raises(AutoReconnect) as caught:
                call(collection(client))
            assert type(caught.value) is AutoReconnect
            assert isinstance(caught.value.__cause__, ServerSelectionTimeoutError)
            with pytest.raises(ServerSelectionTimeoutError):
                call(collection(client))
            server.on = {}


def test_errors_that_are_not_retryable_are_told_at_once(server: Any) -> None:
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        for code in (2, 13, 50, 59, 8000):
            fail_once(server, "find", Error(code=code))
            before = server.count("find")
            with pytest.raises(OperationFailure) as caught:
                collection(client).find_one()
            assert caught.value.code == code
            assert server.count("find") == before + 1


def test_writes_are_retried_by_label_and_not_by_code(server: Any) -> None:
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        fail_once(server, "insert", Error(code=8000, labels=["RetryableWriteError"]))
        collection(client).insert_one({})
        assert server.count("insert") == 2
        fail_once(server, "insert", Error(code=189, message="no label"))
        with pytest.raises(NotPrimaryError):
            collection(client).insert_one({})


def test_servers_before_labels_are_retried_by_code() -> None:
    with ScriptedServer(hello=primary(maxWireVersion=8), on=dict(ANSWERS)) as server:
        with MongoClient(server.uri()) as client:
            client.admin.command("ping")
            for code in (189, 11600, 7, 91):
                fail_once(server, "insert", Error(code=code))
                before = server.count("insert")
                collection(client).insert_one({})
                assert server.count("insert") == before + 2


def test_standalone_servers_get_no_transaction_numbers() -> None:
    with ScriptedServer(hello=standalone(), on=dict(ANSWERS)) as server:
        with MongoClient(server.uri()) as client:
            client.admin.command("ping")
            fail_once(server, "insert", Close())
            with pytest.raises(AutoReconnect):
                collection(client).insert_one({})
            assert server.count("insert") == 1
            assert "txnNumber" not in server.commands("insert")[0]
            assert "lsid" in server.commands("insert")[0]


def test_a_write_that_never_left_is_tried_again_whatever_it_is(server: Any) -> None:
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        drop_connections(client)
        # The pool has no connection, and the next login breaks: nothing was sent.
        server.on["hello"] = in_turn(Close(), None)
        collection(client).insert_one({})
        assert server.count("insert") == 1


def test_unacknowledged_writes_are_not_tried_again(server: Any) -> None:
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        things = collection(client).with_options(write_concern=WriteConcern(w=0))
        things.insert_one({"_id": 1})
        assert server.wait_for(lambda: server.count("insert") == 1)
        assert "txnNumber" not in server.commands("insert")[0]
        assert client.admin.command("ping")["ok"] == 1


def test_a_time_out_does_not_clear_the_pool_and_is_retried_for_reads(server: Any) -> None:
    with MongoClient(server.uri(socketTimeoutMS=150)) as client:
        client.admin.command("ping")
        fail_once(server, "find", Silence())
        assert collection(client).find_one() == {"_id": 1, "n": 1}
        generation = client._pool().generation
        fail_once(server, "update", Silence())
        with pytest.raises(NetworkTimeout, match="socketTimeoutMS=150"):
            collection(client).update_many({}, {"$set": {"a": 1}})
        assert client._pool().generation == generation


def test_a_network_error_clears_the_pool(server: Any) -> None:
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        generation = client._pool().generation
        fail_once(server, "ping", Close())
        with pytest.raises(AutoReconnect):
            client.admin.command("ping")
        assert client._pool().generation == generation + 1
        assert server.wait_for(lambda: server.open == 1)


def test_failures_of_connections_from_before_do_not_clear_the_pool_again() -> None:
    go = threading.Event()

    def hold(request: Any) -> Any:
        go.wait(10)
        return Close()

    with ScriptedServer(hello=primary(), on={"hold": hold}) as server:
        with MongoClient(server.uri(maxConnecting=8)) as client:
            client.admin.command("ping")
            generation = client._pool().generation
            failed = []

            def run() -> None:
                try:
                    client.admin.command("hold")
                except AutoReconnect as error:
                    failed.append(error)

            threads = [threading.Thread(target=run) for _ in range(8)]
            for thread in threads:
                thread.start()
            assert server.wait_for(lambda: server.count("hold") == 8)
            go.set()
            for thread in threads:
                thread.join(10)
            assert len(failed) == 8
            assert client._pool().generation == generation + 1


def test_a_session_whose_command_was_lost_is_not_used_again(server: Any) -> None:
    with MongoClient(server.uri()) as client:
        things = collection(client)
        things.find_one()
        fail_once(server, "update", Close())
        with pytest.raises(AutoReconnect):
            things.update_many({}, {"$set": {"a": 1}})
        things.find_one()
        first, second = server.commands("find")
        assert server.commands("update")[0]["lsid"] == first["lsid"] != second["lsid"]


def test_a_dropped_connection_is_noticed_by_nobody(server: Any) -> None:
    with MongoClient(server.uri()) as client:
        things = collection(client)
        for _ in range(3):
            things.insert_one({})
            server.close_connections()
            assert things.find_one() == {"_id": 1, "n": 1}
            server.close_connections()
        numbers = [each["txnNumber"] for each in server.commands("insert")]
        assert len(numbers) == 3


@pytest.mark.parametrize("fault", ["opcode", "response_to", "checksum"])
def test_a_broken_reply_is_a_protocol_error_and_ends_the_connection(
    server: Any, fault: str
) -> None:
    broken = {
        "opcode": Reply(opcode=4242),
        "response_to": Reply(response_to=2**30),
        "checksum": Reply(checksum=False),
    }
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        fail_once(server, "find", broken[fault])
        with pytest.raises(ProtocolError):
            collection(client).find_one()
        # The monitor's is left.
        assert server.wait_for(lambda: server.open == 1)
        assert collection(client).find_one() == {"_id": 1, "n": 1}


@pytest.mark.parametrize(
    "document",
    [
        b"\x0c\0\0\0\x10ok\0\1\0\0\0",
        b"\x0d\0\0\0\x55ok\0\1\0\0\0\0",
        b"\xff\xff\xff\x7f\0",
    ],
)
def test_a_reply_that_is_no_bson_is_told(server: Any, document: bytes) -> None:
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        for name, call in ({**READS, **WRITES}).values():
            fail_once(server, name, Reply(document))
            with pytest.raises((InvalidBSON, ProtocolError)):
                call(collection(client))
        assert client.admin.command("ping")["ok"] == 1
        assert client._pool().in_use == 0


@pytest.mark.parametrize(
    "reply", [{"ok": 1.0}, {"ok": 1.0, "cursor": 5}, {"ok": 1.0, "cursor": {}}]
)
def test_a_find_without_a_cursor_is_a_protocol_error(server: Any, reply: Any) -> None:
    with MongoClient(server.uri()) as client:
        server.on["find"] = reply
        with pytest.raises(ProtocolError, match="cursor"):
            collection(client).find_one()
        with pytest.raises(ProtocolError, match="cursor"):
            list(collection(client).find())


def test_batches_with_something_else_than_documents_are_protocol_errors(server: Any) -> None:
    with MongoClient(server.uri()) as client:
        server.on["find"] = {"ok": 1.0, "cursor": {**CURSOR, "firstBatch": [5]}}
        with pytest.raises(ProtocolError, match="document"):
            collection(client).find_one()
        with pytest.raises(ProtocolError, match="document"):
            list(collection(client).find())


# Cursors


def test_a_cursor_stays_with_its_server_and_is_not_retried(server: Any) -> None:
    with MongoClient(server.uri()) as client:
        server.on["find"] = {"ok": 1.0, "cursor": {**CURSOR, "id": 7}}
        server.on["getMore"] = Close()
        cursor = collection(client).find()
        next(cursor)
        with pytest.raises(AutoReconnect):
            next(cursor)
        assert server.count("getMore") == 1
        assert not cursor.alive
        assert list(cursor) == []


def test_a_cursor_the_server_no_longer_has_is_not_killed(server: Any) -> None:
    with MongoClient(server.uri()) as client:
        server.on["find"] = {"ok": 1.0, "cursor": {**CURSOR, "id": 7}}
        server.on["getMore"] = Error(code=43)
        with pytest.raises(CursorNotFound):
            list(collection(client).find())
        assert server.count("killCursors") == 0


def test_empty_batches_are_asked_over(server: Any) -> None:
    def batch(documents: list[Any], identifier: int) -> Any:
        return Reply({"ok": 1.0, "cursor": {"id": identifier, "ns": "x.y", "nextBatch": documents}})

    with MongoClient(server.uri()) as client:
        server.on["find"] = {"ok": 1.0, "cursor": {**CURSOR, "firstBatch": [], "id": 7}}
        server.on["getMore"] = in_turn(batch([], 7), batch([{"_id": 1}], 7), batch([], 0))
        assert list(collection(client).find()) == [{"_id": 1}]
        assert server.count("getMore") == 3


def test_cursors_are_read_from_the_collection_the_server_names(server: Any) -> None:
    with MongoClient(server.uri()) as client:
        cursor = {"id": 7, "ns": "x.$cmd.aggregate", "firstBatch": [{"_id": 1}]}
        server.on["aggregate"] = {"ok": 1.0, "cursor": cursor}
        server.on["getMore"] = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "nextBatch": []}}
        assert len(list(client["x"].aggregate([]))) == 1
        assert server.commands("getMore")[0]["collection"] == "$cmd.aggregate"


# Errors of writes


def test_write_errors_and_concern_errors_become_their_classes(server: Any) -> None:
    def answer(**fields: Any) -> Any:
        return {"ok": 1.0, "n": 1, **fields}

    error = {"index": 0, "code": 11000, "errmsg": "E11000 duplicate"}
    concern = {"code": 64, "errmsg": "waiting timed out", "errInfo": {"wtimeout": True}}
    other = {"code": 100, "errmsg": "not enough members"}
    with MongoClient(server.uri()) as client:
        things = collection(client)
        for name, call in WRITES.values():
            if name == "findAndModify":
                continue
            server.on[name] = answer(writeConcernError=concern)
            many = call is WRITES["insert_many"][1]
            with pytest.raises(BulkWriteError if many else WTimeoutError) as caught:
                call(things)
            assert many or caught.value.timeout
            server.on[name] = answer(writeConcernError=other)
            with pytest.raises(BulkWriteError if many else WriteConcernError):
                call(things)
            server.on[name] = answer(n=0, writeErrors=[error])
            with pytest.raises(BulkWriteError if many else DuplicateKeyError):
                call(things)
        server.on["findAndModify"] = {"ok": 1.0, "value": None, "writeConcernError": other}
        with pytest.raises(WriteConcernError):
            things.find_one_and_delete({})
        server.on["aggregate"] = {**ANSWERS["aggregate"], "writeConcernError": other}
        for aggregate in (things.aggregate, client["x"].aggregate):
            with pytest.raises(WriteConcernError):
                aggregate([{"$out": "z"}])
        server.on["findAndModify"] = Error(code=11000)
        with pytest.raises(DuplicateKeyError):
            things.find_one_and_update({}, {"$set": {"a": 1}})


STRANGE: list[Any] = [None, 5, -1, 2**63 - 1, 1.5, "x", b"x", True, [], [5], [[]], [{}], {}]
STRANGE += [{"a": 1}, [{"index": "x"}], [{"index": -1}], [{"index": 2**40}], [{"_id": 1}]]
FIELDS = ["n", "nModified", "upserted", "writeErrors", "writeConcernError", "errorLabels"]
FIELDS += ["value", "values", "cursor", "$clusterTime", "operationTime", "ok", "code", "errmsg"]


@pytest.mark.parametrize("field", FIELDS)
def test_fields_of_a_strange_type_do_no_harm(server: Any, field: str) -> None:
    """Whatever a reply holds, the caller gets a result or an error of the driver."""
    calls = {**READS, **WRITES, **NEVER}
    with MongoClient(server.uri(retryReads=False, retryWrites=False)) as client:
        things = collection(client)
        for ok in (1.0, 0.0):
            for value in STRANGE:
                for name, call in calls.values():
                    answer = ANSWERS.get(name, {"ok": 1.0})
                    server.on[name] = {**answer, "ok": ok, field: value}
                    try:
                        call(things)
                    except (MongoError, InvalidBSON):
                        continue
        server.on = dict(ANSWERS)
        assert things.find_one() == {"_id": 1, "n": 1}
        assert client._pool().in_use == 0


def test_results_of_strange_replies_can_be_looked_at(server: Any) -> None:
    with MongoClient(server.uri()) as client:
        things = collection(client)
        for field in ("n", "nModified", "upserted"):
            for value in STRANGE:
                server.on["update"] = {**WRITTEN, field: value}
                try:
                    result = things.update_one({}, {"$set": {"a": 1}})
                except MongoError:
                    continue
                for name in ("matched_count", "modified_count", "upserted_id", "did_upsert"):
                    getattr(result, name)
                repr(result)


def test_labels_of_the_server_are_on_the_error(server: Any) -> None:
    with MongoClient(server.uri()) as client:
        server.on["find"] = Error(code=50, labels=["One", "Two"])
        with pytest.raises(ExecutionTimeout) as caught:
            collection(client).find_one()
        assert caught.value.has_error_label("One")
        assert caught.value.has_error_label("Two")
        assert not caught.value.has_error_label("Three")
        assert caught.value.timeout


def test_network_errors_of_retryable_writes_are_labelled(server: Any) -> None:
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        server.on["insert"] = Close()
        with pytest.raises(AutoReconnect) as caught:
            collection(client).insert_one({})
        assert caught.value.has_error_label("RetryableWriteError")
        server.on["find"] = Close()
        with pytest.raises(AutoReconnect) as caught:
            collection(client).find_one()
        assert not caught.value.has_error_label("RetryableWriteError")


# Large batches


def test_a_quarter_of_a_million_documents_go_in_three_messages(server: Any) -> None:
    sizes = []

    def insert(request: Any) -> Any:
        sizes.append(len(request.document["documents"]))
        return {"ok": 1.0, "n": sizes[-1]}

    server.on["insert"] = insert
    with MongoClient(server.uri()) as client:
        result = collection(client).insert_many({"_id": i} for i in range(250_000))
        assert len(result.inserted_ids) == 250_000
    assert sizes == [100_000, 100_000, 50_000]
    server.requests.clear()


def test_a_batch_above_48_megabytes_goes_in_two_messages(server: Any) -> None:
    sizes = []

    def insert(request: Any) -> Any:
        sizes.append((len(request.document["documents"]), len(request.raw)))
        return {"ok": 1.0, "n": sizes[-1][0]}

    server.on["insert"] = insert
    text = "x" * 10_000_000
    with MongoClient(server.uri()) as client:
        collection(client).insert_many([{"_id": i, "text": text} for i in range(6)])
    assert [count for count, _ in sizes] == [4, 2]
    assert all(size <= 48_000_000 for _, size in sizes)
    server.requests.clear()
