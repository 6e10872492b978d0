"""Log records: which loggers are on, what a record says, and what it does not."""

from __future__ import annotations

import datetime
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.bson import encode
from mongokey.bson.binary import Binary
from mongokey.bson.decimal128 import Decimal128
from mongokey.bson.objectid import ObjectId
from mongokey.bson.regex import Regex
from mongokey.bson.timestamp import Timestamp
from mongokey.errors import AutoReconnect
from mongokey.events import logs
from mongokey.events.documents import RawDocument
from mongokey.events.log_json import relaxed_json
from mongokey.events.publisher import Publisher
from mongokey.handshake import HelloReply
from mongokey.wire import encode_message

ADDRESS = ("host", 27017)
EVERYTHING = {
    "double": 1.5,
    "string": "é",
    "document": {"a": {"b": 1}},
    "array": [1, [2, {"c": 3}], []],
    "binary": b"abc",
    "subtype": Binary(b"abc", 5),
    "id": ObjectId("0123456789ab0123456789ab"),
    "bool": True,
    "date": datetime.datetime(2020, 1, 2, 3, 4, 5, 6000),
    "null": None,
    "regex": Regex("a.*", "im"),
    "int32": 5,
    "timestamp": Timestamp(1, 2),
    "int64": 2**40,
    "decimal": Decimal128("1.5"),
    "empty": {},
    "nan": float("inf"),
}


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def data(self) -> list[dict[str, Any]]:
        return [json.loads(each.getMessage()) for each in self.records]


@pytest.fixture
def records() -> Iterator[Records]:
    """What is logged by the driver while its loggers are on."""
    handler = Records()
    root = logging.getLogger("mongokey")
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.setLevel(before)
    root.removeHandler(handler)


def publisher() -> Publisher:
    made = Publisher()
    made.start()
    return made


# -- which are on ---------------------------------------------------------------------------------

FLAGS = {
    "command": {"commands"},
    "connection": {"pools"},
    "topology": {"topology", "servers", "heartbeats"},
    "serverSelection": {"selection"},
    "client": set(),
}


def flags(of: Publisher) -> set[str]:
    return {name for name in set().union(*FLAGS.values()) if getattr(of, name)}


@pytest.mark.parametrize("component", sorted(FLAGS))
def test_a_logger_can_be_turned_on_and_off_at_any_time(component: str) -> None:
    logger = logging.getLogger(f"mongokey.{component}")
    watched = publisher()
    try:
        assert flags(watched) == set()
        logger.setLevel(logging.DEBUG)
        assert flags(watched) == FLAGS[component] == flags(publisher())
        logging.disable(logging.CRITICAL)
        assert flags(watched) == set()
        logging.disable(logging.NOTSET)
        assert flags(watched) == FLAGS[component]
        logger.setLevel(logging.INFO)
        assert flags(watched) == set()
    finally:
        logging.disable(logging.NOTSET)
        logger.setLevel(logging.NOTSET)


def test_the_level_of_a_logger_further_up_counts() -> None:
    watched = publisher()
    for name in ("mongokey", None):
        logger = logging.getLogger(name)
        before = logger.level
        logger.setLevel(logging.DEBUG)
        try:
            assert flags(watched) == set().union(*FLAGS.values())
        finally:
            logger.setLevel(before)
        assert flags(watched) == set()


def test_a_client_that_was_not_used_looks_at_no_logger(records: Records) -> None:
    assert flags(Publisher()) == set()


def test_a_disabled_logger_logs_nothing(records: Records) -> None:
    watched = publisher()
    logger = logging.getLogger("mongokey.connection")
    logger.disabled = True
    try:
        watched.pool_ready(ADDRESS)
    finally:
        logger.disabled = False
    assert records.records == []


def test_who_has_selections_made_is_told_when_they_are_to_be_logged() -> None:
    told: list[bool] = []
    watched = publisher()
    watched.on_selection = lambda: told.append(watched.selection)
    logger = logging.getLogger("mongokey.serverSelection")
    try:
        logger.setLevel(logging.DEBUG)
        logger.setLevel(logging.DEBUG)
    finally:
        logger.setLevel(logging.NOTSET)
    assert told == [True]


def test_levels_are_set_while_publishers_come_and_go() -> None:
    logger = logging.getLogger("mongokey.command")
    errors: list[BaseException] = []
    end = threading.Event()

    def come_and_go() -> None:
        try:
            while not end.is_set():
                publisher()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            logger.setLevel(logging.DEBUG)
            logger.setLevel(logging.NOTSET)
    finally:
        end.set()
        for thread in threads:
            thread.join()
        logger.setLevel(logging.NOTSET)
    assert not errors
    assert not publisher().commands


