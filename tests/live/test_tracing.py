"""Spans of a real server's commands: what they say and do not say, how they are nested, and that
nothing of OpenTelemetry's keeps an operation from being carried out.

The specification's own tests are open-telemetry/* of tests/conformance/unified.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import mongokey
from mongokey import InsertOne, MongoClient, UpdateOne
from mongokey.errors import (
    BulkWriteError,
    ConfigurationError,
    DuplicateKeyError,
    OperationFailure,
    ServerSelectionTimeoutError,
)
from tests.live._gridfs import Classes
from tests.servers.fleet import Fleet
from tests.servers.secantus import SecantusServer
from tests.tracing import Traces

pytestmark = pytest.mark.live

SECRET = "correct-horse-battery-staple"


@pytest.fixture
def traces() -> Traces:
    return Traces()


@pytest.fixture
def traced(secantus: SecantusServer, database_name: str, traces: Traces) -> Iterator[Any]:
    """A database whose client is traced."""
    with MongoClient(secantus.uri("both"), tracing=traces.option(1000)) as client:
        yield client[database_name]


# What there is


def test_each_operation_has_a_span_and_in_it_one_for_each_command(
    traced: Any, traces: Traces
) -> None:
    name = traced.name
    things = traced["things"]
    things.insert_one({"_id": 1})
    things.insert_many([{"_id": number} for number in range(2, 9)])
    things.bulk_write([InsertOne({"_id": 9}), UpdateOne({"_id": 9}, {"$set": {"x": 1}})])
    assert len(list(things.find(batch_size=4))) == 9
    assert things.count_documents({}) == 9
    traced.create_collection("others")
    traced.drop_collection("others")
    things.create_index("x")
    assert len(traced.list_collection_names()) == 1
    traced.command("ping")
    traced.client.server_info()
    assert traces.tree() == [
        (f"insert {name}.things", ["insert"]),
        (f"insert {name}.things", ["insert"]),
        (f"bulkWrite {name}.things", ["insert", "update"]),
        (f"find {name}.things", ["find"]),
        (f"getMore {name}.things", ["getMore"]),
        (f"getMore {name}.things", ["getMore"]),
        (f"aggregate {name}.things", ["aggregate"]),
        (f"createCollection {name}.others", ["listCollections", "create"]),
        (f"dropCollection {name}.others", ["drop"]),
        (f"createIndexes {name}.things", ["createIndexes"]),
        (f"listCollections {name}", ["listCollections"]),
        (f"runCommand {name}", ["ping"]),
        ("runCommand admin", ["buildInfo"]),
    ]
    assert len({span.context.trace_id for span in traces.roots()}) == len(traces.roots())


def test_a_command_says_where_it_went(traced: Any, traces: Traces, secantus: Any) -> None:
    traced["things"].insert_many([{"_id": number} for number in range(9)])
    traces.clear()
    cursor = traced["things"].find({"_id": {"$lt": 8}}, batch_size=4)
    assert len(list(cursor)) == 8
    find, more = traces.named("find"), next(s for s in traces.spans() if s.name == "getMore")
    attributes = dict(find.attributes)
    assert attributes.pop("db.mongodb.cursor_id") == more.attributes["db.mongodb.cursor_id"] != 0
    assert len(attributes.pop("db.mongodb.lsid")) == 36
    assert isinstance(attributes.pop("db.mongodb.driver_connection_id"), int)
    assert isinstance(attributes.pop("db.mongodb.server_connection_id"), int)
    assert json.loads(attributes.pop("db.query.text")) == {
        "find": "things",
        "filter": {"_id": {"$lt": 8}},
        "batchSize": 4,
    }
    assert attributes == {
        "db.system.name": "mongodb",
        "db.namespace": traced.name,
        "db.collection.name": "things",
        "db.command.name": "find",
        "db.query.summary": f"find {traced.name}.things",
        "server.address": secantus.host,
        "server.port": secantus.port,
        "network.transport": "tcp",
    }
    scope = find.instrumentation_scope
    assert (scope.name, scope.version) == ("mongokey", mongokey.__version__)
    operation = traces.roots()[0]
    assert operation.start_time <= find.start_time <= find.end_time <= operation.end_time


def test_a_text_is_as_long_as_it_may_be(
    secantus: SecantusServer, database_name: str, traces: Traces
) -> None:
    with MongoClient(secantus.uri("both"), tracing=traces.option(40)) as client:
        client[database_name]["things"].insert_one({"_id": 1, "text": "ä" * 10_000})
    text = traces.named("insert").attributes["db.query.text"]
    assert text.endswith("...")
    assert 30 < len(text.removesuffix("...").encode()) <= 40
    traces.clear()
    with MongoClient(secantus.uri("both"), tracing=traces.option()) as client:
        client[database_name]["things"].find_one()
    assert "db.query.text" not in traces.named("find").attributes


def test_a_bucket_of_files_is_traced_as_its_operations(
    traced: Any, traces: Traces, face: str
) -> None:
    bucket = Classes(face).GridFSBucket(traced)
    bucket.upload_from_stream("a file", b"x" * 1000)
    names = {span.name for span in traces.spans()}
    assert {f"insert {traced.name}.fs.files", f"insert {traced.name}.fs.chunks"} <= names
    assert all(len(traces.children(span)) == 1 for span in traces.roots())


def test_a_cursor_that_is_let_go_is_traced_within_a_span_only(traced: Any, traces: Traces) -> None:
    things = traced["things"]
    things.insert_many([{"_id": number} for number in range(9)])
    traces.clear()
    cursor = things.find(batch_size=2)
    next(cursor)
    cursor.close()
    assert traces.tree() == [(f"find {traced.name}.things", ["find"])]


def test_a_change_stream_is_traced_as_its_commands(
    open_secantus: SecantusServer, database_name: str, traces: Traces, face: str
) -> None:
    with (
        Fleet(open_secantus) as fleet,
        MongoClient(fleet.uri(), replicaSet="fleet", tracing=traces.option()) as client,
    ):
        things = client[database_name]["things"]
        with things.watch() as stream:
            things.insert_one({"_id": 1})
            assert next(stream)["documentKey"] == {"_id": 1}
        client.drop_database(database_name)
    name = f"{database_name}.things"
    assert traces.tree()[:3] == [
        (f"aggregate {name}", ["aggregate"]),
        (f"insert {name}", ["insert"]),
        (f"getMore {name}", ["getMore"]),
    ]


# Secrets


def test_what_holds_a_secret_is_not_shown(
    secantus: SecantusServer, traces: Traces, database_name: str
) -> None:
    with MongoClient(secantus.uri("both"), tracing=traces.option(10_000)) as client:
        user = {"createUser": "traced", "pwd": SECRET, "roles": []}
        client[database_name].command(user)
        with pytest.raises(OperationFailure):
            client[database_name].command({**user, "roles": SECRET})
        client[database_name].command("dropUser", "traced")
        with pytest.raises(OperationFailure):
            client[database_name].command("saslStart", mechanism="PLAIN", payload=SECRET.encode())
    assert traces.tree() == [
        f"runCommand {database_name}",
        f"runCommand {database_name}",
        (f"runCommand {database_name}", ["dropUser"]),
        f"runCommand {database_name}",
    ]
    shown = "".join(span.to_json() for span in traces.spans())
    assert SECRET not in shown
    # Its class alone is: the server's message may repeat what it was sent.
    failed = traces.roots()[1]
    assert failed.attributes["exception.type"] == "mongokey.errors.OperationFailure"
    assert "exception.message" not in failed.attributes
    assert "exception.stacktrace" not in failed.attributes


def test_a_login_is_no_span(secantus: SecantusServer, traces: Traces) -> None:
    with MongoClient(secantus.uri("both"), tracing=traces.option(10_000)) as client:
        client.admin.command("ping")
    assert traces.tree() == [("runCommand admin", ["ping"])]


# Errors


def test_a_command_that_is_refused(traced: Any, traces: Traces) -> None:
    with pytest.raises(OperationFailure) as caught:
        traced["things"].find_one({"$noSuchOperator": 1})
    operation, command = traces.spans()
    assert command.attributes["db.response.status_code"] == str(caught.value.code)
    for span in (operation, command):
        assert span.status.status_code.name == "ERROR"
        (event,) = span.events
        assert event.name == "exception"
        kind = type(caught.value)
        for told in (event.attributes, span.attributes):
            assert told["exception.type"] == f"{kind.__module__}.{kind.__qualname__}"
            assert told["exception.message"] == str(caught.value)
            assert "Traceback" in told["exception.stacktrace"]
    assert "db.response.status_code" not in operation.attributes


def test_an_error_within_a_reply_is_the_operations(traced: Any, traces: Traces) -> None:
    traced["things"].insert_one({"_id": 1})
    traces.clear()
    with pytest.raises(DuplicateKeyError):
        traced["things"].insert_one({"_id": 1})
    with pytest.raises(BulkWriteError):
        traced["things"].insert_many([{"_id": 1}, {"_id": 2}])
    for operation in traces.roots():
        assert [event.name for event in operation.events] == ["exception"]
        (command,) = traces.children(operation)
        assert command.status.status_code.name == "UNSET"
        assert command.events == ()


def test_what_finds_no_server_has_a_span_without_commands(traces: Traces) -> None:
    options = {"serverSelectionTimeoutMS": 50, "tracing": traces.option()}
    with MongoClient("127.0.0.1:1", **options) as client:
        things = client["app"]["things"]
        with pytest.raises(ServerSelectionTimeoutError):
            things.find_one()
    (span,) = traces.spans()
    assert span.name == "find app.things"
    assert span.attributes["exception.type"].endswith("ServerSelectionTimeoutError")


def test_an_error_that_is_being_handled_is_not_the_operations(traced: Any, traces: Traces) -> None:
    try:
        raise ValueError("the caller's")
    except ValueError:
        traced["things"].find_one()
    assert all(span.status.status_code.name == "UNSET" for span in traces.spans())


def test_what_is_refused_before_anything_is_asked_is_no_operation(
    traced: Any, traces: Traces
) -> None:
    with pytest.raises(TypeError):
        traced["things"].insert_many({})
    assert traces.spans() == []


# Parents


def test_a_span_is_in_its_threads(
    secantus: SecantusServer, database_name: str, traces: Traces
) -> None:
    ready = threading.Barrier(4)

    def work(number: int) -> None:
        with traces.tracer.start_as_current_span(f"thread {number}"):
            ready.wait(20)
            things.insert_many([{"n": number} for _ in range(3)])
            list(things.find({"n": number}, batch_size=2))

    with mongokey.MongoClient(secantus.uri("both"), tracing=traces.option()) as client:
        things = client[database_name]["things"]
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    name = f"{database_name}.things"
    inner = [(f"insert {name}", ["insert"])]
    inner += [(f"find {name}", ["find"]), (f"getMore {name}", ["getMore"])]
    assert sorted(traces.tree()) == [(f"thread {number}", inner) for number in range(4)]


def test_a_span_is_in_its_tasks(
    secantus: SecantusServer, database_name: str, traces: Traces
) -> None:
    async def work(things: Any, number: int) -> None:
        with traces.tracer.start_as_current_span(f"task {number}"):
            await things.insert_many([{"n": number} for _ in range(3)])
            assert len(await things.find({"n": number}, batch_size=2).to_list()) == 3

    async def main() -> None:
        option = traces.option()
        async with mongokey.AsyncMongoClient(secantus.uri("both"), tracing=option) as client:
            things = client[database_name]["things"]
            await asyncio.gather(*(work(things, number) for number in range(4)))

    asyncio.run(main())
    name = f"{database_name}.things"
    inner = [(f"insert {name}", ["insert"])]
    inner += [(f"find {name}", ["find"]), (f"getMore {name}", ["getMore"])]
    assert sorted(traces.tree()) == [(f"task {number}", inner) for number in range(4)]


def test_a_task_that_is_cancelled_ends_its_spans(
    secantus: SecantusServer, database_name: str, traces: Traces
) -> None:
    async def main() -> None:
        option = traces.option()
        async with mongokey.AsyncMongoClient(secantus.uri("both"), tracing=option) as client:
            await client.admin.command("ping")
            sleep = {"$where": "sleep(5000) || true"}
            await client[database_name]["things"].insert_one({})
            traces.clear()
            task = asyncio.ensure_future(client[database_name]["things"].find_one(sleep))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    operation, command = traces.spans()
    assert traces.children(operation) == [command]
    for span in (operation, command):
        assert span.attributes["exception.type"] == "asyncio.exceptions.CancelledError"


def test_housekeeping_is_traced_within_a_span(
    secantus: SecantusServer, database_name: str, traces: Traces
) -> None:
    with mongokey.MongoClient(secantus.uri("both"), tracing=traces.option()) as client:
        things = client[database_name]["things"]
        things.insert_many([{"_id": number} for number in range(9)])
        traces.clear()
        with traces.tracer.start_as_current_span("mine"):
            cursor = things.find(batch_size=2)
            next(cursor)
            cursor.close()
    name = f"{database_name}.things"
    inner = [(f"find {name}", ["find"]), (f"killCursors {name}", ["killCursors"])]
    assert traces.tree() == [("mine", inner)]


# Transactions


def test_a_transaction_ends_its_span_whatever_ends_it(traced: Any, traces: Traces) -> None:
    client = traced.client
    with client.start_session() as session:
        session.start_transaction()
        session.commit_transaction()
        session.start_transaction()
        session.abort_transaction()
        session.start_transaction()
    assert traces.tree() == ["transaction"] * 3
    assert [dict(span.attributes) for span in traces.spans()] == [{"db.system.name": "mongodb"}] * 3


# Switches


@pytest.mark.parametrize("value", ["1", "true", "Yes"])
def test_the_environment_turns_it_on(
    value: str, secantus: SecantusServer, traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_INSTRUMENTATION_MONGODB_ENABLED", value)
    monkeypatch.setenv("OTEL_PYTHON_INSTRUMENTATION_MONGODB_QUERY_TEXT_MAX_LENGTH", "500")
    provider = {"tracer_provider": traces.provider}
    with MongoClient(secantus.uri("both"), tracing=provider) as client:
        client.admin.command("ping")
    assert json.loads(traces.named("ping").attributes["db.query.text"]) == {"ping": 1}
    traces.clear()
    with MongoClient(secantus.uri("both"), tracing={**provider, "enabled": False}) as client:
        client.admin.command("ping")
    provider["query_text_max_length"] = 0
    with MongoClient(secantus.uri("both"), tracing=provider) as client:
        client.admin.command("ping")
    (command,) = [span for span in traces.spans() if span.name == "ping"]
    assert "db.query.text" not in command.attributes


@pytest.mark.parametrize("value", ["", "0", "false", "no", "on?"])
def test_the_environment_leaves_it_off(
    value: str, secantus: SecantusServer, traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_INSTRUMENTATION_MONGODB_ENABLED", value)
    option = {"tracer_provider": traces.provider, "enabled": None}
    with MongoClient(secantus.uri("both"), tracing=option) as client:
        client.admin.command("ping")
    assert traces.spans() == []


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (True, "tracing must be a dict"),
        ({"enable": True}, "tracing has no 'enable': it takes enabled"),
        ({"enabled": 1}, "must be True, False or None"),
        ({"query_text_max_length": "9"}, "must be a number of bytes"),
        ({"query_text_max_length": -1}, "must not be negative"),
        ({"tracer_provider": object()}, "must be a TracerProvider"),
    ],
)
def test_a_wrong_option_is_refused(option: Any, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        MongoClient("127.0.0.1:1", tracing=option)


def test_it_is_no_option_of_a_string() -> None:
    with pytest.warns(UserWarning, match="tracing"):
        client = MongoClient("mongodb://127.0.0.1:1/?tracing=true")
    client.close()


PROGRAM = """
import sys, warnings
import mongokey
{before}
client = mongokey.MongoClient("127.0.0.1:1", serverSelectionTimeoutMS=1{option})
try:
    client.app.things.find_one()
