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
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from mongokey.connection import establish
from tests.faces import modules, watchdog, wrapper

BLOCKING, ASYNCIO = "blocking", "asyncio"
NONE = SimpleNamespace(params={})
#: What the watchdog found in a test.
FOUND = pytest.StashKey[list[str]]()
#: So often a test is run whose loop seems to compute for too long: the best run counts.
TRIES = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--face",
        choices=[BLOCKING, ASYNCIO],
        help="of the tests that run on both faces, run those of one; other tests are left out",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--face")
    if wanted is None:
        return
    kept = [item for item in items if getattr(item, "callspec", NONE).params.get("face") == wanted]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "both_faces: one of those tests of its module that run on both faces"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = metafunc.definition.get_closest_marker("both_faces") is not None
    if modules.runs_on_both(_path(metafunc.module), metafunc.function.__name__, chosen=chosen):
        metafunc.parametrize("face", [BLOCKING, ASYNCIO], indirect=True, scope="module")


def pytest_itemcollected(item: pytest.Item) -> None:
    callspec = getattr(item, "callspec", None)
    if callspec is not None and callspec.params.get("face") == ASYNCIO:
        # A client of asyncio that is left to the garbage collector warns, as PyMongo's does; the
        # blocking one does not, and many a test leaves one.
        item.add_marker(pytest.mark.filterwarnings("ignore:.*AsyncMongoClient:ResourceWarning"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Runs a watched test once more where the loop was busy: how long that is differs from run to
    run by what else the machine does, and only what it takes at least is the test's own."""
    if _path(getattr(item, "module", None)) not in modules.WATCHED:
        return None
    if getattr(item, "callspec", NONE).params.get("face") != ASYNCIO:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for _ in range(TRIES):
        item.stash[FOUND] = []
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        found = item.stash[FOUND]
        failed = any(each.failed and each.when != "teardown" for each in reports)
        if failed or not found or not all(each.startswith(watchdog.BUSY) for each in found):
            break
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.fixture(scope="module", autouse=True)
def face(request: pytest.FixtureRequest) -> Iterator[str]:
    """ "blocking" or "asyncio": what `MongoClient` is made of now."""
    name = getattr(request, "param", BLOCKING)
    if name == BLOCKING:
        yield name
        return
    with replaced(wrapper.client_class(importlib.import_module("mongokey").AsyncMongoClient)):
        yield name
    gc.collect()
    assert not taken(), "the loop of a client that was garbage complained"


@pytest.fixture(autouse=True)
def _no_complaints(face: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """On asyncio no test leaves its loop with anything to complain of; and tests of logins never
    keep it from others for long."""
    if face == BLOCKING:
        yield
        return
    path = _path(request.module)
    with watchdog.watched("tests-loop") if path in modules.WATCHED else nullcontext([]) as busy:
        yield
    found = [*taken(), *busy]
    request.node.stash[FOUND] = found
    assert not found, "\n".join(found)


def _path(module: Any) -> str:
    """ "live/test_crud": a test module as `modules` names it."""
    return str(getattr(module, "__name__", "")).removeprefix("tests.").replace(".", "/")


def taken() -> list[str]:
    """What the loops complained about until now."""
    found = wrapper.COMPLAINTS[:]
    wrapper.COMPLAINTS.clear()
    return found


@contextmanager
def replaced(client_class: Any) -> Iterator[None]:
    """Let `MongoClient` stand for another class, in `mongokey` and in all test modules; and
    `open_connection` in test modules for the one of asyncio."""
    package: Any = importlib.import_module("mongokey")
    client, opener = package.MongoClient, establish.open_connection
    modules = [
        module for name, module in list(sys.modules.items()) if name.split(".")[0] == "tests"
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vars(package), "MongoClient", client_class)
        for module in modules:
            if vars(module).get("MongoClient") is client:
                patch.setattr(module, "MongoClient", client_class)
            if vars(module).get("open_connection") is opener:
                patch.setattr(module, "open_connection", wrapper.open_connection)
        yield
