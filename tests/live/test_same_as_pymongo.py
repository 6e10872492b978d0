"""The same calls with PyMongo and with mongokey on the same server have the same outcome."""

from __future__ import annotations

import collections
import datetime
import pprint
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import bson.binary
import bson.code
import bson.codec_options
import bson.int64
import bson.json_util
import bson.objectid
import bson.raw_bson
import bson.regex
import bson.son
import pymongo
import pytest

import mongokey
import mongokey.bson as mongokey_bson
import mongokey.bson.binary
import mongokey.bson.code
import mongokey.bson.codec_options
import mongokey.bson.int64
import mongokey.bson.objectid
import mongokey.bson.raw_bson
import mongokey.bson.regex
import mongokey.bson.son
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live


class Driver(NamedTuple):
    """One of the two, under the names that the calls below use."""

    client: Any
    package: Any
    bson: Any


@pytest.fixture(scope="module")
def drivers(face: str, secantus: SecantusServer) -> Iterator[tuple[Driver, Driver]]:
    with (
        pymongo.MongoClient(secantus.uri("both")) as theirs,
        mongokey.MongoClient(secantus.uri("both")) as ours,
    ):
        yield Driver(theirs, pymongo, bson), Driver(ours, mongokey, mongokey_bson)


# Fields whose value differs from call to call.
CHANGING = {"operationTime", "$clusterTime", "electionId", "opTime", "ts", "cursor_id"}


def plain(value: Any, ids: dict[str, int]) -> Any:
    """`value` in a form that does not depend on the driver; new ObjectIds become numbers."""
    kind = type(value).__name__
    if kind == "ObjectId":
        return ("ObjectId", ids.setdefault(str(value), len(ids)))
    if kind == "RawBSONDocument":
        return ("RawBSONDocument", value.raw)
    if isinstance(value, Mapping):
        return {str(k): plain(v, ids) for k, v in value.items() if k not in CHANGING}
    if isinstance(value, list | tuple):
        return [plain(each, ids) for each in value]
    if isinstance(value, re.Pattern):
        return ("Pattern", value.pattern, value.flags)
    if kind.endswith("Result"):
        names = ["acknowledged", "inserted_id", "inserted_ids", "matched_count", "modified_count"]
        names += ["upserted_id", "deleted_count"]
        return (kind, {n: plain(outcome(getattr, value, n), ids) for n in names if has(value, n)})
    if kind in ("Binary", "Int64", "Decimal128", "Timestamp", "Code", "Regex", "MinKey", "MaxKey"):
        return (kind, str(value))
    if kind.endswith("Cursor"):
        return plain(outcome(list, value), ids)
    return value


def has(value: Any, name: str) -> bool:
    return name in dir(type(value))


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    """What `call` returns, or the name of what it raises with the server's code."""
    try:
        return call(*args)
    except Exception as error:
        return ("raised", type(error).__name__, getattr(error, "code", None))


def compare(drivers: tuple[Driver, Driver], name: str, call: Callable[[Driver, Any], Any]) -> Any:
    results = []
    for driver in drivers:
        database = driver.client[name]
        driver.client.drop_database(name)
        database["things"].insert_many(
            [{"_id": i, "n": i, "m": i % 3, "t": {"x": [i, {"y": i}]}} for i in range(12)]
        )
        ids: dict[str, int] = {}
        results.append(plain(outcome(call, driver, database["things"]), ids))
        results[-1] = (results[-1], plain(list(database["things"].find().sort("_id")), ids))
    theirs, ours = results
    if ours != theirs:
        pytest.fail(f"mongokey:\n{pprint.pformat(ours)}\nPyMongo:\n{pprint.pformat(theirs)}")
    return ours[0]


def call(text: str) -> Any:
    """A call as text: `c` is the collection, `d` its database, `p` the driver, `b` its bson."""
    code = compile(text, "<call>", "eval")

    def run(driver: Driver, things: Any) -> Any:
        names = {"c": things, "d": things.database, "p": driver.package, "b": driver.bson}
        return eval(code, {"dt": datetime, "re": re, "collections": collections, **names})

    return run


