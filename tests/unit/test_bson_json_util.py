"""Extended JSON beside PyMongo's: options, every type in every mode, what is refused, hooks."""

from __future__ import annotations

import datetime
import json
import pickle
import re
import subprocess
import sys
import uuid

import bson as theirs
import pytest
from bson import json_util as their_json

import mongokey.bson as ours
from mongokey.bson import SON, Binary, DatetimeMS, DBRef, Int64, ObjectId, json_util
from mongokey.bson.binary import UuidRepresentation
from mongokey.bson.codec_options import DatetimeConversion
from mongokey.bson.errors import InvalidId
from mongokey.bson.json_util import (
    CANONICAL_JSON_OPTIONS,
    DEFAULT_JSON_OPTIONS,
    LEGACY_JSON_OPTIONS,
    RELAXED_JSON_OPTIONS,
    DatetimeRepresentation,
    JSONMode,
    JSONOptions,
    dumps,
    loads,
)
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.bson.tz_util import FixedOffset, utc

MODES = {
    "legacy": (LEGACY_JSON_OPTIONS, their_json.LEGACY_JSON_OPTIONS),
    "relaxed": (RELAXED_JSON_OPTIONS, their_json.RELAXED_JSON_OPTIONS),
    "canonical": (CANONICAL_JSON_OPTIONS, their_json.CANONICAL_JSON_OPTIONS),
}
UUID = uuid.UUID("c8edabc3-f738-4ca3-b68d-ab92a91478a3")
MOMENT = datetime.datetime(2024, 2, 29, 12, 30, 1, 250000)


def examples(package):
    """A value of each type, made by either package."""
    return {
        "none": None,
        "bool": True,
        "int": 5,
        "large": 2**40,
        "float": 1.5,
        "nan": float("nan"),
        "infinite": [float("inf"), float("-inf"), -0.0],
        "text": 'é"\n\ud83d',
        "list": [1, [2, (3,)], {"a": {4}}],
        "mapping": package.SON([("b", 1), ("a", package.SON(x=1.0))]),
        "bytes": b"\x00\xff",
        "binary": package.Binary(b"\x00\xff", 128),
        "uuid_binary": package.Binary(bytes(range(16)), 3),
        "oid": package.ObjectId("0123456789abcdef01234567"),
        "date": MOMENT,
        "date_early": datetime.datetime(1969, 12, 31, 23, 59, 59, 999000),
        "date_whole": MOMENT.replace(microsecond=0),
        "date_aware": MOMENT.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=5.5))),
        "date_utc": MOMENT.replace(tzinfo=datetime.timezone.utc),
        "millis": package.DatetimeMS(1_700_000_000_123),
        "millis_far": package.DatetimeMS(2**60),
        "millis_early": package.DatetimeMS(-5),
        "regex": package.Regex("^a\\b", "ilmsux"),
        "regex_bytes": package.Regex(b"x"),
        "pattern": re.compile("a.b", re.IGNORECASE),
        "code": package.Code("f()"),
        "code_scope": package.Code("f()", {"n": 1, "o": package.ObjectId(bytes(12))}),
        "timestamp": package.Timestamp(2**32 - 1, 7),
        "int64": package.Int64(5),
        "decimal": package.Decimal128("-1.50E+3"),
        "dbref": package.DBRef("c", package.ObjectId(bytes(12)), "d", extra=[1]),
        "min": package.MinKey(),
        "max": package.MaxKey(),
    }


