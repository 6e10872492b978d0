"""Compression before a real server: SecantusDB behind a relay that speaks OP_COMPRESSED for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.errors import BulkWriteError, DuplicateKeyError
from mongokey.operations import InsertOne, UpdateOne
from tests.servers.compressed import IDS, CompressingRelay
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live

NAMES = ("snappy", "zlib", "zstd")
NOT_COMPRESSED = {"hello", "isMaster", "saslStart", "saslContinue"}


@pytest.fixture
def compressing(secantus: SecantusServer) -> Iterator[Callable[..., CompressingRelay]]:
    relays: list[CompressingRelay] = []

    def start(**options: Any) -> CompressingRelay:
        relays.append(CompressingRelay(secantus.host, secantus.port, **options).start())
        return relays[-1]

    yield start
    for relay in relays:
        relay.stop()


def everything(client: Any, name: str) -> None:
    """What an application does: writes, reads in several batches, errors."""
    things = client[name].things
    documents = [{"_id": n, "text": f"{n:04} " * 100} for n in range(200)]
    assert things.insert_many(documents).inserted_ids == list(range(200))
    assert things.find({}, batch_size=70).sort("_id", 1).to_list() == documents
    assert things.find_one({"_id": 7}) == documents[7]
    found = things.bulk_write([InsertOne({"_id": -1}), UpdateOne({"_id": 1}, {"$set": {"a": 1}})])
    assert (found.inserted_count, found.modified_count) == (1, 1)
    assert things.aggregate([{"$match": {"a": 1}}]).to_list() == [{**documents[1], "a": 1}]
    with pytest.raises(DuplicateKeyError):
        things.insert_one({"_id": 1})
    with pytest.raises(BulkWriteError):
        things.insert_many([{"_id": 2}])
    assert things.count_documents({}) == 201
    data = os.urandom(400_000)
    things.insert_one({"_id": "random", "data": data})
    assert things.find_one({"_id": "random"})["data"] == data


@pytest.mark.parametrize("name", NAMES)
def test_all_goes_as_without(
    secantus: SecantusServer, compressing: Any, database_name: str, name: str
) -> None:
    relay = compressing()
    with MongoClient(relay.redirect(secantus.uri("both")), compressors=name) as client:
        everything(client, database_name)
    for command, used in relay.compressed.items():
        assert set(used) == {None if command in NOT_COMPRESSED else name}, command
    assert {"saslContinue", "find", "getMore", "insert", "endSessions"} <= set(relay.compressed)
    assert relay.offered
    assert all(each == [name] for each in relay.offered)


@pytest.mark.parametrize("answers", IDS)
def test_the_server_may_answer_in_any_of_them(
    secantus: SecantusServer, compressing: Any, database_name: str, answers: str
) -> None:
    relay = compressing(answers=answers, compress_hello=True)
    uri = relay.redirect(secantus.uri("both", compressors="zlib,zstd,snappy"))
    with MongoClient(uri, zlibCompressionLevel=1) as client:
        everything(client, database_name)
    assert set(relay.compressed["find"]) == {"zlib"}


def test_the_order_of_preference_holds(secantus: SecantusServer, compressing: Any) -> None:
    relay = compressing(compressors=("snappy", "zlib"))
    uri = relay.redirect(secantus.uri("both", compressors="zstd,zlib,snappy"))
    with MongoClient(uri) as client:
        client.admin.command("ping")
    assert relay.compressed["ping"] == ["zlib"]


def test_a_server_without_compressors_gets_none(
    secantus: SecantusServer, compressing: Any, database_name: str
) -> None:
    relay = compressing(compressors=())
    with MongoClient(relay.redirect(secantus.uri("both")), compressors="zstd,zlib") as client:
        everything(client, database_name)
    assert {each for used in relay.compressed.values() for each in used} == {None}


def test_fewer_bytes_pass(secantus: SecantusServer, compressing: Any, database_name: str) -> None:
    counts = {}
    for name in ("", *NAMES):
        relay = compressing()
        options = {"compressors": name} if name else {}
        with MongoClient(relay.redirect(secantus.uri("both")), **options) as client:
            things = client[database_name][f"things_{name}"]
            things.insert_many([{"_id": n, "text": "some words " * 20} for n in range(300)])
            assert len(things.find().to_list()) == 300
        counts[name] = relay.up, relay.down
    for name in NAMES:
        assert counts[name][0] < counts[""][0] / 4
        assert counts[name][1] < counts[""][1] / 4