CALLS = """
c.find_one()
c.find_one({})
c.find_one(3)
c.find_one("none")
c.find_one({"n": 5})
c.find_one({"n": {"$gt": 4}}, sort=[("n", -1)])
c.find_one({}, {"n": 1, "_id": 0})
c.find_one({}, ["m"])
c.find_one({}, [])
c.find({}, [])
c.find_one([])
c.find_one({"$bad": 1})
c.find_one({"n": 5}, skip=1)
c.find_one(projection={"t.x": {"$slice": 1}})
c.find().sort("n", -1).limit(3)
c.find().sort([("m", 1), ("n", -1)])
c.find().sort("m").sort("n", -1)
c.find(sort={"n": -1})
c.find(sort=["m", ("n", -1)])
c.find().limit(-3)
c.find().limit(0)
c.find(skip=10)
c.find(limit="1")
c.find(batch_size=-1)
c.find(batch_size=1)
c.find(5)
c.find([("n", 1)])
c.find({"n": {"$in": [1, 2]}}, projection={"n": True})
c.find(projection=5)
c.find({}, {"n": 1}, 2, 3)
c.find(cursor_type=7)
c.find(hint="_id_")
c.find(hint=[("_id", 1)])
c.find(hint={"_id": 1})
c.find(hint="none")
c.find(hint=5)
c.find(max_time_ms=10000)
c.find(comment={"a": 1})
c.find()[3]
c.find().sort("n")[2:5]
c.find()[12]
c.find()[-1]
c.find()[5:5]
c.find()[5:2]
c.find()[::2]
c.find()["a"]
c.find().sort("n").skip(3).limit(5)[1:]
c.find().sort("n").skip(3)[1]
c.find().sort("n")[4:].limit(2)
c.find({"m": 1}).distinct("n")
c.find().sort([])
c.find().sort(None)
c.find().sort("n", "up")
c.find().sort(("n", 1))
c.find().to_list()
c.find().sort("n").to_list(4)
c.find().to_list(0)
c.find().rewind().limit(2)
c.find().clone().limit(2)
c.find({"n": 1}).alive
list(c.find(limit=1)) and c.find().retrieved
c.find().where("this.n == 1").alive
c.find().where(5)
c.find().hint(None).limit(1)
c.find().max([("n", 5)]).alive
c.find().allow_disk_use(1)
c.find().batch_size(1.5)
c.find().nonsense
c.insert_one({"_id": "x", "a": 1})
c.insert_one({"a": 1})
c.insert_one({"_id": 1})
c.insert_one([])
c.insert_one(None)
c.insert_one({1: 2})
c.insert_one({"a": {1: 2}})
c.insert_one({"a": object()})
c.insert_one({"a.b": 1, "_id": 99})
c.insert_one({"$a": 1, "_id": 99})
c.insert_one({"_id": [1]})
c.insert_one({"_id": re.compile("x")})
c.insert_one({"_id": 99, "big": 2 ** 63 - 1})
c.insert_one({"_id": 99, "big": 2 ** 63})
c.insert_one({"_id": 99, "u": "\\ud800"})
c.insert_one({"_id": 99, "k\\0": 1})
c.insert_one({"_id": 99, "v": "a\\0b"})
c.insert_one({"_id": 99, "s": {1, 2}})
c.insert_one({"_id": 99, "f": [1.5, float("inf"), -0.0, True, None, b"x", (1, 2)]})
c.insert_one({"_id": 99, "at": dt.datetime(2020, 1, 2, 3, 4, 5, 678901)})
c.insert_one({"_id": 99, "at": dt.date(2020, 1, 2)})
c.insert_one({"_id": 99, "re": re.compile("a+", re.I | re.M)})
c.insert_one(collections.OrderedDict([("z", 1), ("_id", 99)]))
c.insert_one(b.son.SON([("z", 1), ("_id", 99)]))
c.insert_one({"_id": 99, "b": b.binary.Binary(b"x", 128), "c": b.code.Code("f", {"a": 1})})
c.insert_one({"_id": 99, "i": b.int64.Int64(5), "r": b.regex.Regex("x", "i")})
c.insert_one(b.raw_bson.RawBSONDocument(b.encode({"_id": 99, "a": 1})))
c.insert_one({}, bypass_document_validation=True)
c.insert_many([{"_id": 50}, {"_id": 51}])
c.insert_many([])
c.insert_many({})
c.insert_many(None)
c.insert_many([5])
c.insert_many([{"_id": 50}, {"_id": 50}, {"_id": 51}])
c.insert_many([{"_id": 50}, {"_id": 50}, {"_id": 51}], ordered=False)
c.insert_many(({"_id": i} for i in range(100, 103)))
c.insert_many([{"_id": 50}, b.raw_bson.RawBSONDocument(b.encode({"_id": 98}))])
c.update_one({"n": 1}, {"$set": {"n": 100}})
c.update_one({"n": 1}, {"$set": {"n": 1}})
c.update_one({"n": 77}, {"$set": {"n": 1}})
c.update_one({"_id": 77}, {"$set": {"n": 1}}, upsert=True)
c.update_one({"_id": 1}, {"$set": {"n": 1}}, upsert=True)
c.update_one({"q": 1}, {"$set": {"n": 1}}, upsert=True)
c.update_one({}, {"n": 1})
c.update_one({}, {})
c.update_one({}, [])
c.update_one({}, None)
c.update_one(None, {"$set": {"a": 1}})
c.update_one({}, {"$nonsense": {"a": 1}})
c.update_one({}, [{"$set": {"a": "$n"}}])
c.update_one({}, {"$set": {"a": 1}}, upsert="yes")
c.update_one({}, {"$set": {"a": 1}}, hint="none")
c.update_one({"_id": 1}, {"$set": {"t.x.$[e]": 9}}, array_filters=[{"e": 1}])
c.update_one({}, {"$set": {"a": 1}}, array_filters={})
c.update_one({"_id": 1}, {"$inc": {"t": 1}})
c.update_many({"m": 1}, {"$inc": {"n": 100}})
c.update_many({"m": 9}, {"$set": {"n": 1}}, upsert=True)
c.update_many({}, {"n": 1})
c.replace_one({"_id": 1}, {"new": 1})
c.replace_one({"_id": 1}, {})
c.replace_one({"_id": 88}, {"new": 1}, upsert=True)
c.replace_one({"_id": 1}, {"_id": 2})
c.replace_one({}, {"$set": {"a": 1}})
c.replace_one({}, [])
c.replace_one({"_id": 1}, b.raw_bson.RawBSONDocument(b.encode({"_id": 1, "raw": 1})))
c.delete_one({"m": 1})
c.delete_one({"m": 9})
c.delete_one(None)
c.delete_many({"m": 1})
c.delete_many({})
c.delete_many([])
c.delete_many({"$bad": 1})
c.find_one_and_update({"_id": 1}, {"$set": {"n": 9}})
c.find_one_and_update({"_id": 1}, {"$set": {"n": 9}}, return_document=p.ReturnDocument.AFTER)
c.find_one_and_update({"_id": 1}, {"$set": {"n": 9}}, projection={"n": 1, "_id": 0})
c.find_one_and_update({"_id": 77}, {"$set": {"n": 9}})
c.find_one_and_update({"_id": 77}, {"$set": {"n": 9}}, upsert=True, return_document=True)
c.find_one_and_update({}, {"$set": {"n": 9}}, sort=[("n", -1)])
c.find_one_and_update({}, {"n": 9})
c.find_one_and_update({"_id": 1}, {"$inc": {"t": 1}})
c.find_one_and_replace({"_id": 1}, {"new": 1})
c.find_one_and_replace({"_id": 1}, {"new": 1}, return_document=p.ReturnDocument.AFTER)
c.find_one_and_replace({"_id": 1}, {"$set": {"a": 1}})
c.find_one_and_delete({"_id": 1})
c.find_one_and_delete({"_id": 77})
c.find_one_and_delete({}, sort=[("_id", -1)], projection=["n"])
c.count_documents({})
c.count_documents({"m": 1})
c.count_documents({}, skip=5)
c.count_documents({}, limit=5)
c.count_documents({}, limit=0)
c.count_documents({}, skip=50)
c.count_documents({"$bad": 1})
c.count_documents({"n": {"$gt": 3}}, hint="_id_")
c.estimated_document_count()
d["none"].count_documents({})
d["none"].estimated_document_count()
sorted(c.distinct("m"))
sorted(c.distinct("n", {"m": 1}))
c.distinct("none")
c.distinct(5)
d["none"].distinct("a")
c.aggregate([{"$match": {"m": 1}}, {"$sort": {"n": -1}}])
c.aggregate([{"$group": {"_id": "$m", "s": {"$sum": "$n"}}}, {"$sort": {"_id": 1}}])
c.aggregate([])
c.aggregate({})
c.aggregate([{"$bad": 1}])
c.aggregate([{"$sort": {"n": 1}}], batchSize=3)
c.aggregate([{"$match": {"m": 0}}, {"$out": "things2"}])
c.aggregate([{"$limit": 2}], comment="x", maxTimeMS=5000)
d["none"].aggregate([])
c.drop()
d["none"].drop()
d.drop_collection("none")
d.drop_collection(c) and None
d.drop_collection(5)
sorted(d.list_collection_names())
d.list_collection_names(filter={"name": "things"})
d.create_collection("made").name
d.create_collection("things").name
d.create_collection("bad$name")
d.create_collection("made", nonsense=1).name
c.rename("other") and None
c.rename("bad..name")
c.rename(5)
c.create_index("n")
c.create_index([("n", 1), ("m", -1)])
c.create_index("m", unique=True)
c.create_index("n", name="mine", unique=True)
c.create_index([])
c.create_index(5)
c.create_index({"n": 1})
c.create_index(["n", ("m", -1)])
c.create_index("n", bad=1)
c.create_indexes([p.IndexModel("n"), p.IndexModel([("m", -1)])])
c.create_indexes([])
c.create_indexes("n")
c.create_indexes([5])
sorted(c.index_information())
c.create_index("n") and c.index_information()
c.create_index("n") and c.drop_index("n_1")
c.create_index("n") and c.drop_index([("n", 1)])
c.drop_index("none")
c.drop_indexes()
c.list_indexes()
d["none"].list_indexes()
d["none"].index_information()
d["none"].drop_index("x")
d["none"].drop_indexes()
c.options()
d["none"].options()
d.command("ping")["ok"]
d.command({"ping": 1})["ok"]
d.command("nonsense")
d.command("nonsense", check=False)["code"]
d.command("nonsense", allowable_errors=[59])["code"]
d.command("nonsense", allowable_errors=["x"])["code"]
d.command("count", "things", query={"m": 1})["n"]
d.command(5)
d.command("distinct", "things", key="m")["values"]
d.cursor_command("find", "things", batchSize=3)
d.cursor_command("ping")
d.aggregate([{"$documents": [{"a": 1}]}])
d.aggregate([{"$bad": 1}])
d[""]
d["a..b"]
d[5]
d.name
d["a"]["b"].full_name
d["a"].b.c.name
c.full_name
bool(c)
bool(d)
iter(c)
c()
d.things == c
c.database == d
d.client["x"] == d.client["x"]
d.client["bad name"]
d.client[5]
d.client.get_database("x").name
d.client.get_database()
d.client.get_default_database()
d.client.get_default_database("y").name
d.client.drop_database(5)
d.client.drop_database(d)
d.name in d.client.list_database_names()
d.client.is_mongos
d.client.is_primary
len(d.client.nodes)
d.client.server_info()["ok"]
d.with_options().name
c.with_options().name
QUIET.insert_one({"_id": 60})
QUIET.update_one({}, {"$set": {"a": 1}})
QUIET.delete_one({}).deleted_count
QUIET.insert_many([{"_id": 60}])
QUIET.update_one({}, {"$set": {"a": 1}}, hint="_id_")
c.with_options(codec_options=b.codec_options.CodecOptions(tz_aware=True)).find_one()
c.with_options(codec_options=b.codec_options.CodecOptions(document_class=b.son.SON)).find_one()
c.with_options(codec_options=b.codec_options.CodecOptions(b.raw_bson.RawBSONDocument)).find_one()
c.insert_many([{"_id": 60}, 5])
c.insert_many([{"_id": 60}, {"a": object()}])
c.insert_many({"_id": i} if i < 62 else 1 // 0 for i in range(60, 65))
c.bulk_write([p.DeleteMany({}), p.InsertOne(None)])
c.bulk_write([p.DeleteMany({}), p.InsertOne([])])
c.bulk_write([p.DeleteMany({}), 5])
c.bulk_write([p.DeleteMany({}), p.UpdateOne({}, {"a": 1})])
c.bulk_write([p.DeleteMany({}), p.ReplaceOne({}, {"$set": {"a": 1}})])
c.bulk_write([p.DeleteMany({}), p.UpdateOne({}, [])])
c.bulk_write([p.DeleteMany({}), p.UpdateOne({}, {"$set": {"a": 1}}, upsert=1)])
c.bulk_write([p.DeleteMany({})], let=5)
c.bulk_write([p.InsertOne({"_id": 1}), p.DeleteMany({})], ordered=False)
c.update_one({}, {"$set": {"a": 1}}, upsert=0)
c.update_one({}, {"$set": {"a": 1}}, upsert=None)
c.update_many({}, {"$set": {"a": 1}}, upsert=1)
c.replace_one({}, {}, upsert=None)
c.update_one({}, {"$set": {"a": 1}}, let=5)
c.replace_one({}, {}, let=5)
c.delete_many({}, let=5)
c.delete_many({}, hint=5)
c.delete_many({}, collation=5)
c.find_one_and_update({}, {"$set": {"a": 1}}, let=5)
c.find_one_and_update({}, {"$set": {"a": 1}}, return_document=1)
c.find_one_and_update({}, {"$set": {"a": 1}}, upsert=1)
c.find_one_and_update({}, {"$set": {"a": 1}}, array_filters={})
c.find_one_and_delete({"$ref": 1})
c.aggregate([{"$match": {"m": 1}}], aggregate="secrets")
c.aggregate([{"$match": {"m": 1}}], let=5)
c.aggregate([{"$match": {"m": 1}}], batchSize=-3)
c.aggregate([5])
c.distinct("n", {"m": 1}, query={})
c.distinct("n", query={"m": 77})
d.create_collection("x2", collation=5)
QUIET.bulk_write([p.InsertOne({})]).inserted_count
QUIET.bulk_write([p.InsertOne({})]).bulk_api_result
QUIET.update_one({}, {"$set": {"a": 1}}).raw_result
QUIET.update_one({}, {"$set": {"a": 1}}).upserted_id
c.find_one_and_update({}, {"$set": {"a": 1}}, array_filters=[{"e": 1}], writeConcern={"w": 0})
QUIET.delete_one({}, collation={"locale": "en"})
d.command({"count": "things", "limit": 2}, limit=1)["n"]
QUIET.bulk_write([p.InsertOne({"_id": 1}), p.DeleteMany({})])
QUIET.insert_many([{"_id": 70}, {"_id": 1}, {"_id": 71}])
QUIET.bulk_write([p.UpdateOne({}, {"$set": {"a": 1}}, collation={"locale": "en"})])
QUIET.bulk_write([p.UpdateOne({}, {"$set": {"a": 1}}, array_filters=[{"e": 1}])])
QUIET.bulk_write([p.DeleteMany({})], bypass_document_validation=True)
QUIET.find_one_and_update({}, {"$set": {"a": 1}}, array_filters=[{"e": 1}])
c.bulk_write([p.UpdateOne({"_id": 1}, {"$inc": {"t": 1}}), p.DeleteMany({})])
""".strip().splitlines()
# A collection whose writes are not acknowledged.
QUIET = "c.with_options(write_concern=p.WriteConcern(w=0))"
CALLS = [each.replace("QUIET.", f"{QUIET}.") for each in CALLS]