OURS, THEIRS = examples(ours), examples(theirs)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", OURS)
def test_each_value_is_written_as_pymongo_writes_it(name, mode):
    mine, other = MODES[mode]
    expected = their_json.dumps({"v": THEIRS[name]}, json_options=other)
    assert dumps({"v": OURS[name]}, json_options=mine) == expected
    # PyMongo's own objects too.
    assert dumps({"v": THEIRS[name]}, json_options=mine) == expected


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", OURS)
def test_each_value_is_read_as_pymongo_reads_it(name, mode):
    mine, other = MODES[mode]
    auto = {"datetime_conversion": DatetimeConversion.DATETIME_AUTO}
    text = their_json.dumps({"v": THEIRS[name]}, json_options=other)
    for zone in ({}, {"tz_aware": True}, {"tz_aware": True, "tzinfo": FixedOffset(60, "x")}):
        found = loads(text, json_options=mine.with_options(**auto, **zone))
        expected = their_json.loads(text, json_options=other.with_options(**auto, **zone))
        assert repr(found) == repr(expected)
        assert found["v"] is None or type(found["v"]).__name__ == type(expected["v"]).__name__


def test_relaxed_is_the_default():
    assert DEFAULT_JSON_OPTIONS is RELAXED_JSON_OPTIONS
    assert dumps([Int64(5), MOMENT]) == '[5, {"$date": "2024-02-29T12:30:01.250Z"}]'
    assert loads(dumps({"d": MOMENT})) == {"d": MOMENT}


def test_arguments_of_json_are_passed_on():
    assert dumps({"b": 1, "a": 2}, sort_keys=True, indent=1) == '{\n "a": 2,\n "b": 1\n}'
    assert loads("[1.5]", parse_float=str) == ["1.5"]
    assert loads(b'{"$oid": "0123456789abcdef01234567"}') == ObjectId("0123456789abcdef01234567")


def test_what_nobody_knows_is_for_jsons_own_default():
    with pytest.raises(TypeError, match="not JSON serializable"):
        dumps({"a": object()})
    with pytest.raises(TypeError, match="not JSON serializable"):
        json_util.default(object())
    assert dumps({"a": 1j}, default=str) == '{"a": "1j"}'
    assert json.dumps({"a": ObjectId(bytes(12))}, default=json_util.default) == (
        '{"a": {"$oid": "000000000000000000000000"}}'
    )


def test_raw_documents_are_objects():
    raw = RawBSONDocument(ours.encode({"a": {"b": Int64(1)}}))
    assert dumps(raw, json_options=CANONICAL_JSON_OPTIONS) == ('{"a": {"b": {"$numberLong": "1"}}}')


def test_subclasses_are_written_as_their_base():
    class Oid(ObjectId):
        pass

    class Number(int):
        def __repr__(self):
            return "not a number"

    assert dumps([Oid(bytes(12))]) == '[{"$oid": "000000000000000000000000"}]'
    assert dumps(Number(5), json_options=CANONICAL_JSON_OPTIONS) == '{"$numberInt": "5"}'


def test_objects_become_the_class_asked_for():
    options = JSONOptions(document_class=SON)
    found = loads('{"b": {"a": 1}, "c": {"$numberInt": "2"}}', json_options=options)
    assert type(found) is type(found["b"]) is SON
    assert found == SON([("b", SON(a=1)), ("c", 2)])
    assert json_util.object_pairs_hook([("$numberInt", "2")]) == 2
    assert json_util.object_hook({"a": 1}) == {"a": 1}


@pytest.mark.parametrize("mode", [JSONMode.RELAXED, JSONMode.CANONICAL])
def test_options_that_contradict_the_mode_are_refused(mode):
    relaxed = mode == JSONMode.RELAXED
    for options in (
        {"strict_number_long": relaxed},
        {"datetime_representation": DatetimeRepresentation.LEGACY},
        {"strict_uuid": False},
    ):
        with pytest.raises(ValueError, match=next(iter(options))):
            JSONOptions(json_mode=mode, **options)
    for options in ({"json_mode": 7}, {"datetime_representation": 7}):
        with pytest.raises(ValueError, match=next(iter(options))):
            JSONOptions(**options)


