"""Hostile BSON: cut anywhere, lengths that lie, nesting without end. Errors, never a crash.

Run under the sanitizers as well (MONGOKEY_SANITIZE=address), where a read out of bounds aborts.
"""

from __future__ import annotations

import datetime
import struct

import pytest

from mongokey import bson
from mongokey.bson import CodecOptions, InvalidBSON
from mongokey.bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument

EVERYTHING = {
    "_id": bson.ObjectId("0123456789abcdef01234567"),
    "double": 1.5,
    "text": "text of some length",
    "wide": "日本語",
    "document": {"a": {"b": {"c": 1}}},
    "array": [1, "x", [2.5, {"y": None}]],
    "bytes": b"0123456789",
    "old": bson.Binary(b"0123456789", 2),
    "uuid": bson.Binary(bytes(16), 4),
    "true": True,
    "date": datetime.datetime(2020, 1, 1),
    "null": None,
    "regex": bson.Regex("^pattern", "imx"),
    "code": bson.Code("f()"),
    "scope": bson.Code("f()", {"a": 1}),
    "int32": 5,
    "timestamp": bson.Timestamp(1, 2),
    "int64": 2**40,
    "decimal": bson.Decimal128("1.5"),
    "ref": bson.DBRef("c", 1, "d"),
    "min": bson.MinKey(),
    "max": bson.MaxKey(),
}
DATA = (
    bson.encode(EVERYTHING)[:-1]
    + b"\x0cpointer\0\x02\0\0\0c\0"
    + bytes(12)
    + b"\x0esym\0\x02\0\0\0s\0\0"
)
DATA = struct.pack("<i", len(DATA)) + DATA[4:]
EXTREMES = (
    0,
    1,
    2,
    3,
    4,
    5,
    0x7F,
    0xFFFF,
    2**31 - 1,
    2**31 - 5,
    -1,
    -4,
    -5,
    -(2**31),
    -(2**31) + 4,
)
ALL_OPTIONS = [
    CodecOptions(),
    CodecOptions(tz_aware=True, uuid_representation=4, unicode_decode_error_handler="replace"),
    DEFAULT_RAW_BSON_OPTIONS,
]


def decode_all_of(data, options):
    """Decode to the bottom, raw documents too."""
    document = bson.decode(data, options)
    stack = [document]
    while stack:
        value = stack.pop()
        if isinstance(value, (dict, RawBSONDocument)):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, bson.Code) and value.scope is not None:
            stack.append(value.scope)
    return document


def test_the_document_under_attack_is_valid():
    for options in ALL_OPTIONS:
        assert len(decode_all_of(DATA, options)) == len(EVERYTHING) + 2


@pytest.mark.parametrize("options", ALL_OPTIONS)
def test_cut_at_every_byte(options):
    for size in range(len(DATA)):
        # As it is, and with a length that goes with the cut.
        for head in (DATA[:4], struct.pack("<i", size)):
            cut = (head + DATA[4:size])[:size]
            with pytest.raises(InvalidBSON):
                decode_all_of(cut, options)


@pytest.mark.parametrize("options", ALL_OPTIONS)
def test_cut_at_every_byte_and_ended_again(options):
    refused = 0
    for size in range(4, len(DATA)):
        cut = struct.pack("<i", size + 1) + DATA[4:size] + b"\0"
        try:
            decode_all_of(cut, options)
        except InvalidBSON:
            refused += 1
    assert refused > len(DATA) // 2


@pytest.mark.parametrize("options", ALL_OPTIONS)
def test_every_four_bytes_as_an_extreme_length(options):
    refused = 0
    for at in range(len(DATA) - 3):
        for length in EXTREMES:
            bad = bytearray(DATA)
            bad[at : at + 4] = struct.pack("<i", length)
            try:
                decode_all_of(bytes(bad), options)
            except InvalidBSON:
                refused += 1
    assert refused > 5000


@pytest.mark.parametrize("options", ALL_OPTIONS)
def test_every_byte_as_every_type(options):
    for at in range(4, len(DATA)):
        for value in (*range(0x15), 0x7F, 0x80, 0xFF):
            bad = bytearray(DATA)
            bad[at] = value
            try:
                decode_all_of(memoryview(bad), options)
            except InvalidBSON:
                continue


def deep(levels, tag):
    """Documents or arrays within each other, built from the inside."""
    sizes = [5]
    for _ in range(levels):
        sizes.append(sizes[-1] + 8)
    heads = b"".join(struct.pack("<i", size) + tag + b"0\0" for size in reversed(sizes[1:]))
    return heads + b"\x05\0\0\0\0" + b"\0" * levels


@pytest.mark.parametrize("tag", [b"\x03", b"\x04"])
@pytest.mark.parametrize("levels", [200, 1000, 1_000_000])
def test_nesting_beyond_the_bound_is_an_error_not_a_stack_overflow(levels, tag):
    with pytest.raises(InvalidBSON, match="200 levels") as info:
        bson.decode(deep(levels, tag))
    assert len(str(info.value)) < 400
    assert info.value.path == ".".join("0" * 200)
    assert bson.decode(deep(199, tag))


def test_nesting_in_scopes_is_bounded_too():
    value = b"\x05\0\0\0\0"
    for _ in range(1000):
        code = struct.pack("<i", 4 + 6 + len(value)) + b"\x02\0\0\0c\0" + value
        value = struct.pack("<i", len(code) + 8) + b"\x0fs\0" + code + b"\0"
    with pytest.raises(InvalidBSON, match="200 levels"):
        bson.decode(value)


def test_encoding_endless_nesting_is_an_error_not_a_stack_overflow():
    for start, wrap in (({}, lambda x: {"a": x}), ([], lambda x: [x]), ((), lambda x: (x,))):
        value = start
        for _ in range(100_000):
            value = wrap(value)
        with pytest.raises(bson.InvalidDocument, match="200 levels"):
            bson.encode({"v": value})
        while value:
            # Taken apart by hand: the interpreter would recurse.
            value = value["a"] if isinstance(value, dict) else value[0]


def test_field_names_without_end_are_found_out():
    for size in range(1, 40):
        data = struct.pack("<i", size + 6) + b"\x0a" + b"n" * size + b"\0"
        with pytest.raises(InvalidBSON, match="does not end"):
            bson.decode(data)


def test_large_strings_and_arrays_go_through():
    text = "x" * (16 << 20)
    assert bson.decode(bson.encode({"t": text})) == {"t": text}
    items = [None] * 4_000_000
    assert len(bson.decode(bson.encode({"a": items}))["a"]) == 4_000_000


def test_a_document_that_claims_more_allocates_nothing_for_it():
    # A binary that says it has 2 GB, in a document of 20 bytes.
    data = b"\x14\0\0\0\x05b\0\xff\xff\xff\x7f\0" + bytes(8)
    with pytest.raises(InvalidBSON):
        bson.decode(data)


def test_sensitive_binary_is_not_shown_by_errors_or_repr():
    secret = bson.Binary(b"hunter2", 8)
    assert "hunter2" not in repr({"a": secret})
    data = bson.encode({"a": secret, "b": True})[:-2] + b"\x07\0"
    with pytest.raises(InvalidBSON) as info:
        bson.decode(data)
    assert "hunter2" not in str(info.value)
