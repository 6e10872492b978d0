"""What a case is: the drivers it may run with, its operation, what the server must have seen.

Knows the drivers' module names and nothing of any question; it must not know how time is measured.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

DOCUMENTS = 10_000
#: The least and the most documents of a `find`.
FEW, MOST = 100, 100_000


@dataclass(frozen=True)
class Api:
    """One driver: the names of its modules."""

    name: str
    module: str
    bson_module: str
    plain: bool = False
    #: What the asyncio cases run in: asyncio's own event loop, or uvloop's.
    loop: str = "asyncio"

    @property
    def client(self) -> Any:
        return importlib.import_module(self.module).MongoClient

    @property
    def async_client(self) -> Any:
        return importlib.import_module(self.module).AsyncMongoClient

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """An event loop of the kind that `loop` names."""
        loop: asyncio.AbstractEventLoop = importlib.import_module(self.loop).new_event_loop()
        return loop

    @property
    def bson(self) -> Any:
        return importlib.import_module(self.bson_module)

    @property
    def insert_request(self) -> Any:
        return importlib.import_module(f"{self.module}.operations").InsertOne

    @property
    def update_request(self) -> Any:
        return importlib.import_module(f"{self.module}.operations").UpdateOne

    @property
    def gridfs(self) -> Any:
        return importlib.import_module("gridfs" if self.module == "pymongo" else "mongokey.gridfs")

    @property
    def parse_uri(self) -> Any:
        return importlib.import_module(f"{self.module}.uri_parser").parse_uri

    @property
    def parse_offline(self) -> Any:
        """What `parse_uri` does before it asks DNS."""
        if self.module == "pymongo":
            return importlib.import_module("pymongo.uri_parser_shared")._validate_uri
        return importlib.import_module("mongokey.options.connection_string").parse


APIS = {
    "mongokey": Api("mongokey", "mongokey", "mongokey.bson"),
    "pymongo": Api("pymongo", "pymongo", "bson"),
    "pymongo-plain": Api("pymongo-plain", "pymongo", "bson", plain=True),
    # It has an asyncio face only.
    "mongojet": Api("mongojet", "mongojet", "bson"),
}
LOOPS = ("asyncio", "uvloop")


@dataclass
class Operation:
    """`run(n)` does the operation n times; `each` is how many operations one of those is.

    `prepare` runs untimed before each slice; `per_slice` fixes n. A `run` that returns
    `(cpu_ns, wall_ns)` measured itself (another process, say).
    """

    run: Callable[[int], tuple[int, int] | None]
    each: int = 1
    prepare: Callable[[], None] | None = None
    per_slice: int | None = None


@dataclass(frozen=True)
class Seen:
    """What the server must have counted for each operation.

    `connections`: how many connections at least an operation opens, and no more than
    `connections_at_most` in a whole run for cases that keep theirs; one may be the monitor's, which
    connects at its next check where an operation has taken the connection of the first.
    """

    commands: Mapping[str, int] = field(default_factory=dict)
    #: Commands of which each driver sends as many as it likes; `documents` says whether all went.
    free: frozenset[str] = frozenset()
    logins: int = 0
    connections: int = 0
    documents: int = 0
    connections_at_most: int | None = 1


@dataclass(frozen=True)
class Case:
    """One question. `target` is the share of PyMongo's client CPU that its issue asks for.

    `without`: drivers that cannot do it.
    """

    name: str
    title: str
    setup: Callable[[Api, str], AbstractContextManager[Operation]]
    target: float | None = None
    seen: Seen | None = None
    login: bool = False
    plain: bool = False
    floor: str | None = None
    without: frozenset[str] = frozenset()
