"""What is measured of the asyncio faces: the blocking cases' questions, awaited in one event loop.

A case runs in the loop that its `Api` names, and times itself inside it, so that starting and
stopping the loop counts for nothing. mongojet has other names for a few methods: what differs
stands in `Methods`, and nowhere else. It must not know how a driver is started.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from bench import gridfs_file
from bench.case import DOCUMENTS, Api, Case, Operation, Seen

if TYPE_CHECKING:
    import asyncio

#: Tasks on one client, and how many pings each awaits in one slice.
TASKS, PINGS_PER_TASK = 100, 10


class Methods:
    """One driver's client, made in the running loop, and what is asked of it by any name."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.client: Any = None

    async def connect(self, uri: str) -> None:
        if self.api.module == "mongojet":
            from mongojet import create_client

            # The other drivers' datetimes have no time zone by default.
            self.client = await create_client(uri, tz_aware=False)
        else:
            self.client = self.api.async_client(uri)

    def collection(self, name: str) -> Any:
        return self.client["bench"][name]

    @property
    def ping(self) -> Callable[[], Awaitable[Any]]:
        if self.api.module == "mongojet":
            run_command, command = self.client["admin"].run_command, {"ping": 1}
            return lambda: run_command(command)
        method = self.client.admin.command
        return lambda: method("ping")

    def to_list(self, collection: Any) -> Callable[[], Awaitable[list[Any]]]:
        """Read all documents of a collection at once."""
        if self.api.module == "mongojet":

            async def read() -> list[Any]:
                found: list[Any] = await (await collection.find()).to_list()
                return found

            return read
        return lambda: collection.find().to_list()

    def iterate(self, collection: Any) -> Callable[[], Awaitable[list[Any]]]:
        """Read all documents of a collection one after the other."""
        if self.api.module == "mongojet":

            async def read() -> list[Any]:
                return [document async for document in await collection.find()]
        else:

            async def read() -> list[Any]:
                return [document async for document in collection.find()]

        return read


@contextlib.contextmanager
def _running(api: Api, uri: str) -> Iterator[tuple[asyncio.AbstractEventLoop, Methods]]:
    """A loop, and a client that lives in it."""
    loop, methods = api.new_loop(), Methods(api)
    try:
        loop.run_until_complete(methods.connect(uri))
        try:
            yield loop, methods
        finally:
            loop.run_until_complete(methods.client.close())
    finally:
        loop.close()


def _repeat(loop: asyncio.AbstractEventLoop, function: Callable[[], Awaitable[Any]]) -> Operation:
    async def run(n: int) -> tuple[int, int]:
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        for _ in range(n):
            await function()
        wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
        return cpu, wall

    return Operation(lambda n: loop.run_until_complete(run(n)))


@contextlib.contextmanager
def ping(api: Api, uri: str) -> Iterator[Operation]:
    with _running(api, uri) as (loop, methods):
        yield _repeat(loop, methods.ping)


@contextlib.contextmanager
def find_one(api: Api, uri: str) -> Iterator[Operation]:
    with _running(api, uri) as (loop, methods):
        collection = methods.collection("one")
        yield _repeat(loop, lambda: collection.find_one({"n": 7}))


@contextlib.contextmanager
def insert_one(api: Api, uri: str) -> Iterator[Operation]:
    with _running(api, uri) as (loop, methods):
        insert = methods.collection("one").insert_one
        yield _repeat(loop, lambda: insert({"n": 7, "name": "name-000007", "score": 3.5}))


@contextlib.contextmanager
def insert_many(api: Api, uri: str) -> Iterator[Operation]:
    from bench.server import documents

    batch = documents(DOCUMENTS)

    def prepare() -> None:
        # The driver puts an _id into each document: a new document has none.
        for document in batch:
            document.pop("_id", None)

    with _running(api, uri) as (loop, methods):
        insert = methods.collection("many").insert_many
        operation = _repeat(loop, lambda: insert(batch))
        operation.prepare, operation.per_slice = prepare, 1
        yield operation


def _check(found: list[Any]) -> None:
    if [document["n"] for document in found] != list(range(DOCUMENTS)):
        raise AssertionError(f"find gave {len(found)} documents, not those that were sent")


@contextlib.contextmanager
def find_many(api: Api, uri: str) -> Iterator[Operation]:
    with _running(api, uri) as (loop, methods):
        read = methods.to_list(methods.collection(f"docs{DOCUMENTS}"))
        _check(loop.run_until_complete(read()))  # type: ignore[arg-type]
        yield _repeat(loop, read)


