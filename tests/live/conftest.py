"""Fixtures of the live tests: clients of the real server, and a relay that reads along."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mongokey import MongoClient
from tests.servers.relay import Relay
from tests.servers.secantus import SecantusServer


@pytest.fixture(scope="module")
def client(secantus: SecantusServer) -> Iterator[MongoClient]:
    """A client that is logged in as an administrator."""
    with MongoClient(secantus.uri("both")) as client:
        yield client


@pytest.fixture
def database(client: MongoClient, database_name: str) -> Any:
    """An empty database of `client`."""
    return client[database_name]


@pytest.fixture
def collection(database: Any) -> Any:
    """An empty collection of `client`."""
    return database["things"]


@pytest.fixture
def relay(secantus: SecantusServer) -> Iterator[Relay]:
    """A relay to the server, that sees what passes."""
    with Relay(secantus.host, secantus.port) as relay:
        yield relay


@pytest.fixture
def watched(relay: Relay, secantus: SecantusServer, database_name: str) -> Iterator[Any]:
    """An empty collection of a client of its own, whose messages pass through `relay`."""
    with MongoClient(relay.redirect(secantus.uri("both"))) as client:
        client.admin.command("ping")
        yield client[database_name]["things"]


@pytest.fixture(scope="session")
def eventually() -> Callable[..., bool]:
    """Waits until a condition holds: ``assert eventually(lambda: ...)``."""

    def wait(condition: Callable[[], bool], timeout: float = 5.0) -> bool:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    return wait