# -- what a record says ---------------------------------------------------------------------------


def command(of: Publisher, document: dict[str, Any], **sections: Any) -> Any:
    name = next(iter(document))
    under_way = of.command(
        name,
        "d",
        request_id=7,
        operation_id=8,
        address=ADDRESS,
        connection_id=1,
        server_connection_id=None,
        service_id=None,
    )
    under_way.started(encode_message(document, sections=sections or None))
    return under_way


def test_the_records_of_a_command(records: Records) -> None:
    watched = publisher()
    command(watched, {"insert": "c"}, documents=[{"_id": 1}, {}]).succeeded(encode({"ok": 1}))
    assert {each.name for each in records.records} == {"mongokey.command"}
    assert {each.levelno for each in records.records} == {logging.DEBUG}
    started, succeeded = records.data
    common = {
        "clientId": {"$oid": str(watched.topology_id)},
        "commandName": "insert",
        "databaseName": "d",
        "requestId": 7,
        "operationId": 8,
        "driverConnectionId": 1,
        "serverHost": "host",
        "serverPort": 27017,
    }
    assert started == {
        "message": "Command started",
        **common,
        "command": '{"insert": "c", "documents": [{"_id": 1}, {}]}',
    }
    duration = succeeded.pop("durationMS")
    assert duration >= 0
    assert succeeded == {"message": "Command succeeded", **common, "reply": '{"ok": 1}'}


def test_failed_commands(records: Records) -> None:
    command(publisher(), {"ping": 1}).failed(AutoReconnect("gone"))
    command(publisher(), {"ping": 1}).refused(encode({"ok": 0, "code": 5}))
    assert [each["message"] for each in records.data[1::2]] == ["Command failed"] * 2
    assert records.data[1]["failure"] == '{"errmsg": "gone", "errtype": "AutoReconnect"}'
    assert records.data[3]["failure"] == '{"ok": 0, "code": 5}'


def test_secrets_are_not_logged(records: Records) -> None:
    command(publisher(), {"saslStart": 1, "payload": "secret"}).succeeded(
        encode({"ok": 1, "payload": "secret"})
    )
    command(publisher(), {"hello": 1, "speculativeAuthenticate": {"a": "secret"}}).refused(
        encode({"ok": 0, "errmsg": "secret", "code": 18})
    )
    assert "secret" not in "".join(each.getMessage() for each in records.records)
    assert records.data[0]["command"] == records.data[1]["reply"] == "{}"
    assert json.loads(records.data[3]["failure"]) == {"code": 18}


CALLS: list[tuple[str, tuple[Any, ...], str, dict[str, Any]]] = [
    ("topology_opening", (5,), "Starting topology monitoring", {"topologyId": 5}),
    (
        "topology_changed",
        ("old", "new", 5),
        "Topology description changed",
        {"topologyId": 5, "previousDescription": "old", "newDescription": "new"},
    ),
    ("topology_closed", (5,), "Stopped topology monitoring", {"topologyId": 5}),
    ("server_opening", (ADDRESS, 5), "Starting server monitoring", {"topologyId": 5}),
    ("server_closed", (ADDRESS, 5), "Stopped server monitoring", {"topologyId": 5}),
    ("heartbeat_started", (ADDRESS, True), "Server heartbeat started", {"awaited": True}),
    (
        "heartbeat_succeeded",
        (ADDRESS, 5_000_000, HelloReply({"ok": 1, "maxWireVersion": 21}), False),
        "Server heartbeat succeeded",
        {"awaited": False, "durationMS": 5.0, "reply": '{"ok": 1, "maxWireVersion": 21}'},
    ),
    (
        "heartbeat_failed",
        (ADDRESS, 5_000_000, AutoReconnect("gone"), False),
        "Server heartbeat failed",
        {"awaited": False, "durationMS": 5.0, "failure": "AutoReconnect('gone')"},
    ),
    ("pool_created", (ADDRESS, {"maxPoolSize": 5}), "Connection pool created", {"maxPoolSize": 5}),
    ("pool_ready", (ADDRESS,), "Connection pool ready", {}),
    ("pool_cleared", (ADDRESS, 5, False), "Connection pool cleared", {"serviceId": "5"}),
    ("pool_cleared", (ADDRESS,), "Connection pool cleared", {}),
    ("pool_closed", (ADDRESS,), "Connection pool closed", {}),
    ("connection_created", (ADDRESS, 1), "Connection created", {"driverConnectionId": 1}),
    (
        "connection_ready",
        (ADDRESS, 1, 5_000_000),
        "Connection ready",
        {"driverConnectionId": 1, "durationMS": 5.0},
    ),
    (
        "connection_closed",
        (ADDRESS, 1, "error", AutoReconnect("gone")),
        "Connection closed",
        {
            "driverConnectionId": 1,
            "reason": "An error occurred while using the connection",
            "error": "AutoReconnect('gone')",
        },
    ),
    (
        "connection_closed",
        (ADDRESS, 1, "stale"),
        "Connection closed",
        {
            "driverConnectionId": 1,
            "reason": "Connection became stale because the pool was cleared",
        },
    ),
    ("checkout_started", (ADDRESS,), "Connection checkout started", {}),
    (
        "checkout_failed",
        (ADDRESS, "timeout", 5_000_000),
        "Connection checkout failed",
        {
            "reason": "Wait queue timeout elapsed without a connection becoming available",
            "durationMS": 5.0,
        },
    ),
    (
        "checked_out",
        (ADDRESS, 1, 5_000_000),
        "Connection checked out",
        {"driverConnectionId": 1, "durationMS": 5.0},
    ),
    ("checked_in", (ADDRESS, 1), "Connection checked in", {"driverConnectionId": 1}),
]
LOGGERS = {"topology": "topology", "server": "topology", "heartbeat": "topology"}


