"""Names and signatures of both faces, of every module and of `bson` beside PyMongo's: the list of
differences is kept, each with its reason, and can only shrink.
`python tools/compare_api.py --write` stores them anew."""

from __future__ import annotations

import inspect
import re
from functools import cache
from typing import Any

import pytest
from tools import compare_api
from tools.compare_api import Judged

from mongokey import aio

FACES = ("synchronous", "asynchronous")


@cache
def found() -> dict[str, str]:
    return compare_api.compared()


def test_the_differences_from_pymongo_are_those_that_are_listed() -> None:
    stored = Judged.read().all
    assert found() == stored, "python tools/compare_api.py --write, and look at the diff"


def test_each_difference_is_listed_once_and_has_a_reason() -> None:
    listed = Judged.read()
    names = [name for each in listed.reasons.values() for name in each]
    assert len(names) == len(set(names))
    assert compare_api.TO_BE_JUDGED not in listed.reasons
    for reason in listed.reasons:
        assert len(reason.split()) > 3, reason


def test_the_list_only_shrinks() -> None:
    # The ceiling is lowered by --write. A higher one is a decision, to be seen in a diff.
    listed = Judged.read()
    assert len(listed.all) <= listed.ceiling


def test_what_is_new_is_not_taken_in_unseen() -> None:
    listed = Judged({"ceiling": 2, "reasons": {"as it should be, says this": {"a": "x", "b": "y"}}})
    grown = listed.updated({"a": "x", "c": "z", "d": "w"})
    assert grown.ceiling == 2
    assert grown.reasons == {
        "as it should be, says this": {"a": "x"},
        compare_api.TO_BE_JUDGED: {"c": "z", "d": "w"},
    }
    shrunk = listed.updated({"a": "x"})
    assert shrunk.ceiling == 1
    assert shrunk.reasons == {"as it should be, says this": {"a": "x"}}


def test_all_of_pymongos_modules_are_looked_at() -> None:
    names = {theirs for theirs, _ in compare_api.modules()}
    assert {"pymongo", "pymongo.common", "pymongo.synchronous.collection", "bson"} <= names
    assert {"bson.json_util", "gridfs.grid_file", "pymongo.asynchronous.cursor"} <= names
    assert not any("._" in name for name in names)
    assert dict(compare_api.modules())["bson.son"] == "mongokey.bson.son"


@pytest.mark.parametrize("face", ["", "Async"])
@pytest.mark.parametrize("name", ["MongoClient", "Database", "Collection"])
def test_no_method_is_missing_where_a_name_is_a_child(face: str, name: str) -> None:
    """`client.watch` would silently be a database, if there were no such method."""
    missing = {
        path
        for path, told in found().items()
        if f".{face}{name}." in path and told == compare_api.MISSING and "__" not in path
    }
    assert missing == set()


CLASS = re.compile(r"pymongo\.(a?)synchronous\.(\w+)\.(Async)?(\w+)\.(\w+)$")


def test_both_faces_differ_in_the_same_way() -> None:
    by_face: dict[str, dict[str, str]] = {"": {}, "a": {}}
    for path, told in found().items():
        match = CLASS.match(path)
        if match is None or match[2] in ("encryption", "uri_parser"):
            continue
        name = {"__aenter__": "__enter__", "__aexit__": "__exit__"}.get(match[5], match[5])
        by_face[match[1]][f"{match[4]}.{name}"] = told
    assert by_face["a"]
    assert by_face[""] == by_face["a"]


class Ours:
    number = 1

    def same(self, a: int = 1) -> None: ...
    def other_default(self, a: int = 1) -> None: ...
    def other_name(self, b: int = 1) -> None: ...
    def waits(self) -> None: ...
    def more(self) -> None: ...

    @property
    def plain(self) -> int:
        return 1


class Theirs:
    number = 2

    def same(self, a: int = 1) -> None: ...
    def other_default(self, a: int = 2) -> None: ...
    def other_name(self, c: int = 1) -> None: ...
    async def waits(self) -> None: ...
    def missing(self) -> None: ...

    @property
    async def plain(self) -> int:
        return 1


def test_every_kind_of_difference_is_seen() -> None:
    assert compare_api.differences(Ours, Theirs) == {
        "missing": "only PyMongo has it",
        "more": "only mongokey has it",
        "other_default": "(a=1), in PyMongo (a=2)",
        "other_name": "(b=1), in PyMongo (c=1)",
        "plain": "property, in PyMongo awaited property",
        "waits": "method, in PyMongo coroutine function",
        "number": "1, in PyMongo 2",
    }
    assert compare_api.differences(Ours, Ours) == {}


class WithTimes:
    def by_keyword(self, a: int = 1, *, timeout_ms: float | None = None) -> None: ...
    def in_place(self, a: int = 1, timeout_ms: float | None = None) -> None: ...
    def other_default(self, a: int = 1, *, timeout_ms: float | None = 5) -> None: ...


def test_what_mongokey_adds_on_purpose_is_by_keyword_only_and_changes_no_call() -> None:
    told = {
        name: compare_api.signature_of(getattr(WithTimes, name))
        for name in ("by_keyword", "in_place", "other_default")
    }
    assert told["by_keyword"] == ["a=1"]
    assert told["in_place"] == ["a=1", "timeout_ms=None"]
    assert told["other_default"] == ["a=1", "timeout_ms=5"]
    for reason in compare_api.ADDED.values():
        assert len(reason.split()) > 3


def test_a_compiled_class_is_compared_by_its_stub() -> None:
    from mongokey.bson.objectid import ObjectId
    from mongokey.cursor import Cursor

    assert compare_api.constructor_of(ObjectId) == ["oid=None"]
    assert (compare_api.constructor_of(Cursor) or [])[:3] == [
        "collection",
        "filter=None",
        "projection=None",
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        (5, 5, ""),
        (5, 6, "5, in PyMongo 6"),
        ((1, "a"), (1, "b"), "(1, 'a'), in PyMongo (1, 'b')"),
        (object(), object(), ""),
        (frozenset("ab"), frozenset("bc"), "only here ['a'], only in PyMongo ['c']"),
        (dict, Ours.same, ""),
        (Ours.same, Ours.other_default, ""),
        (Ours.same, Ours.waits, "(a=1), in PyMongo ()"),
        (Ours.waits, Theirs.waits, "function, in PyMongo coroutine function"),
        (5, Ours.waits, "int, in PyMongo a function"),
    ],
)
def test_values_and_functions_of_modules_are_compared(ours: Any, theirs: Any, told: str) -> None:
    assert compare_api.value_difference(ours, theirs) == told


CLASSES: list[Any] = [
    aio.AsyncMongoClient,
    aio.AsyncDatabase,
    aio.AsyncCollection,
    aio.AsyncCursor,
    aio.AsyncCommandCursor,
]


@pytest.mark.parametrize("cls", CLASSES)
def test_what_is_awaited_is_a_coroutine_function(cls: Any) -> None:
    awaited = [name for name in dir(cls) if compare_api.kind_of(cls, name) == "coroutine function"]
    assert {"close"} <= set(awaited) or cls in (aio.AsyncDatabase, aio.AsyncCollection)
    for name in awaited:
        assert inspect.iscoroutinefunction(getattr(cls, name)), name