def test_options_change_pickle_and_show_themselves():
    options = LEGACY_JSON_OPTIONS.with_options(strict_uuid=True, tz_aware=True)
    assert (options.strict_uuid, options.strict_number_long) == (True, False)
    assert JSONOptions(tz_aware=True).tzinfo is utc
    again = pickle.loads(pickle.dumps(options.with_options(tzinfo=None)))
    assert (again.json_mode, again.strict_uuid, again.tz_aware) == (JSONMode.LEGACY, True, True)
    expected = their_json.LEGACY_JSON_OPTIONS.with_options(strict_uuid=True)
    assert repr(LEGACY_JSON_OPTIONS.with_options(strict_uuid=True)) == repr(expected)
    canonical = DEFAULT_JSON_OPTIONS.with_options(json_mode=JSONMode.CANONICAL)
    assert dumps(1, json_options=canonical) == '{"$numberInt": "1"}'
    # They are CodecOptions.
    assert ours.decode(ours.encode({"a": 1}, codec_options=options), options) == {"a": 1}


def test_uuids_follow_the_representation():
    with pytest.raises(ValueError, match="UNSPECIFIED"):
        dumps(UUID)
    assert dumps(UUID, json_options=LEGACY_JSON_OPTIONS) == f'{{"$uuid": "{UUID.hex}"}}'
    for representation in (3, 4, 5, 6):
        options = JSONOptions(uuid_representation=representation)
        text = dumps({"u": UUID}, json_options=options)
        their_options = their_json.JSONOptions(uuid_representation=representation)
        assert text == their_json.dumps({"u": UUID}, json_options=their_options)
        assert loads(text, json_options=options) == {"u": UUID}
        assert loads(text)["u"] == Binary.from_uuid(UUID, representation)
    for text in (str(UUID), UUID.hex, f"urn:uuid:{UUID}"):
        assert loads(f'{{"$uuid": "{text}"}}') == Binary.from_uuid(UUID)
        standard = JSONOptions(uuid_representation=UuidRepresentation.STANDARD)
        assert loads(f'{{"$uuid": "{text}"}}', json_options=standard) == UUID


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-02-29T12:30:01Z", MOMENT.replace(microsecond=0)),
        ("2024-02-29T12:30:01.25Z", MOMENT),
        ("2024-02-29T12:30:01.250", MOMENT),
        ("2024-02-29T14:30:01.25+02:00", MOMENT),
        ("2024-02-29T14:30:01.25+0200", MOMENT),
        ("2024-02-29T14:30:01.25+02", MOMENT),
        ("2024-02-29T07:00:01.250-05:30", MOMENT),
        ("0001-01-01T00:00:00Z", datetime.datetime.min),
        ("9999-12-31T23:59:59.999999Z", datetime.datetime.max),
    ],
)
def test_dates_as_iso_8601_writes_them(text, expected):
    found = json.dumps({"$date": text})
    assert loads(found) == expected == their_json.loads(found)
    millis = JSONOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
    assert loads(found, json_options=millis) == DatetimeMS(expected)


def test_legacy_forms_are_read():
    moment = datetime.datetime(1970, 1, 1, 0, 0, 5)
    # In every mode: what the legacy one writes can be read by the others.
    for options in (LEGACY_JSON_OPTIONS, RELAXED_JSON_OPTIONS, CANONICAL_JSON_OPTIONS):
        naive = options.with_options(tz_aware=False, tzinfo=None)
        assert loads('{"$date": 5000}', json_options=naive) == moment
        assert loads('{"$numberLong": 5}', json_options=naive) == Int64(5)
        written = dumps({"at": moment}, json_options=LEGACY_JSON_OPTIONS)
        assert loads(written, json_options=naive) == {"at": moment}
    assert loads('{"$binary": "AP8=", "$type": "ffffff80"}') == Binary(b"\x00\xff", 128)
    assert loads('{"$type": 5, "$binary": "AP8="}') == Binary(b"\x00\xff", 5)
    assert loads('{"$regex": "a", "$options": "ig"}') == ours.Regex("a", "i")
    assert loads('{"$regex": "a"}') == ours.Regex("a")


