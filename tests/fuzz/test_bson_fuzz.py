"""The codec beside PyMongo's, on documents and on bytes that hypothesis makes up.

The same document gives the same bytes; the same bytes give the same value, or both refuse.
"""

from __future__ import annotations

import datetime
import math
import os
import random
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import bson as theirs
import pymongo
import pytest
from bson import json_util as their_json
from bson.raw_bson import RawBSONDocument as TheirRawBSONDocument
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import mongokey.bson as ours
from mongokey.bson import json_util
from mongokey.bson.raw_bson import RawBSONDocument
from tests.sanitizers import SANITIZED

# MONGOKEY_FUZZ=100 looks a hundred times as long.
FACTOR = int(os.environ.get("MONGOKEY_FUZZ", "1"))
EXAMPLES = settings(
    max_examples=50 * FACTOR, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
ZONES = st.integers(-1439, 1439).map(
    lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))
)
KEYS = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=12)
TEXT = st.text(max_size=40)
INT64 = st.integers(-(2**63), 2**63 - 1)


def typed(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values of the class `name` of both packages, as a pair (ours, theirs)."""
    return st.tuples(*arguments).map(
        lambda values: (getattr(ours, name)(*values), getattr(theirs, name)(*values))
    )


def pair(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return strategy.map(lambda value: (value, value))


LEAVES = st.one_of(
    pair(st.none()),
    pair(st.booleans()),
    pair(INT64),
    pair(st.floats()),
    pair(TEXT),
    pair(st.binary(max_size=50)),
    pair(st.datetimes()),
    # Near the ends of the calendar PyMongo's subtraction of the offset overflows; ours does not.
    pair(
        st.datetimes(datetime.datetime(2, 1, 1), datetime.datetime(9998, 12, 31), timezones=ZONES)
    ),
    typed("Int64", INT64),
    typed("ObjectId", st.binary(min_size=12, max_size=12)),
    typed("Binary", st.binary(max_size=50), st.integers(0, 255)),
    typed("Timestamp", st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    typed("DatetimeMS", INT64),
    typed("Code", TEXT),
    typed("Regex", KEYS, st.integers(0, 127)),
    typed("Decimal128", st.decimals(allow_nan=False, places=5, min_value=-1000, max_value=1000)),
    typed("MinKey"),
    typed("MaxKey"),
    typed("Code", TEXT, st.dictionaries(KEYS, INT64, max_size=3)),
    typed("DBRef", TEXT, INT64, st.none() | TEXT),
    typed("SON", st.dictionaries(KEYS, TEXT, max_size=3)),
    pair(st.sampled_from([re.compile("a.b", re.IGNORECASE), re.compile(b"x", re.DOTALL)])),
    pair(st.lists(INT64, max_size=3).map(tuple)),
    pair(st.dictionaries(KEYS, TEXT, max_size=3).map(OrderedDict)),
    st.dictionaries(KEYS, TEXT, max_size=3)
    .map(theirs.encode)
    .map(lambda data: (RawBSONDocument(data), TheirRawBSONDocument(data))),
)


def lists(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(children, max_size=6).map(
        lambda items: ([mine for mine, _ in items], [other for _, other in items])
    )


def documents(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.one_of(KEYS, st.just("_id"))
    return st.dictionaries(keys, children, max_size=6).map(
        lambda items: (
            {key: mine for key, (mine, _) in items.items()},
            {key: other for key, (_, other) in items.items()},
        )
    )


VALUES = st.recursive(LEAVES, lambda inner: lists(inner) | documents(inner), max_leaves=12)
DOCUMENTS = documents(VALUES)
AUTO = 4


def options(package: Any, **kwargs: Any) -> Any:
    return package.CodecOptions(datetime_conversion=package.DatetimeConversion(AUTO), **kwargs)


def same(mine: Any, other: Any) -> bool:
    """Whether both packages decoded to the same thing."""
    if type(mine).__name__ != type(other).__name__:
        return False
    if isinstance(mine, dict):
        return list(mine) == list(other) and all(same(mine[key], other[key]) for key in mine)
    if isinstance(mine, list):
        return len(mine) == len(other) and all(map(same, mine, other))
    if isinstance(mine, float):
        return mine == other or (math.isnan(mine) and math.isnan(other))
    if isinstance(mine, ours.Code):
        return str(mine) == str(other) and same(mine.scope, other.scope)
    if isinstance(mine, ours.DBRef):
        return same(dict(mine.as_doc()), dict(other.as_doc()))
    return repr(mine) == repr(other)


@EXAMPLES
@given(DOCUMENTS)
def test_the_same_document_gives_the_same_bytes(document):
    mine, other = document
    data = theirs.encode(other)
    assert ours.encode(mine) == data
    assert ours.encode(other) == data
    assert same(ours.decode(data, options(ours)), theirs.decode(data, options(theirs)))
    assert ours.encode(ours.decode(data, options(ours))) == data


@EXAMPLES
@given(st.uuids(), st.sampled_from([3, 4, 5, 6]))
def test_uuids_give_the_same_bytes(value, representation):
    kwargs = {"uuid_representation": representation}
    mine, other = ours.CodecOptions(**kwargs), theirs.CodecOptions(**kwargs)
    data = theirs.encode({"u": value}, codec_options=other)
    assert ours.encode({"u": value}, codec_options=mine) == data
    assert ours.decode(data, mine) == theirs.decode(data, other) == {"u": value}


def has_dollar_names(value: Any) -> bool:
    """Whether a document in `value` has a name that begins with "$"."""
    if isinstance(value, ours.Code):
        return value.scope is not None and has_dollar_names(value.scope)
    if isinstance(value, Mapping):
        return any(key[:1] == "$" or has_dollar_names(value[key]) for key in value)
    return isinstance(value, (list, tuple)) and any(map(has_dollar_names, value))


@EXAMPLES
@given(DOCUMENTS, st.sampled_from(["LEGACY", "RELAXED", "CANONICAL"]))
def test_the_same_document_gives_the_same_json_and_back(document, mode):
    mine, other = document
    name = f"{mode}_JSON_OPTIONS"
    our_options = getattr(json_util, name).with_options(datetime_conversion=AUTO)
    their_options = getattr(their_json, name).with_options(
        datetime_conversion=theirs.DatetimeConversion(AUTO)
    )
    text = their_json.dumps(other, json_options=their_options)
    assert json_util.dumps(mine, json_options=our_options) == text
    # A document may have a name that is a type's in JSON; it is then read as that type, or not.
    assume(not has_dollar_names(mine))
    assert same(
        json_util.loads(text, json_options=our_options),
        their_json.loads(text, json_options=their_options),
    )


@EXAMPLES
@given(DOCUMENTS, st.booleans(), st.sampled_from([0, 3, 4, 5, 6]))
def test_options_decode_alike(document, tz_aware, uuids):
    data = theirs.encode(document[1])
    kwargs = {"tz_aware": tz_aware, "uuid_representation": uuids}
    decode_both(data, options(ours, **kwargs), options(theirs, **kwargs))


# PyMongo 4.18, the last one for Python 3.10, judges some broken documents otherwise than 4.20,
# which we follow: there only what both decode is compared.
JUDGED_ALIKE = pymongo.version_tuple >= (4, 20)


def decode_both(data: bytes, mine: Any = None, other: Any = None) -> bool:
    """Both packages agree on `data`; True when they decode it."""
    mine, other = mine or options(ours), other or options(theirs)
    try:
        # PyMongo 4.20 itself reads out of bounds on some broken arrays (a string in an array, its
        # length beyond the array's end), which a sanitizer run ends at once.
        if SANITIZED:
            ours.decode(data, mine)
            return True
        expected = theirs.decode(data, other)
    except ours.InvalidBSON:
        return False
    except theirs.errors.InvalidBSON:
        if JUDGED_ALIKE:
            with pytest.raises(ours.InvalidBSON):
                ours.decode(data, mine)
        return False
    try:
        found = ours.decode(data, mine)
    except ours.InvalidBSON:
        if JUDGED_ALIKE:
            raise
        return False
    assert same(found, expected), (data, found, expected)
    return True


def body(data: bytes) -> bytes:
    """A document around those bytes, so that more of them get past the first check."""
    return (len(data) + 5).to_bytes(4, "little") + data + b"\0"


@EXAMPLES
@given(st.binary(max_size=100))
def test_random_bytes_are_judged_alike(data):
    decode_both(data)
    decode_both(body(data))


TAGS = st.sampled_from([*range(0x15), 0x7F, 0xFF])
SMALL = st.integers(-2, 40).map(lambda number: number.to_bytes(4, "little", signed=True))
PIECES = st.one_of(
    TAGS.map(lambda tag: bytes([tag])),
    SMALL,
    st.sampled_from([b"a\0", b"\0", b"0\0", b"$ref\0", b"$id\0", b"\xff", b"\x05\0\0\0\0"]),
    st.binary(max_size=16),
)


@EXAMPLES
@given(st.lists(PIECES, max_size=20).map(b"".join))
def test_pieces_of_bson_are_judged_alike(data):
    decode_both(body(data))


@EXAMPLES
@given(DOCUMENTS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_mutated_documents_are_judged_alike(document, chance, times):
    data = bytearray(theirs.encode(document[1]))
    for _ in range(times):
        mutate(data, chance)
    decode_both(bytes(data))


def test_many_mutations_of_one_document_of_every_type_are_judged_alike():
    # Far faster than drawing each from hypothesis; the seed says how to come back.
    whole = theirs.encode({str(n): value for n, value in enumerate(ONE_OF_EACH)})
    decoded = 0
    for seed in range(20_000 * FACTOR):
        chance = random.Random(seed)
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 5)):
            mutate(data, chance)
        decoded += decode_both(bytes(data))
    assert 0 < decoded < 20_000 * FACTOR


ONE_OF_EACH = [
    1.5,
    "text",
    {"a": {"b": 1}},
    [1, "x", [None]],
    b"bytes",
    theirs.Binary(b"x", 2),
    theirs.Binary(bytes(16), 4),
    theirs.ObjectId(bytes(12)),
    True,
    datetime.datetime(2020, 1, 1),
    None,
    theirs.Regex("a", "im"),
    theirs.Code("f"),
    theirs.Code("f", {"a": 1}),
    5,
    theirs.Timestamp(1, 2),
    2**40,
    theirs.Decimal128("1.5"),
    theirs.DBRef("c", 1, "d"),
    theirs.MinKey(),
    theirs.MaxKey(),
]


def mutate(data: bytearray, chance: random.Random) -> None:
    """Change one byte, or cut or repeat a part and set the document's length right again."""
    at = chance.randrange(len(data))
    kind = chance.randrange(4)
    if kind == 0:
        data[at] = chance.randrange(256)
    elif kind == 1:
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 2:
        del data[at : at + chance.randrange(1, 9)]
    else:
        data[at:at] = data[at : at + chance.randrange(1, 9)]
    if kind >= 2 and len(data) >= 4:
        data[:4] = len(data).to_bytes(4, "little")
    if not data:
        data.append(0)
