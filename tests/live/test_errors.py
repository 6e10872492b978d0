"""What the real server's errors become: class, code, details, labels, and how they read."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from mongokey import MongoClient, WriteConcern
from mongokey.errors import (
    AutoReconnect,
    BulkWriteError,
    DuplicateKeyError,
    InvalidDocument,
    MongoError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WriteError,
)
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live


def caught(call: Any) -> Any:
    with pytest.raises(MongoError) as info:
        call()
    return info.value


def test_a_command_error_has_code_details_and_its_whole_answer(database: Any) -> None:
    error = caught(lambda: database.command("noSuchCommand"))
    assert type(error) is OperationFailure
    assert isinstance(error, PyMongoError)
    assert error.code == 59
    assert error.details["ok"] == 0
    assert error.details["errmsg"] in str(error)
    assert "full error" in str(error)
    assert not error.timeout
    assert not error.has_error_label("RetryableWriteError")


def test_a_refused_statement_is_a_write_error(database: Any) -> None:
    database.create_collection("checked", validator={"n": {"$gt": 0}})
    with pytest.raises(OperationFailure) as refused:
        database["checked"].insert_one({"n": -1})
    assert refused.value.code == 121
    assert isinstance(refused.value, WriteError)
    assert database["checked"].count_documents({}) == 0


def test_duplicate_keys_are_write_errors_with_their_key(collection: Any) -> None:
    collection.insert_one({"_id": 5})
    error = caught(lambda: collection.insert_one({"_id": 5}))
    assert type(error) is DuplicateKeyError
    assert isinstance(error, WriteError | OperationFailure)
    assert error.code == 11000
    assert error.details["index"] == 0
    assert error.details["keyValue"] == {"_id": 5}


def test_bulk_errors_have_the_full_result(collection: Any) -> None:
    error = caught(lambda: collection.insert_many([{"_id": 1}, {"_id": 1}]))
    assert type(error) is BulkWriteError
    assert error.code == 65
    assert error.details == {
        "writeErrors": error.details["writeErrors"],
        "writeConcernErrors": [],
        "nInserted": 1,
        "nUpserted": 0,
        "nMatched": 0,
        "nModified": 0,
        "nRemoved": 0,
        "upserted": [],
    }
    (write_error,) = error.details["writeErrors"]
    assert write_error["op"] == {"_id": 1}
    assert "E11000" in write_error["errmsg"]
    assert not error.timeout


def test_a_write_concern_that_cannot_be_met_is_told(collection: Any) -> None:
    things = collection.with_options(write_concern=WriteConcern(w=7, wtimeout=50))
    for write in (
        lambda: things.insert_one({"_id": 1}),
        lambda: things.update_one({}, {"$set": {"a": 1}}),
        lambda: things.delete_one({}),
    ):
        error = caught(write)
        assert isinstance(error, WriteConcernError)
        assert error.code in (64, 100)


def test_unauthorized_is_code_13(secantus: SecantusServer) -> None:
    with MongoClient(secantus.uri("reader")) as client:
        error = caught(lambda: client["app"]["x"].insert_one({}))
        assert type(error) is OperationFailure
        assert error.code == 13
        bulk = caught(lambda: client["app"]["x"].insert_many([{}, {}]))
        assert bulk.code == 13


def test_a_server_that_does_not_answer_is_named_with_its_reason() -> None:
    with MongoClient("mongodb://127.0.0.1:1,[::1]:2/", serverSelectionTimeoutMS=50) as client:
        error = caught(lambda: client.admin.command("ping"))
    assert type(error) is ServerSelectionTimeoutError
    assert isinstance(error, AutoReconnect)
    assert error.timeout
    for part in ("serverSelectionTimeoutMS=50", "127.0.0.1:1", "[::1]:2", "refused"):
        assert part in str(error)


def test_errors_survive_copying_and_pickling(collection: Any, secantus: SecantusServer) -> None:
    collection.insert_one({"_id": 1})
    errors = [
        caught(lambda: collection.insert_one({"_id": 1})),
        caught(lambda: collection.insert_many([{"_id": 1}])),
        caught(lambda: collection.database.command("noSuchCommand")),
    ]
    with MongoClient(secantus.uri("both", password="wrong")) as client:
        errors.append(caught(lambda: client.admin.command("ping")))
    with MongoClient("mongodb://127.0.0.1:1/", serverSelectionTimeoutMS=1) as client:
        errors.append(caught(lambda: client.admin.command("ping")))
    for error in errors:
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(again) is type(error)
            assert str(again) == str(error)
            assert getattr(again, "code", None) == getattr(error, "code", None)
            if isinstance(error, OperationFailure):
                assert again.details == error.details


def test_the_client_goes_on_after_every_error(collection: Any) -> None:
    collection.find_one()
    before = collection.database.client._pool().idle_count
    for _ in range(20):
        caught(lambda: collection.database.command("noSuchCommand"))
        caught(lambda: collection.find_one({"$nonsense": 1}))
        with pytest.raises(InvalidDocument):
            collection.insert_one({"a": object()})
        with pytest.raises(ValueError, match="session"):
            collection.find_one({}, session=object())
        assert collection.find_one() is None
    pool = collection.database.client._pool()
    assert (pool.in_use, pool.idle_count) == (0, before)