def test_query_operators_stay_what_they_are():
    inner = '{"$regularExpression": {"pattern": "a", "options": ""}}'
    assert loads(f'{{"$regex": {inner}, "$options": "i"}}') == {
        "$regex": ours.Regex("a"),
        "$options": "i",
    }
    for query in ({"$type": 2}, {"$gt": 1}, {"$id": 1}, {"$ref": 5, "$id": 1}, {"$ref": "c"}):
        assert loads(json.dumps(query)) == query
    assert loads('{"$id": 1, "x": 2, "$ref": "c"}') == DBRef("c", 1, x=2)


@pytest.mark.parametrize(
    "text",
    [
        '{"$oid": 5}',
        '{"$oid": "0123456789abcdef01234567", "x": 1}',
        '{"$symbol": 1}',
        '{"$undefined": false}',
        '{"$numberInt": "5", "x": 1}',
        '{"$numberInt": 5}',
        '{"$numberInt": "2147483648"}',
        '{"$numberInt": "1_0"}',
        '{"$numberLong": "9223372036854775808"}',
        '{"$numberLong": "' + "9" * 5000 + '"}',
        '{"$numberLong": true}',
        '{"$numberDouble": 5}',
        '{"$numberDouble": "x"}',
        '{"$numberDecimal": 5}',
        '{"$minKey": 2}',
        '{"$maxKey": true}',
        '{"$timestamp": 5}',
        '{"$timestamp": {"t": 1}}',
        '{"$timestamp": {"t": "1", "i": 1}}',
        '{"$timestamp": {"t": 4294967296, "i": 1}}',
        '{"$code": 5}',
        '{"$code": "f", "$scope": 5}',
        '{"$code": "f", "$scope": null}',
        '{"$code": "f", "x": 5}',
        '{"$regularExpression": {"pattern": 5, "options": ""}}',
        '{"$regularExpression": {"pattern": "a\\u0000", "options": ""}}',
        '{"$regularExpression": {"pattern": "a"}}',
        '{"$regex": "a", "$options": 5}',
        '{"$binary": 5}',
        '{"$binary": {"base64": "AP8=", "subType": "xx"}}',
        '{"$binary": {"base64": "AP8=", "subType": "000"}}',
        '{"$binary": {"base64": 5, "subType": "00"}}',
        '{"$binary": {"base64": "AP8", "subType": "00"}}',
        '{"$binary": {"base64": "A\\nP8=", "subType": "00"}}',
        '{"$binary": {"base64": "\\u00e9", "subType": "00"}}',
        '{"$binary": "AP8=", "$type": "00", "x": 1}',
        '{"$binary": "AP8=", "$type": []}',
        '{"$binary": "AP8=", "$type": 256}',
        '{"$uuid": "c8edabc3f-738-4ca3-b68d-ab92a91478"}',
        '{"$date": "2024-02-30T00:00:00Z"}',
        '{"$date": "yesterday"}',
        '{"$date": "0001-01-01T00:00:00+01:00"}',
        '{"$date": true}',
        '{"$date": {"$numberLong": "1"}, "x": 1}',
        '{"$dbPointer": {"$ref": "c", "$id": 1}}',
        '{"$dbPointer": {"$ref": "c"}}',
        "{",
    ],
)
def test_what_is_not_of_a_types_form_is_refused(text):
    for options in (DEFAULT_JSON_OPTIONS, CANONICAL_JSON_OPTIONS):
        with pytest.raises((TypeError, ValueError)):
            loads(text, json_options=options)


def test_a_bad_oid_is_an_invalid_id():
    with pytest.raises(InvalidId):
        loads('{"$oid": "xyz"}')


def test_the_codec_does_not_load_it():
    code = "import sys, mongokey.bson; print('mongokey.bson.json_util' in sys.modules)"
    output = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60)
    assert output.strip() == "False"
