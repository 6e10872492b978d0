"""What is measured: a table of questions, each with its set-up and what the server must have seen.

A case knows PyMongo's names only, so that the same code runs against either driver (`Api`). It
must not know how time is measured, nor how a driver is started.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from bench import gridfs_file
from bench.async_cases import ASYNC_CASES
from bench.case import DOCUMENTS, FEW, MOST, Api, Case, Operation, Seen

#: A connection string with what production ones have: a login, two hosts, a handful of options.
URI = (
    "mongodb://user:p%40ss%2Fword@db1.example.com:27017,db2.example.com:27018/app"
    "?authSource=admin&replicaSet=rs0&w=majority&connectTimeoutMS=5000&retryWrites=true"
)
#: The usual connection strings: name -> (title, string).
URIS = {
    "host": ("host only", "mongodb://localhost:27017"),
    "options": ("database, 2 options", "mongodb://localhost/app?retryWrites=true&w=majority"),
    "login": (
        "login, authSource",
        "mongodb://user:p%40ss%2Fword@localhost:27017/app?authSource=admin",
    ),
    "set": (
        "3 hosts, 12 options",
        "mongodb://user:pw@a.example.com:27017,b.example.com:27017,c.example.com:27017/app"
        "?replicaSet=rs0&tls=true&readPreference=secondaryPreferred"
        "&readPreferenceTags=dc:ny,rack:1&readPreferenceTags=&maxPoolSize=50&minPoolSize=5"
        "&maxIdleTimeMS=120000&serverSelectionTimeoutMS=5000&compressors=zlib&appName=shop",
    ),
    "oidc": (
        "MONGODB-OIDC properties",
        "mongodb://db.example.com/?authMechanism=MONGODB-OIDC&tls=true"
        "&authMechanismProperties=ENVIRONMENT:azure,TOKEN_RESOURCE:api%3A%2F%2F1234",
    ),
    "x509": (
        "MONGODB-X509",
        "mongodb://db.example.com/?authMechanism=MONGODB-X509&tls=true",
    ),
    "srv": (
        "mongodb+srv, without DNS",
        "mongodb+srv://user:p%40ss@cluster0.abcde.mongodb.net/app?retryWrites=true&w=majority",
    ),
}


def _repeat(function: Callable[[], Any]) -> Operation:
    def run(n: int) -> None:
        for _ in range(n):
            function()

    return Operation(run)


@contextlib.contextmanager
def ping(api: Api, uri: str) -> Iterator[Operation]:
    with api.client(uri) as client:
        command = client.admin.command
        yield _repeat(lambda: command("ping"))


@contextlib.contextmanager
def find_one(api: Api, uri: str) -> Iterator[Operation]:
    with api.client(uri) as client:
        collection = client["bench"]["one"]
        yield _repeat(lambda: collection.find_one({"n": 7}))


@contextlib.contextmanager
def insert_one(api: Api, uri: str) -> Iterator[Operation]:
    with api.client(uri) as client:
        insert = client["bench"]["one"].insert_one
        yield _repeat(lambda: insert({"n": 7, "name": "name-000007", "score": 3.5}))


@contextlib.contextmanager
def update_one(api: Api, uri: str) -> Iterator[Operation]:
    with api.client(uri) as client:
        update = client["bench"]["one"].update_one
        yield _repeat(lambda: update({"n": 7}, {"$set": {"score": 4.5}}))


@contextlib.contextmanager
def insert_many(api: Api, uri: str) -> Iterator[Operation]:
    from bench.server import documents

    batch = documents(DOCUMENTS)

    def prepare() -> None:
        # The driver puts an _id into each document: a new document has none.
        for document in batch:
            document.pop("_id", None)

    with api.client(uri) as client:
        insert = client["bench"]["many"].insert_many
        operation = _repeat(lambda: insert(batch))
        operation.prepare, operation.per_slice = prepare, 1
        yield operation


@contextlib.contextmanager
def bulk_mixed(api: Api, uri: str) -> Iterator[Operation]:
    """Writes of two kinds: all of them are looked at before the first is sent."""
    from bench.server import documents

    made = documents(DOCUMENTS)
    requests = [*map(api.insert_request, made), api.update_request({"n": 7}, {"$set": {"n": 8}})]

    def prepare() -> None:
        for document in made:
            document.pop("_id", None)

    with api.client(uri) as client:
        write = client["bench"]["many"].bulk_write
        operation = _repeat(lambda: write(requests, ordered=False))
        operation.prepare, operation.per_slice = prepare, 1
        yield operation


@contextlib.contextmanager
def client_bulk(api: Api, uri: str) -> Iterator[Operation]:
    """One command for writes to two collections."""
    from bench.server import documents

    made = documents(DOCUMENTS)
    models = [
        api.insert_request(each, namespace=f"bench.bulk{number % 2}")
        for number, each in enumerate(made)
    ]

    def prepare() -> None:
        for document in made:
            document.pop("_id", None)

    with api.client(uri) as client:
        operation = _repeat(lambda: client.bulk_write(models))
        operation.prepare, operation.per_slice = prepare, 1
        yield operation


@contextlib.contextmanager
def _find_many(api: Api, uri: str, count: int) -> Iterator[Operation]:
    with api.client(uri) as client:
        collection = client["bench"][f"docs{count}"]
        found = list(collection.find())
        if [document["n"] for document in found] != list(range(count)):
            raise AssertionError(f"find gave {len(found)} documents, not those that were sent")
        del found
        yield _repeat(lambda: list(collection.find()))


def find_many(count: int) -> Callable[[Api, str], AbstractContextManager[Operation]]:
    return lambda api, uri: _find_many(api, uri, count)


@contextlib.contextmanager
def new_connection(api: Api, uri: str) -> Iterator[Operation]:
    # A connection that was idle for more than a millisecond is closed, so each ping opens one.
    joint = "&" if "?" in uri else "?"
    with api.client(f"{uri}{joint}maxIdleTimeMS=1") as client:
        command = client.admin.command
        operation = _repeat(lambda: command("ping"))
        # Untimed: the sleep itself costs a tenth of what is measured.
        operation.prepare, operation.per_slice = lambda: time.sleep(0.0015), 1
        yield operation


def _new_client(api: Api, uri: str) -> Operation:
    make = api.client

    def once() -> None:
        with make(uri) as client:
            client.admin.command("ping")

    return _repeat(once)


@contextlib.contextmanager
def new_client(api: Api, uri: str) -> Iterator[Operation]:
    yield _new_client(api, uri)


@contextlib.contextmanager
def second_client(api: Api, uri: str) -> Iterator[Operation]:
    """A client beside one that is logged in, as of a web worker or a test suite."""
    with api.client(uri) as first:
        first.admin.command("ping")
        yield _new_client(api, uri)


#: Pings of each thread between two barriers.
PINGS_PER_THREAD = 64


@contextlib.contextmanager
def _threads(api: Api, uri: str, count: int) -> Iterator[Operation]:
    """`count` threads that ping on one client, all at once."""
    begin, end = threading.Barrier(count + 1), threading.Barrier(count + 1)
    state: dict[str, Any] = {"n": 0, "over": False, "errors": []}

    with api.client(uri) as client:
        command = client.admin.command

        def work() -> None:
            while True:
                begin.wait()
                if state["over"]:
                    return
                try:
                    for _ in range(state["n"]):
                        command("ping")
                except Exception as error:
                    state["errors"].append(error)
                end.wait()

        def run(n: int) -> None:
            state["n"] = n
            begin.wait()
            end.wait()
            if state["errors"]:
                raise state["errors"][0]

        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            # Long slices: what 16 threads need to meet at a barrier is not the driver's work.
            yield Operation(run, each=count, per_slice=PINGS_PER_THREAD)
        finally:
            state["over"] = True
            begin.wait()
            for thread in threads:
                thread.join()


def threads(count: int) -> Callable[[Api, str], AbstractContextManager[Operation]]:
    return lambda api, uri: _threads(api, uri, count)


_IMPORT = """
import time
cpu, wall = time.process_time_ns(), time.perf_counter_ns()
from {module} import MongoClient
print(time.process_time_ns() - cpu, time.perf_counter_ns() - wall)
"""


@contextlib.contextmanager
def import_driver(api: Api, uri: str) -> Iterator[Operation]:
    code = _IMPORT.format(module=api.module)
    # An installed package has its bytecode; a checkout gets it from the first, untimed, import.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)

    def run(n: int) -> tuple[int, int]:
        cpu = wall = 0
        for _ in range(n):
            result = subprocess.run(
                [sys.executable, "-c", code],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            one_cpu, one_wall = map(int, result.stdout.split())
            cpu, wall = cpu + one_cpu, wall + one_wall
        return cpu, wall

    yield Operation(run, per_slice=1)


@contextlib.contextmanager
def parse_uri(api: Api, uri: str) -> Iterator[Operation]:
    parse = api.parse_uri
    yield _repeat(lambda: parse(URI))


def _parse(uri: str) -> Any:
    @contextlib.contextmanager
    def setup(api: Api, _: str) -> Iterator[Operation]:
        parse = api.parse_offline if uri.startswith("mongodb+srv:") else api.parse_uri
        yield _repeat(lambda: parse(uri))

    return setup


@contextlib.contextmanager
def get_collection(api: Api, uri: str) -> Iterator[Operation]:
    with api.client(connect=False) as client:
        yield _repeat(lambda: client["db"]["coll"])


def _small() -> dict[str, Any]:
    return {"_id": 7, "name": "name-000007", "score": 3.5, "active": True, "count": 1 << 40}


def _large() -> dict[str, Any]:
    from bench.server import document

    return {"items": [document(number) for number in range(100)]}


def _encode(make: Callable[[], dict[str, Any]]) -> Any:
    @contextlib.contextmanager
    def setup(api: Api, uri: str) -> Iterator[Operation]:
        encode, document = api.bson.encode, make()
        yield _repeat(lambda: encode(document))

    return setup


def _decode(make: Callable[[], dict[str, Any]]) -> Any:
    @contextlib.contextmanager
    def setup(api: Api, uri: str) -> Iterator[Operation]:
        import bson

        # Both decode the same bytes; that they come from PyMongo says nothing about either.
        data = bson.encode(make())
        decode = api.bson.decode
        yield _repeat(lambda: decode(data))

    return setup


@contextlib.contextmanager
def gridfs_upload(api: Api, uri: str) -> Iterator[Operation]:
    data = os.urandom(gridfs_file.FILE_BYTES)
    with api.client(uri) as client:
        upload = api.gridfs.GridFSBucket(client["bench"], gridfs_file.UPLOADED).upload_from_stream
        operation = _repeat(lambda: upload("file", io.BytesIO(data)))
        operation.per_slice = 1
        yield operation


@contextlib.contextmanager
def gridfs_download(api: Api, uri: str) -> Iterator[Operation]:
    with api.client(uri) as client:
        bucket = api.gridfs.GridFSBucket(client["bench"], gridfs_file.downloaded(api))

        def download() -> None:
            sink = gridfs_file.Sink()
            bucket.download_to_stream(gridfs_file.FILE_ID, sink)
            sink.check()

        operation = _repeat(download)
        operation.per_slice = 1
        yield operation


CASES = [
    Case("ping", "ping", ping, 0.25, Seen({"ping": 1}), plain=True, floor="keep"),
    Case("find_one", "find_one", find_one, 0.25, Seen({"find": 1}), plain=True, floor="keep"),
    Case(
        "insert_one",
        "insert_one",
        insert_one,
        0.25,
        Seen({"insert": 1}, documents=1),
        plain=True,
        floor="keep",
    ),
    Case("update_one", "update_one", update_one, 0.25, Seen({"update": 1}), floor="keep"),
    Case(
        "insert_many",
        "insert_many, 10 000 x 250 B",
        insert_many,
        0.35,
        Seen({"insert": 1}, documents=DOCUMENTS),
        floor="keep",
    ),
    Case(
        "bulk_mixed",
        "bulk_write, 10 000 inserts of 250 B, 1 update",
        bulk_mixed,
        0.35,
        Seen({"insert": 1, "update": 1}, documents=DOCUMENTS),
        floor="keep",
    ),
    Case(
        "client_bulk",
        "client bulk_write, 10 000 inserts of 250 B",
        client_bulk,
        0.35,
        Seen({"bulkWrite": 1}, documents=DOCUMENTS),
        floor="keep",
    ),
    Case(
        "find_many",
        "find, 10 000 x 250 B",
        find_many(DOCUMENTS),
        0.5,
        Seen({"find": 1, "getMore": 1}),
        floor="keep",
    ),
    # What a document costs of these two must be much the same: see `compare.note_growth`.
    Case(
        "find_few",
        f"find, {FEW} x 250 B",
        find_many(FEW),
        0.5,
        Seen({"find": 1}),
        floor="keep",
    ),
    Case(
        "find_most",
        "find, 100 000 x 250 B",
        find_many(MOST),
        0.5,
        Seen({"find": 1, "getMore": 2}),
        floor="keep",
    ),
    Case(
        "gridfs_upload",
        gridfs_file.UPLOAD_TITLE,
        gridfs_upload,
        0.5,
        gridfs_file.UPLOAD_SEEN,
    ),
    Case(
        "gridfs_download",
        gridfs_file.DOWNLOAD_TITLE,
        gridfs_download,
        0.5,
        gridfs_file.DOWNLOAD_SEEN,
    ),
    Case(
        "new_connection",
        "new pool connection, warm login, ping",
        new_connection,
        0.3,
        Seen({"ping": 1, "saslContinue": 1}, logins=1, connections=1, connections_at_most=None),
        login=True,
        plain=True,
    ),
    Case(
        "cold_login",
        "new client, cold SCRAM-SHA-256 login, ping",
        new_client,
        0.28,
        Seen({"ping": 1, "saslContinue": 1}, logins=1, connections=1, connections_at_most=None),
        login=True,
        plain=True,
    ),
    # PyMongo derives the keys again, whose share of its time is most of it.
    Case(
        "second_client",
        "second client of a process, warm login, ping",
        second_client,
        0.06,
        Seen({"ping": 1, "saslContinue": 1}, logins=1, connections=1, connections_at_most=None),
        login=True,
        plain=True,
    ),
    Case(
        "new_client",
        "new client, no login, ping",
        new_client,
        0.2,
        Seen({"ping": 1}, connections=1, connections_at_most=None),
        floor="reconnect",
    ),
    Case(
        "threads16",
        "16 threads on one client, ping",
        threads(16),
        0.2,
        Seen({"ping": 1}, connections_at_most=16),
    ),
    Case(
        "threads64",
        "64 threads on one client, ping",
        threads(64),
        None,
        Seen({"ping": 1}, connections_at_most=64),
    ),
    Case("import", "import MongoClient", import_driver, 0.25),
    Case("parse_uri", "parse_uri, login, 2 hosts, 5 options", parse_uri, 0.2),
    *(
        Case(f"parse_uri_{name}", f"parse_uri, {title}", _parse(uri), 0.2)
        for name, (title, uri) in URIS.items()
    ),
    Case("get_collection", 'client["db"]["coll"]', get_collection, 0.3),
    Case("encode_small", "BSON encode, 5 fields", _encode(_small), plain=True),
    Case("decode_small", "BSON decode, 5 fields", _decode(_small), plain=True),
    Case("encode_large", "BSON encode, 100 x 8 fields", _encode(_large), plain=True),
    Case("decode_large", "BSON decode, 100 x 8 fields", _decode(_large), plain=True),
]
BY_NAME = {case.name: case for case in [*CASES, *ASYNC_CASES]}
