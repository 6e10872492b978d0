"""The user's codec options read the documents of a reply, and nothing around them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import bson
import pytest

from mongokey import MongoClient
from mongokey.bson.binary import Binary, UuidRepresentation
from mongokey.bson.codec_options import CodecOptions, TypeDecoder, TypeRegistry
from mongokey.bson.dbref import DBRef
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.errors import (
    BulkWriteError,
    DuplicateKeyError,
    InvalidBSON,
    OperationFailure,
    ProtocolError,
    WTimeoutError,
)
from mongokey.operations import UpdateOne
from tests.servers.scripted import Error, Reply, ScriptedServer, in_turn, primary

REFERENCE = {"$ref": "others", "$id": 5, "extra": {"$ref": "others", "$id": 6}}
DOCUMENTS = [{"_id": 1}, REFERENCE, {"_id": 3, "n": 2}]


def cursor(documents: list[Any], identifier: int = 0, batch: str = "firstBatch") -> dict[str, Any]:
    return {"ok": 1.0, "cursor": {"id": identifier, "ns": "x.y", batch: documents}}


def decoder(kind: type, transform: Callable[[Any], Any]) -> CodecOptions[Any]:
    """Codec options under which each value of `kind` goes through `transform`."""

    class Decoder(TypeDecoder):
        bson_type = kind  # type: ignore[assignment]

        def transform_bson(self, value: Any) -> Any:
            return transform(value)

    return CodecOptions(type_registry=TypeRegistry([Decoder()]))


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(hello=primary()) as server:
        yield server


READS: dict[str, tuple[str, Callable[[Any], list[Any]]]] = {
    "find": ("find", lambda c: list(c.find())),
    "to_list": ("find", lambda c: c.find().to_list()),
    "aggregate": ("aggregate", lambda c: list(c.aggregate([]))),
    "cursor_command": (
        "find",
        lambda c: list(c.database.cursor_command("find", "y", codec_options=c.codec_options)),
    ),
}


@pytest.mark.parametrize("read", READS)
def test_a_reference_at_the_top_of_a_document_stays_a_document(
    server: ScriptedServer, read: str
) -> None:
    name, call = READS[read]
    server.on[name] = cursor([*DOCUMENTS, {"a": REFERENCE}], 7)
    server.on["getMore"] = cursor([REFERENCE], batch="nextBatch")
    with MongoClient(server.uri()) as client:
        inner = DBRef("others", 6)
        top = {**REFERENCE, "extra": inner}
        nested = DBRef("others", 5, None, {"extra": inner})
        assert call(client["x"]["y"]) == [{"_id": 1}, top, DOCUMENTS[2], {"a": nested}, top]
        if read == "find":
            server.on["find"] = cursor([REFERENCE])
            assert client["x"]["y"].find_one() == top


@pytest.mark.parametrize("read", READS)
def test_a_decoder_of_documents_sees_those_within_documents(
    server: ScriptedServer, read: str
) -> None:
    name, call = READS[read]
    server.on[name] = cursor([{"a": {"b": 1}}], 7)
    server.on["getMore"] = cursor([{"a": {"b": 2}}], batch="nextBatch")
    with MongoClient(server.uri()) as client:
        things = client["x"].get_collection("y", decoder(dict, lambda value: [value]))
        assert call(things) == [{"a": [{"b": 1}]}, {"a": [{"b": 2}]}]
        server.on["find"] = cursor([{"a": {"b": 1}}])
        assert things.find_one() == {"a": [{"b": 1}]}


@pytest.mark.parametrize("read", READS)
def test_raw_documents_may_look_like_references(server: ScriptedServer, read: str) -> None:
    name, call = READS[read]
    server.on[name] = cursor(DOCUMENTS)
    with MongoClient(server.uri()) as client:
        things = client["x"].get_collection("y", CodecOptions(RawBSONDocument))
        found = call(things)
        assert [type(each) for each in found] == [RawBSONDocument] * 3
        assert found[1]["$id"] == 5


@pytest.mark.parametrize("batch", [[5], [{"_id": 1}, None], [[]], [{"_id": 1}, [{"_id": 2}]]])
@pytest.mark.parametrize("read", READS)
def test_what_is_no_document_in_a_batch_is_told(
    server: ScriptedServer, read: str, batch: list[Any]
) -> None:
    name, call = READS[read]
    server.on[name] = cursor(batch)
    with MongoClient(server.uri()) as client:
        with pytest.raises(ProtocolError, match="not a document"):
            call(client["x"]["y"])


# What stands around documents is the driver's


class Shouting(dict[str, Any]):
    """A document class that renames keys."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key.upper(), value)


