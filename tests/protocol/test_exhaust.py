"""Exhaust and tailable cursors: a server that sends one batch after the other, and what becomes of
its connection; flags of cursors and what they put into commands."""

from __future__ import annotations

import gc
import struct
from collections.abc import Callable
from typing import Any

import bson
import pytest

from mongokey import MongoClient
from mongokey.cursor import CursorType
from mongokey.errors import AutoReconnect, InvalidOperation, OperationFailure
from tests.servers.compressed import pack
from tests.servers.scripted import (
    Close,
    Error,
    Raw,
    Reply,
    Request,
    ScriptedServer,
    in_turn,
    mongos,
    primary,
    standalone,
)

MORE_TO_COME = 1 << 1
EXHAUST_ALLOWED = 1 << 16
FIRST = {"ok": 1.0, "cursor": {"id": 7, "ns": "x.y", "firstBatch": [{"_id": 0}]}}


def batch(number: int, identifier: int = 7) -> dict[str, Any]:
    return {"ok": 1.0, "cursor": {"id": identifier, "ns": "x.y", "nextBatch": [{"_id": number}]}}


def stream(
    count: int, *, ends: bool = True, all_answer_the_request: bool = False, packed: bool = False
) -> Callable[[Request], Any]:
    """So many batches for one getMore; the last one ends the cursor, or (`ends` false) says that
    more will follow."""

    def answer(request: Request) -> Any:
        if not request.flags & EXHAUST_ALLOWED:
            return Error(code=1, message="the getMore does not allow a stream")
        found = []
        for number in range(1, count + 1):
            last = ends and number == count
            reply = Reply(
                batch(number, 0 if last else 7),
                flags=0 if last else MORE_TO_COME,
                response_to=None if number == 1 or all_answer_the_request else 1000 + number - 1,
            )
            message = reply.to_bytes(request, 1000 + number)
            found.append(Raw(pack(message, "zlib") if packed and number % 2 else message))
        return found

    return answer


def serving(getmore: Any, hello: dict[str, Any] | None = None) -> ScriptedServer:
    return ScriptedServer(hello=hello or primary(), on={"find": FIRST, "getMore": getmore})


def connections(server: ScriptedServer, *names: str) -> set[int]:
    return {each.connection for each in server.requests if each.name in names}


@pytest.mark.parametrize("all_answer_the_request", [False, True])
def test_the_server_sends_one_batch_after_the_other(all_answer_the_request: bool) -> None:
    answer = stream(5, all_answer_the_request=all_answer_the_request)
    with serving(answer) as server, MongoClient(server.uri()) as client:
        cursor = client.x.y.find(cursor_type=CursorType.EXHAUST)
        assert cursor.to_list() == [{"_id": n} for n in range(6)]
        # One request for all of them, and the connection is as good as before.
        assert server.names(used=True).count("getMore") == 1
        assert client.admin.command("ping") == {"ok": 1.0}
        assert len(connections(server, "find", "getMore", "ping")) == 1
        (find,) = [each for each in server.requests if each.name == "find"]
        (more,) = [each for each in server.requests if each.name == "getMore"]
        assert not find.flags & EXHAUST_ALLOWED
        assert more.flags & EXHAUST_ALLOWED
        assert more.document["lsid"] == find.document["lsid"]


def test_documents_come_while_the_rest_is_on_its_way() -> None:
    with serving(stream(200)) as server, MongoClient(server.uri()) as client:
        cursor = client.x.y.find(cursor_type=CursorType.EXHAUST)
        found = [cursor.next() for _ in range(3)]
        # Another command has a connection of its own meanwhile.
        assert client.admin.command("ping") == {"ok": 1.0}
        assert connections(server, "ping").isdisjoint(connections(server, "getMore"))
        found += cursor.to_list()
        assert found == [{"_id": n} for n in range(201)]
        assert server.count("getMore") == 1


