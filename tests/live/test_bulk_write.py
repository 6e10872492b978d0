"""bulk_write on a real server: what is written, counted and reported, beside PyMongo's."""

from __future__ import annotations

import decimal
import uuid

import pymongo
import pymongo.errors
import pytest

import mongokey
from mongokey import operations as ours
from mongokey.errors import BulkWriteError, InvalidDocument, InvalidOperation

pytestmark = pytest.mark.live


def requests(module):
    """One of each kind, with changes of kind in between, made of `module`'s classes."""
    return [
        module.InsertOne({"_id": 1, "v": 1}),
        module.InsertOne({"_id": 2, "v": 1}),
        module.UpdateOne({"_id": 1}, {"$set": {"v": 2}}),
        module.UpdateMany({}, {"$inc": {"n": 1}}),
        module.ReplaceOne({"_id": 7}, {"v": 7}, upsert=True),
        module.UpdateOne({"_id": 8}, {"$set": {"v": 8}}, upsert=True),
        module.InsertOne({"_id": 3, "v": 3}),
        module.DeleteOne({"_id": 2}),
        module.DeleteMany({"v": {"$gt": 7}}),
    ]


@pytest.fixture
def both(secantus, database_name):
    """The same server through both drivers: (ours, PyMongo's), a collection each."""
    uri = secantus.uri()
    with mongokey.MongoClient(uri) as mine, pymongo.MongoClient(uri) as theirs:
        yield mine[database_name]["mine"], theirs[database_name]["theirs"]


@pytest.mark.parametrize("ordered", [True, False])
def test_counts_and_documents_are_pymongos(both, ordered):
    mine, theirs = both
    got = mine.bulk_write(requests(ours), ordered=ordered)
    wanted = theirs.bulk_write(requests(pymongo), ordered=ordered)
    for name in (
        "inserted_count",
        "matched_count",
        "modified_count",
        "deleted_count",
        "upserted_count",
        "upserted_ids",
        "acknowledged",
    ):
        assert getattr(got, name) == getattr(wanted, name), name
    assert list(mine.find().sort("_id")) == list(theirs.find().sort("_id"))


@pytest.mark.parametrize("ordered", [True, False])
def test_errors_carry_the_position_in_the_bulk(both, ordered):
    mine, theirs = both

    def failing(module):
        return [
            module.InsertOne({"_id": 1}),
            module.UpdateOne({"_id": 1}, {"$set": {"v": 1}}),
            module.InsertOne({"_id": 1}),
            module.DeleteOne({"_id": 9}),
            module.InsertOne({"_id": 2}),
            module.InsertOne({"_id": 2}),
        ]

    with pytest.raises(BulkWriteError) as got:
        mine.bulk_write(failing(ours), ordered=ordered)
    with pytest.raises(pymongo.errors.BulkWriteError) as wanted:
        theirs.bulk_write(failing(pymongo), ordered=ordered)

    def facts(details):
        errors = [(each["index"], each["code"], each["op"]) for each in details["writeErrors"]]
        return errors, {k: v for k, v in details.items() if k.startswith("n")}

    assert facts(got.value.details) == facts(wanted.value.details)
    assert got.value.code == wanted.value.code


def test_more_requests_than_fit_one_message(both):
    mine, _ = both
    text = "x" * 200_000
    result = mine.bulk_write([ours.InsertOne({"_id": n, "text": text}) for n in range(300)])
    assert result.inserted_count == 300
    assert mine.count_documents({}) == 300


def test_documents_get_an_id_when_they_are_sent(both):
    mine, _ = both
    document = {"v": 1}
    mine.bulk_write([ours.InsertOne(document)])
    assert mine.find_one()["_id"] == document["_id"]


def test_unacknowledged_bulk_has_no_counts(both):
    mine, _ = both
    collection = mine.with_options(write_concern=mongokey.WriteConcern(w=0))
    result = collection.bulk_write([ours.InsertOne({"_id": 1})])
    assert not result.acknowledged
    with pytest.raises(InvalidOperation, match="inserted_count"):
        _ = result.inserted_count


def test_nothing_is_sent_when_one_of_the_requests_is_none(both):
    mine, _ = both
    with pytest.raises(TypeError, match="index 1"):
        mine.bulk_write([ours.InsertOne({"_id": 1}), {"insert": 1}])
    assert mine.count_documents({}) == 0


@pytest.mark.parametrize(
    ("requests", "error"), [([], InvalidOperation), ((), TypeError), ("insert", TypeError)]
)
def test_what_is_no_list_of_requests(both, requests, error):
    mine, _ = both
    with pytest.raises(error):
        mine.bulk_write(requests)


@pytest.mark.parametrize("ordered", [True, False])
def test_one_document_above_16_megabytes_does_not_take_the_others_along(both, ordered):
    mine, _ = both
    big = {"_id": 1, "text": "x" * (16 * 1024 * 1024)}
    with pytest.raises(BulkWriteError) as caught:
        mine.insert_many([{"_id": 0}, big, {"_id": 2}], ordered=ordered)
    details = caught.value.details
    assert [each["_id"] for each in mine.find().sort("_id")] == ([0] if ordered else [0, 2])
    assert details["nInserted"] == (1 if ordered else 2)
    (error,) = details["writeErrors"]
    assert (error["index"], error["code"], error["op"]) == (1, 10334, big)


def test_nothing_is_deleted_for_a_bulk_with_a_request_that_cannot_be_sent(both):
    mine, theirs = both
    for collection, module in ((mine, ours), (theirs, pymongo)):
        collection.insert_one({"_id": 1})
        with pytest.raises(TypeError):
            collection.bulk_write([module.DeleteMany({}), module.InsertOne(None)])
    for wrong in ({"price": decimal.Decimal("1.50")}, {"a": object()}, {1: 2}):
        with pytest.raises(InvalidDocument):
            mine.bulk_write([ours.DeleteMany({}), ours.InsertOne(wrong)])
    assert mine.count_documents({}) == theirs.count_documents({}) == 1


def test_an_ordered_bulk_without_answers_stops_before_it_deletes(both):
    for collection, module, concern in (
        (both[0], ours, mongokey.WriteConcern(w=0)),
        (both[1], pymongo, pymongo.WriteConcern(w=0)),
    ):
        collection.insert_many([{"_id": 1}, {"_id": 2}])
        quiet = collection.with_options(write_concern=concern)
        result = quiet.bulk_write([module.InsertOne({"_id": 1}), module.DeleteMany({})])
        assert not result.acknowledged
        assert collection.count_documents({}) == 2


def test_upserted_ids_are_the_users_values(both):
    mine, theirs = both
    identifier = uuid.UUID(int=5)
    found = []
    for collection, module in ((mine, ours), (theirs, pymongo)):
        options = collection.codec_options.with_options(uuid_representation=4)
        things = collection.with_options(codec_options=options)
        request = module.UpdateOne({"_id": identifier}, {"$set": {"a": 1}}, upsert=True)
        found.append(things.bulk_write([request]).upserted_ids)
        things.drop()
        found.append(
            things.update_one({"_id": identifier}, {"$set": {"a": 1}}, upsert=True).upserted_id
        )
    assert found == [{0: identifier}, identifier] * 2
