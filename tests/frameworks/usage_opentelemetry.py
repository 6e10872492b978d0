"""OpenTelemetry's PyMongo instrumentation: a span for each command."""

from __future__ import annotations

import os

import pymongo
import pytest
from opentelemetry.instrumentation.pymongo import PymongoInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from pymongo.errors import OperationFailure

URI = os.environ.get("MONGODB_URI", "mongodb://localhost:27017")
DATABASE = "usage_opentelemetry"


@pytest.fixture
def spans():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = PymongoInstrumentor()
    instrumentor.instrument(tracer_provider=provider, capture_statement=True)
    yield exporter.get_finished_spans
    instrumentor.uninstrument()


@pytest.fixture
def database(spans):
    with pymongo.MongoClient(URI) as client:
        yield client[DATABASE]
        client.drop_database(DATABASE)


def test_spans_of_commands(spans, database):
    database.things.insert_one({"x": 1})
    assert database.things.find_one({"x": 1})["x"] == 1
    database.things.update_one({"x": 1}, {"$set": {"x": 2}})
    names = [span.name for span in spans()]
    assert len(names) == 3
    for span, word in zip(spans(), ("insert", "find", "update"), strict=True):
        assert word in span.name
        assert span.attributes["db.system"] == "mongodb"
        assert span.status.status_code is not StatusCode.ERROR


def test_a_failure(spans, database):
    with pytest.raises(OperationFailure):
        database.command("nonsense")
    assert spans()[-1].status.status_code is StatusCode.ERROR


def test_what_was_instrumented_is_undone(spans, database):
    PymongoInstrumentor().uninstrument()
    before = len(spans())
    database.things.insert_one({})
    assert len(spans()) == before


@pytest.mark.parametrize("count", [1, 300])
def test_many_batches(spans, database, count):
    database.things.insert_many([{"i": i} for i in range(count)])
    assert len(list(database.things.find())) == count
    assert any("find" in span.name for span in spans())
