"""The server of the benchmarks: canned replies from a C process, which counts what it is asked.

This module writes the table of replies (with PyMongo's `bson`), derives the SCRAM keys, starts
`cannedserver.c` pinned to a core and asks it for its counts. It must not know which driver asks.

From a shell, `python -m bench.server` starts one to play with.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import hmac
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import bson
from bson import Int64, ObjectId
from tests.servers.managed_server import ManagedServer

from bench import gridfs_file
from bench.native import compiled, temporary

USER = "bench"
PASSWORD = "pencil and paper"
ITERATIONS = 15_000
SALT = bytes(range(28))
TIMEOUT = 30.0

DOCUMENT_SIZE = 250
FIRST_BATCH = 101
#: What a server puts into one getMore batch at most.
BATCH_BYTES = 16 * 1024 * 1024
#: The collections whose `find` answers many documents, by name: how many.
MANY = {"docs100": 100, "docs10000": 10_000, "docs100000": 100_000}

#: The server puts its port here. Ephemeral ports have five digits.
_OWN_ADDRESS = "127.0.0.1:00000"
_EPOCH = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)


def document(number: int) -> dict[str, Any]:
    """The document that the benchmarks read and write: 250 bytes with its `_id`, 8 fields."""
    return {
        "n": number,
        "name": f"name-{number % 100_000:06d}",
        "score": number * 0.5,
        "active": number % 2 == 0,
        "created": _EPOCH + datetime.timedelta(seconds=number % 1_000_000),
        "tags": ["red", "green", "blue"],
        "text": "x" * 100,
    }


def documents(count: int) -> list[dict[str, Any]]:
    """`count` different documents without `_id`, as an application has them before an insert."""
    return [document(number) for number in range(count)]


def _stored(number: int) -> bytes:
    identity = ObjectId(struct.pack(">IQ", 0x65000000, number))
    encoded = bson.encode({"_id": identity, **document(number)})
    assert len(encoded) == DOCUMENT_SIZE, len(encoded)
    return encoded


def _message(reply: bytes) -> bytes:
    return struct.pack("<IB", 0, 0) + reply


def _batch(name: str, cursor: int, collection: str, batch: list[bytes]) -> bytes:
    """A reply with a batch, joined by hand: a large one encoded from dicts would take long."""
    items = b"".join(
        b"\x03" + str(index).encode() + b"\0" + item for index, item in enumerate(batch)
    )
    array = struct.pack("<i", len(items) + 5) + items + b"\0"
    fields = (
        b"\x04" + name.encode() + b"\0" + array
        + bson.encode({"id": Int64(cursor), "ns": f"bench.{collection}"})[4:-1]
    )  # fmt: skip
    inner = struct.pack("<i", len(fields) + 5) + fields + b"\0"
    fields = b"\x03cursor\0" + inner + bson.encode({"ok": 1.0})[4:-1]
    return _message(struct.pack("<i", len(fields) + 5) + fields + b"\0")


def _cursor_replies(collection: str, count: int, cursor: int) -> Iterator[tuple[str, bytes]]:
    """`find` and the `getMore`s of a collection: 101 documents, then batches of up to 16 MB."""
    stored = [_stored(number) for number in range(count)]
    first = stored[:FIRST_BATCH]
    yield (
        f"find/{collection}",
        _batch("firstBatch", cursor if count > FIRST_BATCH else 0, collection, first),
    )
    size = BATCH_BYTES // (DOCUMENT_SIZE + 8)
    for start in range(FIRST_BATCH, count, size):
        following = cursor + 1 if start + size < count else 0
        batch = stored[start : start + size]
        yield f"getMore/{cursor}", _batch("nextBatch", following, collection, batch)
        cursor += 1


def _file_replies() -> Iterator[tuple[str, bytes]]:
    """A stored file for each size of batches, and a bucket to upload to that has a file."""
    file = {
        "_id": gridfs_file.FILE_ID,
        "filename": "file",
        "chunkSize": gridfs_file.CHUNK_BYTES,
        "length": Int64(gridfs_file.FILE_BYTES),
        "uploadDate": _EPOCH,
    }
    for name in (
        f"{gridfs_file.UPLOADED}.files",
        f"{gridfs_file.UPLOADED}.chunks",
        *(f"down{size}.files" for size in gridfs_file.BATCHES),
    ):
        yield f"find/{name}", _batch("firstBatch", 0, name, [bson.encode(file)])
    data = bytes(range(256)) * (gridfs_file.CHUNK_BYTES // 256)
    stored = []
    for number in range(gridfs_file.CHUNKS):
        chunk = {
            "_id": ObjectId(struct.pack(">IQ", 0x66000000, number)),
            "files_id": gridfs_file.FILE_ID,
            "n": number,
            "data": data[: gridfs_file.FILE_BYTES - number * gridfs_file.CHUNK_BYTES],
        }
        stored.append(bson.encode(chunk))
    cursor = 50_000
    for size in gridfs_file.BATCHES:
        name = f"down{size}.chunks"
        for start in range(0, len(stored), size):
            following = cursor + 1 if start + size < len(stored) else 0
            batch = stored[start : start + size]
            if start == 0:
                yield f"find/{name}", _batch("firstBatch", following, name, batch)
            else:
                yield f"getMore/{cursor}", _batch("nextBatch", following, name, batch)
            cursor += 1


def hello_reply(*, replica_set: bool, sessions: bool) -> dict[str, Any]:
    """What the server says it is: writable, without `ok` and the fields of one login."""
    reply: dict[str, Any] = {
        "helloOk": True,
        "ismaster": True,
        "isWritablePrimary": True,
        "maxBsonObjectSize": 16 * 1024 * 1024,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
        "localTime": _EPOCH,
        "connectionId": 7,
        "minWireVersion": 0,
        "maxWireVersion": 25,
        "readOnly": False,
    }
    if sessions:
        reply["logicalSessionTimeoutMinutes"] = 30
    if replica_set:
        reply |= {"setName": "bench", "setVersion": 1, "secondary": False}
        reply |= {"hosts": [_OWN_ADDRESS], "me": _OWN_ADDRESS, "primary": _OWN_ADDRESS}
    return reply


def _replies(hello: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    yield "hello", bson.encode(hello)
    done = _message(bson.encode({"ok": 1.0}))
    for name in ("ping", "endSessions", "killCursors"):
        yield name, done
    yield "insert", _message(bson.encode({"n": 1, "ok": 1.0}))
    yield "update", _message(bson.encode({"n": 1, "nModified": 1, "ok": 1.0}))
    cursor_of_results = {"id": Int64(0), "firstBatch": [], "ns": "admin.$cmd.bulkWrite"}
    counts = dict.fromkeys(("nErrors", "nMatched", "nModified", "nUpserted", "nDeleted"), 0)
    bulk = {"cursor": cursor_of_results, "nInserted": 10_000, **counts, "ok": 1.0}
    yield "bulkWrite", _message(bson.encode(bulk))
    yield "delete", _message(bson.encode({"n": 1, "ok": 1.0}))
    yield "find/one", _batch("firstBatch", 0, "one", [_stored(7)])
    cursor = 1_000
    for collection, count in MANY.items():
        yield from _cursor_replies(collection, count, cursor)
        cursor += 1_000


def _keys() -> tuple[str, str]:
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), SALT, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).hexdigest()
    return stored_key, hmac.digest(salted, b"Server Key", "sha256").hex()


@dataclass
class Counts:
    """What the server saw since the last reset; `sessions` counts commands with an lsid."""

    accepted: int = 0
    open: int = 0
    messages: int = 0
    hellos: int = 0
    logins: int = 0
    failed_logins: int = 0
    unauthenticated: int = 0
    errors: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    documents: int = 0
    sessions: int = 0
    transactions: int = 0
    commands: dict[str, int] = field(default_factory=dict)


class CannedServer(ManagedServer):
    """The server process; use it in a `with`.

    `core` pins it (None: not). `replica_set` makes it the primary of one; `sessions` makes it
    support sessions, so that drivers send an lsid; `files` gives it files of GridFS.
    """

    def __init__(
        self,
        *,
        core: int | None = None,
        replica_set: bool = False,
        sessions: bool = True,
        files: bool = False,
    ) -> None:
        self.core = core
        self.files = files
        self.replica_set = replica_set
        self.sessions = sessions
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> CannedServer:
        table = temporary(f"replies-{id(self)}")
        hello = hello_reply(replica_set=self.replica_set, sessions=self.sessions)
        with open(table, "wb") as file:
            replies = _replies(hello)
            for key, body in chain(replies, _file_replies()) if self.files else replies:
                file.write(key.encode() + b"\0" + struct.pack("<I", len(body)) + body)
        salt = base64.b64encode(SALT).decode()
        self._process = subprocess.Popen(
            [compiled("cannedserver"), table, USER, salt, str(ITERATIONS), *_keys()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = self._read()["port"]
        table.unlink()
        self.pin(self.core)
        return self

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(TIMEOUT)
        finally:
            process.stdout.close()
            process.kill()

    def pin(self, core: int | None) -> None:
        """Move the server to a core."""
        assert self._process is not None
        self.core = core
        if core is not None:
            os.sched_setaffinity(self._process.pid, {core})

    def uri(self, *, login: bool = False, **options: object) -> str:
        """The connection string, with or without the user."""
        info = f"{USER}:{PASSWORD.replace(' ', '%20')}@" if login else ""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"mongodb://{info}127.0.0.1:{self.port}/{'?' if query else ''}{query}"

    def require_login(self, required: bool) -> None:
        """Whether commands before a login are refused (and counted) from now on."""
        self._order(f"auth {'on' if required else 'off'}")

    def reset(self) -> None:
        """Begin to count anew."""
        self._order("reset")

    def counts(self) -> Counts:
        """The counts since the last reset."""
        return Counts(**self._order("counts"))

    @contextlib.contextmanager
    def recording(self, path: os.PathLike[str]) -> Iterator[None]:
        """Write every message that comes in, and its reply's size, to a file for `floor.c`."""
        self._order(f"record {os.fspath(path)}")
        try:
            yield
        finally:
            self._order("record")

    def _order(self, line: str) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._read()
        if "failed" in answer:
            raise RuntimeError(f"the canned server could not do {line!r}: {answer['failed']}")
        return answer

    def _read(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        timer = threading.Timer(TIMEOUT, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise RuntimeError(f"the canned server ended with status {self._process.wait(TIMEOUT)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def main() -> None:
    with CannedServer() as server:
        print(f"{server.uri()}\n{server.uri(login=True)}\nEnter prints the counts, Ctrl-D ends it")
        for _ in sys.stdin:
            print(server.counts())


if __name__ == "__main__":
    main()
