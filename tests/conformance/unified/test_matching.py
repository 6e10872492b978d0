"""The rules of "Evaluating Matches", both ways: what matches and what must not."""

from __future__ import annotations

from typing import Any

import pytest

from mongokey.bson.binary import Binary
from mongokey.bson.code import Code
from mongokey.bson.decimal128 import Decimal128
from mongokey.bson.int64 import Int64
from mongokey.bson.objectid import ObjectId
from tests.conformance.unified.drivers import Driver, RunnerError
from tests.conformance.unified.matching import UNSET, Matcher, Mismatch

ENTITIES = {"saved": {"a": 1}, "number": 7}
LSID = {"id": Binary(bytes(16), 4)}


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    def session_id(name: str) -> Any:
        if name != "session0":
            raise RunnerError(f"there is no entity {name!r}")
        return LSID

    def entity(name: str) -> Any:
        if name not in ENTITIES:
            raise RunnerError(f"there is no entity {name!r}")
        return ENTITIES[name]

    return Matcher(Driver("mongokey"), entity, session_id)


#: (expected, actual)
MATCHING = [
    ({"x": 1}, {"x": 1, "y": 1}),
    ({"x": 1, "y": 2}, {"y": 2, "x": 1}),
    ({"x": {"y": 1}}, {"x": {"y": 1}}),
    ([1, 2], [1, 2]),
    (1, 1.0),
    (1, Int64(1)),
    (float("nan"), float("nan")),
    (None, None),
    ("a", "a"),
    (Decimal128("1.5"), Decimal128("1.5")),
    ({"x": {"$$exists": True}}, {"x": None}),
    ({"x": {"$$exists": False}}, {}),
    ({"x": {"$$exists": False}}, {"y": 1}),
    ({"$$type": "objectId"}, ObjectId("66b1a02c8d5f3e0011223344")),
    ({"$$type": ["int", "long"]}, 5),
    ({"$$type": ["int", "long"]}, Int64(5)),
    ({"$$type": "number"}, 1.5),
    ({"$$type": "array"}, ["a"]),
    ({"$$type": "binData"}, b"a"),
    ({"$$matchesEntity": "saved"}, {"a": 1}),
    ({"$$matchesEntity": "saved"}, {"a": 1, "b": 2}),
    ({"x": {"$$matchesEntity": "number"}}, {"x": 7}),
    ({"$$matchesHexBytes": "12aB"}, b"\x12\xab"),
    ({"$$matchesHexBytes": ""}, b""),
    ({"x": {"$$unsetOrMatches": 1}}, {}),
    ({"x": {"$$unsetOrMatches": 1}}, {"x": 1}),
    ({"$$unsetOrMatches": {"x": 1}}, {"x": 1, "y": 1}),
    ({"$$unsetOrMatches": {"x": 1}}, UNSET),
    ({"x": {"$$unsetOrMatches": {"$$type": "int"}}}, {"x": 3}),
    ({"lsid": {"$$sessionLsid": "session0"}}, {"lsid": dict(LSID)}),
    ({"$$lte": 5}, 5.0),
    ({"$$lte": 5}, -1),
    ({"$$matchAsDocument": {"a": 1}}, '{"a": {"$numberLong": "1"}}'),
    ({"$$matchAsDocument": {"$$matchAsRoot": {"a": 1}}}, '{"a": 1, "b": 2}'),
    ({"x": {"$$matchAsRoot": {"a": 1}}}, {"x": {"a": 1, "b": 2}}),
]