# Where mongokey knowingly differs: it takes what PyMongo does not, or refuses before asking the
# server. The first is what mongokey comes to, the others what PyMongo does, by its version.
DIFFERENT = {
    'c.find(sort="n").limit(1)': ("found", "TypeError"),
    "c.find(skip=-1)": ("ValueError", "OperationFailure"),
    'c.find(projection="n")': ("TypeError", "found"),
    'c.find(max_time_ms="x")': ("TypeError", "OperationFailure"),
    "c.count_documents(None)": ("TypeError", "OperationFailure"),
    'c.distinct("n", 5)': ("TypeError", "OperationFailure"),
    "d.command({})": ("ValueError", "StopIteration"),
    'c.find_one_and_update({}, {"$set": {"n": 9}}, return_document="after")': (
        "TypeError",
        "TypeError",
        "ValueError",
    ),
}


@pytest.mark.parametrize("text", DIFFERENT)
def test_a_call_differs_as_intended(drivers: tuple[Driver, Driver], text: str) -> None:
    theirs, ours = drivers
    for driver, expected in ((ours, DIFFERENT[text][:1]), (theirs, DIFFERENT[text][1:])):
        database = driver.client["same_as_pymongo"]
        driver.client.drop_database(database.name)
        database["things"].insert_one({"_id": 0, "n": 0})
        result = plain(outcome(call(text), driver, database["things"]), {})
        raised = isinstance(result, tuple | list) and "raised" in result
        assert (result[1] if raised else "found") in expected
        if raised and result[1] != "OperationFailure":
            assert database["things"].find_one() == {"_id": 0, "n": 0}


