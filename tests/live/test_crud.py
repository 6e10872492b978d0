"""Inserting, finding, updating, replacing, deleting and counting on the real server."""

from __future__ import annotations

import collections
import datetime
import random
import string
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mongokey import ASCENDING, DESCENDING, MongoClient, ReturnDocument, WriteConcern
from mongokey.bson import encode
from mongokey.bson.binary import Binary
from mongokey.bson.codec_options import CodecOptions
from mongokey.bson.dbref import DBRef
from mongokey.bson.int64 import Int64
from mongokey.bson.objectid import ObjectId
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.bson.son import SON
from mongokey.errors import (
    BulkWriteError,
    CollectionInvalid,
    ConfigurationError,
    DocumentTooLarge,
    DuplicateKeyError,
    InvalidDocument,
    InvalidName,
    InvalidOperation,
    OperationFailure,
    WriteConcernError,
)
from mongokey.operations import UpdateOne
from mongokey.read_concern import ReadConcern
from mongokey.read_preferences import ReadPreference
from mongokey.results import DeleteResult, InsertManyResult, InsertOneResult, UpdateResult
from tests.servers.relay import Relay
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live
RAW = CodecOptions(document_class=RawBSONDocument)


def fill(collection: Any, count: int) -> None:
    collection.insert_many([{"_id": i, "n": i, "odd": bool(i % 2)} for i in range(count)])


# insert


def test_insert_one_gives_the_document_an_id(collection: Any) -> None:
    document: dict[str, Any] = {"a": 1}
    result = collection.insert_one(document)
    assert isinstance(result, InsertOneResult)
    assert isinstance(result.inserted_id, ObjectId)
    assert result.acknowledged
    assert document["_id"] == result.inserted_id
    assert collection.find_one() == document


@pytest.mark.parametrize(
    "identifier", [None, 0, "x", 1.5, b"bytes", {"a": 1}, True, datetime.datetime(2020, 1, 1)]
)
def test_insert_one_keeps_the_id_that_is_there(collection: Any, identifier: Any) -> None:
    assert collection.insert_one({"_id": identifier}).inserted_id == identifier
    assert collection.find_one() == {"_id": identifier}


def test_the_id_is_stored_first_whatever_the_order_in_the_document(collection: Any) -> None:
    collection.insert_one({"z": 1, "_id": 2})
    assert list(collection.find_one()) == ["_id", "z"]


@pytest.mark.parametrize("kind", [SON, collections.OrderedDict, collections.UserDict])
def test_any_mutable_mapping_can_be_inserted(collection: Any, kind: Any) -> None:
    document = kind([("b", 1), ("a", 2)])
    identifier = collection.insert_one(document).inserted_id
    assert document["_id"] == identifier
    assert collection.find_one() == {"_id": identifier, "b": 1, "a": 2}


def test_a_raw_document_is_stored_as_it_is(collection: Any) -> None:
    raw = RawBSONDocument(encode({"_id": 7, "a": {"b": [1, 2]}}))
    assert collection.insert_one(raw).inserted_id is None
    assert collection.find_one() == {"_id": 7, "a": {"b": [1, 2]}}
    assert collection.with_options(codec_options=RAW).find_one().raw == raw.raw


@pytest.mark.parametrize("document", [[], "text", 1, None, b"bytes", [("a", 1)]])
def test_what_is_no_mapping_is_not_inserted(collection: Any, document: Any) -> None:
    with pytest.raises(TypeError, match="document"):
        collection.insert_one(document)
    with pytest.raises(TypeError, match="document"):
        collection.insert_many([document])
    assert collection.count_documents({}) == 0


def test_values_that_are_not_bson_are_refused_with_their_path(collection: Any) -> None:
    with pytest.raises(InvalidDocument, match=r"a\.b"):
        collection.insert_one({"a": {"b": object()}})
    assert collection.find_one() is None


def test_a_second_document_with_the_same_id_is_a_duplicate_key(collection: Any) -> None:
    collection.insert_one({"_id": 1})
    with pytest.raises(DuplicateKeyError) as caught:
        collection.insert_one({"_id": 1})
    assert caught.value.code == 11000
    assert caught.value.details["code"] == 11000
    assert "E11000" in str(caught.value)


def test_insert_many_keeps_order_and_gives_ids(collection: Any) -> None:
    documents = [{"n": i} for i in range(100)]
    result = collection.insert_many(documents)
    assert isinstance(result, InsertManyResult)
    assert result.inserted_ids == [each["_id"] for each in documents]
    assert [each["n"] for each in collection.find()] == list(range(100))


def test_insert_many_takes_any_iterable(collection: Any) -> None:
    result = collection.insert_many({"_id": i} for i in range(5))
    assert result.inserted_ids == [0, 1, 2, 3, 4]


def test_insert_many_leaves_raw_documents_out_of_the_ids(collection: Any) -> None:
    result = collection.insert_many([{"_id": 1}, RawBSONDocument(encode({"_id": 2})), {"_id": 3}])
    assert result.inserted_ids == [1, 3]
    assert collection.count_documents({}) == 3


@pytest.mark.parametrize("documents", [[], (), {}, {"a": 1}, 5, None])
def test_insert_many_wants_documents(collection: Any, documents: Any) -> None:
    with pytest.raises(TypeError, match="documents must be"):
        collection.insert_many(documents)