MISMATCHING = [
    ({"x": 1, "y": 1}, {"x": 1}),
    ({"x": {"y": 1}}, {"x": {"y": 1, "z": 1}}),
    ({"x": None}, {}),
    ({"x": 1}, [1]),
    ({"x": 1}, None),
    ({}, None),
    ([1, 2], [1, 2, 3]),
    ([1, 2], [2, 1]),
    ([], {}),
    ([{"x": 1}], [{"x": 1, "y": 1}]),
    (1, 1.5),
    (1, True),
    (True, 1),
    (1, "1"),
    (1, Decimal128("1")),
    (Decimal128("1"), 1),
    (None, 0),
    (None, UNSET),
    (0, None),
    ("a", b"a"),
    ("a", Code("a")),
    (b"a", Binary(b"a", 5)),
    (float("nan"), 1.0),
    ({"x": {"$$exists": True}}, {}),
    ({"x": {"$$exists": False}}, {"x": None}),
    ({"$$type": "objectId"}, str(ObjectId("66b1a02c8d5f3e0011223344"))),
    ({"$$type": "int"}, Int64(5)),
    ({"$$type": "long"}, 5),
    ({"$$type": "string"}, ["a"]),
    ({"$$type": "null"}, UNSET),
    ({"$$type": "number"}, True),
    ({"x": {"$$matchesEntity": "saved"}}, {"x": {"a": 1, "b": 2}}),
    ({"$$matchesEntity": "number"}, 8),
    ({"$$matchesHexBytes": "12"}, b"\x12\x13"),
    ({"x": {"$$unsetOrMatches": 1}}, {"x": 2}),
    ({"x": {"$$unsetOrMatches": 1}}, {"x": None}),
    ({"x": {"$$unsetOrMatches": {"a": 1}}}, {"x": {"a": 1, "b": 1}}),
    ({"lsid": {"$$sessionLsid": "session0"}}, {"lsid": {"id": Binary(bytes(15) + b"a", 4)}}),
    ({"lsid": {"$$sessionLsid": "session0"}}, {}),
    ({"$$lte": 5}, 5.1),
    ({"$$lte": 5}, "1"),
    ({"$$lte": 5}, UNSET),
    ({"$$matchAsDocument": {"a": 1}}, '{"a": 1, "b": 2}'),
    ({"$$matchAsDocument": {"a": 1}}, "{"),
    ({"$$matchAsDocument": {"a": 1}}, {"a": 1}),
    ({"x": {"$$matchAsRoot": {"a": 1}}}, {"x": {"b": 2}}),
    ({"x": {"$$matchAsRoot": {"a": {"b": 1}}}}, {"x": {"a": {"b": 1, "c": 2}}}),
]


@pytest.mark.parametrize(("expected", "actual"), MATCHING, ids=str)
def test_matches(matcher: Matcher, expected: Any, actual: Any) -> None:
    matcher.match(expected, actual, root=True)


@pytest.mark.parametrize(("expected", "actual"), MISMATCHING, ids=str)
def test_does_not_match(matcher: Matcher, expected: Any, actual: Any) -> None:
    with pytest.raises(Mismatch):
        matcher.match(expected, actual, root=True)


@pytest.mark.parametrize(
    "expected",
    [
        {"$$unknown": 1},
        {"x": {"$$unknown": 1}},
        {"$$type": "integer"},
        {"$$matchesEntity": "nobody"},
        {"$$sessionLsid": "session1"},
        {"$$matchesHexBytes": "1"},
        {"$$matchesHexBytes": "xy"},
    ],
    ids=str,
)
def test_what_the_format_does_not_have_is_an_error_and_no_mismatch(
    matcher: Matcher, expected: Any
) -> None:
    with pytest.raises(RunnerError):
        matcher.match(expected, {"x": 1})


def test_documents_of_an_iterable_are_roots(matcher: Matcher) -> None:
    matcher.match_roots([{"x": 1}, {"x": 2}], [{"x": 1, "y": 1}, {"x": 2}])
    for actual in ([{"x": 1}], [{"x": 1}, {"x": 3}], [{"x": 1}, {"x": 2}, {}], {"x": 1}):
        with pytest.raises(Mismatch):
            matcher.match_roots([{"x": 1}, {"x": 2}], actual)


def test_a_mismatch_says_where(matcher: Matcher) -> None:
    with pytest.raises(Mismatch, match=r"at \$\.a\[1\]\.b: expected 2, was 3"):
        matcher.match({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]})
