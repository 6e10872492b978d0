"""Cursors when something goes wrong: what they had on the server is given back on every path, they
go on where they can, and no destructor, handler or second thread brings them out of order."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import bson
import pytest

from mongokey import MongoClient
from mongokey.bson.codec_options import CodecOptions
from mongokey.errors import (
    AutoReconnect,
    CursorNotFound,
    InvalidBSON,
    InvalidOperation,
    OperationFailure,
    ProtocolError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)
from tests.servers.scripted import (
    Close,
    Error,
    Hold,
    Reply,
    Request,
    ScriptedServer,
    Silence,
    in_turn,
    primary,
)
from tests.threads import outcomes


def batch(
    first: int, count: int, identifier: int = 7, name: str = "nextBatch", ns: Any = "x.y"
) -> dict[str, Any]:
    documents = [{"_id": i} for i in range(first, first + count)]
    return {"ok": 1.0, "cursor": {"id": identifier, "ns": ns, name: documents}}


def first(count: int = 2, identifier: int = 7, ns: Any = "x.y") -> dict[str, Any]:
    return batch(0, count, identifier, "firstBatch", ns)


#: A string whose bytes are not UTF-8, in a document that is otherwise right.
BAD_DOCUMENT = b"\x10\0\0\0\x02a\0\x04\0\0\0ab\xff\0\0"


def with_bad_document(name: str, identifier: int = 7) -> bytes:
    """A reply whose batch is one good document and one that cannot be decoded."""
    good = bson.encode({"_id": 0})
    items = b"\x030\0" + good + b"\x031\0" + BAD_DOCUMENT
    array = struct.pack("<i", len(items) + 5) + items + b"\0"
    rest = bson.encode({"id": identifier, "ns": "x.y"})[4:-1]
    inner = b"\x04" + name.encode() + b"\0" + array + rest
    cursor = struct.pack("<i", len(inner) + 5) + inner + b"\0"
    outer = b"\x03cursor\0" + cursor + bson.encode({"ok": 1.0})[4:-1]
    return struct.pack("<i", len(outer) + 5) + outer + b"\0"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(hello=primary(), on={"find": first(), "getMore": batch(2, 2)}) as server:
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Any]:
    with MongoClient(server.uri()) as client:
        yield client


def killed(server: ScriptedServer, count: int = 1) -> bool:
    return server.wait_for(lambda: server.count("killCursors") == count)


def sessions(server: ScriptedServer) -> set[bytes]:
    return {bytes(r["lsid"]["id"]) for r in server.commands() if "lsid" in r}


# Given back on every path


@pytest.mark.parametrize("call", ["find", "aggregate", "list_indexes"])
def test_a_first_batch_that_cannot_be_decoded_is_given_back(
    server: ScriptedServer, client: Any, call: str
) -> None:
    command = "listIndexes" if call == "list_indexes" else call
    server.on[command] = Reply(with_bad_document("firstBatch"))
    things = client["x"]["y"]
    calls = {
        "find": lambda: list(things.find()),
        "aggregate": lambda: list(things.aggregate([])),
        "list_indexes": lambda: list(things.list_indexes()),
    }
    for count in range(1, 11):
        with pytest.raises(InvalidBSON):
            calls[call]()
        assert killed(server, count)
        assert server.wait_for(lambda: client._pool().in_use == 0)
    assert server.commands("killCursors")[0]["killCursors"] == "y"
    # One is in the program's hands while the other is on its way back.
    assert len(sessions(server)) <= 2


def test_a_later_batch_that_cannot_be_decoded_is_given_back(
    server: ScriptedServer, client: Any
) -> None:
    server.on["getMore"] = Reply(with_bad_document("nextBatch"))
    cursor = client["x"]["y"].find()
    with pytest.raises(InvalidBSON):
        list(cursor)
    assert killed(server)
    assert not cursor.alive
    server.on["getMore"] = Reply(with_bad_document("nextBatch", 0))
    with pytest.raises(InvalidBSON):
        list(client["x"]["y"].find())
    assert not server.wait_for(lambda: server.count("killCursors") > 1, 0.3)
    assert len(sessions(server)) <= 2


@pytest.mark.parametrize("identifier", ["7", None, {"n": 7}, 7.5, b"7"], ids=repr)
@pytest.mark.parametrize("call", ["find", "aggregate", "getMore"])
def test_a_cursor_whose_id_is_no_number_is_an_error_of_the_protocol(
    server: ScriptedServer, client: Any, call: str, identifier: object
) -> None:
    name = "nextBatch" if call == "getMore" else "firstBatch"
    cursor = {"id": identifier, "ns": "x.y", name: [{"_id": 0}]}
    server.on[call] = Reply(bson.encode({"cursor": cursor, "ok": 1.0}))
    things = client["x"]["y"]
    with pytest.raises(ProtocolError, match="id of the server's cursor is no whole number"):
        list(things.aggregate([]) if call == "aggregate" else things.find())
    # Nothing of it is left.
    assert server.wait_for(lambda: client._pool().in_use == 0)
    assert client.admin.command("ping")["ok"] == 1.0


def test_a_document_class_that_raises_gives_everything_back(
    server: ScriptedServer, client: Any
) -> None:
    class Picky(dict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            raise ZeroDivisionError

    options: Any = CodecOptions(document_class=Picky)
    things = client["x"].get_collection("y", codec_options=options)
    with pytest.raises(ZeroDivisionError):
        list(things.find())
    assert killed(server)


def test_find_one_answered_with_an_open_cursor_has_it_killed(
    server: ScriptedServer, client: Any
) -> None:
    for count in range(1, 5):
        assert client["x"]["y"].find_one() == {"_id": 0}
        assert killed(server, count)
    assert client["x"]["y"].find_one(sort=[("a", 1)]) == {"_id": 0}
    assert killed(server, 5)


@pytest.mark.parametrize("code", [13, 146, 8000, 50])
def test_a_get_more_that_is_refused_has_the_cursor_killed(
    server: ScriptedServer, client: Any, code: int
) -> None:
    server.on["getMore"] = Error(code=code)
    cursor = client["x"]["y"].find()
    with pytest.raises(OperationFailure) as caught:
        list(cursor)
    assert caught.value.code == code
    assert killed(server)
    assert server.commands("killCursors")[0]["lsid"] == server.commands("find")[0]["lsid"]
    assert list(cursor) == []


@pytest.mark.parametrize("code", [43, 175, 237])
def test_a_cursor_the_server_no_longer_has_is_not_killed(
    server: ScriptedServer, client: Any, code: int
) -> None:
    server.on["getMore"] = Error(code=code)
    with pytest.raises(CursorNotFound if code == 43 else OperationFailure):
        list(client["x"]["y"].find())
    assert not server.wait_for(lambda: server.count("killCursors") > 0, 0.3)
    client["x"]["y"].find_one()
    assert len(sessions(server)) == 1


def test_a_busy_pool_in_mid_cursor_truncates_nothing(server: ScriptedServer) -> None:
    hold = Hold()
    server.on["hold"] = hold
    server.on["getMore"] = in_turn(batch(2, 2), batch(4, 1, 0))
    with MongoClient(server.uri(maxPoolSize=1, waitQueueTimeoutMS=50)) as client:
        cursor = client["x"]["y"].find()
        got = [next(cursor), next(cursor)]
        busy = threading.Thread(target=client.admin.command, args=("hold",))
        busy.start()
        assert server.wait_for(lambda: server.count("hold") == 1)
        for _ in range(3):
            with pytest.raises(WaitQueueTimeoutError):
                next(cursor)
            assert cursor.alive
        hold.event.set()
        busy.join()
        got += cursor
        assert [each["_id"] for each in got] == [0, 1, 2, 3, 4]
        assert server.count("getMore") == 2
        assert server.count("killCursors") == 0


def test_a_connection_that_cannot_be_opened_in_mid_cursor_truncates_nothing() -> None:
    with (
        ScriptedServer(hello=primary(), on={"find": first(), "getMore": batch(2, 1, 0)}) as server,
        MongoClient(server.uri(serverSelectionTimeoutMS=1500)) as client,
    ):
        cursor = client["x"]["y"].find()
        got = [next(cursor), next(cursor)]
        server.on["lose"] = Close()
        with pytest.raises(AutoReconnect):
            client.admin.command("lose")
        server.cut_after = 0
        with pytest.raises(ServerSelectionTimeoutError, match="which has the cursor"):
            next(cursor)
        server.cut_after = None
        # It is waited for until the next check.
        got += cursor
        assert [each["_id"] for each in got] == [0, 1, 2]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals to threads")
def test_ctrl_c_in_a_get_more_has_the_cursor_killed(server: ScriptedServer, client: Any) -> None:
    server.on["getMore"] = Silence()
    cursor = client["x"]["y"].find()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        server.wait_for(lambda: server.count("getMore") == 1)
        time.sleep(0.2)  # until the main thread waits
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        list(cursor)
    thread.join()
    assert not cursor.alive
    client.admin.command("ping")
    assert killed(server)


@pytest.mark.parametrize(
    "ns", [None, 5, "", "x", "x.", "x.a\0b"], ids=["absent", "int", "empty", "db", "dot", "NUL"]
)
def test_a_cursor_whose_namespace_is_no_use_is_a_protocol_error(
    server: ScriptedServer, client: Any, ns: Any
) -> None:
    answer = first(ns=ns)
    if ns is None:
        del answer["cursor"]["ns"]
    server.on["listIndexes"] = server.on["aggregate"] = answer
    for call in (client["x"]["y"].list_indexes, lambda: client["x"]["y"].aggregate([])):
        with pytest.raises(ProtocolError, match="ns"):
            list(call())
    # Where no more is to be read, nothing is wrong.
    answer["cursor"]["id"] = 0
    assert len(list(client["x"]["y"].list_indexes())) == 2


# Limits


def test_a_limit_that_is_the_batch_size_leaves_no_cursor(
    server: ScriptedServer, client: Any
) -> None:
    def find(request: Request) -> Any:
        # MongoDB 5.0 and later: a batch that ends where it was asked to leaves the cursor open,
        # for the server did not look whether that was all.
        asked = request.document.get("batchSize", 101)
        limit = request.document["limit"]
        return first(min(asked, limit), 7 if asked <= limit else 0)

    server.on["find"] = find
    assert len(list(client["x"]["y"].find().limit(3).batch_size(3))) == 3
    assert server.commands("find")[-1]["batchSize"] == 4
    assert server.commands("find")[-1]["limit"] == 3
    assert len(list(client["x"]["y"].find().limit(5).batch_size(7))) == 5
    assert server.commands("find")[-1]["batchSize"] == 7
    assert not server.wait_for(lambda: server.count("killCursors") > 0, 0.3)
    assert server.count("getMore") == 0


# Who keeps what


def test_a_command_cursor_keeps_its_client(server: ScriptedServer) -> None:
    more = batch(2, 1, 0)
    for command in ("listCollections", "aggregate", "listIndexes", "find"):
        server.on[command] = first()
    server.on["getMore"] = more

    def uri_database() -> Any:
        return MongoClient[Any](server.uri())["x"]

    for make in (
        lambda: uri_database().list_collections(),
        lambda: uri_database().aggregate([{"$currentOp": {}}]),
        lambda: uri_database().cursor_command("find", "y"),
        lambda: uri_database()["y"].aggregate([]),
        lambda: uri_database()["y"].list_indexes(),
        lambda: uri_database()["y"].find(),
    ):
        cursor = make()
        gc.collect()
        assert [each["_id"] for each in cursor] == [0, 1, 2]
    del cursor
    gc.collect()
    assert server.wait_for(lambda: server.open == 0)


# Destructors, handlers, threads


def numbered(batches: int) -> Any:
    """getMore answers with two documents each, numbered, `batches` times."""
    count = 0
    lock = threading.Lock()

    def answer(_: Request) -> Any:
        nonlocal count
        with lock:
            count += 1
            return batch(2 * count, 2, 7 if count < batches else 0)

    return answer


@pytest.mark.parametrize("use", ["next", "to_list", "close", "list", "rewind", "clone", "limit"])
@pytest.mark.parametrize("by", ["next", "to_list", "to_list(1)", "close", "rewind"])
def test_a_destructor_of_a_document_may_use_its_cursor(
    server: ScriptedServer, client: Any, use: str, by: str
) -> None:
    calls: list[str] = []
    holder: list[Any] = []

    class Document(dict[str, Any]):
        def __del__(self) -> None:
            if not holder or len(calls) > 20:
                return
            calls.append(use)
            cursor = holder[0]
            with contextlib.suppress(InvalidOperation, StopIteration):
                {
                    "next": lambda: next(cursor),
                    "to_list": cursor.to_list,
                    "close": cursor.close,
                    "list": lambda: list(cursor),
                    "rewind": cursor.rewind,
                    "clone": lambda: next(cursor.clone()),
                    "limit": lambda: cursor.limit(3),
                }[use]()

    server.on["getMore"] = numbered(5)
    options: Any = CodecOptions(document_class=Document)
    things = client["x"].get_collection("y", codec_options=options)
    cursor = things.find()
    next(cursor)
    holder.append(cursor)
    ids = []
    for _ in range(8):
        try:
            if by == "next":
                ids.append(next(cursor)["_id"])
            elif by.startswith("to_list"):
                ids += [each["_id"] for each in cursor.to_list(1 if "1" in by else None)]
            else:
                getattr(cursor, by)()
                next(cursor, None)
        except (StopIteration, InvalidOperation):
            break
    holder.clear()
    cursor.close()
    assert calls or by in ("close", "rewind", "to_list")
    if by != "rewind" and use not in ("rewind", "limit"):
        assert len(ids) == len(set(ids))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
def test_a_signal_handler_may_use_the_client_and_is_told_of_a_cursor_in_use(
    server: ScriptedServer, client: Any
) -> None:
    hold = Hold(answer=Reply(batch(2, 1, 0)))
    server.on["getMore"] = hold
    cursor = client["x"]["y"].find()
    got = [next(cursor), next(cursor)]
    told: list[Any] = []

    def handler(*_: Any) -> None:
        if told:
            return
        told.append(client.admin.command("ping")["ok"])
        try:
            next(cursor)
        except InvalidOperation as error:
            told.append(str(error))
        hold.event.set()

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        main = threading.main_thread().ident
        assert main is not None

        def interrupt() -> None:
            server.wait_for(lambda: server.count("getMore") == 1)
            # Again where the signal came just before the wait began, which it does not end.
            for _ in range(50):
                signal.pthread_kill(main, signal.SIGUSR1)
                if hold.event.wait(0.2):
                    return
            hold.event.set()

        thread = threading.Thread(target=interrupt)
        thread.start()
        got += cursor
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [each["_id"] for each in got] == [0, 1, 2]
    assert told[0] == 1
    assert "one user at a time" in told[1]


def test_many_threads_on_one_cursor_get_each_document_once(
    server: ScriptedServer, client: Any
) -> None:
    server.on["getMore"] = numbered(200)
    cursor = client["x"]["y"].find()
    got: list[int] = []

    def work() -> None:
        while cursor.alive:
            try:
                got.append(next(cursor)["_id"])
            except StopIteration:
                return
            except InvalidOperation:
                time.sleep(0)

    assert [each for each in outcomes(8, work) if each is not None] == []
    assert sorted(got) == list(range(402))


def test_closing_in_another_thread_ends_the_fetch_and_kills_the_cursor(
    server: ScriptedServer, client: Any
) -> None:
    hold = Hold(answer=Reply(batch(2, 2)))
    server.on["getMore"] = hold
    cursor = client["x"]["y"].find()
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.extend(cursor))
    thread.start()
    assert server.wait_for(lambda: server.count("getMore") == 1)
    cursor.close()
    with pytest.raises(InvalidOperation):
        cursor.rewind()
    hold.event.set()
    thread.join(20)
    assert not thread.is_alive()
    assert result == [{"_id": 0}, {"_id": 1}]
    assert killed(server)
    assert not cursor.alive


@pytest.mark.parametrize("setter", ["sort", "hint"])
def test_what_a_setter_replaces_goes_when_the_new_value_is_there(client: Any, setter: str) -> None:
    seen: list[Any] = []

    class Value(dict[str, Any]):
        def __del__(self) -> None:
            seen.append(cursor.clone()._query.document())

    cursor = client["x"]["y"].find()
    getattr(cursor, setter)({"a": Value(b=1)})
    getattr(cursor, setter)({"new": 1})
    gc.collect()
    assert [each[setter] for each in seen] == [{"new": 1}]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_during_a_fetch_leaves_the_cursor_to_the_parent(
    server: ScriptedServer, client: Any
) -> None:
    hold = Hold(answer=Reply(batch(2, 1, 0)))
    server.on["getMore"] = hold
    cursor = client["x"]["y"].find()
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.extend(cursor))
    thread.start()
    assert server.wait_for(lambda: server.count("getMore") == 1)
    pid = os.fork()
    if pid == 0:
        try:
            cursor.close()
            del cursor
            gc.collect()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    hold.event.set()
    thread.join(20)
    assert len(result) == 3
    assert server.count("killCursors") == 0


# An empty batch is no end


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.find().to_list(),
        lambda c: c.aggregate([{"$match": {}}]).to_list(),
        lambda c: list(c.aggregate([])),
        lambda c: c.aggregate([]).to_list(3),
        lambda c: c.database.cursor_command("find", "c").to_list(),
    ],
    ids=["find", "aggregate", "iterated", "as many as there are", "a command of one's own"],
)
def test_a_batch_without_documents_loses_none_of_the_next(
    server: ScriptedServer, client: Any, call: Any
) -> None:
    """A mongos, and an aggregation that filters much, answer so."""
    server.on["aggregate"] = server.on["find"] = first(1)
    server.on["getMore"] = in_turn(batch(1, 0), batch(1, 0), batch(1, 2, 0))
    assert [each["_id"] for each in call(client.x.y)] == [0, 1, 2]


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.aggregate([{"$changeStream": {}}]),
        lambda c: c.database.cursor_command("find", "c", tailable=True, awaitData=True),
    ],
    ids=["a change stream", "a tailable cursor of one's own"],
)
def test_what_has_no_end_gives_what_is_there(
    server: ScriptedServer, client: Any, call: Any
) -> None:
    server.on["aggregate"] = server.on["find"] = first(1)
    server.on["getMore"] = in_turn(batch(1, 1), batch(2, 0), batch(2, 1, 0))
    cursor = call(client.x.y)
    assert [each["_id"] for each in cursor.to_list()] == [0, 1]
    assert cursor.alive
    assert [each["_id"] for each in cursor.to_list()] == [2]