def test_ordered_insert_many_stops_at_the_first_error(collection: Any) -> None:
    documents = [{"_id": 0}, {"_id": 1}, {"_id": 1}, {"_id": 2}]
    with pytest.raises(BulkWriteError) as caught:
        collection.insert_many(documents)
    details = caught.value.details
    assert caught.value.code == 65
    assert details["nInserted"] == 2
    (error,) = details["writeErrors"]
    assert (error["index"], error["code"], error["op"]) == (2, 11000, {"_id": 1})
    assert details["writeConcernErrors"] == []
    assert [each["_id"] for each in collection.find()] == [0, 1]


def test_unordered_insert_many_goes_on_after_errors(collection: Any) -> None:
    documents = [{"_id": i} for i in (0, 0, 1, 1, 2)]
    with pytest.raises(BulkWriteError) as caught:
        collection.insert_many(documents, ordered=False)
    assert [each["index"] for each in caught.value.details["writeErrors"]] == [1, 3]
    assert caught.value.details["nInserted"] == 3
    assert collection.count_documents({}) == 3


# Limits, lowered by a relay so that a few documents reach them


def with_limits(secantus: SecantusServer, name: str, **hello: Any) -> tuple[Relay, Any, Any]:
    relay = Relay(secantus.host, secantus.port, hello=hello)
    client = MongoClient(relay.redirect("mongodb://" + secantus.uri("both")[10:]))
    return relay, client, client[name]["things"]


def test_a_batch_is_split_by_the_number_of_documents(
    secantus: SecantusServer, database_name: str
) -> None:
    with Relay(secantus.host, secantus.port, hello={"maxWriteBatchSize": 3}) as relay:
        with MongoClient(relay.redirect(secantus.uri("both"))) as client:
            things = client[database_name]["things"]
            things.insert_many([{"_id": i} for i in range(10)])
            assert things.count_documents({}) == 10
        assert [each.sections for each in relay.commands("insert")] == [
            {"documents": 3},
            {"documents": 3},
            {"documents": 3},
            {"documents": 1},
        ]


def test_a_batch_is_split_by_the_size_of_the_message(
    secantus: SecantusServer, database_name: str
) -> None:
    limit = 4096
    with Relay(secantus.host, secantus.port, hello={"maxMessageSizeBytes": limit}) as relay:
        with MongoClient(relay.redirect(secantus.uri("both"))) as client:
            things = client[database_name]["things"]
            things.insert_many([{"_id": i, "text": "x" * 1000} for i in range(20)])
            assert things.count_documents({}) == 20
        inserts = relay.commands("insert")
        assert all(each.size <= limit for each in inserts)
        assert [each.sections["documents"] for each in inserts] == [3] * 6 + [2]


def test_indexes_of_unordered_errors_count_over_all_messages(
    secantus: SecantusServer, database_name: str
) -> None:
    with Relay(secantus.host, secantus.port, hello={"maxWriteBatchSize": 4}) as relay:
        with MongoClient(relay.redirect(secantus.uri("both"))) as client:
            things = client[database_name]["things"]
            things.insert_many([{"_id": i} for i in (2, 5, 11)])
            with pytest.raises(BulkWriteError) as caught:
                things.insert_many([{"_id": i} for i in range(12)], ordered=False)
            errors = caught.value.details["writeErrors"]
            assert [(each["index"], each["op"]) for each in errors] == [
                (2, {"_id": 2}),
                (5, {"_id": 5}),
                (11, {"_id": 11}),
            ]
            assert caught.value.details["nInserted"] == 9
            assert things.count_documents({}) == 12


def test_ordered_errors_in_a_later_message_stop_there(
    secantus: SecantusServer, database_name: str
) -> None:
    with Relay(secantus.host, secantus.port, hello={"maxWriteBatchSize": 4}) as relay:
        with MongoClient(relay.redirect(secantus.uri("both"))) as client:
            things = client[database_name]["things"]
            things.insert_one({"_id": 5})
            with pytest.raises(BulkWriteError) as caught:
                things.insert_many([{"_id": i} for i in range(12)])
            (error,) = caught.value.details["writeErrors"]
            assert error["index"] == 5
            assert caught.value.details["nInserted"] == 5
        assert [each.sections["documents"] for each in relay.commands("insert")] == [1, 4, 4]


def test_each_message_of_a_batch_has_its_own_transaction_number(
    secantus: SecantusServer, database_name: str
) -> None:
    with Relay(secantus.host, secantus.port, hello={"maxWriteBatchSize": 2}) as relay:
        with MongoClient(relay.redirect(secantus.uri("both"))) as client:
            client[database_name]["things"].insert_many([{"_id": i} for i in range(5)])
        inserts = [each.document for each in relay.commands("insert")]
        assert [each["txnNumber"] for each in inserts] == [1, 2, 3]
        assert len({bytes(each["lsid"]["id"]) for each in inserts}) == 1