def test_large_batches_of_a_stream() -> None:
    text = "x" * 300_000

    def answer(request: Request) -> Any:
        found = []
        for number in range(1, 9):
            document = batch(number, 0 if number == 8 else 7)
            document["cursor"]["nextBatch"][0]["text"] = text
            flags = 0 if number == 8 else MORE_TO_COME
            response_to = None if number == 1 else 999 + number
            reply = Reply(document, flags=flags, response_to=response_to)
            found.append(Raw(reply.to_bytes(request, 1000 + number)))
        return found

    with serving(answer) as server, MongoClient(server.uri()) as client:
        cursor = client.x.y.find(cursor_type=CursorType.EXHAUST)
        assert [each["_id"] for each in cursor] == list(range(9))


def test_a_compressed_stream() -> None:
    hello = {**standalone(), "compression": ["zlib"]}
    with (
        serving(stream(6, packed=True), hello) as server,
        MongoClient(server.uri(compressors="zlib")) as client,
    ):
        cursor = client.x.y.find(cursor_type=CursorType.EXHAUST)
        assert cursor.to_list() == [{"_id": n} for n in range(7)]
        (more,) = [each for each in server.requests if each.name == "getMore"]
        assert more.compressor == "zlib"


def test_a_server_that_does_not_stream_is_asked_for_each_batch() -> None:
    answers = in_turn(batch(1), batch(2), batch(3, 0))
    with serving(answers) as server, MongoClient(server.uri()) as client:
        assert client.x.y.find(cursor_type=CursorType.EXHAUST).to_list() == [
            {"_id": n} for n in range(4)
        ]
        assert server.count("getMore") == 3
        assert len(connections(server, "find", "getMore")) == 1


@pytest.mark.parametrize("how", ["close", "drop", "rewind"])
def test_a_stream_that_nobody_reads_to_its_end_ends_with_its_connection(how: str) -> None:
    with serving(stream(3, ends=False)) as server, MongoClient(server.uri()) as client:
        cursor = client.x.y.find(cursor_type=CursorType.EXHAUST)
        assert [cursor.next()["_id"], cursor.next()["_id"]] == [0, 1]
        before = connections(server, "getMore")
        if how == "close":
            cursor.close()
        elif how == "rewind":
            cursor.rewind()
        else:
            del cursor
            gc.collect()
        assert client.admin.command("ping") == {"ok": 1.0}
        assert server.wait_for(lambda: not before & set(server._connections), timeout=10)
        assert connections(server, "ping").isdisjoint(before)
        # The connection's end is the cursor's: there is nothing to kill.
        assert server.count("killCursors") == 0


def test_a_cursor_that_is_closed_before_its_stream_begins_is_killed() -> None:
    with serving(stream(3)) as server, MongoClient(server.uri()) as client:
        cursor = client.x.y.find(cursor_type=CursorType.EXHAUST)
        cursor.next()
        cursor.close()
        assert server.wait_for(lambda: server.count("killCursors") == 1)
        assert connections(server, "killCursors") == connections(server, "find")
        assert client.admin.command("ping") == {"ok": 1.0}
        assert connections(server, "ping") == connections(server, "find")


def test_a_connection_that_is_lost_in_a_stream() -> None:
    def answer(request: Request) -> Any:
        return [*stream(2, ends=False)(request), Close()]

    with serving(answer) as server, MongoClient(server.uri()) as client:
        cursor = client.x.y.find(cursor_type=CursorType.EXHAUST)
        assert [cursor.next()["_id"] for _ in range(3)] == [0, 1, 2]
        with pytest.raises(AutoReconnect):
            cursor.next()
        cursor.close()
        assert client.admin.command("ping") == {"ok": 1.0}


def test_an_error_in_a_stream_ends_it_and_leaves_the_connection() -> None:
    def answer(request: Request) -> Any:
        error = Error(code=175, message="the plan was killed", response_to=1001)
        return [*stream(1, ends=False)(request), error]

    with serving(answer) as server, MongoClient(server.uri()) as client:
        cursor = client.x.y.find(cursor_type=CursorType.EXHAUST)
        assert [cursor.next()["_id"] for _ in range(2)] == [0, 1]
        with pytest.raises(OperationFailure, match="the plan was killed"):
            cursor.next()
        cursor.close()
        assert not cursor.alive
        assert client.admin.command("ping") == {"ok": 1.0}
        assert connections(server, "ping") == connections(server, "getMore")