@contextlib.contextmanager
def iterate(api: Api, uri: str) -> Iterator[Operation]:
    with _running(api, uri) as (loop, methods):
        read = methods.iterate(methods.collection(f"docs{DOCUMENTS}"))
        _check(loop.run_until_complete(read()))  # type: ignore[arg-type]
        yield _repeat(loop, read)


@contextlib.contextmanager
def new_connection(api: Api, uri: str) -> Iterator[Operation]:
    # A connection that was idle for more than a millisecond is closed, so each ping opens one.
    joint = "&" if "?" in uri else "?"
    with _running(api, f"{uri}{joint}maxIdleTimeMS=1") as (loop, methods):
        operation = _repeat(loop, methods.ping)
        # Untimed: the sleep itself costs a tenth of what is measured.
        operation.prepare, operation.per_slice = lambda: time.sleep(0.0015), 1
        yield operation


@contextlib.contextmanager
def tasks(api: Api, uri: str) -> Iterator[Operation]:
    """Many tasks that ping on one client, all at once."""
    from asyncio import gather

    joint = "&" if "?" in uri else "?"
    # mongojet's pool has 10 connections by default, the others' 100.
    with _running(api, f"{uri}{joint}maxPoolSize={TASKS}") as (loop, methods):
        function = methods.ping

        async def work(n: int) -> None:
            for _ in range(n):
                await function()

        async def run(n: int) -> tuple[int, int]:
            cpu, wall = time.process_time_ns(), time.perf_counter_ns()
            await gather(*(work(n) for _ in range(TASKS)))
            wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
            return cpu, wall

        yield Operation(
            lambda n: loop.run_until_complete(run(n)), each=TASKS, per_slice=PINGS_PER_TASK
        )


@contextlib.contextmanager
def gridfs_upload(api: Api, uri: str) -> Iterator[Operation]:
    data = os.urandom(gridfs_file.FILE_BYTES)
    with _running(api, uri) as (loop, methods):
        bucket = api.gridfs.AsyncGridFSBucket(methods.client["bench"], gridfs_file.UPLOADED)
        operation = _repeat(loop, lambda: bucket.upload_from_stream("file", io.BytesIO(data)))
        operation.per_slice = 1
        yield operation


@contextlib.contextmanager
def gridfs_download(api: Api, uri: str) -> Iterator[Operation]:
    with _running(api, uri) as (loop, methods):
        bucket = api.gridfs.AsyncGridFSBucket(methods.client["bench"], gridfs_file.downloaded(api))

        async def download() -> None:
            sink = gridfs_file.Sink()
            await bucket.download_to_stream(gridfs_file.FILE_ID, sink)
            sink.check()

        operation = _repeat(loop, download)
        operation.per_slice = 1
        yield operation


ASYNC_CASES = [
    Case("aio_ping", "ping", ping, 0.25, Seen({"ping": 1}), floor="keep"),
    Case("aio_find_one", "find_one", find_one, 0.25, Seen({"find": 1}), floor="keep"),
    Case(
        "aio_insert_one",
        "insert_one",
        insert_one,
        0.25,
        Seen({"insert": 1}, documents=1),
        floor="keep",
    ),
    Case(
        "aio_find_many",
        "find().to_list(), 10 000 x 250 B",
        find_many,
        0.45,
        Seen({"find": 1, "getMore": 1}),
        floor="keep",
    ),
    Case(
        "aio_iterate",
        "async for … in find(), 10 000 x 250 B",
        iterate,
        0.45,
        Seen({"find": 1, "getMore": 1}),
        floor="keep",
    ),
    Case(
        "aio_insert_many",
        "insert_many, 10 000 x 250 B",
        insert_many,
        0.2,
        Seen({"insert": 1}, documents=DOCUMENTS),
        floor="keep",
    ),
    Case(
        "aio_new_connection",
        "new pool connection, warm login, ping",
        new_connection,
        0.35,
        Seen({"ping": 1, "saslContinue": 1}, logins=1, connections=1, connections_at_most=None),
        login=True,
    ),
    Case(
        "aio_tasks",
        f"{TASKS} tasks on one client, ping",
        tasks,
        0.2,
        Seen({"ping": 1}, connections_at_most=TASKS),
    ),
    Case(
        "aio_gridfs_upload",
        gridfs_file.UPLOAD_TITLE,
        gridfs_upload,
        0.5,
        gridfs_file.UPLOAD_SEEN,
        # Its GridFS has another API.
        without=frozenset({"mongojet"}),
    ),
    Case(
        "aio_gridfs_download",
        gridfs_file.DOWNLOAD_TITLE,
        gridfs_download,
        0.5,
        gridfs_file.DOWNLOAD_SEEN,
        # Its GridFS has another API.
        without=frozenset({"mongojet"}),
    ),
]