#: Documents by their position, which cursors of asyncio do not have.
INDEXED = ("c.find()[3]", 'c.find().sort("n").skip(3)[1]')


@pytest.mark.parametrize("text", CALLS)
def test_a_call_has_the_same_outcome(drivers: tuple[Driver, Driver], text: str, face: str) -> None:
    if face == "asyncio" and text in INDEXED:
        with pytest.raises(IndexError, match="has no positions"):  # PyMongo's too
            call(text)(drivers[1], drivers[1].client["same_as_pymongo"]["things"])
        return
    result = compare(drivers, "same_as_pymongo", call(text))
    # A call that goes wrong by mistake would prove nothing.
    if isinstance(result, tuple) and result[0] == "raised":
        assert result[1] not in ("NameError", "SyntaxError", "ImportError")


@pytest.fixture(scope="module", autouse=True)
def _clean_up(secantus: SecantusServer) -> Iterator[None]:
    yield
    secantus.drop_database("same_as_pymongo")


def test_what_one_driver_writes_the_other_reads(drivers: tuple[Driver, Driver]) -> None:
    theirs, ours = drivers
    document = {
        "_id": 1,
        "double": 1.5,
        "text": "é🔑\x00",
        "document": {"a": {"b": {}}},
        "array": [1, [2, [3, []]]],
        "bytes": b"\x00\xff",
        "bool": [True, False],
        "date": datetime.datetime(2024, 2, 29, 1, 2, 3, 4000),
        "null": None,
        "ints": [0, -1, 2**31 - 1, 2**31, -(2**63), 2**63 - 1],
    }
    for writer, reader in ((theirs, ours), (ours, theirs)):
        writer.client["same_as_pymongo"].drop_collection("shared")
        writer.client["same_as_pymongo"]["shared"].insert_one(document)
        assert reader.client["same_as_pymongo"]["shared"].find_one() == document


def test_types_of_one_driver_can_be_written_by_the_other(drivers: tuple[Driver, Driver]) -> None:
    for writer, other in (drivers, drivers[::-1]):
        library = other.bson
        document = {
            "_id": library.objectid.ObjectId("0123456789abcdef01234567"),
            "binary": library.binary.Binary(b"x", 5),
            "code": library.code.Code("f", {"a": 1}),
            "int64": library.int64.Int64(7),
            "regex": library.regex.Regex("a", "i"),
            "son": library.son.SON([("b", 1), ("a", 2)]),
        }
        things = writer.client["same_as_pymongo"]["types"]
        things.drop()
        things.insert_one(document)
        found = other.client["same_as_pymongo"]["types"].find_one()
        assert found == {**document, "regex": found["regex"]}
        assert found["regex"].pattern == "a"