@pytest.mark.parametrize(("call", "args", "message", "fields"), CALLS)
def test_each_call_logs_what_the_specification_says(
    records: Records, call: str, args: tuple[Any, ...], message: str, fields: dict[str, Any]
) -> None:
    getattr(publisher(), call)(*args)
    (record,) = records.records
    (data,) = records.data
    assert record.name == f"mongokey.{LOGGERS.get(call.split('_')[0], 'connection')}"
    assert record.levelno == logging.DEBUG
    assert data["message"] == message
    assert {name: data[name] for name in fields} == fields
    assert ADDRESS not in args or (data["serverHost"], data["serverPort"]) == ADDRESS
    assert None not in data.values()


@pytest.mark.parametrize(
    ("call", "more", "level", "fields"),
    [
        ("started", (), logging.DEBUG, {}),
        ("waiting", (5_900_000_000,), logging.INFO, {"remainingTimeMS": 5900}),
        ("succeeded", (("a", None),), logging.DEBUG, {"serverHost": "a"}),
        ("failed", ("no server",), logging.DEBUG, {"failure": "no server"}),
    ],
)
def test_selections(
    records: Records, call: str, more: tuple[Any, ...], level: int, fields: dict[str, Any]
) -> None:
    description: Any = ["description"]
    getattr(publisher(), f"selection_{call}")(["selector"], "find", 3, description, *more)
    (record,) = records.records
    (data,) = records.data
    assert record.levelno == level
    assert record.name == "mongokey.serverSelection"
    expected = {
        "selector": "['selector']",
        "operation": "find",
        "operationId": 3,
        "topologyDescription": "['description']",
        **fields,
    }
    assert {name: data[name] for name in expected} == expected
    assert "serverPort" not in data


def test_that_one_waits_is_logged_at_level_info() -> None:
    logger, handler = logging.getLogger("mongokey.serverSelection"), Records()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        watched = publisher()
        assert not watched.selection
        description: Any = "d"
        watched.selection_started("s", "find", 3, description)
        watched.selection_waiting("s", "find", 3, description, 10**9)
    finally:
        logger.setLevel(logging.NOTSET)
        logger.removeHandler(handler)
    assert [each["remainingTimeMS"] for each in handler.data] == [1000]


@pytest.mark.parametrize(
    ("uri", "service"),
    [
        ("mongodb://c.cluster-x.eu-west-1.docdb.amazonaws.com", "Amazon DocumentDB"),
        ("mongodb://C.DOCDB-ELASTIC.AMAZONAWS.COM", "Amazon DocumentDB"),
        ("mongodb://acct.mongo.cosmos.azure.com:10255/?tls=true", "Azure Cosmos DB"),
        ("mongodb://own.example,c.mongocluster.cosmos.azure.com", "Azure Cosmos DB"),
        ("mongodb://cluster0-shard-00-00.abcde.mongodb.net", None),
        ("mongodb://docdb.amazonaws.com.example", None),
    ],
)
def test_a_client_of_an_imitation_is_logged_at_level_info(
    records: Records, uri: str, service: str | None
) -> None:
    MongoClient(uri, connect=False)
    found = [each for each in records.records if each.name == "mongokey.client"]
    assert [each.levelno for each in found] == [logging.INFO] * (service is not None)
    assert [json.loads(each.getMessage())["service"] for each in found] == [service][: len(found)]
    assert all(service in each.getMessage() for each in found if service)