def test_a_document_above_the_server_s_limit_is_refused_before_it_is_sent(
    secantus: SecantusServer, database_name: str
) -> None:
    with Relay(secantus.host, secantus.port, hello={"maxBsonObjectSize": 2000}) as relay:
        with MongoClient(relay.redirect(secantus.uri("both"))) as client:
            things = client[database_name]["things"]
            size = len(encode({"_id": 1, "text": "x" * 2000}))
            with pytest.raises(DocumentTooLarge, match=rf"{size} bytes.*2000"):
                things.insert_one({"_id": 1, "text": "x" * 2000})
            with pytest.raises(BulkWriteError, match=rf"index 1 has {size} bytes.*2000"):
                things.insert_many([{"_id": 0}, {"_id": 1, "text": "x" * 2000}])
            with pytest.raises(DocumentTooLarge, match=r"bytes.*2000"):
                things.replace_one({"_id": 0}, {"text": "x" * 20000}, upsert=True)
            things.insert_one(
                {"_id": 2, "text": "x" * (2000 - len(encode({"_id": 2, "text": ""})))}
            )
            assert [each["_id"] for each in things.find()] == [0, 2]
        assert len(relay.commands("insert")) == 2


def test_the_largest_document_fits_and_one_byte_more_does_not(collection: Any) -> None:
    room = 16 * 1024 * 1024 - len(encode({"_id": 1, "b": b""}))
    collection.insert_one({"_id": 1, "b": b"x" * room})
    assert len(collection.find_one()["b"]) == room
    with pytest.raises(DocumentTooLarge, match=r"16777217 bytes.*16777216"):
        collection.insert_one({"_id": 2, "b": b"x" * (room + 1)})
    collection.insert_one({"_id": 2})
    assert collection.count_documents({}) == 2


def test_a_filter_larger_than_a_message_is_refused(
    secantus: SecantusServer, database_name: str
) -> None:
    with Relay(secantus.host, secantus.port, hello={"maxMessageSizeBytes": 2000}) as relay:
        with MongoClient(relay.redirect(secantus.uri("both"))) as client:
            things = client[database_name]["things"]
            with pytest.raises(DocumentTooLarge, match="2000"):
                things.find_one({"a": "x" * 3000})
            assert things.find_one({"a": "x"}) is None
        assert relay.accepted == 1


# find and find_one


def test_find_one_by_filter_by_id_and_by_nothing(collection: Any) -> None:
    fill(collection, 3)
    assert collection.find_one() == {"_id": 0, "n": 0, "odd": False}
    assert collection.find_one({}) == collection.find_one(None) == collection.find_one()
    assert collection.find_one({"n": 2})["_id"] == 2
    assert collection.find_one(1)["n"] == 1
    assert collection.find_one({"n": 99}) is None
    assert collection.find_one("no such id") is None


def test_find_one_takes_the_arguments_of_find(collection: Any) -> None:
    fill(collection, 5)
    assert collection.find_one({}, {"n": 1, "_id": 0}) == {"n": 0}
    assert collection.find_one(sort=[("n", DESCENDING)])["n"] == 4
    assert collection.find_one({"odd": True}, skip=1)["n"] == 3
    assert collection.find_one(projection=["odd"], sort="n") == {"_id": 0, "odd": False}


def test_find_one_s_filter_may_be_any_mapping(collection: Any) -> None:
    fill(collection, 3)
    assert collection.find_one(SON([("n", 1), ("odd", True)]))["_id"] == 1
    assert collection.find_one(collections.UserDict({"n": 2}))["_id"] == 2
    assert collection.find_one(RawBSONDocument(encode({"n": 2})))["_id"] == 2


@pytest.mark.parametrize("filter", [[], "text", 5, [("a", 1)]])
def test_find_wants_a_mapping(collection: Any, filter: Any) -> None:
    with pytest.raises(TypeError, match="filter must be"):
        collection.find(filter)
    with pytest.raises(TypeError, match="filter must be"):
        collection.count_documents(filter)


def test_a_nonexistent_collection_is_empty(database: Any) -> None:
    missing = database["missing"]
    assert missing.find_one() is None
    assert list(missing.find()) == []
    assert missing.count_documents({}) == missing.estimated_document_count() == 0
    assert missing.distinct("x") == []
    assert list(missing.aggregate([])) == []
    assert list(missing.list_indexes()) == []
    assert missing.index_information() == {}
    assert missing.options() == {}
    missing.drop()


def test_text_of_every_plane_comes_back(collection: Any) -> None:
    texts = ["", "é", "ж", "日本語", "🔑", "a\x00b", "\uffff", "\U0010ffff", "e\u0301"]
    collection.insert_one({"_id": 1, "texts": texts, "поле": "значение", "🔑": {"é": 1}})
    document = collection.find_one({"поле": "значение"})
    assert document == {"_id": 1, "texts": texts, "поле": "значение", "🔑": {"é": 1}}


def test_collections_and_databases_may_have_non_ascii_names(
    client: MongoClient, database_name: str
) -> None:
    things = client[database_name]["вещи.éè"]
    things.insert_many([{"_id": i} for i in range(5)])
    assert [each["_id"] for each in things.find(batch_size=2)] == [0, 1, 2, 3, 4]
    assert client[database_name].list_collection_names() == ["вещи.éè"]
    assert things.full_name == f"{database_name}.вещи.éè"
    assert client[database_name].вещи["éè"] == things


