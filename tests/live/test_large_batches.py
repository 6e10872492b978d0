"""Large batches on the asyncio face, which are decoded in parts: other tasks have their turn in
between, and nothing else is different."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mongokey import AsyncMongoClient
from mongokey.bson.codec_options import CodecOptions, TypeDecoder, TypeRegistry
from mongokey.bson.decimal128 import Decimal128
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live

#: Some 3 MB: more than twenty parts.
DOCUMENTS = 3000
WHOLE = list(range(DOCUMENTS))


@contextlib.asynccontextmanager
async def filled(secantus: SecantusServer, database_name: str) -> AsyncIterator[Any]:
    client: AsyncMongoClient[Any]
    async with AsyncMongoClient(secantus.uri("sha256")) as client:
        collection = client[database_name].large
        await collection.insert_many({"_id": n, "text": "x" * 1000} for n in range(DOCUMENTS))
        yield collection


def numbers(documents: list[Any]) -> list[int]:
    assert all(document["text"] == "x" * 1000 for document in documents)
    return [document["_id"] for document in documents]


def sorted_by_id(collection: Any, **options: Any) -> Any:
    return collection.find(batch_size=DOCUMENTS, **options).sort("_id", 1)


async def test_each_way_to_read_gives_all_documents_in_order(
    secantus: SecantusServer, database_name: str
) -> None:
    async with filled(secantus, database_name) as large:
        assert numbers(await sorted_by_id(large).to_list()) == WHOLE
        assert numbers([document async for document in sorted_by_id(large)]) == WHOLE
        # A first batch that is small, and a second one that holds all the rest.
        assert numbers(await large.find().sort("_id", 1).to_list()) == WHOLE
        cursor = await large.aggregate([{"$sort": {"_id": 1}}], batchSize=DOCUMENTS)
        found = []
        while (document := await cursor.try_next()) is not None:
            found.append(document)
        assert numbers(found) == WHOLE


async def test_parts_of_a_length_and_the_rest(secantus: SecantusServer, database_name: str) -> None:
    async with filled(secantus, database_name) as large:
        cursor = sorted_by_id(large)
        first = await cursor.to_list(1234)
        assert numbers(first) == WHOLE[:1234]
        assert cursor.alive
        assert cursor.retrieved == DOCUMENTS
        assert numbers([await cursor.next()]) == [1234]
        assert numbers(await cursor.to_list()) == WHOLE[1235:]
        assert await cursor.to_list() == []


async def test_a_limit_holds(secantus: SecantusServer, database_name: str) -> None:
    async with filled(secantus, database_name) as large:
        assert numbers(await sorted_by_id(large, limit=2222).to_list()) == WHOLE[:2222]


async def test_others_have_their_turn(secantus: SecantusServer, database_name: str) -> None:
    async with filled(secantus, database_name) as large:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        cursor = sorted_by_id(large)
        await cursor.next()
        # The batch is here: from now on nothing is waited for.
        task = asyncio.create_task(other())
        rest = await cursor.to_list()
        task.cancel()
        assert numbers(rest) == WHOLE[1:]
        assert turns >= 20


async def test_a_reader_that_is_cancelled_between_two_parts_can_go_on(
    secantus: SecantusServer, database_name: str
) -> None:
    async with filled(secantus, database_name) as large:
        cursor = sorted_by_id(large)
        found = [await cursor.next()]
        task = asyncio.create_task(cursor.to_list())
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        rest = numbers([*found, *await cursor.to_list()])
        # What the task had in its hands is gone with it, and nothing else is.
        assert rest[0] == 0
        assert rest[1:] == WHOLE[-(len(rest) - 1) :]
        assert DOCUMENTS / 2 < len(rest) < DOCUMENTS


async def test_a_cursor_that_is_closed_between_two_parts_has_the_rest_of_its_batch(
    secantus: SecantusServer, database_name: str
) -> None:
    async with filled(secantus, database_name) as large:
        cursor = sorted_by_id(large)
        await cursor.next()
        task = asyncio.create_task(cursor.to_list())
        for _ in range(5):
            await asyncio.sleep(0)
        await cursor.close()
        assert not task.done()
        found = await task
        assert [each["_id"] for each in found] == list(range(1, DOCUMENTS))
        assert not cursor.alive
        assert await cursor.to_list() == []


async def test_a_document_that_cannot_be_decoded_ends_the_cursor(
    secantus: SecantusServer, database_name: str
) -> None:
    async with filled(secantus, database_name) as large:

        class Refusing(TypeDecoder):
            bson_type = Decimal128

            def transform_bson(self, value: Any) -> Any:
                raise ValueError("no decimals here")

        await large.update_one({"_id": 2000}, {"$set": {"price": Decimal128("1.5")}})
        options = CodecOptions[Any](type_registry=TypeRegistry([Refusing()]))
        cursor = sorted_by_id(large.with_options(options))
        found: list[Any] = []

        async def read() -> None:
            async for document in cursor:
                found.append(document)

        with pytest.raises(ValueError, match="no decimals"):
            await read()
        assert numbers(found) == WHOLE[: len(found)]
        assert 1000 < len(found) <= 2000
        assert await cursor.to_list() == []