def test_an_answer_to_another_request_in_a_stream_is_refused() -> None:
    from mongokey.errors import ProtocolError

    def answer(request: Request) -> Any:
        found = stream(1, ends=False)(request)
        wrong = Reply(batch(2, 0), response_to=4711).to_bytes(request, 5)
        return [*found, Raw(wrong)]

    with serving(answer) as server, MongoClient(server.uri()) as client:
        cursor = client.x.y.find(cursor_type=CursorType.EXHAUST)
        cursor.next()
        cursor.next()
        with pytest.raises(ProtocolError, match="answers request 4711"):
            cursor.next()
        cursor.close()
        assert client.admin.command("ping") == {"ok": 1.0}


def test_events_tell_a_get_more_for_each_batch() -> None:
    from mongokey.monitoring import CommandListener

    seen: list[tuple[str, Any]] = []

    class Listener(CommandListener):
        def started(self, event: Any) -> None:
            seen.append(("started", event.command.get("getMore")))

        def succeeded(self, event: Any) -> None:
            seen.append(("succeeded", event.reply["cursor"].get("nextBatch")))

        def failed(self, event: Any) -> None:
            seen.append(("failed", event))

    with (
        serving(stream(3)) as server,
        MongoClient(server.uri(), event_listeners=[Listener()]) as client,
    ):
        client.x.y.find(cursor_type=CursorType.EXHAUST).to_list()
        assert server.count("getMore") == 1
        assert seen[:8] == [
            ("started", None),
            ("succeeded", None),
            ("started", 7),
            ("succeeded", [{"_id": 1}]),
            ("started", 7),
            ("succeeded", [{"_id": 2}]),
            ("started", 7),
            ("succeeded", [{"_id": 3}]),
        ]


def test_raw_batches_of_a_stream() -> None:
    with serving(stream(4)) as server, MongoClient(server.uri()) as client:
        cursor = client.x.y.find_raw_batches(cursor_type=CursorType.EXHAUST)
        assert [bson.decode_all(each) for each in cursor] == [[{"_id": n}] for n in range(5)]


@pytest.mark.parametrize(("version", "refused"), [(21, True), (22, False)])
def test_a_mongos_streams_from_7_1_on(version: int, refused: bool) -> None:
    hello = {**mongos(), "maxWireVersion": version}
    with serving(stream(2), hello) as server, MongoClient(server.uri()) as client:
        cursor = client.x.y.find(cursor_type=CursorType.EXHAUST)
        if refused:
            with pytest.raises(InvalidOperation, match=r"Exhaust cursors require MongoDB 7\.1"):
                cursor.next()
            assert server.count("find") == 0
        else:
            assert len(cursor.to_list()) == 3


def test_no_limit_goes_with_exhaust() -> None:
    with MongoClient("mongodb://127.0.0.1:1") as client:
        find = client.x.y.find
        for wrong in (
            lambda: find(cursor_type=CursorType.EXHAUST, limit=5),
            lambda: find(cursor_type=CursorType.EXHAUST).limit(5),
            lambda: find(limit=5).add_option(64),
            lambda: find().add_option(64).limit(-1),
        ):
            with pytest.raises(InvalidOperation, match="Can't use limit and exhaust together"):
                wrong()
        find(cursor_type=CursorType.EXHAUST).remove_option(64).limit(5)


# Flags

NAMES = ("tailable", "oplogReplay", "noCursorTimeout", "awaitData", "allowPartialResults")
EMPTY = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": []}}


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda c: c.find(cursor_type=CursorType.TAILABLE), {"tailable"}),
        (lambda c: c.find(cursor_type=CursorType.TAILABLE_AWAIT), {"tailable", "awaitData"}),
        (lambda c: c.find(no_cursor_timeout=True), {"noCursorTimeout"}),
        (lambda c: c.find(allow_partial_results=True), {"allowPartialResults"}),
        (lambda c: c.find(oplog_replay=True), {"oplogReplay"}),
        (lambda c: c.find().add_option(2), {"tailable"}),
        (lambda c: c.find().add_option(2 | 32), {"tailable", "awaitData"}),
        (lambda c: c.find().add_option(8 | 16 | 128), {*NAMES} - {"tailable", "awaitData"}),
        (lambda c: c.find().add_option(4), set()),
        (lambda c: c.find(cursor_type=CursorType.TAILABLE_AWAIT).remove_option(32), {"tailable"}),
        (lambda c: c.find(no_cursor_timeout=True).remove_option(16 | 128), set()),
        (lambda c: c.find().add_option(2).clone(), {"tailable"}),
        (lambda c: c.find().add_option(16).remove_option(16), set()),
    ],
)
def test_flags_are_fields_of_the_command(change: Callable[[Any], Any], wanted: set[str]) -> None:
    with (
        ScriptedServer(hello=primary(), on={"find": EMPTY}) as server,
        MongoClient(server.uri()) as client,
    ):
        change(client.x.y).to_list()
        (find,) = server.commands("find")
        assert {name for name in NAMES if find.get(name) is True} == wanted
        assert not {name for name in NAMES if name in find} - wanted