def test_random_documents_come_back(collection: Any) -> None:
    chance = random.Random(4)

    def value(depth: int) -> Any:
        kind = chance.randrange(9 if depth else 7)
        if kind == 0:
            return chance.choice([None, True, False])
        if kind == 1:
            return chance.randrange(-(2**63), 2**63)
        if kind == 2:
            return chance.random() * 10 ** chance.randrange(-300, 300)
        if kind == 3:
            return "".join(chance.choices(string.printable + "éжö🔑", k=chance.randrange(30)))
        if kind == 4:
            return chance.randbytes(chance.randrange(40))
        if kind == 5:
            return ObjectId()
        if kind == 6:
            return datetime.datetime(1970, 1, 1) + datetime.timedelta(
                milliseconds=chance.randrange(2**42)
            )
        if kind == 7:
            return [value(depth - 1) for _ in range(chance.randrange(5))]
        return {f"k{i}": value(depth - 1) for i in range(chance.randrange(5))}

    documents = [{"_id": i, "v": value(4)} for i in range(200)]
    collection.insert_many(documents)
    assert list(collection.find()) == documents


# Codec options


def test_document_class_is_used_at_every_depth(secantus: SecantusServer, collection: Any) -> None:
    class Mine(dict[str, Any]):
        pass

    collection.insert_one({"_id": 1, "a": {"b": [{"c": 1}]}})
    with MongoClient(secantus.uri("both"), document_class=Mine) as client:
        things = client[collection.database.name]["things"]
        for found in (things.find_one(), next(things.find()), next(things.aggregate([]))):
            assert type(found) is type(found["a"]) is type(found["a"]["b"][0]) is Mine
        assert type(things.find_one_and_update({}, {"$set": {"x": 1}})) is Mine


def test_tz_aware_clients_get_aware_datetimes(secantus: SecantusServer, collection: Any) -> None:
    when = datetime.datetime(2024, 2, 29, 12, 30, 15, 123000)
    east = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    aware = when.replace(tzinfo=datetime.timezone.utc)
    collection.insert_one({"_id": 1, "at": aware.astimezone(east)})
    assert collection.find_one()["at"] == when
    with MongoClient(secantus.uri("both"), tz_aware=True) as client:
        found = client[collection.database.name]["things"].find_one()["at"]
        assert found == aware
        assert found.utcoffset() == datetime.timedelta(0)
    options = CodecOptions(tz_aware=True, tzinfo=east)
    found = collection.with_options(codec_options=options).find_one()["at"]
    assert (found, found.utcoffset()) == (aware, datetime.timedelta(hours=5, minutes=30))


def test_raw_documents_are_found_and_put_back_byte_for_byte(database: Any) -> None:
    database["source"].insert_many(
        [{"_id": i, "n": Int64(i), "b": Binary(b"x", 5)} for i in range(9)]
    )
    raw = list(database.get_collection("source", codec_options=RAW).find(batch_size=4))
    assert all(isinstance(each, RawBSONDocument) for each in raw)
    database["target"].insert_many(raw)
    assert list(database["target"].find()) == list(database["source"].find())


def test_options_are_inherited_and_replaced(client: MongoClient, database_name: str) -> None:
    options = CodecOptions(tz_aware=True)
    database = client.get_database(
        database_name,
        codec_options=options,
        read_preference=ReadPreference.SECONDARY_PREFERRED,
        write_concern=WriteConcern(w="majority"),
        read_concern=ReadConcern("majority"),
    )
    things = database["things"]["sub"]
    for each in (database, things, things.with_options(codec_options=CodecOptions())):
        assert each.read_preference == ReadPreference.SECONDARY_PREFERRED
        assert each.write_concern == WriteConcern(w="majority")
        assert each.read_concern == ReadConcern("majority")
    assert things.codec_options == options
    other = database.get_collection("x", write_concern=WriteConcern(w=1))
    assert other.write_concern == WriteConcern(w=1)
    assert other["y"].write_concern == WriteConcern(w=1)
    assert client[database_name]["things"].write_concern == client.write_concern


def test_concerns_are_sent_with_commands(watched: Any, relay: Relay) -> None:
    things = watched.with_options(
        write_concern=WriteConcern(w="majority", wtimeout=900),
        read_concern=ReadConcern("local"),
        read_preference=ReadPreference.SECONDARY_PREFERRED,
    )
    things.insert_one({"_id": 1})
    things.insert_many([{"_id": 2}])
    things.update_one({}, {"$set": {"a": 1}})
    things.find_one_and_update({}, {"$set": {"a": 2}})
    things.delete_one({})
    for name in ("insert", "update", "findAndModify", "delete"):
        for command in relay.commands(name):
            assert command.document["writeConcern"] == {"w": "majority", "wtimeout": 900}
            assert "readConcern" not in command.document
    things.find_one()
    things.count_documents({})
    things.distinct("a")
    for name in ("find", "aggregate", "distinct"):
        (command,) = relay.commands(name)
        assert command.document["readConcern"] == {"level": "local"}
        assert command.document["$readPreference"] == {"mode": "secondaryPreferred"}
        assert "writeConcern" not in command.document


def test_the_defaults_send_no_concerns(watched: Any, relay: Relay) -> None:
    watched.insert_one({"_id": 1})
    watched.find_one()
    for name in ("insert", "find"):
        (command,) = relay.commands(name)
        assert command.document.keys().isdisjoint(
            {"writeConcern", "readConcern", "$readPreference"}
        )


# update, replace, delete