except mongokey.errors.ServerSelectionTimeoutError:
    pass
client.close()
print(sorted(name for name in sys.modules if "telemetry" in name or "events.tracing" in name))
"""


def run(before: str = "", option: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    code = PROGRAM.format(before=before, option=option)
    command = [sys.executable, "-W", "always", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def test_nothing_is_loaded_where_it_is_off() -> None:
    ended = run()
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


def test_a_client_that_is_to_trace_needs_opentelemetry() -> None:
    ended = run("sys.modules['opentelemetry'] = None", ", tracing={'enabled': True}")
    assert "ConfigurationError: tracing: OpenTelemetry's API is not installed" in ended.stderr
    assert "pip install 'mongokey[otel]'" in ended.stderr


def test_an_environment_that_wants_it_does_not_stop_a_program() -> None:
    ended = run(
        "sys.modules['opentelemetry'] = None", OTEL_PYTHON_INSTRUMENTATION_MONGODB_ENABLED="true"
    )
    assert ended.returncode == 0
    assert "RuntimeWarning: OpenTelemetry's API is not installed" in ended.stderr


# What OpenTelemetry may do to us


class Broken(Exception):
    pass


def fail(*_: Any, **__: Any) -> Any:
    raise Broken("on purpose")


def put_out_of_order(what: str, traces: Traces) -> Any:
    """A provider of tracers that is broken in the place `what`."""
    from opentelemetry.sdk.trace import SpanProcessor

    class Processor(SpanProcessor):
        on_start = fail if what == "on_start" else SpanProcessor.on_start
        on_end = fail if what == "on_end" else SpanProcessor.on_end

    class Tracer:
        start_span = fail if what == "start_span" else lambda *_, **__: None

    class Provider:
        def get_tracer(self, *_: Any, **__: Any) -> Any:
            return fail() if what == "get_tracer" else Tracer()

    if what == "exporter":
        traces.exporter.export = fail
    elif what.startswith("on_"):
        traces.provider.add_span_processor(Processor())
    elif what == "shut down":
        traces.provider.shutdown()
    else:
        return Provider()
    return traces.provider


BROKEN = ["get_tracer", "start_span", "no span", "on_start", "on_end", "exporter", "shut down"]


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_there_stops_no_operation(
    what: str,
    secantus: SecantusServer,
    database_name: str,
    traces: Traces,
    capsys: pytest.CaptureFixture[str],
) -> None:
    option = {**traces.option(100), "tracer_provider": put_out_of_order(what, traces)}
    with MongoClient(secantus.uri("both"), tracing=option) as client:
        things = client[database_name]["things"]
        things.insert_many([{"_id": number} for number in range(5)])
        assert len(list(things.find(batch_size=2))) == 5
        with pytest.raises(DuplicateKeyError):
            things.insert_one({"_id": 1})
        with client.start_session() as session:
            session.start_transaction()
            session.abort_transaction()
    if what not in ("exporter", "shut down", "no span"):
        assert "Broken: on purpose" in capsys.readouterr().err


def test_what_is_not_sampled_is_carried_out(secantus: SecantusServer, database_name: str) -> None:
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    traces = Traces(sampler=ALWAYS_OFF)
    with MongoClient(secantus.uri("both"), tracing=traces.option(100)) as client:
        client[database_name]["things"].insert_many([{}, {}])
        with pytest.raises(OperationFailure):
            client[database_name].command("noSuchCommand")
    assert traces.spans() == []


@pytest.mark.parametrize("hook", ["on_start", "on_end"])
def test_a_processor_that_uses_a_traced_client_is_not_traced(
    hook: str, secantus: SecantusServer, database_name: str, traces: Traces
) -> None:
    from opentelemetry.sdk.trace import SpanProcessor

    written = []

    class Processor(SpanProcessor):
        pass

    def write(_: Any, span: Any, **__: Any) -> None:
        written.append(span.name)
        archive.insert_one({"span": span.name})

    setattr(Processor, hook, write)
    with mongokey.MongoClient(secantus.uri("both"), tracing=traces.option()) as client:
        archive = client[database_name]["archive"]
        client[database_name]["things"].find_one()
        traces.clear()
        traces.provider.add_span_processor(Processor())
        client[database_name]["things"].find_one()
        assert {"find", f"find {database_name}.things"} <= set(archive.distinct("span"))
    assert not [name for name in written if "insert" in name]
    assert not [span for span in traces.spans() if "insert" in span.name]


def test_an_exporter_that_uses_a_traced_client_is_not_traced(
    secantus: SecantusServer, database_name: str, traces: Traces
) -> None:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Exporter(SpanExporter):
        def export(self, spans: Any) -> Any:
            archive.insert_many([{"span": span.name} for span in spans])
            return SpanExportResult.SUCCESS

    with mongokey.MongoClient(secantus.uri("both"), tracing=traces.option()) as client:
        archive = client[database_name]["archive"]
        processor = BatchSpanProcessor(Exporter())
        traces.provider.add_span_processor(processor)
        client[database_name]["things"].find_one()
        assert processor.force_flush(20_000)
        assert archive.count_documents({}) == 2
        processor.shutdown()
    assert not [span for span in traces.spans() if span.name.startswith("insert")]
