"""Whatever is wrong with a call's arguments is found before anything is sent."""

from __future__ import annotations

import decimal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mongokey import MongoClient, WriteConcern
from mongokey.errors import ConfigurationError, InvalidDocument
from mongokey.operations import (
    DeleteMany,
    DeleteOne,
    IndexModel,
    InsertOne,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
)
from tests.servers.scripted import ScriptedServer, primary

EVERYTHING = DeleteMany({})


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(hello=primary(), on={"*": {"ok": 1.0, "n": 1}}) as server:
        yield server


@pytest.fixture
def things(server: ScriptedServer) -> Iterator[Any]:
    with MongoClient(server.uri()) as client:
        client.admin.command("ping")
        yield client["x"]["y"]


def assert_nothing_sent(server: ScriptedServer) -> None:
    assert set(server.names()) <= {"hello", "ping"}, server.names()


def failing(documents: list[Any]) -> Iterator[Any]:
    yield from documents
    raise LookupError("the source of the documents failed")


def emptied() -> list[Any]:
    """Requests of which one was changed after it was made, so that it would replace a document."""
    update = {"$set": {"a": 1}}
    requests = [EVERYTHING, UpdateOne({}, update)]
    update.clear()
    return requests


def turned() -> list[Any]:
    replacement: dict[str, Any] = {"a": 1}
    requests = [EVERYTHING, ReplaceOne({}, replacement)]
    del replacement["a"]
    replacement["$set"] = {"a": 1}
    return requests


