"""What a type checker makes of both faces. `./dev lint` checks this file; nobody runs it.

A line that must not pass has the error that it gets in a `type: ignore`, which is an error itself
where there is nothing to ignore.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypedDict

import mongokey
from mongokey import AsyncMongoClient, InsertOne, MongoClient
from mongokey.aio import AsyncCollection, AsyncCommandCursor, AsyncCursor, AsyncDatabase
from mongokey.asynchronous.collection import AsyncCollection as SameCollection
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.collection import Collection
from mongokey.command_cursor import CommandCursor as SameCommandCursor
from mongokey.cursor import CommandCursor, Cursor
from mongokey.database import Database
from mongokey.results import (
    BulkWriteResult,
    DeleteResult,
    InsertManyResult,
    InsertOneResult,
    UpdateResult,
)
from mongokey.synchronous.mongo_client import MongoClient as SameClient

if TYPE_CHECKING:
    from typing_extensions import assert_type


class Movie(TypedDict):
    title: str


Document = dict[str, Any]


async def awaited(client: AsyncMongoClient[Document], movies: AsyncCollection[Movie]) -> None:
    assert_type(client.app, AsyncDatabase[Document])
    assert_type(client["app"], AsyncDatabase[Document])
    assert_type(client.get_database("app"), AsyncDatabase[Document])
    assert_type(client.app.people, AsyncCollection[Document])
    assert_type(client.app.people.old, AsyncCollection[Document])
    assert_type(client.app.client, AsyncMongoClient[Document])
    assert_type(movies.database, AsyncDatabase[Movie])
    assert_type(movies.with_options(), AsyncCollection[Movie])

    assert_type(await client.admin.command("ping"), Document)
    assert_type(await client.server_info(), Document)
    assert_type(await client.list_database_names(), list[str])
    assert_type(await client.list_databases(), AsyncCommandCursor[Document])
    assert_type(await client.app.list_collection_names(), list[str])
    assert_type(await client.app.create_collection("c"), AsyncCollection[Document])
    assert_type(await client.is_primary, bool)
    assert_type(await client.aconnect(), None)
    assert_type(await client.close(), None)
    async with client as entered:
        assert_type(entered, AsyncMongoClient[Document])

    assert_type(await movies.insert_one({"title": "M"}), InsertOneResult)
    assert_type(await movies.insert_many([{"title": "M"}]), InsertManyResult)
    assert_type(await movies.bulk_write([InsertOne({"title": "M"})]), BulkWriteResult)
    assert_type(await movies.update_one({}, {"$set": {"title": "M"}}), UpdateResult)
    assert_type(await movies.replace_one({}, {"title": "M"}), UpdateResult)
    assert_type(await movies.delete_many({}), DeleteResult)
    assert_type(await movies.find_one({"title": "M"}), Movie | None)
    assert_type(await movies.find_one_and_delete({}), Movie | None)
    assert_type(await movies.count_documents({}), int)
    assert_type(await movies.distinct("title"), list[Any])
    assert_type(await movies.create_index("title"), str)

    cursor = movies.find({"title": "M"})
    assert_type(cursor, AsyncCursor[Movie])
    assert_type(cursor.sort("title").limit(3), AsyncCursor[Movie])
    assert_type(cursor.collection, AsyncCollection[Movie])
    assert_type(cursor[2:5], AsyncCursor[Movie])
    assert_type(await cursor.to_list(), list[Movie])
    assert_type(await cursor.next(), Movie)
    assert_type(await cursor.rewind(), AsyncCursor[Movie])
    assert_type(await anext(cursor), Movie)
    await assert_type(cursor.__anext__(), Coroutine[Any, Any, Movie])
    async for movie in cursor:
        assert_type(movie, Movie)
    assert_type([each["title"] async for each in cursor], list[str])
    async with cursor as opened:
        assert_type(opened, AsyncCursor[Movie])
    async with await movies.watch() as stream:
        assert_type(await stream.next(), Movie)
        assert_type(await stream.try_next(), Movie | None)
    async with await movies.aggregate([]) as found:
        assert_type(found, AsyncCommandCursor[Any])
        assert_type(found.batch_size(3), AsyncCommandCursor[Any])

    client.admin.command("ping")["ok"]  # type: ignore[index]
    for each in cursor:  # type: ignore[attr-defined]
        print(each)
    with client:  # type: ignore[attr-defined]
        pass
    movies.find_one({})["title"]  # type: ignore[index]


def blocking(client: MongoClient[Document], movies: Collection[Movie]) -> None:
    assert_type(client.app, Database[Document])
    assert_type(client.app.people, Collection[Document])
    assert_type(client.admin.command("ping"), Document)
    assert_type(client.list_databases(), CommandCursor[Document])
    assert_type(client.is_primary, bool)
    with client as entered:
        assert_type(entered, MongoClient[Document])
    assert_type(movies.insert_one({"title": "M"}), InsertOneResult)
    assert_type(movies.find_one({"title": "M"}), Movie | None)
    cursor = movies.find({"title": "M"})
    assert_type(cursor.sort("title").limit(3), Cursor[Movie])
    assert_type(cursor.to_list(), list[Movie])
    assert_type(next(cursor), Movie)
    assert_type([each["title"] for each in cursor], list[str])
    with cursor as opened:
        assert_type(opened, Cursor[Movie])
    assert_type(movies.aggregate([]).try_next(), Any | None)
    with movies.watch() as stream:
        assert_type(stream.next(), Movie)
        assert_type(stream.try_next(), Movie | None)


def made() -> None:
    assert_type(AsyncMongoClient(document_class=RawBSONDocument), AsyncMongoClient[RawBSONDocument])
    assert_type(MongoClient(document_class=RawBSONDocument), MongoClient[RawBSONDocument])
    assert_type(AsyncMongoClient[Document]("localhost"), AsyncMongoClient[Document])
    mongokey.AsyncMongoClient(port="1")  # type: ignore[arg-type]


def same(
    collection: SameCollection[Movie], client: SameClient[Movie], cursor: SameCommandCursor[Movie]
) -> None:
    assert_type(collection, AsyncCollection[Movie])
    assert_type(client, MongoClient[Movie])
    assert_type(cursor, CommandCursor[Movie])