def test_update_one_says_what_it_did(collection: Any) -> None:
    fill(collection, 4)
    result = collection.update_one({"odd": True}, {"$set": {"x": 1}})
    assert isinstance(result, UpdateResult)
    assert (result.matched_count, result.modified_count, result.upserted_id) == (1, 1, None)
    assert not result.did_upsert
    assert result.raw_result["n"] == 1
    again = collection.update_one({"_id": 1}, {"$set": {"x": 1}})
    assert (again.matched_count, again.modified_count) == (1, 0)
    none = collection.update_one({"_id": 99}, {"$set": {"x": 1}})
    assert (none.matched_count, none.modified_count, none.upserted_id) == (0, 0, None)


def test_update_many_changes_all_that_match(collection: Any) -> None:
    fill(collection, 10)
    result = collection.update_many({"odd": True}, {"$inc": {"n": 100}})
    assert (result.matched_count, result.modified_count) == (5, 5)
    assert collection.count_documents({"n": {"$gt": 100}}) == 5


def test_updates_may_be_pipelines(collection: Any) -> None:
    fill(collection, 3)
    result = collection.update_many({}, [{"$set": {"twice": {"$multiply": ["$n", 2]}}}])
    assert result.modified_count == 3
    assert [each["twice"] for each in collection.find()] == [0, 2, 4]


@pytest.mark.parametrize("identifier", ["x", 0, None])
def test_upserts_tell_the_id(collection: Any, identifier: Any) -> None:
    result = collection.update_one({"_id": identifier}, {"$set": {"a": 1}}, upsert=True)
    assert (result.matched_count, result.modified_count) == (0, 0)
    assert result.upserted_id == identifier
    assert result.did_upsert
    assert collection.find_one() == {"_id": identifier, "a": 1}
    again = collection.update_one({"_id": identifier}, {"$set": {"a": 2}}, upsert=True)
    assert (again.matched_count, again.upserted_id, again.did_upsert) == (1, None, False)


def test_raw_results_of_updates_are_as_pymongos(collection: Any) -> None:
    fill(collection, 1)
    updates = (("a", collection.update_one, {"$set": {"x": 1}}), ("b", collection.replace_one, {}))
    for identifier, update, change in updates:
        raw = update({"_id": 0}, change).raw_result
        assert (raw["updatedExisting"], "upserted" in raw) == (True, False)
        raw = update({"_id": "none"}, change).raw_result
        assert (raw["updatedExisting"], "upserted" in raw) == (False, False)
        raw = update({"_id": identifier}, change, upsert=True).raw_result
        assert (raw["updatedExisting"], raw["upserted"]) == (False, identifier)


def test_the_error_of_an_update_in_a_bulk_tells_the_whole_statement(collection: Any) -> None:
    fill(collection, 1)
    with pytest.raises(BulkWriteError) as caught:
        collection.bulk_write([UpdateOne({"_id": 0}, {"$set": {"_id": 5}})])
    (error,) = caught.value.details["writeErrors"]
    assert error["op"] == {"q": {"_id": 0}, "u": {"$set": {"_id": 5}}, "multi": False}


def test_upserts_without_an_id_get_one_from_the_server(collection: Any) -> None:
    identifier = collection.update_many({"a": 1}, {"$set": {"b": 2}}, upsert=True).upserted_id
    assert isinstance(identifier, ObjectId)
    assert collection.find_one() == {"_id": identifier, "a": 1, "b": 2}


def test_replace_one_replaces_and_upserts(collection: Any) -> None:
    fill(collection, 2)
    assert collection.replace_one({"_id": 1}, {"new": True}).modified_count == 1
    assert collection.find_one(1) == {"_id": 1, "new": True}
    assert collection.replace_one({"_id": 9}, {"a": 1}, upsert=True).upserted_id == 9
    assert collection.replace_one({"_id": 9}, {}).modified_count == 1
    assert collection.find_one(9) == {"_id": 9}


def test_a_raw_document_can_replace(collection: Any) -> None:
    fill(collection, 1)
    result = collection.replace_one({"_id": 0}, RawBSONDocument(encode({"_id": 0, "raw": [1]})))
    assert result.modified_count == 1
    assert collection.find_one() == {"_id": 0, "raw": [1]}


@pytest.mark.parametrize(
    ("update", "error"),
    [
        ({}, ValueError),
        ([], ValueError),
        ({"a": 1}, ValueError),
        ("x", TypeError),
        (None, TypeError),
    ],
)
def test_updates_without_operators_are_refused(
    collection: Any, update: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="update"):
        collection.update_one({}, update)
    with pytest.raises(error, match="update"):
        collection.update_many({}, update)
    with pytest.raises(error, match="update"):
        collection.find_one_and_update({}, update)


@pytest.mark.parametrize(
    ("replacement", "error"),
    [({"$set": {"a": 1}}, ValueError), ([], TypeError), (None, TypeError), ("x", TypeError)],
)
def test_replacements_with_operators_are_refused(
    collection: Any, replacement: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="replacement"):
        collection.replace_one({}, replacement)
    with pytest.raises(error, match="replacement"):
        collection.find_one_and_replace({}, replacement)