WRONG: dict[str, tuple[type[Exception], Callable[[Any], Any]]] = {
    "insert_many, no document": (TypeError, lambda c: c.insert_many([{}, 5, {}])),
    "insert_many, none": (TypeError, lambda c: c.insert_many([])),
    "insert_many, a mapping": (TypeError, lambda c: c.insert_many({"a": 1})),
    "insert_many, a source that fails": (LookupError, lambda c: c.insert_many(failing([{}, {}]))),
    "insert_many, not BSON": (InvalidDocument, lambda c: c.insert_many([{}, {"a": object()}])),
    "insert_many, session": (ValueError, lambda c: c.insert_many([{}], session=object())),
    "bulk, None": (TypeError, lambda c: c.bulk_write([EVERYTHING, InsertOne(None)])),
    "bulk, a list": (TypeError, lambda c: c.bulk_write([EVERYTHING, InsertOne([("a", 1)])])),
    "bulk, no request": (TypeError, lambda c: c.bulk_write([EVERYTHING, {"a": 1}])),
    "bulk, not BSON": (
        InvalidDocument,
        lambda c: c.bulk_write([EVERYTHING, InsertOne({"price": decimal.Decimal("1.5")})]),
    ),
    "bulk, not BSON, unordered": (
        InvalidDocument,
        lambda c: c.bulk_write([InsertOne({"a": object()}), EVERYTHING], ordered=False),
    ),
    "bulk, a filter that is not BSON": (
        InvalidDocument,
        lambda c: c.bulk_write([EVERYTHING, UpdateOne({"a": object()}, {"$set": {"a": 1}})]),
    ),
    "bulk, an emptied update": (ValueError, lambda c: c.bulk_write(emptied())),
    "bulk, a replacement turned update": (ValueError, lambda c: c.bulk_write(turned())),
    "bulk, let": (TypeError, lambda c: c.bulk_write([EVERYTHING], let=5)),
    "bulk, session": (ValueError, lambda c: c.bulk_write([EVERYTHING], session=object())),
    "update_one, let": (TypeError, lambda c: c.update_one({}, {"$set": {"a": 1}}, let=[1])),
    "update_one, upsert": (TypeError, lambda c: c.update_one({}, {"$set": {"a": 1}}, upsert=0)),
    "update_many, upsert": (
        TypeError,
        lambda c: c.update_many({}, {"$set": {"a": 1}}, upsert=None),
    ),
    "update_one, pipeline": (TypeError, lambda c: c.update_one({}, [{"$set": {"a": 1}}, "x"])),
    "update_one, no pipeline": (ValueError, lambda c: c.update_one({}, [])),
    "update_one, filters": (
        TypeError,
        lambda c: c.update_one({}, {"$set": {"a": 1}}, array_filters={"a": 1}),
    ),
    "update_one, hint": (TypeError, lambda c: c.update_one({}, {"$set": {"a": 1}}, hint=5)),
    "replace_one, let": (TypeError, lambda c: c.replace_one({}, {}, let="x")),
    "replace_one, upsert": (TypeError, lambda c: c.replace_one({}, {}, upsert="")),
    "delete_many, let": (TypeError, lambda c: c.delete_many({}, let=5)),
    "delete_many, hint": (TypeError, lambda c: c.delete_many({}, hint=5)),
    "delete_many, collation": (TypeError, lambda c: c.delete_many({}, collation="en")),
    "find_one_and_update, let": (
        TypeError,
        lambda c: c.find_one_and_update({}, {"$set": {"a": 1}}, let=5),
    ),
    "find_one_and_update, pipeline": (TypeError, lambda c: c.find_one_and_update({}, [5])),
    "find_one_and_delete, let": (TypeError, lambda c: c.find_one_and_delete({}, let=5)),
    "find_one_and_delete, hint": (TypeError, lambda c: c.find_one_and_delete({}, hint=5)),
    "find_one_and_replace, upsert": (
        TypeError,
        lambda c: c.find_one_and_replace({}, {}, upsert=1),
    ),
    "aggregate, stage": (TypeError, lambda c: c.aggregate([{"$match": {}}, "$out"])),
    "aggregate, let": (TypeError, lambda c: c.aggregate([{"$out": "z"}], let=5)),
    "aggregate, batchSize": (TypeError, lambda c: c.aggregate([{"$out": "z"}], batchSize="5")),
    "aggregate, negative": (ValueError, lambda c: c.aggregate([{"$out": "z"}], batchSize=-1)),
    "aggregate, cursor": (TypeError, lambda c: c.aggregate([{"$out": "z"}], cursor=5)),
    "create_indexes": (TypeError, lambda c: c.create_indexes([IndexModel("a"), "b"])),
    "create_collection": (
        TypeError,
        lambda c: c.database.create_collection("made", collation="en"),
    ),
    "list_collections": (TypeError, lambda c: c.database.list_collections(filter="y")),
    "command": (TypeError, lambda c: c.database.command([("ping", 1)])),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_nothing_is_sent(server: ScriptedServer, things: Any, wrong: str) -> None:
    error, call = WRONG[wrong]
    with pytest.raises(error):
        call(things)
    assert_nothing_sent(server)


@pytest.mark.parametrize(
    "make",
    [
        lambda: UpdateOne(None, {"$set": {"a": 1}}),
        lambda: UpdateOne({}, {"a": 1}),
        lambda: UpdateOne({}, []),
        lambda: UpdateOne({}, ["x"]),
        lambda: UpdateMany({}, {}),
        lambda: UpdateOne({}, {"$set": {"a": 1}}, upsert=1),  # type: ignore[arg-type]
        lambda: UpdateOne({}, {"$set": {"a": 1}}, array_filters={"a": 1}),  # type: ignore[arg-type]
        lambda: ReplaceOne({}, {"$set": {"a": 1}}),
        lambda: ReplaceOne({}, []),
        lambda: DeleteOne([]),
        lambda: DeleteMany({}, hint=5),
        lambda: DeleteMany({}, collation=5),
    ],
)
def test_a_wrong_request_is_not_even_made(make: Callable[[], Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        make()


def test_an_id_is_there_before_the_next_document_is_asked_for(things: Any) -> None:
    """As with PyMongo: a child may name its parent's `_id` in one generator."""

    def family() -> Iterator[dict[str, Any]]:
        parent: dict[str, Any] = {"name": "parent"}
        yield parent
        yield {"name": "child", "parent": parent["_id"]}

    result = things.insert_many(family())
    assert len(set(result.inserted_ids)) == 2


# What an unacknowledged write cannot have

QUIET = WriteConcern(w=0)
UPDATE = {"$set": {"a.$[x]": 1}}
UNANSWERED: dict[str, Callable[[Any], Any]] = {
    "update_one, collation": lambda c: c.update_one({}, UPDATE, collation={"locale": "en"}),
    "update_many, filters": lambda c: c.update_many({}, UPDATE, array_filters=[{"x": 1}]),
    "delete_one, collation": lambda c: c.delete_one({}, collation={"locale": "en"}),
    "find_one_and_update, filters": lambda c: c.find_one_and_update(
        {}, UPDATE, array_filters=[{"x": 1}]
    ),
    "find_one_and_delete, collation": lambda c: c.find_one_and_delete(
        {}, collation={"locale": "en"}
    ),
}


@pytest.mark.parametrize("call", UNANSWERED)
def test_what_needs_an_answer_is_refused_without_one(
    server: ScriptedServer, things: Any, call: str
) -> None:
    quiet = things.with_options(write_concern=QUIET)
    with pytest.raises(ConfigurationError, match=r"collation|arrayFilters"):
        UNANSWERED[call](quiet)
    assert_nothing_sent(server)


def test_a_concern_given_by_keyword_counts_too(server: ScriptedServer, things: Any) -> None:
    with pytest.raises(ConfigurationError, match="arrayFilters"):
        things.find_one_and_update({}, UPDATE, array_filters=[{"x": 1}], writeConcern={"w": 0})
    assert_nothing_sent(server)
