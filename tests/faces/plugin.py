"""Runs tests on both faces: once with the blocking client, once with `wrapper`'s over asyncio.

The fixture `face` says which. On asyncio the name `MongoClient` stands for the wrapper's, in
every test module that has it and in the package `mongokey` itself; tests need not know. Which
tests run on both stands in `modules`.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from tests.faces import modules, wrapper

BLOCKING, ASYNCIO = "blocking", "asyncio"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "both_faces: one of those tests of its module that run on both faces"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = metafunc.definition.get_closest_marker("both_faces") is not None
    path = metafunc.module.__name__.removeprefix("tests.").replace(".", "/")
    if modules.runs_on_both(path, metafunc.function.__name__, chosen=chosen):
        metafunc.parametrize("face", [BLOCKING, ASYNCIO], indirect=True, scope="module")


def pytest_itemcollected(item: pytest.Item) -> None:
    callspec = getattr(item, "callspec", None)
    if callspec is not None and callspec.params.get("face") == ASYNCIO:
        # A client of asyncio that is left to the garbage collector warns, as PyMongo's does; the
        # blocking one does not, and many a test leaves one.
        item.add_marker(pytest.mark.filterwarnings("ignore:.*AsyncMongoClient:ResourceWarning"))


@pytest.fixture(scope="module", autouse=True)
def face(request: pytest.FixtureRequest) -> Iterator[str]:
    """ "blocking" or "asyncio": what `MongoClient` is made of now."""
    name = getattr(request, "param", BLOCKING)
    if name == BLOCKING:
        yield name
        return
    made = getattr(importlib.import_module("mongokey"), "AsyncMongoClient", None)
    with replaced(wrapper.client_class(made)) if made else nullcontext():
        yield name
    gc.collect()
    assert not taken(), "the loop of a client that was garbage complained"


@pytest.fixture(autouse=True)
def _no_complaints(face: str) -> Iterator[None]:
    yield
    found = taken()
    assert not found, "\n".join(found)


def taken() -> list[str]:
    """What the loops complained about until now."""
    found = wrapper.COMPLAINTS[:]
    wrapper.COMPLAINTS.clear()
    return found


@contextmanager
def replaced(client_class: Any) -> Iterator[None]:
    """Let `MongoClient` stand for another class, in `mongokey` and in all test modules."""
    package: Any = importlib.import_module("mongokey")
    former = package.MongoClient
    holders = [
        module
        for name, module in list(sys.modules.items())
        if name.split(".")[0] == "tests" and vars(module).get("MongoClient") is former
    ]
    holders.append(package)
    for holder in holders:
        holder.MongoClient = client_class
    try:
        yield
    finally:
        for holder in holders:
            holder.MongoClient = former