ODD: dict[str, CodecOptions[Any]] = {
    "a decoder of numbers": decoder(int, str),
    "a decoder of floats": decoder(float, str),
    "a decoder of texts": decoder(str, list),
    "a decoder of documents": decoder(dict, lambda value: [value]),
    "a decoder of lists": decoder(list, str),
    "a class that renames": CodecOptions(Shouting),
    "raw documents": CodecOptions(RawBSONDocument),
}


@pytest.mark.parametrize("options", ODD)
def test_numbers_and_outcomes_do_not_depend_on_codec_options(
    server: ScriptedServer, options: str
) -> None:
    written = {"ok": 1.0, "n": 1, "nModified": 1}
    upserted = {**written, "upserted": [{"index": 0, "_id": 7}]}
    server.on = {
        "aggregate": cursor([{"_id": 1, "n": 3}]),
        "count": {"ok": 1.0, "n": 4},
        "insert": written,
        "update": in_turn(written, upserted, upserted, written),
        "delete": written,
        "findAndModify": {"ok": 1.0, "value": {"v": 1.5}},
        "distinct": {"ok": 1.0, "values": [1.5]},
        "find": cursor([{"v": True}]),
        "listCollections": cursor([{"name": "y", "options": {"capped": True}}]),
        "listIndexes": cursor([{"name": "_id_", "key": {"_id": 1}}]),
        "createIndexes": {"ok": 1.0},
        "drop": {"ok": 1.0},
    }
    with MongoClient(server.uri()) as client:
        database = client.get_database("x", ODD[options])
        things = database["y"]
        assert things.count_documents({}) == 3
        assert things.estimated_document_count() == 4
        assert things.insert_one({}).acknowledged
        assert len(things.insert_many([{}]).inserted_ids) == 1
        assert things.update_one({}, {"$set": {"a": 1}}).modified_count == 1
        result = things.update_one({}, {"$set": {"a": 1}}, upsert=True)
        identifier = "7" if options == "a decoder of numbers" else 7
        assert (result.upserted_id, result.did_upsert) == (identifier, True)
        bulk = things.bulk_write([UpdateOne({}, {"$set": {"a": 1}}, upsert=True)])
        assert (bulk.upserted_count, bulk.upserted_ids) == (1, {0: identifier})
        assert things.delete_many({}).deleted_count == 1
        assert things.find_one_and_delete({}) is not None
        assert len(things.distinct("a")) == 1
        assert len(list(things.find())) == 1
        assert database.list_collection_names() == ["y"]
        assert things.options() == {"capped": True}
        assert things.index_information() == {"_id_": {"key": [("_id", 1)]}}
        assert things.create_index("a") == "a_1"
        database.drop_collection("y")


def test_documents_have_the_options(server: ScriptedServer) -> None:
    server.on = {
        "findAndModify": {"ok": 1.0, "value": {"n": 5, "a": {"n": 6}}},
        "distinct": {"ok": 1.0, "values": [5, {"n": 6}]},
    }
    with MongoClient(server.uri()) as client:
        things = client["x"].get_collection("y", decoder(int, str))
        assert things.find_one_and_update({}, {"$set": {"a": 1}}) == {"n": "5", "a": {"n": "6"}}
        assert things.distinct("a") == ["5", {"n": "6"}]
        shouting = client["x"].get_collection("y", CodecOptions(Shouting))
        assert shouting.find_one_and_delete({}) == {"N": 5, "A": {"N": 6}}
        assert shouting.distinct("a") == [5, {"N": 6}]
        # A command's whole reply is the caller's, as with PyMongo.
        assert client["x"].command("distinct", codec_options=CodecOptions(Shouting))["OK"] == 1


