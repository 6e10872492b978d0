"""What the decoder does for speed must not show: room for fields, names kept, the collector."""

from __future__ import annotations

import gc
import random

import bson as pymongo_bson
import pytest

from mongokey.bson import CodecOptions, InvalidBSON, decode, decode_all, encode
from mongokey.bson.codec_options import TypeDecoder, TypeRegistry
from mongokey.bson.raw_bson import RawBSONDocument


def document(fields, first="first"):
    return {first: 0} | {f"field{n}": n for n in range(fields - 1)}


@pytest.mark.parametrize("fields", [1, 2, 5, 6, 11, 42, 169, 170, 171, 172, 500, 1023, 1025, 5000])
def test_documents_of_any_number_of_fields(fields):
    for _ in range(3):
        assert decode(encode(document(fields))) == document(fields)


def test_documents_that_begin_alike_may_differ_in_size():
    chance = random.Random(11)
    for _ in range(300):
        wanted = [document(chance.choice([1, 3, 7, 40, 171, 300])) for _ in range(3)]
        nested = {"first": wanted, "rest": {"first": wanted[0]}}
        assert decode(encode(nested)) == nested


def test_room_is_not_made_for_fields_that_cannot_be_there():
    small = encode({"first": 1})
    alone = decode(small)
    decode(encode(document(5000)))
    assert decode(small).__sizeof__() == alone.__sizeof__()


def test_names_that_come_twice_in_large_documents_keep_the_last_value():
    elements = b"".join(encode({f"k{n % 400}": n})[4:-1] for n in range(1200))
    data = (len(elements) + 5).to_bytes(4, "little") + elements + b"\0"
    found = decode(data)
    assert found == pymongo_bson.decode(data)
    assert list(found) == list(pymongo_bson.decode(data))
    assert found["k7"] == 807


def test_a_broken_field_late_in_a_large_document_is_told_with_its_place():
    data = bytearray(encode(document(400) | {"last": True}))
    data[-2] = 9
    with pytest.raises(InvalidBSON, match="'last'") as info:
        decode(bytes(data))
    assert info.value.offset == len(data) - 2
    cut = bytes(data[:4]) + bytes(data[4:-1]).replace(b"field300\0", b"field300X") + b"\0"
    with pytest.raises(InvalidBSON):
        decode(cut)


@pytest.fixture
def collector():
    """The garbage collector as it was, whatever a test does to it."""
    was = gc.isenabled()
    yield
    (gc.enable if was else gc.disable)()


LARGE = encode({"a": [{"n": n} for n in range(5000)]})


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_before_when_a_large_document_was_decoded(enabled):
    (gc.enable if enabled else gc.disable)()
    decode(LARGE)
    decode_all(LARGE * 2)
    assert gc.isenabled() is enabled
    for broken in (LARGE[:-3] + b"\x99\0\0", LARGE[:-1] + b"\1"):
        with pytest.raises(InvalidBSON):
            decode(broken)
        with pytest.raises(InvalidBSON):
            decode_all(LARGE + broken)
        assert gc.isenabled() is enabled


@pytest.mark.usefixtures("collector")
def test_code_of_others_runs_with_the_collector_on():
    seen = []

    class Seeing(dict):
        def __setitem__(self, key, value):
            seen.append(gc.isenabled())
            super().__setitem__(key, value)

    class Ints(TypeDecoder):
        bson_type = int

        def transform_bson(self, value):
            seen.append(gc.isenabled())
            return value

    gc.enable()
    decode(LARGE, CodecOptions(document_class=Seeing))
    decode(LARGE, CodecOptions(type_registry=TypeRegistry([Ints()])))
    decode_all(LARGE, CodecOptions(document_class=RawBSONDocument))
    assert len(seen) >= 10_000
    assert all(seen)
