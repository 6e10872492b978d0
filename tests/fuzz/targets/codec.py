"""Atheris target: the codec on bytes of anybody, with the C coverage of its extension modules.

    python codec.py [--beside-pymongo] [libFuzzer's arguments]

The first byte chooses the options. What decodes must encode, to bytes that decode to the same;
what does not must raise `InvalidBSON`. With --beside-pymongo, PyMongo must judge alike: that is
for a build without sanitizers, since PyMongo's own decoder reads beyond some broken arrays.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import atheris

from mongokey import bson
from mongokey.bson import CodecOptions, DatetimeConversion, InvalidBSON, json_util
from mongokey.bson.raw_bson import RawBSONDocument

AUTO = DatetimeConversion.DATETIME_AUTO
OPTIONS: list[dict[str, Any]] = [
    {"datetime_conversion": AUTO},
    {"datetime_conversion": AUTO, "tz_aware": True, "uuid_representation": 4},
    {"datetime_conversion": AUTO, "unicode_decode_error_handler": "replace"},
    {"datetime_conversion": DatetimeConversion.DATETIME_MS, "uuid_representation": 3},
    {"datetime_conversion": DatetimeConversion.DATETIME_CLAMP, "document_class": bson.SON},
]
COMPILED = [CodecOptions(**options) for options in OPTIONS]
RAW = CodecOptions(document_class=RawBSONDocument, datetime_conversion=AUTO)
JSON = json_util.JSONOptions(json_mode=json_util.JSONMode.CANONICAL, datetime_conversion=AUTO)


def same(mine: Any, other: Any) -> bool:
    """Whether two values of one package or of both are the same thing."""
    if type(mine).__name__ != type(other).__name__:
        return False
    if isinstance(mine, dict):
        return list(mine) == list(other) and all(same(mine[key], other[key]) for key in mine)
    if isinstance(mine, list):
        return len(mine) == len(other) and all(map(same, mine, other))
    if isinstance(mine, float):
        return mine == other or (math.isnan(mine) and math.isnan(other))
    if isinstance(mine, bson.Code):
        return str(mine) == str(other) and same(mine.scope, other.scope)
    if isinstance(mine, bson.DBRef):
        return same(dict(mine.as_doc()), dict(other.as_doc()))
    return repr(mine) == repr(other)


def inflate(value: Any) -> None:
    """Decode raw documents to the bottom."""
    if isinstance(value, RawBSONDocument):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            inflate(each)
    elif isinstance(value, bson.Code) and value.scope is not None:
        inflate(value.scope)


def alone(data: bytes) -> None:
    """One input, ours only."""
    if not data:
        return
    choice, data = data[0], data[1:]
    if choice % 8 == 6:
        try:
            inflate(bson.decode(data, RAW))
        except InvalidBSON:
            return
    if choice % 8 == 7:
        try:
            list(bson.decode_iter(data))
            bson.decode_all(data)
        except InvalidBSON:
            return
    options = COMPILED[choice % 8 % len(COMPILED)]
    try:
        document = bson.decode(data, options)
    except InvalidBSON as error:
        if not 0 <= error.offset <= len(data):
            raise AssertionError("the offset is outside of the data") from error
        return
    if options.unicode_decode_error_handler != "strict":
        return
    again = bson.encode(document, codec_options=options)
    # Clamped dates, and UUIDs of the other subtype, are not what they were.
    assert same(bson.decode(again, options), document), data
    if choice % 8 == 0:
        # The text, not the values: what looks like a type's object becomes one.
        try:
            json_util.loads(json_util.dumps(document, json_options=JSON), json_options=JSON)
        except (TypeError, ValueError):
            return


def beside_pymongo(data: bytes) -> None:
    """One input, judged by both packages."""
    import bson as theirs

    if not data:
        return
    choice, data = data[0] % len(OPTIONS), data[1:]
    kwargs = dict(OPTIONS[choice])
    kwargs["datetime_conversion"] = theirs.DatetimeConversion(int(kwargs["datetime_conversion"]))
    if "document_class" in kwargs:
        kwargs["document_class"] = theirs.SON
    try:
        expected = theirs.decode(data, theirs.CodecOptions(**kwargs))
    except theirs.errors.InvalidBSON:
        expected = InvalidBSON
    try:
        found: Any = bson.decode(data, COMPILED[choice])
    except InvalidBSON:
        found = InvalidBSON
    assert (found is expected) if expected is InvalidBSON else same(found, expected), (
        data,
        found,
        expected,
    )


def main() -> None:
    target = alone
    if "--beside-pymongo" in sys.argv:
        sys.argv.remove("--beside-pymongo")
        target = beside_pymongo
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
