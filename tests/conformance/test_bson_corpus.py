"""The public bson-corpus suite: valid, degenerate and broken BSON of every type.

All assertions that the suite's page lists for codecs with a native form between BSON and JSON.
"""

from __future__ import annotations

import json
from decimal import Decimal, DecimalException
from typing import Any

import pytest

from mongokey import bson
from mongokey.bson import (
    CodecOptions,
    DatetimeConversion,
    DBRef,
    Decimal128,
    InvalidBSON,
    InvalidDocument,
    json_util,
)
from mongokey.bson.json_util import JSONMode, JSONOptions
from tests.specifications import require, suite

# The suite has a date of the year 10000.
OPTIONS = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
CANONICAL, RELAXED = (
    JSONOptions(json_mode=mode, datetime_conversion=DatetimeConversion.DATETIME_AUTO)
    for mode in (JSONMode.CANONICAL, JSONMode.RELAXED)
)

FILES = list(suite("bson-corpus"))


def cases(kind: str) -> list[Any]:
    return [
        pytest.param(content, case, id=f"{name}: {case['description']}")
        for name, content in FILES
        for case in content.get(kind, [])
    ]


VALID = cases("valid")
DEGENERATE = [param for param in VALID if "degenerate_bson" in param.values[1]]
DECIMALS = [param for param in VALID if param.values[0]["bson_type"] == "0x13"]


def test_the_suite_is_there():
    require("bson-corpus")
    assert len(VALID) > 500
    assert len(cases("decodeErrors")) > 50
    assert len(cases("parseErrors")) > 50
    assert len(DEGENERATE) > 2


@pytest.mark.parametrize(("content", "case"), VALID)
def test_canonical_bson_survives_a_round_trip(content, case):
    data = bytes.fromhex(case["canonical_bson"])
    # Deprecated types decode to what replaced them; the suite has the bytes of that.
    expected = bytes.fromhex(case.get("converted_bson", case["canonical_bson"]))
    if content.get("deprecated") and "converted_bson" not in case:
        pytest.fail("a deprecated type without converted bytes")
    assert bson.encode(bson.decode(data, OPTIONS)) == expected


@pytest.mark.parametrize(("content", "case"), DEGENERATE)
def test_degenerate_bson_is_put_right(content, case):
    document = bson.decode(bytes.fromhex(case["degenerate_bson"]))
    assert bson.encode(document) == bytes.fromhex(case["canonical_bson"])


@pytest.mark.parametrize(("content", "case"), cases("decodeErrors"))
def test_broken_bson_is_refused(content, case):
    data = bytes.fromhex(case["bson"])
    with pytest.raises(InvalidBSON) as info:
        bson.decode(data)
    assert 0 <= info.value.offset <= len(data)
    assert not bson.is_valid(data)


def normal(text: str) -> Any:
    """JSON text as something to compare: order does not count, nor how a double is written."""

    def hook(found: dict[str, Any]) -> Any:
        double = found.get("$numberDouble")
        return {"$numberDouble": repr(float(double))} if isinstance(double, str) else found

    def compared(value: float) -> Any:
        return ("float", repr(float(value)))

    return json.loads(text, object_hook=hook, parse_float=compared)


def text_of(case: dict[str, Any], kind: str) -> Any:
    """The suite's text; for a deprecated type, that of what it is converted to."""
    return normal(case.get(kind.replace("canonical", "converted"), case[kind]))


def to_bson(document: Any) -> bytes:
    """BSON of what `loads` gave: it takes the outermost object for a reference too."""
    return bson.encode(document.as_doc() if isinstance(document, DBRef) else document)


def canonical(document: Any) -> Any:
    return normal(json_util.dumps(document, json_options=CANONICAL))


def relaxed(document: Any) -> Any:
    return normal(json_util.dumps(document, json_options=RELAXED))


@pytest.mark.parametrize(("content", "case"), VALID)
def test_bson_becomes_canonical_and_relaxed_json(content, case):
    document = bson.decode(bytes.fromhex(case["canonical_bson"]), OPTIONS)
    assert canonical(document) == text_of(case, "canonical_extjson")
    if "relaxed_extjson" in case and "converted_extjson" not in case:
        assert relaxed(document) == normal(case["relaxed_extjson"])


@pytest.mark.parametrize(("content", "case"), VALID)
def test_canonical_json_becomes_itself_and_bson(content, case):
    document = json_util.loads(case["canonical_extjson"], json_options=CANONICAL)
    assert canonical(document) == text_of(case, "canonical_extjson")
    if not case.get("lossy"):
        expected = case.get("converted_bson", case["canonical_bson"])
        assert to_bson(document) == bytes.fromhex(expected)


@pytest.mark.parametrize(
    ("content", "case"), [param for param in VALID if "relaxed_extjson" in param.values[1]]
)
def test_relaxed_json_becomes_itself(content, case):
    document = json_util.loads(case["relaxed_extjson"], json_options=RELAXED)
    assert relaxed(document) == normal(case["relaxed_extjson"])


@pytest.mark.parametrize(
    ("content", "case"), [param for param in VALID if "degenerate_extjson" in param.values[1]]
)
def test_degenerate_json_is_put_right(content, case):
    document = json_util.loads(case["degenerate_extjson"], json_options=RELAXED)
    assert canonical(document) == text_of(case, "canonical_extjson")
    if not case.get("lossy"):
        expected = case.get("converted_bson", case["canonical_bson"])
        assert to_bson(document) == bytes.fromhex(expected)


# PyMongo reads these, and data of old tools depends on it.
LENIENT = (
    "Bad $date (number, not string or hash)",
    "Bad $numberLong (number, not string)",
    "$uuid invalid value--misplaced hyphens",
    "Null byte in $regularExpression options",
)


@pytest.mark.parametrize(
    ("content", "case"),
    [
        param
        for param in cases("parseErrors")
        if param.values[0]["bson_type"] != "0x13" and param.values[1]["description"] not in LENIENT
    ],
)
def test_bad_json_is_refused(content, case):
    # It is JSON, though.
    json.loads(case["string"])
    with pytest.raises((TypeError, ValueError, InvalidDocument)):
        bson.encode(json_util.loads(case["string"], json_options=CANONICAL))


@pytest.mark.parametrize(("content", "case"), DECIMALS)
def test_decimal_strings_and_bytes_agree(content, case):
    document = bson.decode(bytes.fromhex(case["canonical_bson"]))
    key = content["test_key"]
    canonical = json.loads(case["canonical_extjson"])[key]["$numberDecimal"]
    texts = [canonical]
    if "degenerate_extjson" in case:
        texts.append(json.loads(case["degenerate_extjson"])[key]["$numberDecimal"])
    assert str(document[key]) == canonical
    if not case.get("lossy"):
        for text in texts:
            assert Decimal128(text) == document[key]
        if canonical != "NaN":
            assert Decimal128(document[key].to_decimal()) == document[key]
            assert document[key].to_decimal() == Decimal(canonical)


@pytest.mark.parametrize(
    ("content", "case"),
    [param for param in cases("parseErrors") if param.values[0]["bson_type"] == "0x13"],
)
def test_strings_that_are_no_decimal128_are_refused(content, case):
    with pytest.raises(DecimalException):
        Decimal128(case["string"])