def test_a_document_that_looks_like_a_reference_is_returned_by_a_write(
    server: ScriptedServer,
) -> None:
    server.on["findAndModify"] = {"ok": 1.0, "value": {"$ref": "others", "$id": 5}}
    with MongoClient(server.uri()) as client:
        found = client["x"]["y"].find_one_and_delete({})
        assert found == {"$ref": "others", "$id": 5}


@pytest.mark.parametrize("value", [None, 5, "x", {}])
def test_distinct_values_that_are_none(server: ScriptedServer, value: Any) -> None:
    server.on["distinct"] = {"ok": 1.0, "values": value}
    with MongoClient(server.uri()) as client:
        with pytest.raises(ProtocolError, match="'values'"):
            client["x"]["y"].distinct("a")


def test_the_error_reply_that_is_a_result_has_the_options(server: ScriptedServer) -> None:
    server.on["ping"] = Error(code=5, message="no")
    with MongoClient(server.uri()) as client:
        reply = client["x"].command("ping", check=False, codec_options=CodecOptions(Shouting))
        assert (type(reply), reply["CODE"]) == (Shouting, 5)


UUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
STANDARD = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)


def test_an_upserted_id_is_of_the_users_representation(server: ScriptedServer) -> None:
    identifier = bson.Binary(UUID.bytes, 4)
    server.on["update"] = {"ok": 1.0, "n": 1, "upserted": [{"index": 0, "_id": identifier}]}
    request = UpdateOne({}, {"$set": {"a": 1}}, upsert=True)
    with MongoClient(server.uri()) as client:
        plain = client["x"]["y"]
        things = client["x"].get_collection("y", STANDARD)
        assert things.bulk_write([request]).upserted_ids == {0: UUID}
        assert things.update_one({}, {"$set": {"a": 1}}, upsert=True).upserted_id == UUID
        assert plain.bulk_write([request]).upserted_ids == {0: Binary(UUID.bytes, 4)}


def test_an_error_that_the_options_cannot_read_is_still_told(server: ScriptedServer) -> None:
    """A UUID of three bytes, and a date that Python has not, in what a duplicate key was."""
    values = {"a": bson.Binary(b"abc", 4), "b": bson.datetime_ms.DatetimeMS(2**62)}
    error = {"index": 0, "code": 11000, "errmsg": "E11000", "keyValue": values}
    server.on["insert"] = {"ok": 1.0, "n": 0, "writeErrors": [error]}
    with MongoClient(server.uri()) as client:
        for options in (STANDARD, CodecOptions(tz_aware=True), None):
            things = client["x"].get_collection("y", options)
            with pytest.raises(DuplicateKeyError):
                things.insert_one({})


# The server's words, cut inside a character


def cut(document: Any) -> Reply:
    """A reply in which each "é" has lost its second byte."""
    encoded = bson.encode(document)
    broken = encoded.replace("é".encode(), b"\xc3 ")
    assert broken != encoded
    return Reply(broken)


WRITTEN = {"ok": 1.0, "n": 1, "nModified": 1}
DUPLICATE = {**WRITTEN, "n": 2, "writeErrors": [{"index": 2, "code": 11000, "errmsg": "dup: é"}]}
LATE = {
    **WRITTEN,
    "writeConcernError": {"code": 64, "errmsg": "é", "errInfo": {"wtimeout": True}},
}


