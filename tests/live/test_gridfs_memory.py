"""How much memory a large file of GridFS needs: a few batches of chunks, however long it is.

A process of its own does it, whose highest resident size is read from /proc; that this measure
sees a file that is held as a whole, it shows as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.secantus import SecantusServer

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc"),
]

MIB = 1 << 20
SIZE = 16 * MIB

PROGRAM = """
import asyncio, inspect, json, re, sys
from mongokey import AsyncMongoClient, MongoClient
from mongokey.gridfs import AsyncGridFSBucket, GridFSBucket

face, uri, name, size = *sys.argv[1:4], int(sys.argv[4])

def highest():
    with open("/proc/self/status") as status:
        return int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1]) * 1024

class Source:
    left = size
    def read(self, size):
        size = min(size, self.left)
        self.left -= size
        return b"x" * size

class Sink:
    size = 0
    def write(self, data):
        self.size += len(data)

async def main():
    async def done(value):
        return await value if inspect.isawaitable(value) else value

    blocking = face == "blocking"
    client = (MongoClient if blocking else AsyncMongoClient)(uri)
    bucket = (GridFSBucket if blocking else AsyncGridFSBucket)(client[name])
    await done(bucket.upload_from_stream("small", b"x" * 1000))
    await done((await done(bucket.open_download_stream_by_name("small"))).read())
    found = {}
    before = highest()
    file_id = await done(bucket.upload_from_stream("large", Source()))
    found["upload"] = highest() - before
    sink = Sink()
    await done(bucket.download_to_stream(file_id, sink))
    assert sink.size == size
    found["download"] = highest() - before
    lines = 0
    file = await done(bucket.open_download_stream(file_id))
    while await done(file.read(100_000)):
        lines += 1
    found["in pieces"] = highest() - before
    file = await done(bucket.open_download_stream(file_id))
    assert len(await done(file.read())) == size
    found["whole"] = highest() - before
    await done(client.close())
    print(json.dumps(found))

asyncio.run(main())
"""


def test_a_large_file_needs_no_more_than_a_few_batches(
    open_secantus: SecantusServer, database_name: str, face: str
) -> None:
    command = [sys.executable, "-c", PROGRAM, face, open_secantus.uri(None), database_name]
    run = subprocess.run([*command, str(SIZE)], capture_output=True, text=True)
    open_secantus.drop_database(database_name)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    # A batch in chunks, the message that is made of it, and what the allocator keeps.
    assert found["upload"] < 8 * MIB, found
    assert found["download"] < 8 * MIB, found
    assert found["in pieces"] < 8 * MIB, found
    # The measure is a good one: a whole file is seen, once and not twice.
    assert SIZE < found["whole"] < SIZE + 12 * MIB, found