def test_update_options_reach_the_server(watched: Any, relay: Relay) -> None:
    watched.insert_one({"_id": 1, "a": [1, 2, 3]})
    watched.update_one(
        {"_id": 1},
        {"$set": {"a.$[big]": 9}},
        array_filters=[{"big": {"$gte": 2}}],
        hint=[("_id", ASCENDING)],
        comment="why",
    )
    (command,) = relay.commands("update")
    assert command.document["comment"] == "why"
    assert command.document["ordered"] is True
    assert watched.find_one()["a"] == [1, 9, 9]


def test_delete_one_and_delete_many_count(collection: Any) -> None:
    fill(collection, 10)
    result = collection.delete_one({"odd": True})
    assert isinstance(result, DeleteResult)
    assert (result.deleted_count, result.acknowledged) == (1, True)
    assert collection.delete_many({"odd": True}).deleted_count == 4
    assert collection.delete_many({"n": 99}).deleted_count == 0
    assert collection.delete_many({}).deleted_count == 5
    for wrong in (None, "x", []):
        with pytest.raises(TypeError, match="filter"):
            collection.delete_many(wrong)


def test_updates_that_break_a_unique_index_are_duplicate_keys(collection: Any) -> None:
    collection.create_index("n", unique=True)
    fill(collection, 2)
    for change in (
        lambda: collection.update_one({"_id": 0}, {"$set": {"n": 1}}),
        lambda: collection.replace_one({"_id": 0}, {"n": 1}),
        lambda: collection.find_one_and_update({"_id": 0}, {"$set": {"n": 1}}),
        lambda: collection.update_one({"_id": 5}, {"$set": {"n": 1}}, upsert=True),
    ):
        with pytest.raises(DuplicateKeyError) as caught:
            change()
        assert caught.value.code == 11000


# w=0


def test_unacknowledged_writes_ask_for_no_reply(
    watched: Any, relay: Relay, eventually: Any
) -> None:
    things = watched.with_options(write_concern=WriteConcern(w=0))
    result = things.insert_one({"_id": 1})
    assert (result.acknowledged, result.inserted_id) == (False, 1)
    many = things.insert_many([{"_id": 2}, {"_id": 3}], ordered=False)
    assert (many.acknowledged, many.inserted_ids) == (False, [2, 3])
    updated = things.update_one({"_id": 1}, {"$set": {"a": 1}})
    with pytest.raises(InvalidOperation, match="unacknowledged"):
        updated.matched_count  # noqa: B018
    deleted = things.delete_one({"_id": 3})
    with pytest.raises(InvalidOperation, match="unacknowledged"):
        deleted.deleted_count  # noqa: B018
    assert updated.raw_result is None
    change = {"$set": {"b": 2}}
    assert things.find_one_and_update({"_id": 1}, change, hint="_id_", sort=[("_id", 1)]) is None
    # The same connection, used in order: what was written is to be seen.
    assert list(watched.find()) == [{"_id": 1, "a": 1, "b": 2}, {"_id": 2}]
    for name in ("insert", "update", "delete", "findAndModify"):
        for command in relay.commands(name):
            assert command.document["writeConcern"] == {"w": 0}
            assert "txnNumber" not in command.document
            assert "lsid" not in command.document
    assert relay.accepted == 1


def test_unacknowledged_writes_do_not_raise_the_server_s_errors(collection: Any) -> None:
    things = collection.with_options(write_concern=WriteConcern(w=0))
    collection.insert_one({"_id": 1})
    assert not things.insert_one({"_id": 1}).acknowledged
    assert not things.insert_many([{"_id": 1}, {"_id": 2}]).acknowledged
    assert collection.count_documents({}) == 1


def test_unacknowledged_writes_refuse_options_that_need_an_answer(collection: Any) -> None:
    things = collection.with_options(write_concern=WriteConcern(w=0))
    with pytest.raises(ConfigurationError, match="acknowledged"):
        things.update_one({}, {"$set": {"a": 1}}, array_filters=[{"x": 1}])
    with pytest.raises(ConfigurationError, match="acknowledged"):
        things.delete_many({}, collation={"locale": "en"})
    collection.insert_one({"_id": 1})
    things.update_one({}, {"$set": {"a": 1}}, hint="_id_")
    assert collection.find_one() == {"_id": 1, "a": 1}


# find and modify


def test_find_one_and_update_returns_before_or_after(collection: Any) -> None:
    fill(collection, 3)
    assert collection.find_one_and_update({"_id": 1}, {"$inc": {"n": 10}})["n"] == 1
    after = collection.find_one_and_update(
        {"_id": 1}, {"$inc": {"n": 10}}, return_document=ReturnDocument.AFTER
    )
    assert after["n"] == 21
    assert collection.find_one_and_update({"_id": 9}, {"$set": {"n": 1}}) is None
    made = collection.find_one_and_update(
        {"_id": 9}, {"$set": {"n": 1}}, upsert=True, return_document=ReturnDocument.AFTER
    )
    assert made == {"_id": 9, "n": 1}
    assert collection.find_one_and_update(
        {}, {"$set": {"x": 1}}, projection={"_id": 1}, sort=[("n", DESCENDING)]
    ) == {"_id": 1}