def test_an_error_of_a_filter_goes_no_further(
    records: Records, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(record: logging.LogRecord) -> bool:
        raise RuntimeError("the filter's own")

    logger = logging.getLogger("mongokey.connection")
    logger.addFilter(broken)
    try:
        publisher().pool_ready(ADDRESS)
    finally:
        logger.removeFilter(broken)
    assert "the filter's own" in capsys.readouterr().err


def test_a_message_is_the_same_each_time(records: Records) -> None:
    command(publisher(), {"ping": 1})
    (record,) = records.records
    assert record.getMessage() == record.getMessage() == str(record.msg)
    assert repr(record.msg)


# -- documents ----------------------------------------------------------------------------------


def test_documents_are_relaxed_extended_json() -> None:
    from mongokey.bson.json_util import dumps

    text = relaxed_json(RawDocument(encode(EVERYTHING)), 10_000)
    assert json.loads(text) == json.loads(dumps(EVERYTHING))
    assert relaxed_json(EVERYTHING, 10_000) == text


@pytest.mark.parametrize("limit", range(0, 700, 7))
def test_what_is_too_long_is_cut_between_two_characters(limit: int) -> None:
    whole = relaxed_json(RawDocument(encode(EVERYTHING)), 10_000)
    cut = relaxed_json(RawDocument(encode(EVERYTHING)), limit)
    if len(whole.encode()) <= limit:
        assert cut == whole
    else:
        assert cut.endswith("...")
        assert whole.startswith(cut[:-3])
        assert limit - 1 <= len(cut[:-3].encode()) <= limit


def test_a_large_document_is_not_read_to_its_end() -> None:
    class Counting(dict[str, Any]):
        def items(self) -> Any:
            for number in range(10**9):
                yield str(number), number

    assert relaxed_json(Counting(), 1000).endswith("...")
    big = RawDocument(encode({"a": ["x" * 100] * 100_000}))
    assert len(relaxed_json(big, 1000)) == 1003
    assert big._decoded is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\5\0\0",
        b"\x10\0\0\0\x02a\0\xff\xff\xff\x7fx\0",
        b"\x10\0\0\0\x03a\0\xff\xff\xff\x7fx\0",
        b"\x10\0\0\0\x03a\0\x00\x00\x00\x00xxxx\0",
        b"\x0a\0\0\0\x66a\0xx\0",
        b"\xff\xff\xff\xff\x10a\0",
        b"\x0a\0\0\0\x10aaaa\0"[:10],
        b"\x0c\0\0\0\x0ba\0xxxxx",
    ],
)
def test_what_is_no_bson_is_logged_as_such(raw: bytes) -> None:
    assert relaxed_json(RawDocument(raw), 1000).endswith("<invalid BSON>")


def test_no_document_is_too_deep() -> None:
    deep: Any = 1
    for _ in range(199):
        deep = {"a": deep}
    assert relaxed_json(RawDocument(encode(deep)), 10**6).count("{") == 199
    for _ in range(5000):
        deep = [deep]
    assert relaxed_json({"a": deep}, 10**6).endswith("...")


@pytest.mark.parametrize(
    ("value", "length"),
    [("", 1000), ("50", 50), ("0", 0), ("-1", 1000), ("many", 1000), (" 7 ", 7)],
)
def test_the_environment_says_how_long_documents_are(
    monkeypatch: pytest.MonkeyPatch, value: str, length: int
) -> None:
    monkeypatch.setenv("MONGODB_LOG_MAX_DOCUMENT_LENGTH", value)
    assert logs.max_document_length() == length


@pytest.mark.parametrize(("limit", "size"), [(None, 1003), ("5", 8)])
def test_commands_and_replies_are_cut(
    records: Records, monkeypatch: pytest.MonkeyPatch, limit: str | None, size: int
) -> None:
    if limit is not None:
        monkeypatch.setenv("MONGODB_LOG_MAX_DOCUMENT_LENGTH", limit)
    documents = [{"x": "y"} for _ in range(100)]
    command(publisher(), {"insert": "c"}, documents=documents).refused(
        encode({"ok": 0, "errmsg": "x" * 2000})
    )
    started, failed = records.data
    assert len(started["command"]) == len(failed["failure"]) == size