def test_flags_are_whole_numbers_and_set_before_the_first_fetch() -> None:
    with (
        ScriptedServer(hello=primary(), on={"find": EMPTY}) as server,
        MongoClient(server.uri()) as client,
    ):
        cursor = client.x.y.find()
        for wrong in ("2", None, 2.0):
            with pytest.raises(TypeError, match="mask must be an integer"):
                cursor.add_option(wrong)
            with pytest.raises(TypeError, match="mask must be an integer"):
                cursor.remove_option(wrong)
        cursor.to_list()
        for method in (cursor.add_option, cursor.remove_option, cursor.max_scan):
            with pytest.raises(InvalidOperation, match="after executing"):
                method(2)
        for name in ("no_cursor_timeout", "allow_partial_results", "oplog_replay"):
            with pytest.raises(TypeError, match=name):
                client.x.y.find(**{name: "yes"})


def test_max_scan_and_snapshot_are_for_the_server_to_refuse() -> None:
    with (
        ScriptedServer(hello=primary(), on={"find": EMPTY}) as server,
        MongoClient(server.uri()) as client,
    ):
        client.x.y.find(max_scan=3, snapshot=True).to_list()
        client.x.y.find().max_scan(5).to_list()
        first, second = server.commands("find")
        assert (first["maxScan"], first["snapshot"]) == (3, True)
        assert (second["maxScan"], "snapshot" in second) == (5, False)


def test_a_tailable_cursor_goes_on_where_it_was() -> None:
    def empty(identifier: int) -> dict[str, Any]:
        return {"ok": 1.0, "cursor": {"id": identifier, "ns": "x.y", "nextBatch": []}}

    answers = in_turn(empty(7), batch(1), empty(7), Error(code=43, message="cursor not found"))
    with serving(answers) as server, MongoClient(server.uri()) as client:
        cursor = client.x.y.find(cursor_type=CursorType.TAILABLE_AWAIT).max_await_time_ms(50)
        assert cursor.next() == {"_id": 0}
        assert cursor.alive
        assert cursor.to_list() == []
        assert cursor.alive
        assert cursor.to_list() == [{"_id": 1}]
        # The collection is empty, and the server lets the cursor go: that is its end.
        assert cursor.to_list() == []
        assert not cursor.alive
        assert {each.get("maxTimeMS") for each in server.commands("getMore")} == {50}
        (find,) = server.commands("find")
        assert "maxTimeMS" not in find


def test_max_await_time_is_for_tailable_await_cursors_alone() -> None:
    with serving(in_turn(batch(1, 0))) as server, MongoClient(server.uri()) as client:
        client.x.y.find().max_await_time_ms(50).to_list()
        assert "maxTimeMS" not in server.commands("getMore")[0]
    with serving(in_turn(batch(1, 0))) as server, MongoClient(server.uri()) as client:
        client.x.y.find().add_option(2 | 32).max_await_time_ms(50).to_list()
        assert server.commands("getMore")[0]["maxTimeMS"] == 50


def test_the_helper_writes_what_it_says() -> None:
    request = Request(1, 2013, 5, EXHAUST_ALLOWED, {}, b"")
    first, second = stream(2)(request)
    assert struct.unpack_from("<iiI", first.data, 4) == (1001, 5, 2013)
    assert struct.unpack_from("<ii", second.data, 4) == (1002, 1001)
    assert struct.unpack_from("<I", first.data, 16)[0] == MORE_TO_COME
    assert struct.unpack_from("<I", second.data, 16)[0] == 0
