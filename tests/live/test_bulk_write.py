"""bulk_write on a real server: what is written, counted and reported, beside PyMongo's."""

from __future__ import annotations

import pymongo
import pymongo.errors
import pytest

import mongokey
from mongokey import operations as ours
from mongokey.errors import BulkWriteError, InvalidOperation

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
