"""The user's codec options read the documents of a reply, and nothing around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.bson.codec_options import CodecOptions, TypeDecoder, TypeRegistry
from mongokey.bson.dbref import DBRef
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.errors import ProtocolError
from tests.servers.scripted import ScriptedServer, primary

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