@pytest.mark.parametrize("handler", ["strict", "ignore"])
def test_an_error_whose_text_was_cut_is_the_same_error(
    server: ScriptedServer, handler: str
) -> None:
    with MongoClient(server.uri()) as client:
        options = CodecOptions(unicode_decode_error_handler=handler)
        things = client["x"].get_collection("y", options)
        server.on = {name: cut(DUPLICATE) for name in ("insert", "update", "delete")}
        with pytest.raises(DuplicateKeyError, match="dup: \ufffd "):
            things.insert_one({})
        with pytest.raises(DuplicateKeyError):
            things.update_one({}, {"$set": {"a": 1}})
        with pytest.raises(BulkWriteError) as caught:
            things.insert_many([{}, {}, {}])
        assert caught.value.details["nInserted"] == 2
        assert caught.value.details["writeErrors"][0]["index"] == 2
        server.on = {name: cut(LATE) for name in ("insert", "update", "delete", "findAndModify")}
        server.on["aggregate"] = cut({**cursor([]), **LATE})
        for call in (
            lambda: things.insert_one({}),
            lambda: things.delete_one({}),
            lambda: things.find_one_and_delete({}),
            lambda: things.aggregate([{"$out": "z"}]),
            lambda: things.database.drop_collection("y"),
        ):
            server.on["drop"] = cut(LATE)
            with pytest.raises(WTimeoutError):
                call()
        for name in ("find", "getMore", "distinct", "count", "ping"):
            server.on[name] = cut({"ok": 0.0, "code": 13, "errmsg": "not you, é"})
        for call in (
            lambda: things.find_one(),
            lambda: things.distinct("a"),
            lambda: things.estimated_document_count(),
            lambda: client["x"].command("ping"),
        ):
            with pytest.raises(OperationFailure, match="not you, \ufffd ") as failure:
                call()
            assert failure.value.code == 13
        assert client["x"].command("ping", check=False)["errmsg"] == "not you, \ufffd "


def test_a_write_is_tried_again_when_the_text_was_cut(server: ScriptedServer) -> None:
    refused = {"ok": 0.0, "code": 91, "errmsg": "é", "errorLabels": ["RetryableWriteError"]}
    concern = {
        **WRITTEN,
        "writeConcernError": {"code": 91, "errmsg": "é"},
        "errorLabels": ["RetryableWriteError"],
    }
    with MongoClient(server.uri()) as client:
        things = client["x"]["y"]
        for answer in (refused, concern):
            for name, call in (
                ("insert", lambda: things.insert_one({})),
                ("insert", lambda: things.insert_many([{}])),
                ("findAndModify", lambda: things.find_one_and_delete({})),
            ):
                before = server.count(name)
                server.on[name] = in_turn(cut(answer), Reply(WRITTEN))
                call()
                assert server.count(name) == before + 2
        server.on["find"] = in_turn(cut(refused), Reply(cursor([])))
        assert things.find_one() is None


def test_a_hello_whose_text_was_cut_is_read() -> None:
    hello = primary()
    with ScriptedServer(hello=hello) as server:
        port = server.port
        answer = {**hello, "hosts": [f"127.0.0.1:{port}"], "me": f"127.0.0.1:{port}"}
        server.on["hello"] = cut({**answer, "tags": {"place": "Café"}})
        with MongoClient(server.uri()) as client:
            assert client.admin.command("ping")["ok"] == 1


def test_documents_are_read_by_the_users_error_handler(server: ScriptedServer) -> None:
    server.on = {
        "find": cut(cursor([{"a": "é"}])),
        "findAndModify": cut({"ok": 1.0, "value": {"a": "é"}}),
        "distinct": cut({"ok": 1.0, "values": ["é"]}),
    }
    with MongoClient(server.uri()) as client:
        strict = client["x"]["y"]
        lenient = client["x"].get_collection(
            "y", CodecOptions(unicode_decode_error_handler="ignore")
        )
        for call in (
            lambda c: c.find_one(),
            lambda c: next(c.find()),
            lambda c: c.find_one_and_delete({}),
            lambda c: {"a": c.distinct("a")[0]},
        ):
            with pytest.raises(InvalidBSON):
                call(strict)
            assert call(lenient) == {"a": " "}
