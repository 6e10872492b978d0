"""GridFS on asyncio: cancelled uploads, coroutine functions as sources and destinations, tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mongokey import AsyncMongoClient
from mongokey.aio.collection import AsyncCollection
from mongokey.errors import InvalidOperation
from mongokey.gridfs import AsyncGridFSBucket, grid_file_shared
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live

CHUNK = 4
BATCH = 8


@pytest.fixture(autouse=True)
def batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are of so many chunks."""
    size = BATCH * (CHUNK + grid_file_shared.CHUNK_OVERHEAD)
    monkeypatch.setattr(grid_file_shared, "BATCH_BYTES", size)


@asynccontextmanager
async def bucket_of(server: SecantusServer, name: str) -> AsyncIterator[Any]:
    async with AsyncMongoClient(server.uri(None)) as client:
        yield AsyncGridFSBucket(client[name], chunk_size_bytes=CHUNK)
        await client.drop_database(name)


async def counts(bucket: Any) -> tuple[int, int]:
    files, chunks = bucket._files, bucket._chunks
    return await files.count_documents({}), await chunks.count_documents({})


class Endless:
    """A source that gives two batches, and then nothing for ever."""

    def __init__(self) -> None:
        self.left = 2 * BATCH
        self.is_dry = asyncio.Event()

    async def read(self, size: int) -> bytes:
        if not self.left:
            self.is_dry.set()
            await asyncio.Event().wait()
        self.left -= 1
        return bytes(size)


async def cancelled(work: Awaitable[Any], when: asyncio.Event) -> None:
    """Cancel it at that moment."""
    task = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(when.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    assert not task.done(), task
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_upload_that_is_cancelled_leaves_nothing(
    open_secantus: SecantusServer, database_name: str
) -> None:
    async with bucket_of(open_secantus, database_name) as bucket:
        source = Endless()
        await cancelled(bucket.upload_from_stream("f", source), source.is_dry)
        assert await counts(bucket) == (0, 0)

        file = bucket.open_upload_stream("f")
        ready = asyncio.Event()

        async def work() -> None:
            async with file:
                await file.write(bytes(CHUNK * BATCH))
                assert await counts(bucket) == (0, BATCH)
                ready.set()
                await asyncio.Event().wait()

        await cancelled(work(), ready)
        assert file.closed
        assert await counts(bucket) == (0, 0)


def held_after(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> tuple[asyncio.Event, Callable[[], None]]:
    """Have a method of collections not return any more once it has done its work."""
    done = asyncio.Event()
    method = getattr(AsyncCollection, name)

    async def held(*args: Any, **kwargs: Any) -> Any:
        await method(*args, **kwargs)
        done.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(AsyncCollection, name, held)
    return done, lambda: monkeypatch.setattr(AsyncCollection, name, method)


@pytest.mark.parametrize("method", ["insert_many", "insert_one"])
async def test_a_write_that_is_cancelled_is_undone(
    open_secantus: SecantusServer,
    database_name: str,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    async with bucket_of(open_secantus, database_name) as bucket:
        await bucket.upload_from_stream("other", b"x")
        done, restore = held_after(monkeypatch, method)
        await cancelled(bucket.upload_from_stream("f", bytes(CHUNK * (BATCH + 1))), done)
        restore()
        assert await counts(bucket) == (1, 1)
        names = await bucket._files.distinct("filename")
        assert names == ["other"]


async def test_after_a_cancelled_write_the_file_cannot_be_closed_as_if_it_were_whole(
    open_secantus: SecantusServer, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bucket_of(open_secantus, database_name) as bucket:
        file = bucket.open_upload_stream("f")
        done, restore = held_after(monkeypatch, "insert_many")
        await cancelled(file.write(bytes(CHUNK * (BATCH + 1))), done)
        restore()
        for call in (lambda: file.write(b"x"), file.close):
            with pytest.raises(InvalidOperation, match="interrupted by CancelledError"):
                await call()
        assert await counts(bucket) == (0, BATCH)
        await file.abort()
        assert await counts(bucket) == (0, 0)


async def test_a_read_that_is_cancelled_can_be_tried_again(
    open_secantus: SecantusServer, database_name: str
) -> None:
    data = bytes(range(CHUNK * (BATCH * 2 + 1)))
    async with bucket_of(open_secantus, database_name) as bucket:
        await bucket.upload_from_stream("f", data)
        for turns in range(12):
            file = await bucket.open_download_stream_by_name("f")
            assert await file.read(3) == data[:3]
            task = asyncio.ensure_future(file.read())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                found = await task
            except asyncio.CancelledError:
                assert file.tell() == 3
                found = await file.read()
            assert found == data[3:]


async def test_sources_and_destinations_may_be_awaited(
    open_secantus: SecantusServer, database_name: str
) -> None:
    class Stream:
        def __init__(self, data: bytes = b"") -> None:
            self.data = data

        async def read(self, size: int) -> bytes:
            await asyncio.sleep(0)
            piece, self.data = self.data[: min(size, 3)], self.data[min(size, 3) :]
            return piece

        async def write(self, data: bytes) -> None:
            await asyncio.sleep(0)
            self.data += data

    async with bucket_of(open_secantus, database_name) as bucket:
        file_id = await bucket.upload_from_stream("f", Stream(b"0123456789"))
        for download in (
            lambda to: bucket.download_to_stream(file_id, to),
            lambda to: bucket.download_to_stream_by_name("f", to),
        ):
            found = Stream()
            await download(found)
            assert found.data == b"0123456789"
        stored = await bucket.open_download_stream(file_id)
        second = await bucket.upload_from_stream("g", stored)
        assert await (await bucket.open_download_stream(second)).read() == b"0123456789"


async def test_tasks_share_a_bucket(open_secantus: SecantusServer, database_name: str) -> None:
    async with bucket_of(open_secantus, database_name) as bucket:

        async def work(number: int) -> None:
            data = bytes([number]) * (CHUNK * BATCH + 1)
            file_id = await bucket.upload_from_stream(f"f{number}", data)
            async with await bucket.open_download_stream(file_id) as file:
                assert b"".join([line async for line in file]) == data

        await asyncio.gather(*map(work, range(20)))
        assert await counts(bucket) == (20, 20 * (BATCH + 1))
