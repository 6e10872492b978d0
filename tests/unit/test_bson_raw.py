"""RawBSONDocument: what its bytes are, and how it is copied and pickled; as PyMongo's."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from mongokey.bson import decode, decode_all, encode
from mongokey.bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS as RAW
from mongokey.bson.raw_bson import RawBSONDocument

INNER = {"payload": "x" * 5000, "n": 7}


class Tagged(RawBSONDocument):
    def __init__(self, data: Any, tag: str) -> None:
        super().__init__(data)
        self.tag = tag


class Slotted(RawBSONDocument):
    __slots__ = ("tag",)

    def __init__(self, data: Any, tag: str) -> None:
        super().__init__(data)
        self.tag = tag


def test_a_large_document_is_a_view_of_the_bytes_it_was_decoded_from():
    data = encode({"small": {"n": 1}, "large": {"inner": INNER}})
    document = decode(data, RAW)
    assert document.raw is data
    assert type(document["small"].raw) is bytes
    large = document["large"]
    for each, expected in ((large, {"inner": INNER}), (large["inner"], INNER)):
        assert type(each.raw) is memoryview
        assert each.raw.readonly
        assert each.raw.obj is data
        assert bytes(each.raw) == encode(expected) == encode(each)
        assert encode({"again": each}) == encode({"again": expected})
        assert each == RawBSONDocument(encode(expected))
    assert dict(large["inner"]) == INNER


@pytest.mark.parametrize("size", [4095, 4096])
def test_from_4096_bytes_on_there_is_a_view(size):
    fill = size - len(encode({"a": ""}))
    data = encode({"part": {"a": "x" * fill}})
    part = decode(data, RAW)["part"]
    assert len(part.raw) == size
    assert type(part.raw) is (memoryview if size >= 4096 else bytes)


def test_several_documents_are_views_and_a_single_one_is_the_bytes():
    one = encode(INNER)
    found = decode_all(one * 3, RAW)
    assert [bytes(each.raw) for each in found] == [one] * 3
    assert {type(each.raw) for each in found} == {memoryview}
    (single,) = decode_all(one, RAW)
    assert single.raw is one


@pytest.mark.parametrize("make", [bytearray, lambda data: memoryview(bytearray(data))])
def test_what_can_change_is_copied(make):
    data = make(encode({"part": INNER}) * 2)
    found = decode_all(data, RAW)
    data[:] = bytes(len(data))
    assert [each["part"]["n"] for each in found] == [7, 7]


@pytest.mark.parametrize("kind", [Tagged, Slotted])
@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_of_derived_classes_keep_their_own_fields(kind, again):
    document = kind(memoryview(encode(INNER)), "tag")
    copied = again(document)
    assert (type(copied), copied.tag, dict(copied)) == (kind, "tag", INNER)
    assert type(copied.raw) is bytes


def test_a_field_in_a_view_that_is_broken_is_named():
    data = bytearray(encode({"large": {"a": "x" * 5000, "b": True}}))
    data[-3] = 2  # neither true nor false
    large = decode(bytes(data), RAW)["large"]
    with pytest.raises(Exception, match="in field 'b'"):
        large["a"]
