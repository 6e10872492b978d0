"""Options given by keyword add to a command; they never replace what the method itself says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mongokey import MongoClient, WriteConcern
from mongokey.errors import ConfigurationError
from mongokey.operations import IndexModel
from mongokey.read_concern import ReadConcern
from mongokey.read_preferences import Secondary
from tests.servers.scripted import ScriptedServer, primary

CURSOR = {"id": 0, "ns": "x.y", "firstBatch": []}
ANSWER = {"ok": 1.0, "n": 1, "cursor": CURSOR, "values": [], "value": None}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(hello=primary(), on={"*": ANSWER}) as server:
        yield server


@pytest.fixture
def things(server: ScriptedServer) -> Iterator[Any]:
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        yield client["x"]["y"]


OTHERS: dict[str, tuple[str, Callable[..., Any], tuple[str, ...]]] = {
    "aggregate": ("aggregate", lambda c, **k: c.aggregate([], **k), ("aggregate",)),
    "database.aggregate": (
        "aggregate",
        lambda c, **k: c.database.aggregate([], **k),
        ("aggregate",),
    ),
    "count_documents": (
        "aggregate",
        lambda c, **k: c.count_documents({}, **k),
        ("aggregate", "pipeline", "cursor"),
    ),
    "estimated_document_count": (
        "count",
        lambda c, **k: c.estimated_document_count(**k),
        ("count",),
    ),
    "distinct": (
        "distinct",
        lambda c, **k: c.distinct("a", {"b": 1}, **k),
        ("distinct", "query"),
    ),
    "find_one_and_delete": (
        "findAndModify",
        lambda c, **k: c.find_one_and_delete({}, **k),
        ("findAndModify", "query", "remove"),
    ),
    "find_one_and_update": (
        "findAndModify",
        lambda c, **k: c.find_one_and_update(
            {}, {"$set": {"a": 1}}, upsert=True, projection=["a"], array_filters=[], **k
        ),
        ("findAndModify", "query", "new", "fields", "arrayFilters"),
    ),
    "find_one_and_replace": (
        "findAndModify",
        lambda c, **k: c.find_one_and_replace({}, {}, **k),
        ("findAndModify", "query", "new"),
    ),
    "create_indexes": (
        "createIndexes",
        lambda c, **k: c.create_indexes([IndexModel("a")], **k),
        ("createIndexes",),
    ),
    "drop_index": (
        "dropIndexes",
        lambda c, **k: c.drop_index("a_1", **k),
        ("dropIndexes", "index"),
    ),
    "drop_indexes": ("dropIndexes", lambda c, **k: c.drop_indexes(**k), ("dropIndexes", "index")),
    "rename": ("renameCollection", lambda c, **k: c.rename("z", **k), ("renameCollection", "to")),
    "create_collection": (
        "create",
        lambda c, **k: c.database.create_collection("z", check_exists=False, **k),
        ("create",),
    ),
    "list_collections": (
        "listCollections",
        lambda c, **k: c.database.list_collections(**k),
        ("listCollections",),
    ),
}
DRIVERS = ("$db", "$readPreference", "$clusterTime", "lsid", "txnNumber")


@pytest.mark.parametrize("method", OTHERS)
def test_an_option_that_would_replace_a_field_is_refused(
    server: ScriptedServer, things: Any, method: str
) -> None:
    name, call, fields = OTHERS[method]
    for field in (*fields, *DRIVERS):
        for value in ("secrets", {}, None):
            with pytest.raises(ConfigurationError) as caught:
                call(things, **{field: value})
            assert repr(field) in str(caught.value)
    assert server.count(name) == 0
    call(things, maxTimeMS=5, comment="why")
    assert server.commands(name)[0]["maxTimeMS"] == 5
    assert server.commands(name)[0]["comment"] == "why"


def test_the_filter_may_be_given_by_keyword_where_there_is_none(
    server: ScriptedServer, things: Any
) -> None:
    things.distinct("a", query={"b": 1})
    assert server.commands("distinct")[0]["query"] == {"b": 1}


def test_the_keys_of_an_index_are_its_first_argument(server: ScriptedServer, things: Any) -> None:
    with pytest.raises(ConfigurationError, match="'key'"):
        things.create_index("a", key={"b": 1})
    assert server.count("createIndexes") == 0


def test_the_name_of_a_command_has_one_value(server: ScriptedServer, things: Any) -> None:
    for call in (things.database.command, things.database.cursor_command):
        with pytest.raises(ConfigurationError, match="'count'"):
            call("count", "y", count="secrets")
    assert server.count("count") == 0
    things.database.command({"count": "y", "limit": 5}, limit=6)
    assert server.commands("count")[0] == {**server.commands("count")[0], "count": "y", "limit": 6}


# A concern, a preference or another field of the driver's: once in the bytes

CONCERNED: dict[str, tuple[str, Callable[..., Any], str]] = {
    "aggregate": ("aggregate", lambda c, **k: c.aggregate([], **k), "readConcern"),
    "aggregate with $out": (
        "aggregate",
        lambda c, **k: c.aggregate([{"$out": "z"}], **k),
        "writeConcern",
    ),
    "database.aggregate": (
        "aggregate",
        lambda c, **k: c.database.aggregate([], **k),
        "readConcern",
    ),
    "count_documents": ("aggregate", lambda c, **k: c.count_documents({}, **k), "readConcern"),
    "estimated_document_count": (
        "count",
        lambda c, **k: c.estimated_document_count(**k),
        "readConcern",
    ),
    "distinct": ("distinct", lambda c, **k: c.distinct("a", **k), "readConcern"),
    "find_one_and_delete": (
        "findAndModify",
        lambda c, **k: c.find_one_and_delete({}, **k),
        "writeConcern",
    ),
    "create_index": (
        "createIndexes",
        lambda c, **k: c.create_indexes([IndexModel("a")], **k),
        "writeConcern",
    ),
    "drop_indexes": ("dropIndexes", lambda c, **k: c.drop_indexes(**k), "writeConcern"),
    "rename": ("renameCollection", lambda c, **k: c.rename("z", **k), "writeConcern"),
    "create_collection": (
        "create",
        lambda c, **k: c.database.create_collection("z", check_exists=False, **k),
        "writeConcern",
    ),
}


def times(request: Any, name: str) -> int:
    """How often the field stands in the bytes of a message."""
    found: int = request.raw.count(b"\0" + name.encode() + b"\0")
    return found + sum(
        request.raw.count(bytes([kind]) + name.encode() + b"\0") for kind in (2, 3, 16, 18)
    )


@pytest.mark.parametrize("method", CONCERNED)
def test_a_concern_given_as_an_option_stands_for_the_inherited_one(
    server: ScriptedServer, method: str
) -> None:
    name, call, concern = CONCERNED[method]
    given: dict[str, Any] = {"level": "local"} if concern == "readConcern" else {"w": 3}
    made = ReadConcern("local") if concern == "readConcern" else WriteConcern(w=3)
    with MongoClient(server.uri(readConcernLevel="majority", w=2)) as client:
        things = client["x"]["y"]
        call(things)
        call(things, **{concern: given})
        call(things, **{concern: made})
        with pytest.raises(TypeError, match=concern):
            call(things, **{concern: "majority"})
    sent = [each for each in server.requests if each.name == name]
    assert [times(each, concern) for each in sent] == [1, 1, 1]
    if method != "rename":  # sent through the database admin, whose options are the client's
        inherited = {"level": "majority"} if concern == "readConcern" else {"w": 2}
        assert sent[0].document[concern] == inherited
    assert [each.document[concern] for each in sent[1:]] == [given, given]


def test_what_the_driver_sets_stands_once_in_a_command(server: ScriptedServer) -> None:
    """As with PyMongo: a preference in the document is the user's, `$db` and `lsid` are not."""
    document = {
        "find": "y",
        "$db": "secrets",
        "lsid": {"id": 5},
        "$readPreference": {"mode": "nearest"},
        "readConcern": {"level": "local"},
        "txnNumber": 7,
    }
    with MongoClient(server.uri(directConnection=True, readConcernLevel="majority")) as client:
        client["x"].command(document)
        client["x"].command(document, read_preference=Secondary())
        client["x"].cursor_command(document, read_preference=Secondary())
        client["x"].command({"find": "y"}, read_preference=Secondary())
        client["x"].command({"find": "y"})
    sent = [each for each in server.requests if each.name == "find"]
    for request in sent[:3]:
        for name in ("$db", "lsid", "$readPreference", "readConcern", "txnNumber"):
            assert times(request, name) == 1, name
        assert request.database == "x"
        assert request.document["lsid"]["id"] != 5
        assert request.document["$readPreference"] == {"mode": "nearest"}
        assert request.document["txnNumber"] == 7
    assert sent[3].document["$readPreference"] == {"mode": "secondary"}
    assert sent[4].document["$readPreference"] == {"mode": "primaryPreferred"}
    assert "readConcern" not in sent[4].document


