"""The classes that users hold, as objects: what is not there says so, generics, weak references,
and objects whose `__init__` never ran."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import inspect
import weakref
from types import GenericAlias, WrapperDescriptorType
from typing import Any
from unittest import mock

import pymongo.asynchronous.collection
import pymongo.asynchronous.command_cursor
import pymongo.asynchronous.cursor
import pymongo.asynchronous.database
import pymongo.collection
import pymongo.command_cursor
import pymongo.cursor
import pymongo.database
import pytest

from mongokey import AsyncMongoClient, MongoClient
from mongokey.aio import AsyncCollection, AsyncCommandCursor, AsyncCursor, AsyncDatabase
from mongokey.collection import Collection
from mongokey.cursor import CommandCursor, Cursor
from mongokey.database import Database
from mongokey.faces.cursor_cores import AwaitableCursorCore, BlockingCursorCore
from mongokey.write_concern import WriteConcern

CLASSES: list[tuple[Any, Any]] = [
    (MongoClient, pymongo.MongoClient),
    (Database, pymongo.database.Database),
    (Collection, pymongo.collection.Collection),
    (Cursor, pymongo.cursor.Cursor),
    (CommandCursor, pymongo.command_cursor.CommandCursor),
    (AsyncMongoClient, pymongo.AsyncMongoClient),
    (AsyncDatabase, pymongo.asynchronous.database.AsyncDatabase),
    (AsyncCollection, pymongo.asynchronous.collection.AsyncCollection),
    (AsyncCursor, pymongo.asynchronous.cursor.AsyncCursor),
    (AsyncCommandCursor, pymongo.asynchronous.command_cursor.AsyncCommandCursor),
]
# Those that have children by name.
PARENTS: list[Any] = [
    *(MongoClient, Database, Collection),
    *(AsyncMongoClient, AsyncDatabase, AsyncCollection),
]
CURSORS: list[Any] = [Cursor, CommandCursor, AsyncCursor, AsyncCommandCursor]
CLIENT = "mongodb://127.0.0.1:1/"
OURS: list[Any] = [ours for ours, _ in CLASSES]


def instance(cls: Any) -> Any:
    name = cls.__name__
    client: Any = (AsyncMongoClient if name.startswith("Async") else MongoClient)(CLIENT)
    return {
        "MongoClient": lambda: client,
        "Database": lambda: client["d"],
        "Collection": lambda: client["d"]["c"],
        "Cursor": lambda: client["d"]["c"].find(),
        "CommandCursor": lambda: cls._of([]),
    }[name.removeprefix("Async")]()


def awaited(value: Any) -> Any:
    """A result, whichever face it is of."""
    if not inspect.isawaitable(value):
        return value

    async def wait() -> Any:
        return await value

    return asyncio.run(wait())


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


@pytest.mark.parametrize("ours", PARENTS)
def test_any_other_attribute_is_a_child(ours: Any) -> None:
    made = instance(ours)
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


@pytest.mark.parametrize("ours", [*OURS, BlockingCursorCore, AwaitableCursorCore])
def test_an_object_whose_init_never_ran_raises_and_does_not_crash(ours: Any) -> None:
    for name in [each for each in dir(ours) if not each.startswith("__")]:
        made = ours.__new__(ours)
        for arguments in ((), ({},), ("a",), ({}, {"$set": {"a": 1}}), ([{}],), ("a", "b")):
            # A subclass that forgets super().__init__() gets an error, of whatever kind.
            with contextlib.suppress(Exception):
                member = getattr(made, name)
                awaited(member(*arguments) if callable(member) else member)
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


# Ordinary classes: patched, subclassed and filled as Python's are

# A method of each that a base or its core has, so that the class itself has none in its dict.
OF_THE_CORE = [
    (Database, "command"),
    (Collection, "find_one"),
    (Collection, "insert_one"),
    (Cursor, "limit"),
    (CommandCursor, "to_list"),
    (AsyncDatabase, "command"),
    (AsyncCollection, "find_one"),
    (AsyncCollection, "insert_one"),
    (AsyncCursor, "limit"),
    (AsyncCommandCursor, "to_list"),
]


OF_PYTHON = {
    MongoClient: "close",
    Database: "get_collection",
    Collection: "with_options",
    Cursor: "limit",
    AsyncMongoClient: "close",
    AsyncDatabase: "get_collection",
    AsyncCollection: "with_options",
    AsyncCursor: "limit",
}


@pytest.mark.parametrize(("ours", "method"), [*OF_THE_CORE, (MongoClient, "_execute")])
def test_classes_and_instances_can_be_patched(ours: Any, method: str) -> None:
    made = instance(ours)
    with mock.patch.object(ours, method, return_value="patched") as patched:
        assert awaited(getattr(made, method)("a")) == "patched"
        patched.assert_called_once_with("a")
    with mock.patch.object(made, method, return_value="mine"):
        assert awaited(getattr(made, method)()) == "mine"
        assert "patched" not in repr(getattr(instance(ours), method))
    assert method not in vars(made)
    assert method not in vars(ours)  # the base's is found again


@pytest.mark.parametrize("ours", OURS)
def test_mocks_of_a_class_have_its_methods_and_no_others(ours: Any) -> None:
    fake = mock.create_autospec(ours, instance=True)
    if ours in OF_PYTHON:
        with pytest.raises(TypeError, match="too many positional"):
            awaited(getattr(fake, OF_PYTHON[ours])(1, 2, 3, 4, 5, 6, 7))
    for each, name in OF_THE_CORE:
        assert each is not ours or callable(getattr(fake, name))
    assert isinstance(fake, ours)
    with pytest.raises(AttributeError, match="no_such_method"):
        fake.no_such_method()


@pytest.mark.parametrize("ours", OURS)
def test_instances_take_attributes_of_their_own(ours: Any) -> None:
    made = instance(ours)
    made.note = "mine"
    assert made.note == "mine"
    assert vars(made)["note"] == "mine"
    del made.note
    if ours in CURSORS:
        assert not hasattr(made, "note")
    else:
        assert made["note"] == made.note
    for name in ("name", "codec_options", "retrieved"):
        if name in dir(ours):
            with pytest.raises(AttributeError):
                setattr(made, name, "other")


class Mixin:
    """An ordinary class, which has attributes and calls super()."""

    label = "mixed"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.noted = self.label

    def find_one(self, *args: Any, **kwargs: Any) -> Any:
        return ["mixed", self.noted]


class EmptySlots:
    __slots__ = ()

    def shout(self) -> str:
        return f"{self.name}!"  # type: ignore[attr-defined]


def test_subclasses_together_with_mixins() -> None:
    class Mixed(Mixin, EmptySlots, Collection[Any]):
        __slots__ = ("slot",)

    made: Any = Mixed(instance(Database), "c")
    assert made.find_one() == ["mixed", "mixed"]
    assert (made.name, made.shout(), made.full_name) == ("c", "c!", "d.c")
    made.slot = 5
    assert made.slot == 5
    assert made.with_options(read_preference=None).noted == "mixed"
    assert type(made.other) is Collection
    assert Mixed[dict].__origin__ is Mixed  # type: ignore[type-arg,misc]


class Documents:
    """A base with fields of its own, which passes on to another cursor what it lacks: umongo's."""

    __slots__ = ("kind", "raw_cursor")

    def __init__(self, kind: Any, raw_cursor: Any) -> None:
        # The fields by their descriptors: all else is set on the other cursor.
        Wrapped.kind.__set__(self, kind)  # type: ignore[attr-defined]
        Wrapped.raw_cursor.__set__(self, raw_cursor)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw_cursor, name)  # type: ignore[attr-defined]

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.raw_cursor, name, value)  # type: ignore[attr-defined]

    def __next__(self) -> Any:
        return self.kind(next(self.raw_cursor))  # type: ignore[attr-defined]

    def __iter__(self) -> Any:
        return map(self.kind, self.raw_cursor)  # type: ignore[attr-defined]