def test_find_one_and_replace_and_delete(collection: Any) -> None:
    fill(collection, 3)
    assert collection.find_one_and_replace({"_id": 1}, {"a": 1})["n"] == 1
    after = collection.find_one_and_replace(
        {"_id": 1}, {"a": 2}, return_document=ReturnDocument.AFTER
    )
    assert after == {"_id": 1, "a": 2}
    assert collection.find_one_and_delete({"_id": 1}) == {"_id": 1, "a": 2}
    assert collection.find_one_and_delete({"_id": 1}) is None
    assert collection.find_one_and_delete({}, sort=[("_id", -1)], projection=["n"])["n"] == 2


# count, distinct, aggregate


def test_count_documents_with_filter_skip_and_limit(collection: Any) -> None:
    fill(collection, 20)
    assert collection.count_documents({}) == 20
    assert collection.count_documents({"odd": True}) == 10
    assert collection.count_documents({}, skip=15) == 5
    assert collection.count_documents({}, limit=7) == 7
    assert collection.count_documents({"odd": True}, skip=2, limit=5) == 5
    assert collection.count_documents({"n": 99}) == 0
    assert collection.count_documents({}, hint="_id_") == 20
    assert collection.estimated_document_count() == 20


def test_distinct_values(collection: Any) -> None:
    collection.insert_many([{"a": i % 3, "b": {"c": i}} for i in range(9)])
    assert sorted(collection.distinct("a")) == [0, 1, 2]
    assert sorted(collection.distinct("b.c", {"a": 0})) == [0, 3, 6]
    assert sorted(collection.find({"a": 1}).distinct("b.c")) == [1, 4, 7]
    with pytest.raises(TypeError, match="key"):
        collection.distinct(5)


def test_aggregate_over_several_batches(collection: Any) -> None:
    fill(collection, 25)
    cursor = collection.aggregate([{"$match": {}}, {"$sort": {"n": -1}}], batchSize=4)
    assert [each["n"] for each in cursor] == list(range(24, -1, -1))
    total = collection.aggregate([{"$group": {"_id": None, "sum": {"$sum": "$n"}}}])
    assert list(total) == [{"_id": None, "sum": 300}]


def test_aggregate_into_a_collection(collection: Any) -> None:
    fill(collection, 5)
    assert list(collection.aggregate([{"$match": {"odd": True}}, {"$out": "odd"}])) == []
    assert collection.database["odd"].count_documents({}) == 2


def test_aggregate_wants_a_list(collection: Any) -> None:
    with pytest.raises(TypeError, match="pipeline"):
        collection.aggregate({"$match": {}})


# collections, databases, indexes, commands


def test_drop_rename_and_list_collections(database: Any) -> None:
    database["one"].insert_one({})
    database["two"].insert_one({})
    assert sorted(database.list_collection_names()) == ["one", "two"]
    database["one"].rename("three")
    assert sorted(database.list_collection_names()) == ["three", "two"]
    with pytest.raises(OperationFailure):
        database["three"].rename("two")
    database["three"].rename("two", dropTarget=True)
    assert database.list_collection_names() == ["two"]
    database["two"].drop()
    database["two"].drop()
    assert database.list_collection_names() == []


def test_a_constructor_creates_a_collection_where_it_can_wait(database: Any, face: str) -> None:
    cls = type(database["c"])
    if face == "asyncio":
        return  # tests/unit/test_pymongo_modules.py has its refusal
    with pytest.warns(DeprecationWarning, match="create_collection"):
        made = cls(database, "made", create=True)
    with pytest.warns(DeprecationWarning, match="create_collection"):
        cls(database, "capped", capped=True, size=4096)
    assert sorted(database.list_collection_names()) == ["capped", "made"]
    assert made.options() == {}
    assert database["capped"].options()["capped"] is True
    with pytest.warns(DeprecationWarning, match="create"), pytest.raises(OperationFailure):
        cls(database, "made", create=True, capped=True, size=4096)


def test_a_collection_is_validated(database: Any) -> None:
    database["one"].insert_one({})
    findings = database.validate_collection(database["one"], full=True)
    assert findings["valid"] is True
    assert findings["nrecords"] == 1
    assert database.validate_collection("one", comment="why")["valid"] is True
    with pytest.raises(OperationFailure):
        database.validate_collection("not_there")


def test_a_collection_is_created_with_its_write_concern(watched: Any, relay: Relay) -> None:
    database = watched.database
    watched.drop()
    with pytest.raises(WriteConcernError):
        database.create_collection("made", write_concern=WriteConcern(w=50))
    database.create_collection("other")
    sent = [each.document.get("writeConcern") for each in relay.commands("create")]
    assert sent == [{"w": 50}, None]


def test_a_filter_by_more_than_names_is_no_question_for_names(watched: Any, relay: Relay) -> None:
    database = watched.database
    database.list_collection_names(filter={"options.capped": True})
    database.list_collection_names(filter={"name": "x"})
    sent = [each.document.get("nameOnly") for each in relay.commands("listCollections")]
    assert sent == [None, True]


def test_create_collection_twice_is_refused(database: Any) -> None:
    assert database.create_collection("made").name == "made"
    with pytest.raises(CollectionInvalid, match="already exists"):
        database.create_collection("made")
    assert [each["name"] for each in database.list_collections()] == ["made"]
    database.drop_collection("made")
    assert database.list_collection_names() == []