def test_the_time_to_wait_goes_with_each_getmore(server: ScriptedServer, things: Any) -> None:
    server.on["aggregate"] = {"ok": 1.0, "cursor": {**CURSOR, "id": 7}}
    server.on["getMore"] = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "nextBatch": []}}
    list(things.aggregate([], maxAwaitTimeMS=50, comment="why"))
    assert "maxAwaitTimeMS" not in server.commands("aggregate")[0]
    assert server.commands("getMore")[0]["maxTimeMS"] == 50
    assert server.commands("getMore")[0]["comment"] == "why"


class StableApi:
    """What `server_api` takes."""

    version, strict, deprecation_errors = "1", True, None


def test_a_command_that_declares_a_stable_api_itself_has_it_once(server: ScriptedServer) -> None:
    with MongoClient(server.uri(), server_api=StableApi()) as client:
        client["x"].command("find", "y", apiVersion="1")
        client["x"].command("find", "y")
        list(client["x"]["y"].aggregate([], apiVersion="1"))
    own, inherited = (each for each in server.requests if each.name == "find")
    assert times(own, "apiVersion") == times(inherited, "apiVersion") == 1
    assert "apiStrict" not in own.document
    assert inherited.document["apiStrict"] is True
    assert times(next(e for e in server.requests if e.name == "aggregate"), "apiVersion") == 1


def test_the_comment_of_a_cursor_command_goes_with_each_getmore(
    server: ScriptedServer, things: Any
) -> None:
    server.on["find"] = {"ok": 1.0, "cursor": {**CURSOR, "id": 7}}
    server.on["getMore"] = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "nextBatch": []}}
    for command, own in (({"find": "y"}, None), ({"find": "y", "comment": "own"}, "own")):
        list(things.database.cursor_command(command, comment="why", max_await_time_ms=5))
        assert server.commands("find")[-1].get("comment") == own
        assert "maxTimeMS" not in server.commands("find")[-1]
        assert server.commands("getMore")[-1]["comment"] == "why"
        assert server.commands("getMore")[-1]["maxTimeMS"] == 5
