"""Fixtures that all tests share: the real server, and a database that is gone afterwards.

A server starts only when a test first asks for it, and serves the whole session. This file
knows fixtures only; how a server is run stands in `tests.servers`.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import secrets
import signal
import sys
from collections.abc import Iterator

import pytest

from mongokey.faces import client_count
from tests.sanitizers import SANITIZED, no_forks_beside_threads
from tests.servers.secantus import SecantusServer

pytest_plugins = ["tests.faces.plugin"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-skips",
        action="store_true",
        help="store how many unified tests are skipped for which reason as what is expected",
    )


def pytest_configure() -> None:
    # Tests make many clients of one server; the warning of it has tests of its own.
    client_count.WARNED_OF = 0
    # A shell starts background jobs with Ctrl-C ignored, and Python leaves it so: the tests of
    # Ctrl-C would wait for ever.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    # Many tests have the garbage collector look for what they left behind. Twenty thousand tests
    # are half a million objects, which would make that take most of a second each time.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Tests that are coroutine functions run in a loop of their own."""
    if not inspect.iscoroutinefunction(pyfuncitem.function):
        return None
    names = inspect.signature(pyfuncitem.function).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(scope="session")
def secantus() -> Iterator[SecantusServer]:
    """A SecantusDB server with authentication on and the users of `SecantusServer.users`."""
    with SecantusServer() as server:
        yield server


@pytest.fixture(scope="session")
def open_secantus() -> Iterator[SecantusServer]:
    """A SecantusDB server that asks for no login."""
    with SecantusServer(require_auth=False) as server:
        yield server


@pytest.fixture
def database_name(secantus: SecantusServer) -> Iterator[str]:
    """The name of a database of `secantus` that is empty before and dropped after the test."""
    name = f"test_{secrets.token_hex(6)}"
    yield name
    secantus.drop_database(name)


if SANITIZED:

    @pytest.fixture(autouse=True)
    def forks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
        """No test waits for a child that the sanitizer holds up."""
        no_forks_beside_threads(monkeypatch)


@pytest.fixture(autouse=True)
def nothing_known_of_secrets() -> Iterator[None]:
    """What one test's server refused is no answer to another test, whose server has its port."""
    yield
    shared_login = sys.modules.get("mongokey.auth.shared_login")
    if shared_login is not None:
        shared_login.forget_all()
