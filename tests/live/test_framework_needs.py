"""What frameworks ask of a driver beside its documented names; found by their own test suites."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mongokey import CursorType, MongoClient
from mongokey.collection import Collection
from mongokey.command_cursor import CommandCursor
from mongokey.cursor_shared import _QUERY_OPTIONS
from mongokey.database import Database
from mongokey.gridfs import GridFS
from mongokey.mongo_client import MongoClient as BlockingClient  # whatever the face is
from mongokey.read_preferences import ReadPreference
from mongokey.results import UpdateResult
from mongokey.write_concern import WriteConcern
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live


def fill(collection: Any, count: int) -> None:
    collection.insert_many([{"_id": i} for i in range(count)])


# Beanie


def test_an_empty_list_sorts_by_nothing(collection: Any) -> None:
    fill(collection, 2)
    assert len(collection.find(sort=[]).to_list()) == 2
    with pytest.raises(ValueError, match="empty"):
        collection.find().sort([])


def test_the_raw_result_says_whether_there_was_one(collection: Any) -> None:
    fill(collection, 1)
    changed = collection.replace_one({"_id": 0}, {"x": 1})
    assert changed.raw_result["updatedExisting"] is True
    assert "upserted" not in changed.raw_result
    missed = collection.update_one({"_id": 7}, {"$set": {"x": 1}})
    assert missed.raw_result["updatedExisting"] is False
    assert missed.upserted_id is None
    assert not missed.did_upsert


# PyMongo's private names, which tests of programs look at


def test_the_topology_shows_its_servers(secantus: SecantusServer, face: str) -> None:
    client: Any = MongoClient(secantus.uri())
    with client:
        assert client._topology._servers == {}
        client.admin.command("ping")
        (server,) = client._topology._servers.values()
        assert server.description.is_readable
        assert server.description.address == (secantus.host, secantus.port)
        assert server.pool.address == server.description.address
        assert list(client._topology._servers) == [server.description.address]


def test_the_topology_shows_the_sessions_that_are_idle(secantus: SecantusServer, face: str) -> None:
    client: Any = MongoClient(secantus.uri())
    with client:
        assert client._topology._session_pool == []
        with client.start_session() as one, client.start_session() as other:
            ids = [dict(each.session_id) for each in (one, other)]
            assert client._topology._session_pool == []
        idle = [each.session_id for each in client._topology._session_pool]
        # The one that was given back last is taken first.
        assert idle == ids
        assert idle[0]["id"].subtype == 4


def test_a_change_stream_shows_its_cursor(open_secantus: SecantusServer, face: str) -> None:
    client: Any = MongoClient(open_secantus.uri(None, replicaSet="secantus"))
    with client:
        client.framework_needs.create_collection("watched")
        with client.framework_needs.watched.watch() as stream:
            assert stream._cursor.alive
            assert stream._cursor.cursor_id
        assert not stream._cursor.alive
        assert stream._cursor.cursor_id == 0
        client.drop_database("framework_needs")


@pytest.mark.parametrize("identifier", [5, "text", {"part": 1}, 0])
def test_the_raw_result_has_the_id_of_an_upsert(collection: Any, identifier: Any) -> None:
    result = collection.update_one({"_id": identifier}, {"$set": {"x": 1}}, upsert=True)
    assert result.raw_result["updatedExisting"] is False
    assert result.raw_result["upserted"] == identifier
    assert result.upserted_id == identifier
    assert result.did_upsert
    assert result.matched_count == 0


def test_a_result_made_of_a_raw_one_is_the_same() -> None:
    raw = {"n": 1, "nModified": 0, "ok": 1.0, "updatedExisting": False, "upserted": 7}
    result = UpdateResult(raw, True)
    assert result.raw_result == raw
    assert (result.upserted_id, result.did_upsert, result.matched_count) == (7, True, 0)


# Motor, which wraps the blocking classes and fetches in a thread of its own


@pytest.fixture
def mongo_client(secantus: SecantusServer) -> Iterator[Any]:
    with BlockingClient(secantus.uri()) as client:
        yield client


def test_a_client_can_be_told_to_connect(mongo_client: Any, eventually: Any) -> None:
    mongo_client._connect()
    assert eventually(lambda: mongo_client.primary is not None)


def test_a_cursor_shows_what_it_reads_from(mongo_client: Any) -> None:
    # MongoEngine's own tests look at the read preference of an aggregation's cursor.
    pages = mongo_client.framework_needs.pages.with_options(
        read_preference=ReadPreference.SECONDARY_PREFERRED
    )
    with pages.aggregate([]) as cursor:
        assert cursor._collection.read_preference == ReadPreference.SECONDARY_PREFERRED
    assert pages.find()._collection is pages


def test_what_motor_has_before_a_command_cursor_is_closed_as_one(mongo_client: Any) -> None:
    class Latent:
        ended = 0

        def _die_lock(self) -> None:
            self.ended += 1

    latent = Latent()
    CommandCursor.close(latent)  # type: ignore[arg-type]
    assert latent.ended == 1
    pages = mongo_client.framework_needs.motor
    pages.drop()
    fill(pages, 5)
    cursor = pages.aggregate([], batchSize=2)
    cursor.next()
    cursor.close()
    assert cursor.cursor_id == 0 or cursor._killed
    # What is at hand is still to be had, as in PyMongo.
    assert cursor.alive
    assert cursor.next()
    assert not cursor.alive


def test_a_cursor_shows_the_batch_at_hand(mongo_client: Any) -> None:
    collection = mongo_client.framework_needs.batches
    collection.drop()
    fill(collection, 7)
    cursor = collection.find(batch_size=3, sort={"_id": 1})
    assert len(cursor._data) == 0
    assert not cursor._data
    assert not cursor._killed
    assert cursor._refresh() == 3
    assert cursor._refresh() == 3  # what is at hand comes first
    assert [cursor._data.popleft()["_id"] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(IndexError):
        cursor._data.popleft()
    assert next(cursor)["_id"] == 3
    assert len(cursor._data) == 2
    assert [document["_id"] for document in cursor] == [4, 5, 6]
    assert cursor._killed
    assert cursor._refresh() == 0
    mongo_client.drop_database("framework_needs")


def test_a_closed_cursor_is_killed(mongo_client: Any) -> None:
    collection = mongo_client.framework_needs.batches
    cursor = collection.find()
    cursor.close()
    assert cursor._killed
    assert len(cursor._data) == 0


def test_a_query_shows_its_flags(mongo_client: Any) -> None:
    collection = mongo_client.framework_needs.batches
    assert collection.find()._query_flags == 0
    tailable = collection.find(cursor_type=CursorType.TAILABLE_AWAIT, no_cursor_timeout=True)
    names = ("tailable_cursor", "await_data", "no_timeout")
    assert tailable._query_flags == sum(_QUERY_OPTIONS[name] for name in names)
    assert collection.find(cursor_type=CursorType.EXHAUST)._query_flags == _QUERY_OPTIONS["exhaust"]


# Flask-PyMongo, whose classes have children of their own


class Wrapped(Collection[Any]):
    """One that refuses to have children."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


class WrappedDatabase(Database[Any]):
    def __getitem__(self, name: str) -> Any:
        return Wrapped(self, name)


def test_gridfs_takes_a_database_of_a_subclass(mongo_client: Any, database_name: str) -> None:
    wrapped = WrappedDatabase(mongo_client, database_name, write_concern=WriteConcern(w=1))
    files = GridFS(wrapped)
    identity = files.put(b"content")
    assert files.get(identity).read() == b"content"
    files.delete(identity)
