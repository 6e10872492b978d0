"""`AsyncMongoClient` before it has a server: what the constructor does, and what it leaves for
later; and the places it can be imported from."""

from __future__ import annotations

import asyncio
import gc
import importlib
import subprocess
import sys
import warnings
from typing import Any

import pytest

import mongokey
from mongokey import AsyncMongoClient, MongoClient, aio
from mongokey.errors import ConfigurationError, InvalidOperation, InvalidURI
from tests.unit.test_package import loaded_by

URI = "mongodb://127.0.0.1:1/"
CLIENTS: list[Any] = [MongoClient, AsyncMongoClient]


@pytest.mark.parametrize("client", CLIENTS)
def test_warnings_of_the_constructor_name_the_line_that_called_it(client: Any) -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        client(URI, compressors="lz4")
        client("mongodb://127.0.0.1:1/?noSuchOption=1")
    assert [each.filename for each in found] == [__file__] * 2


@pytest.mark.parametrize("client", CLIENTS)
def test_wrong_arguments_are_refused_at_once(client: Any) -> None:
    with pytest.raises(InvalidURI):
        client("mongodb://")
    with pytest.raises(ConfigurationError, match="maxPoolSize"):
        client(URI, maxPoolSize=-1)
    with pytest.raises(ConfigurationError, match="No default database"):
        client(URI).get_default_database()


def test_dns_is_left_to_the_first_operation() -> None:
    asked: list[Any] = []

    def resolve(*question: Any, **_: Any) -> Any:
        asked.append(question)
        raise ConfigurationError("no such name")

    with pytest.raises(ConfigurationError, match="no such name"):
        MongoClient("mongodb+srv://cluster.example.com/", srv_resolver=resolve)
    assert len(asked) == 1
    for connect in (True, False, None):
        client = AsyncMongoClient[Any](
            "mongodb+srv://cluster.example.com/", srv_resolver=resolve, connect=connect
        )
        assert repr(client) == "AsyncMongoClient(host=['mongodb+srv://cluster.example.com'])"
        assert len(asked) == 1

    async def connect_now() -> None:
        async with client:
            with pytest.raises(ConfigurationError, match="no such name"):
                await client.aconnect()

    asyncio.run(connect_now())
    assert len(asked) == 2


def test_clients_are_equal_on_one_face() -> None:
    assert AsyncMongoClient(URI) == AsyncMongoClient(URI)
    assert hash(AsyncMongoClient(URI)) == hash(AsyncMongoClient(URI))
    assert AsyncMongoClient(URI) != AsyncMongoClient("mongodb://127.0.0.1:2/")
    assert AsyncMongoClient(URI) != MongoClient(URI)
    assert MongoClient(URI) != AsyncMongoClient(URI)
    assert AsyncMongoClient(URI).d.c == AsyncMongoClient(URI)["d"]["c"]
    assert AsyncMongoClient(URI).d != MongoClient(URI).d


async def test_a_client_that_was_not_used_needs_no_close() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client: AsyncMongoClient[Any] = AsyncMongoClient(URI)
        assert client.nodes == frozenset()
        assert not client.topology_description.has_known_servers
        del client
        gc.collect()


async def test_a_client_that_is_closed_cannot_be_used() -> None:
    client: AsyncMongoClient[Any] = AsyncMongoClient(URI)
    for _ in range(2):
        await client.close()
        await client.aclose()
    for use in (
        client.aconnect,
        client.d.c.find_one,
        client.d.c.find().to_list,
        client.server_info,
    ):
        with pytest.raises(InvalidOperation, match="after close"):
            await use()
    async with client:  # as PyMongo's: entering opens nothing
        pass


def test_coroutines_that_are_made_without_a_loop_and_awaited_nowhere() -> None:
    """Nothing has happened yet: no loop is needed, nor is anything bound to one."""
    client: AsyncMongoClient[Any] = AsyncMongoClient(URI)
    for coroutine in (client.aconnect(), client.d.c.find_one(), client.d.c.find().next()):
        coroutine.close()
    assert not client._topology.opened
    assert client.d.c.find().__anext__() is not None


# Where it is imported from


PATHS = {
    "mongokey.asynchronous.mongo_client": ["AsyncMongoClient"],
    "mongokey.asynchronous.database": ["AsyncDatabase"],
    "mongokey.asynchronous.collection": ["AsyncCollection", "ReturnDocument"],
    "mongokey.asynchronous.cursor": ["AsyncCursor", "CursorType"],
    "mongokey.asynchronous.command_cursor": ["AsyncCommandCursor"],
    "mongokey.synchronous.mongo_client": ["MongoClient"],
    "mongokey.synchronous.database": ["Database"],
    "mongokey.synchronous.collection": ["Collection", "ReturnDocument"],
    "mongokey.synchronous.cursor": ["Cursor", "CursorType"],
    "mongokey.synchronous.command_cursor": ["CommandCursor"],
    "mongokey.command_cursor": ["CommandCursor"],
}


@pytest.mark.parametrize("path", PATHS)
def test_pymongos_import_paths_lead_to_the_same_classes(path: str) -> None:
    homes = [mongokey, aio, mongokey.database, mongokey.collection, mongokey.cursor]
    module = importlib.import_module(path)
    theirs = importlib.import_module(path.replace("mongokey", "pymongo"))
    for name in PATHS[path]:
        (found,) = {id(getattr(home, name)) for home in homes if hasattr(home, name)}
        assert id(getattr(module, name)) == found
        assert hasattr(theirs, name)
    # As attributes too, without an import of their own.
    code = f"import mongokey; assert {path}.{PATHS[path][0]}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_asyncio_is_loaded_by_those_who_ask_for_it() -> None:
    assert "asyncio" not in loaded_by("import mongokey; mongokey.synchronous.mongo_client")
    assert "asyncio" not in loaded_by("from mongokey import MongoClient; MongoClient().d.c.find()")
    loaded = loaded_by("from mongokey import AsyncMongoClient; AsyncMongoClient().d.c.find()")
    assert not loaded & {"boto3", "dns", "cryptography", "gssapi", "mongokey.mongo_client"}
