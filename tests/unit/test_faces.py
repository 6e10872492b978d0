"""The classes that users hold, as objects: what is not there says so, generics, weak references,
and objects whose `__init__` never ran."""

from __future__ import annotations

import contextlib
import gc
import weakref
from types import GenericAlias
from typing import Any

import pymongo.collection
import pymongo.command_cursor
import pymongo.cursor
import pymongo.database
import pytest

from mongokey import MongoClient
from mongokey._support.not_yet import NOT_YET
from mongokey.collection import Collection
from mongokey.cursor import BatchCursor, CommandCursor, Cursor
from mongokey.database import Database

CLASSES: list[tuple[Any, Any]] = [
    (MongoClient, pymongo.MongoClient),
    (Database, pymongo.database.Database),
    (Collection, pymongo.collection.Collection),
    (Cursor, pymongo.cursor.Cursor),
    (CommandCursor, pymongo.command_cursor.CommandCursor),
]
OURS: list[Any] = [ours for ours, _ in CLASSES]


def instance(cls: Any) -> Any:
    client: Any = MongoClient("mongodb://127.0.0.1:1/")
    return {
        MongoClient: lambda: client,
        Database: lambda: client["d"],
        Collection: lambda: client["d"]["c"],
        Cursor: lambda: client["d"]["c"].find(),
        CommandCursor: lambda: CommandCursor._of([]),
    }[cls]()


@pytest.mark.parametrize(("ours", "pymongos"), CLASSES)
def test_every_public_name_of_pymongo_is_there_or_says_that_it_is_not(
    ours: Any, pymongos: Any
) -> None:
    made = instance(ours)
    for name in dir(pymongos):
        if name.startswith("_") or name in dir(ours):
            continue
        # For a client, database or collection any other name is a database or collection.
        with pytest.raises(AttributeError, match=name):
            getattr(made, name)
        assert not hasattr(made, name)


@pytest.mark.parametrize("ours", [MongoClient, Database, Collection])
def test_what_is_said_to_be_missing_is_missing_and_can_be_a_name_all_the_same(ours: Any) -> None:
    pymongos = dict(CLASSES)[ours]
    made = instance(ours)
    for name in NOT_YET[ours.__name__]:
        assert name in dir(pymongos)
        assert name not in dir(ours)
        with pytest.raises(AttributeError, match="not there yet"):
            getattr(made, name)
        assert made[name].name.rpartition(".")[2] == name
    assert made.anything_else.name.rpartition(".")[2] == "anything_else"
    with pytest.raises(TypeError, match="not iterable"):
        made.next()


@pytest.mark.parametrize("ours", OURS)
def test_classes_can_be_subscripted_as_in_the_stubs(ours: Any) -> None:
    alias = ours[dict[str, Any]]
    assert isinstance(alias, GenericAlias)
    assert alias.__origin__ is ours
    assert alias.__args__ == (dict[str, Any],)


def test_a_subscripted_client_makes_clients() -> None:
    client = MongoClient[dict[str, Any]]("mongodb://127.0.0.1:1/")
    assert type(client) is MongoClient
    assert client["d"].name == "d"


@pytest.mark.parametrize("ours", OURS)
def test_weak_references_to_all_of_them(ours: Any) -> None:
    made = instance(ours)
    reference = weakref.ref(made)
    assert reference() is made
    del made
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("ours", [*OURS, BatchCursor])
def test_an_object_whose_init_never_ran_raises_and_does_not_crash(ours: Any) -> None:
    for name in [each for each in dir(ours) if not each.startswith("__")]:
        made = ours.__new__(ours)
        for arguments in ((), ({},), ("a",), ({}, {"$set": {"a": 1}}), ([{}],), ("a", "b")):
            # A subclass that forgets super().__init__() gets an error, of whatever kind.
            with contextlib.suppress(Exception):
                member = getattr(made, name)
                if callable(member):
                    member(*arguments)
        repr(made)


def test_databases_and_collections_keep_their_client() -> None:
    client = MongoClient[dict[str, Any]]("mongodb://127.0.0.1:1/")
    reference = weakref.ref(client)
    collection = client["d"]["c"]
    cursor = collection.find()
    del client, collection
    gc.collect()
    assert reference() is not None
    del cursor
    gc.collect()
    assert reference() is None
