"""Each parameter of each public method is given values of wrong types and sizes: what comes is an
answer, or an error of a class that users expect, whose text names something; never an error of
our own code's making."""

from __future__ import annotations

import copy
import datetime
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mongokey import IndexModel, InsertOne, MongoClient
from mongokey.bson import DBRef, ObjectId
from mongokey.bson.errors import BSONError
from mongokey.errors import InvalidOperation, PyMongoError
from mongokey.operations import SearchIndexModel
from tests.live._gridfs import Classes
from tests.servers.secantus import SecantusServer

#: What a wrong argument may come to. Never AttributeError, KeyError, SystemError, MemoryError…
EXPECTED = (PyMongoError, BSONError, TypeError, ValueError, OverflowError, IndexError)
#: Words of Python's own errors about our code's variables, which tell a user nothing.
OBSCURE = re.compile(
    r"object has no attribute|not enough values to unpack|too many values to unpack"
    r"|is not subscriptable|is not iterable|'NoneType' object|unsupported operand"
    r"|not supported between"
    r"|too large to convert to C|an integer is required"
)


class Odd:
    """No type that any argument may have."""


WRONG: dict[str, Any] = {
    "None": None,
    "minus one": -1,
    "zero": 0,
    "a float": 1.5,
    "true": True,
    "a huge number": 2**70,
    "the largest of 64 bits": 2**63 - 1,
    "text": "a",
    "no text": "",
    "a NUL": "a\0b",
    "an operator": "$a",
    "bytes": b"a",
    "no list": [],
    "a list": ["a"],
    "a list of numbers": [1],
    "a list of documents": [{"a": 1}],
    "pairs": [("a", 1)],
    "no document": {},
    "a document": {"a": 1},
    "an update": {"$set": {"a": 1}},
    "a set": {1},
    "an id": ObjectId("0" * 24),
    "a date": datetime.datetime(2020, 1, 1),
    "a class": int,
    "odd": Odd(),
}

#: What the other parameters get that have no default.
RIGHT: dict[str, Any] = {
    "filter": {"a": 1},
    "document": {"a": 1},
    "documents": [{"a": 1}],
    "update": {"$set": {"a": 2}},
    "replacement": {"b": 1},
    "pipeline": [],
    "key": "a",
    "keys": "a",
    "name": "other",
    "command": "ping",
    "requests": [InsertOne({"x": 1})],
    "models": [InsertOne({"x": 1}, namespace="d.c")],
    "indexes": [IndexModel("a")],
    "index_or_name": "b_1",
    "new_name": "other",
    "name_or_database": "other",
    "name_or_collection": "other",
    "model": SearchIndexModel({}),
    "definition": {},
    "dbref": DBRef("c", 1),
    "key_or_list": "a",
    "index": "a_1",
    "limit": 1,
    "skip": 1,
    "batch_size": 2,
    "spec": [("a", 1)],
    "mask": 2,
    "code": "1",
    "max_time_ms": 1000,
    "max_await_time_ms": 10,
    "comment": "c",
    "callback": lambda session: 1,
    "cluster_time": None,
    "operation_time": None,
    "file_id": 1,
    "filename": "f",
    "new_filename": "g",
    "source": b"x",
    "data": b"x",
}

#: Methods that end what the other calls need, or wait for what does not come.
LEFT_OUT = frozenset({"close", "next", "watch", "with_transaction", "download_to_stream"})


def wrong_calls(owner: type[Any]) -> Iterator[tuple[str, str]]:
    """Each method of a class with each of its parameters."""
    for name in dir(owner):
        if name.startswith("_") or name in LEFT_OUT or not callable(getattr(owner, name)):
            continue
        for parameter in list(inspect.signature(getattr(owner, name)).parameters.values())[1:]:
            if parameter.kind is not parameter.VAR_POSITIONAL:
                yield name, parameter.name


