"""Motor, as an asyncio application uses it."""

from __future__ import annotations

import asyncio
import os

import pytest
import pytest_asyncio
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorGridFSBucket
from pymongo import ASCENDING, DeleteOne, InsertOne, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

URI = os.environ.get("MONGODB_URI", "mongodb://localhost:27017")
DATABASE = "usage_motor"
pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def database():
    client = AsyncIOMotorClient(URI)
    await client.drop_database(DATABASE)
    yield client[DATABASE]
    await client.drop_database(DATABASE)
    client.close()


async def test_insert_and_find(database):
    result = await database.things.insert_one({"x": 1})
    assert await database.things.find_one({"_id": result.inserted_id}) == {
        "_id": result.inserted_id,
        "x": 1,
    }
    assert await database.things.find_one({"x": 2}) is None


async def test_cursors(database):
    await database.things.insert_many([{"_id": n} for n in range(250)])
    found = [each["_id"] async for each in database.things.find(batch_size=50).sort("_id", -1)]
    assert found == list(range(249, -1, -1))
    assert len(await database.things.find().to_list(100)) == 100
    cursor = database.things.find().limit(3)
    assert await cursor.fetch_next
    assert cursor.next_object()["_id"] == 0
    await cursor.close()


async def test_updates_and_deletes(database):
    await database.things.insert_many([{"_id": n, "x": 0} for n in range(5)])
    updated = await database.things.update_many({"_id": {"$gt": 2}}, {"$set": {"x": 1}})
    assert updated.modified_count == 2
    assert (await database.things.replace_one({"_id": 0}, {"y": 1})).matched_count == 1
    assert (await database.things.delete_many({"x": 0})).deleted_count == 2
    found = await database.things.find_one_and_update(
        {"_id": 3}, {"$inc": {"x": 4}}, return_document=True
    )
    assert found["x"] == 5


async def test_bulk_writes(database):
    result = await database.things.bulk_write(
        [InsertOne({"_id": 1}), UpdateOne({"_id": 1}, {"$set": {"x": 1}}), DeleteOne({"_id": 2})]
    )
    assert (result.inserted_count, result.modified_count) == (1, 1)
    with pytest.raises(BulkWriteError):
        await database.things.bulk_write([InsertOne({"_id": 1})])


async def test_indexes(database):
    await database.things.create_index([("x", ASCENDING)], unique=True)
    await database.things.insert_one({"x": 1})
    with pytest.raises(DuplicateKeyError):
        await database.things.insert_one({"x": 1})
    assert "x_1" in await database.things.index_information()


async def test_aggregation(database):
    await database.things.insert_many([{"x": n} for n in range(5)])
    pipeline = [{"$group": {"_id": None, "sum": {"$sum": "$x"}}}]
    assert [each["sum"] async for each in database.things.aggregate(pipeline)] == [10]
    assert await database.things.count_documents({"x": {"$gt": 2}}) == 2
    assert sorted(await database.things.distinct("x")) == list(range(5))


async def test_many_tasks(database):
    await asyncio.gather(*(database.things.insert_one({"_id": n}) for n in range(100)))
    found = await asyncio.gather(*(database.things.find_one(n) for n in range(100)))
    assert [each["_id"] for each in found] == list(range(100))


async def test_a_session(database):
    async with await database.client.start_session() as session:
        await database.things.insert_one({"_id": 1}, session=session)
        assert await database.things.find_one({"_id": 1}, session=session) == {"_id": 1}


async def test_gridfs(database):
    bucket = AsyncIOMotorGridFSBucket(database)
    file = await bucket.upload_from_stream("name", b"x" * 600_000, metadata={"a": 1})
    reader = await bucket.open_download_stream(file)
    assert await reader.read() == b"x" * 600_000
    names = [each.filename async for each in bucket.find({})]
    assert names == ["name"]
    await bucket.delete(file)


async def test_names_of_collections(database):
    await database.create_collection("made")
    assert await database.list_collection_names() == ["made"]
    assert DATABASE in await database.client.list_database_names()
    assert (await database.command("ping"))["ok"] == 1.0