def test_databases_are_listed_and_dropped(client: MongoClient, database_name: str) -> None:
    client[database_name]["x"].insert_one({})
    assert database_name in client.list_database_names()
    assert database_name in [each["name"] for each in client.list_databases()]
    client.drop_database(database_name)
    assert database_name not in client.list_database_names()


def test_indexes_are_made_listed_and_dropped(collection: Any) -> None:
    assert collection.create_index("a") == "a_1"
    assert collection.create_index([("a", ASCENDING), ("b", DESCENDING)], unique=True) == "a_1_b_-1"
    assert collection.create_index("c", name="mine") == "mine"
    information = collection.index_information()
    assert set(information) == {"_id_", "a_1", "a_1_b_-1", "mine"}
    assert information["a_1_b_-1"]["key"] == [("a", 1), ("b", -1)]
    assert information["a_1_b_-1"]["unique"] is True
    collection.drop_index("mine")
    collection.drop_index([("a", 1)])
    collection.drop_indexes()
    assert [each["name"] for each in collection.list_indexes()] == ["_id_"]


def test_command_runs_by_name_and_as_a_document(database: Any) -> None:
    assert database.command("ping")["ok"] == 1
    assert database.command({"ping": 1})["ok"] == 1
    assert database.command(SON([("ping", 1)]))["ok"] == 1
    database["things"].insert_one({"_id": 1})
    assert database.command("count", "things", query={"_id": 1})["n"] == 1
    reply = database.command("find", "things", codec_options=RAW)
    assert isinstance(reply, RawBSONDocument)


def test_command_takes_a_write_concern_by_keyword(watched: Any, relay: Relay) -> None:
    database = watched.database
    insert = {"documents": [{"_id": 1}]}
    database.command("insert", "things", write_concern=WriteConcern(w=1), **insert)
    assert relay.commands("insert")[-1].document["writeConcern"] == {"w": 1}
    insert = {"documents": [{"_id": 2}]}
    database.command("insert", "things", write_concern=WriteConcern(), **insert)
    last = relay.commands("insert")[-1].document
    assert not {"writeConcern", "write_concern"} & set(last)
    cursor = database.cursor_command("find", "things", write_concern=WriteConcern())
    assert len(cursor.to_list()) == 2


def test_command_raises_unless_the_error_is_allowed(database: Any) -> None:
    with pytest.raises(OperationFailure) as caught:
        database.command("noSuchCommand")
    assert caught.value.code == 59
    assert caught.value.details["codeName"] == "CommandNotFound"
    assert database.command("noSuchCommand", check=False)["code"] == 59
    assert database.command("noSuchCommand", allowable_errors=[59])["ok"] == 0
    with pytest.raises(OperationFailure):
        database.command("noSuchCommand", allowable_errors=[60])


def test_cursor_command_reads_all_batches(database: Any) -> None:
    fill(database["things"], 10)
    cursor = database.cursor_command({"find": "things", "batchSize": 3})
    assert [each["_id"] for each in cursor] == list(range(10))


def test_dereference_follows_a_reference(database: Any) -> None:
    fill(database["things"], 2)
    assert database.dereference(DBRef("things", 1))["n"] == 1
    assert database.dereference(DBRef("things", 9)) is None
    with pytest.raises(ValueError, match="another database"):
        database.dereference(DBRef("things", 1, "elsewhere"))
    with pytest.raises(TypeError, match="DBRef"):
        database.dereference({"$ref": "things"})


@pytest.mark.parametrize("name", ["", "a..b", ".a", "a.", "a$b", "a\x00b"])
def test_names_that_no_collection_can_have(database: Any, name: str) -> None:
    with pytest.raises(InvalidName):
        database[name]


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a$b", "a/b", "a\\b", 'a"b', "a\x00b"])
def test_names_that_no_database_can_have(client: MongoClient, name: str) -> None:
    with pytest.raises(InvalidName):
        client[name]


def test_handles_compare_by_what_they_name(client: MongoClient, database: Any) -> None:
    assert database == client[database.name] != client["other"]
    assert database["a"] == database.a != database["b"]
    assert hash(database["a"]["b"]) == hash(database.a.b)
    assert database["a"]["b"].name == "a.b"
    for handle in (database, database["a"]):
        with pytest.raises(NotImplementedError, match="None"):
            bool(handle)
        with pytest.raises(TypeError, match="not iterable"):
            iter(handle)
    with pytest.raises(TypeError, match="not callable"):
        database["a"].no_such_method()


def test_what_is_no_session_is_refused_in_words(collection: Any) -> None:
    with pytest.raises(ValueError, match="start_session"):
        collection.insert_one({}, session=object())
    with pytest.raises(ValueError, match="start_session"):
        list(collection.find(session=object()))


def test_a_result_that_many_threads_read_at_once_is_the_same_for_all(collection: Any) -> None:
    """What PyMongo shows is made of the server's reply when it is first asked for."""
    for number in range(50):
        result = collection.update_one({"_id": number}, {"$set": {"a": 1}}, upsert=True)
        begin = threading.Barrier(4)

        def read(result: Any = result, begin: Any = begin) -> tuple[Any, bool, int]:
            begin.wait(20)
            return result.upserted_id, result.raw_result["updatedExisting"], result.matched_count

        with ThreadPoolExecutor(4) as pool:
            found = [each.result(20) for each in [pool.submit(read) for _ in range(4)]]
        assert found == [(number, False, 0)] * 4