def arguments(method: Callable[..., Any], wrong: str, value: Any) -> dict[str, Any] | None:
    """Right values for what has no default, and `value` for the parameter `wrong`."""
    given: dict[str, Any] = {}
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        if parameter.name == wrong:
            unknown = parameter.kind is parameter.VAR_KEYWORD
            given["unknown" if unknown else parameter.name] = copy.copy(value)
        elif parameter.default is parameter.empty and parameter.kind in (
            parameter.POSITIONAL_OR_KEYWORD,
            parameter.KEYWORD_ONLY,
        ):
            if parameter.name not in RIGHT:
                return None
            given[parameter.name] = copy.copy(RIGHT[parameter.name])
    return given


OWNERS = ("client", "database", "collection", "cursor", "command cursor", "session", "bucket")


@pytest.mark.parametrize("kind", OWNERS)
def test_a_wrong_argument_is_refused_in_words(
    secantus: SecantusServer, face: str, database_name: str, kind: str
) -> None:
    with MongoClient(secantus.uri("both"), connect=False) as client:
        collection = client[database_name]["c"]

        def make() -> Any:
            match kind:
                case "client":
                    return client
                case "database":
                    return collection.database
                case "collection":
                    return collection
                case "cursor":
                    return collection.find()
                case "command cursor":
                    return collection.aggregate([])
                case "session":
                    return client.start_session()
                case _:
                    return Classes(face).GridFSBucket(collection.database)

        found: list[str] = []
        tried = 0
        for name, parameter in wrong_calls(type(getattr(make(), "_inner", make()))):
            collection.delete_many({})
            collection.insert_many([{"_id": number, "a": number} for number in range(3)])
            for words, value in WRONG.items():
                owner = make()
                method = getattr(type(getattr(owner, "_inner", owner)), name)
                given = arguments(method, parameter, value)
                if given is None:
                    continue
                tried += 1
                problem = what_is_wrong(getattr(owner, name), given)
                if problem is not None:
                    found.append(f"{name}({parameter}={words}): {problem}")
                if kind == "session":
                    owner.end_session()
        assert not found, "\n".join(found)
        assert tried > 20


def what_is_wrong(method: Callable[..., Any], given: dict[str, Any]) -> str | None:
    """How a call fails otherwise than it should; None if it does not."""
    try:
        result = method(**given)
        if hasattr(result, "to_list"):
            result.to_list(5)
    except EXPECTED as error:
        if not isinstance(error, PyMongoError) and OBSCURE.search(str(error)):
            return f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def test_a_length_near_the_end_of_64_bits_takes_what_there_is(collection: Any) -> None:
    """Added to the place of the next document it would not fit."""
    collection.insert_many([{"_id": number} for number in range(5)])
    for length in (2**63 - 1, 2**63, 2**70):
        cursor = collection.find()
        assert next(cursor) == {"_id": 0}
        assert cursor.to_list(length) == [{"_id": number} for number in range(1, 5)]
        assert cursor.to_list(length) == []
    largest = collection.find().limit(2**63 - 1).batch_size(2**63 - 1)
    assert len(largest.to_list()) == 5


def test_a_bound_of_an_index_needs_the_index(collection: Any) -> None:
    collection.insert_many([{"_id": number} for number in range(5)])
    with pytest.raises(InvalidOperation, match="hint"):
        collection.find().min([("_id", 2)]).to_list()
    assert len(collection.find().max([("_id", 2)]).hint([("_id", 1)]).to_list()) == 2


def test_an_empty_command_is_not_sent(database: Any) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        database.command({})


def test_an_empty_sort_of_an_update_is_no_sort(collection: Any) -> None:
    collection.insert_one({"_id": 1})
    assert collection.update_one({}, {"$set": {"a": 1}}, sort={}).modified_count == 1
    assert collection.replace_one({}, {"b": 1}, sort={}).modified_count == 1
    with pytest.raises(ValueError, match="must not be empty"):
        collection.update_one({}, {"$set": {"a": 1}}, sort=[])