class Wrapped(Documents, Cursor[Any]):  # type: ignore[misc]
    __slots__ = ()


def test_a_cursor_beside_a_base_with_fields_that_wraps_another() -> None:
    """`Cursor.__init__` never runs, and each of its methods works on the cursor that is wrapped."""
    raw = instance(Collection).find({"a": 1})
    wrapped = Wrapped(dict, raw)
    assert isinstance(wrapped, Cursor)
    assert wrapped.limit(3).skip(1).sort("a") is wrapped
    document = raw._query.document()
    assert (document["limit"], document["skip"], document["sort"]) == (3, 1, {"a": 1})
    assert wrapped.alive is True
    assert wrapped.cursor_id is wrapped.address is wrapped.session is None
    assert wrapped.retrieved == 0
    assert wrapped.collection is raw.collection
    wrapped.note = 5
    assert raw.note == 5
    wrapped.close()
    assert wrapped.alive is raw.alive is False
    assert list(Wrapped(str, iter([1, 2]))) == ["1", "2"]
    assert next(Wrapped(str, iter([1]))) == "1"


@pytest.mark.parametrize("ours", [Cursor, AsyncCursor])
def test_cursors_of_find_stand_beside_bases_with_fields(ours: Any) -> None:
    slotted = type("Slotted", (), {"__slots__": ("field",)})
    for bases in ((slotted, ours), (ours, slotted)):
        made = type("Both", bases, {"__slots__": ("more",)})(collection_of(ours), {"a": 1})
        made.field, made.more = 1, 2
        assert made.limit(2)._query.document()["limit"] == 2
        assert vars(made).keys() == {"_core"}


def collection_of(cursor: Any) -> Any:
    return instance(AsyncCollection if cursor is AsyncCursor else Collection)


