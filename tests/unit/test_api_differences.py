"""Names and signatures of both faces beside PyMongo's: the list of differences is kept, so that
none comes or goes unnoticed. `python tools/compare_api.py --write` stores them anew."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from tools import compare_api

from mongokey import aio
from mongokey._support.not_yet import NOT_YET


def test_the_differences_from_pymongo_are_those_that_are_listed() -> None:
    stored = json.loads(compare_api.STORED.read_text())
    found = compare_api.compared()
    assert found == stored, "python tools/compare_api.py --write, and look at the diff"


@pytest.mark.parametrize("name", sorted(NOT_YET))
def test_what_only_pymongo_has_is_refused_as_a_name(name: str) -> None:
    missing = {
        each
        for each, told in compare_api.compared()[name].items()
        if told == "only PyMongo has it" and not each.startswith("_")
    }
    assert missing == NOT_YET[name]


def test_both_faces_differ_in_the_same_way() -> None:
    found = compare_api.compared()
    for name in ("MongoClient", "Database", "Collection", "Cursor", "CommandCursor"):
        blocking, awaited = found[name], found[f"Async{name}"]
        assert blocking == awaited, name


class Ours:
    def same(self, a: int = 1) -> None: ...
    def other_default(self, a: int = 1) -> None: ...
    def other_name(self, b: int = 1) -> None: ...
    def waits(self) -> None: ...
    def more(self) -> None: ...

    @property
    def plain(self) -> int:
        return 1


class Theirs:
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
    }
    assert compare_api.differences(Ours, Ours) == {}


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