@pytest.mark.parametrize("ours", [Cursor, AsyncCursor, CommandCursor, AsyncCommandCursor])
def test_a_step_of_an_iteration_can_be_patched_and_overridden(ours: Any) -> None:
    name = "__anext__" if ours.__name__.startswith("Async") else "__next__"
    step = anext if name == "__anext__" else next
    made = instance(ours)
    with mock.patch.object(ours, name, return_value="patched"):
        assert step(made) == "patched"
    own = type("Own", (ours,), {name: lambda self: "own"})
    assert step(own.__new__(own)) == "own"
    assert isinstance(ours.__dict__.get(name, getattr(ours, name)), WrapperDescriptorType)


@pytest.mark.parametrize("ours", [Cursor, AsyncCursor, CommandCursor, AsyncCommandCursor])
def test_a_destructor_of_a_subclass_can_call_that_of_the_class(ours: Any) -> None:
    gone = []

    class Own(ours):  # type: ignore[misc]
        def __del__(self) -> None:
            super().__del__()
            gone.append(type(self))

    Own.__new__(Own)
    gc.collect()
    assert gone == [Own]


@pytest.mark.parametrize("ours", [Cursor, AsyncCursor])
def test_find_makes_a_cursor_as_its_class_does(ours: Any) -> None:
    collection = collection_of(ours)
    assert vars(collection.find({"a": 1}, limit=2)).keys() == vars(ours(collection)).keys()
    with pytest.raises(TypeError, match="no_such_option"):
        collection.find(no_such_option=1)
    made = []

    class Own(ours):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            made.append((args, kwargs))
            super().__init__(*args, **kwargs)

    class Of(type(collection)):  # type: ignore[misc]
        _cursor_class = Own

    owner = Of(collection.database, "c")
    assert owner.find({"a": 1}, limit=2)._query.document()["limit"] == 2
    assert made == [((owner, {"a": 1}), {"limit": 2})]


def test_cursors_of_the_class_that_a_collection_names() -> None:
    class Movies(Cursor[Any]):
        pass

    class Cinema(Collection[Any]):
        _cursor_class = Movies

    cursor = Cinema(instance(Database), "c").find({"a": 1}).sort("a").limit(3)
    assert type(cursor) is type(cursor.clone()) is type(copy.copy(cursor)) is Movies
    assert copy.deepcopy(cursor)[2:5]._query.document()["skip"] == 2
    assert cursor.clone()._query.document() == cursor._query.document()
    assert cursor._query.document()["filter"] == {"a": 1}


def test_a_mixin_with_slots_of_its_own_cannot_come_beside_a_core() -> None:
    """Two bases with fields: CPython has no layout for that. Slots of the subclass itself do."""
    slotted = type("Slotted", (), {"__slots__": ("field",)})
    for ours in set(OURS) - {Cursor, AsyncCursor}:
        with pytest.raises(TypeError, match=r"lay-?out conflict"):
            type("Both", (slotted, ours), {})
    own: Any = type("Own", (Collection,), {"__slots__": ("field",)})
    assert own(instance(Database), "c").full_name == "d.c"


@pytest.mark.parametrize("ours", PARENTS)
def test_an_attribute_error_inside_a_property_is_not_a_name(ours: Any) -> None:
    asked = []

    class Broken(ours):  # type: ignore[misc]
        @property
        def setting(self) -> Any:
            asked.append(1)
            return self.__dict__["x"].no_such_thing

    made = Broken.__new__(Broken)
    made.__dict__["x"] = object()
    if ours is MongoClient:
        Broken.__getattr__ = Broken.__getattr__  # as if it had one: Python looks attributes up
    with pytest.raises(AttributeError, match="'object' object has no attribute 'no_such_thing'"):
        made.setting  # noqa: B018
    assert asked == ([1, 1] if ours is MongoClient else [1])
    assert not hasattr(made, "setting")


def test_a_getattr_of_a_subclass_is_asked_and_can_ask_on() -> None:
    class Asked(Database[Any]):
        def __getattr__(self, name: str) -> Any:
            if name == "special":
                return "special"
            return super().__getattr__(name)

    made = Asked(instance(MongoClient), "d")
    assert made.special == "special"
    assert made.ordinary == made["ordinary"]
    assert made.name == "d"
    with pytest.raises(AttributeError, match="_private"):
        made._private  # noqa: B018


def test_a_database_makes_collections_of_the_class_that_it_names() -> None:
    class Movies(Collection[Any]):
        pass

    class Cinema(Database[Any]):
        _collection_class = Movies

    cinema = Cinema(instance(MongoClient), "d")
    made: Any = [cinema.c, cinema["c"], cinema.get_collection("c"), cinema.c.d]
    assert [type(each) for each in made] == [Movies] * 4


def test_options_are_handed_down_as_one_object() -> None:
    client: Any = instance(MongoClient)
    assert client._inherited is client["d"]._inherited is client["d"]["c"]._inherited
    concern = WriteConcern(w=0)
    other = client["d"].with_options(write_concern=concern)
    assert (other.write_concern, client.write_concern.document) == (concern, {})
    assert other["c"]["d"]._inherited is other._inherited
    assert other._inherited.unacknowledged
    assert other.codec_options is client.codec_options
