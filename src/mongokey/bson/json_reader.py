"""JSON objects with a type's `$` key as the BSON values they stand for.

Knows the conversion table of the extended-json specification and the legacy forms, one function
for a key. An object that has such a key but not the form raises: it is not left as it is.
"""

from __future__ import annotations

import base64
import datetime
import re
import uuid
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, NoReturn

from mongokey.bson.binary import (
    ALL_UUID_SUBTYPES,
    PYTHON_LEGACY,
    STANDARD,
    UUID_SUBTYPE,
    Binary,
    UuidRepresentation,
)
from mongokey.bson.code import Code
from mongokey.bson.codec_options import DatetimeConversion
from mongokey.bson.datetime_ms import DatetimeMS, _millis_to_datetime
from mongokey.bson.dbref import DBRef
from mongokey.bson.decimal128 import Decimal128
from mongokey.bson.int64 import Int64
from mongokey.bson.json_options import DEFAULT_JSON_OPTIONS, JSONOptions
from mongokey.bson.max_key import MaxKey
from mongokey.bson.min_key import MinKey
from mongokey.bson.objectid import ObjectId
from mongokey.bson.regex import Regex, str_flags_to_int
from mongokey.bson.timestamp import Timestamp
from mongokey.bson.tz_util import utc


def object_pairs_hook(
    pairs: Sequence[tuple[str, Any]], json_options: JSONOptions = DEFAULT_JSON_OPTIONS
) -> Any:
    """The value of a JSON object given as pairs: for `json.loads`'s argument of that name."""
    document_class: Any = json_options.document_class
    return object_hook(document_class(pairs), json_options)


def object_hook(
    dct: MutableMapping[str, Any], json_options: JSONOptions = DEFAULT_JSON_OPTIONS
) -> Any:
    """The value of a JSON object: for `json.loads`'s argument of that name.

    An object without a type's `$` key is returned as it is. Raises as `loads` does.
    """
    for name in dct:
        parser = PARSERS.get(name)
        if parser is not None:
            return parser(dct, json_options)
    return dct


def _bad(name: str, wanted: str, document: Any) -> NoReturn:
    raise TypeError(f"{name} {wanted}: {document!r}")


def _alone(document: Any, name: str, kind: type | tuple[type, ...], wanted: str) -> Any:
    """The value of an object whose only key is `name`."""
    if len(document) != 1:
        raise TypeError(f"Bad {name}, extra field(s): {document!r}")
    value = document[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        _bad(name, f"value must be {wanted}", document)
    return value


def _parts(document: Any, name: str, first: str, second: str) -> tuple[Any, Any]:
    """The two values of the object within an object whose only key is `name`."""
    value = _alone(document, name, Mapping, "a document")
    if set(value) != {first, second}:
        _bad(name, f'must include exactly "{first}" and "{second}" components', document)
    return value[first], value[second]


def _parse_oid(document: Any, json_options: JSONOptions) -> ObjectId:
    return ObjectId(_alone(document, "$oid", str, "a string of 24 hex digits"))


def _parse_symbol(document: Any, json_options: JSONOptions) -> str:
    return str(_alone(document, "$symbol", str, "a string"))


def _parse_undefined(document: Any, json_options: JSONOptions) -> None:
    if len(document) != 1 or document["$undefined"] is not True:
        _bad("$undefined", "must be true and the only key", document)


def _integer(name: str, text: str, bits: int) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(f"Bad {name}: {text!r} is not an integer")
    # Digits beyond any 64-bit number are not worth the time that int() takes for them.
    number = int(text) if len(text) <= 100 else 2**64
    if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise ValueError(f"Bad {name}: {text[:100]} has more than {bits} bits")
    return number


def _parse_int32(document: Any, json_options: JSONOptions) -> int:
    return _integer("$numberInt", _alone(document, "$numberInt", str, "a string"), 32)


def _parse_int64(document: Any, json_options: JSONOptions) -> Int64:
    # Old versions of mongoexport wrote numbers; as PyMongo, whatever the mode.
    value = _alone(document, "$numberLong", (str, int), "a string")
    return Int64(_integer("$numberLong", str(value), 64))


def _parse_double(document: Any, json_options: JSONOptions) -> float:
    return float(_alone(document, "$numberDouble", str, "a string"))


def _parse_decimal128(document: Any, json_options: JSONOptions) -> Decimal128:
    return Decimal128(_alone(document, "$numberDecimal", str, "a string"))


def _parse_min_key(document: Any, json_options: JSONOptions) -> MinKey:
    if _alone(document, "$minKey", int, "1") != 1:
        _bad("$minKey", "value must be 1", document)
    return MinKey()


def _parse_max_key(document: Any, json_options: JSONOptions) -> MaxKey:
    if _alone(document, "$maxKey", int, "1") != 1:
        _bad("$maxKey", "value must be 1", document)
    return MaxKey()


def _parse_timestamp(document: Any, json_options: JSONOptions) -> Timestamp:
    seconds, ordinal = _parts(document, "$timestamp", "t", "i")
    if type(seconds) not in (int, Int64) or type(ordinal) not in (int, Int64):
        _bad("$timestamp", "components must be integers", document)
    return Timestamp(seconds, ordinal)


def _parse_code(document: Any, json_options: JSONOptions) -> Code:
    if not set(document) <= {"$code", "$scope"}:
        raise TypeError(f"Bad $code, extra field(s): {document!r}")
    scope = document.get("$scope")
    if not isinstance(document["$code"], str) or not (
        "$scope" not in document or isinstance(scope, Mapping)
    ):
        _bad("$code", "must be a string, and $scope a document", document)
    return Code(document["$code"], scope)


def _parse_regular_expression(document: Any, json_options: JSONOptions) -> Regex[str]:
    pattern, letters = _parts(document, "$regularExpression", "pattern", "options")
    if not isinstance(pattern, str) or not isinstance(letters, str):
        _bad("$regularExpression", "components must be strings", document)
    if "\0" in pattern:
        raise ValueError("$regularExpression must not contain the NULL byte")
    return Regex(pattern, letters)


def _parse_legacy_regex(document: Any, json_options: JSONOptions) -> Any:
    pattern = document["$regex"]
    # Otherwise it is the query operator, whose pattern was made a Regex already.
    if not isinstance(pattern, str):
        return document
    letters = document.get("$options", "")
    if not isinstance(letters, str):
        _bad("$regex", "must have a string as $options", document)
    return Regex(pattern, str_flags_to_int(letters))


def _decode_base64(text: Any, document: Any) -> bytes:
    if not isinstance(text, str):
        _bad("$binary", "must have a string as base64", document)
    return base64.b64decode(text.encode("ascii"), validate=True)


def _parse_binary(document: Any, json_options: JSONOptions) -> Any:
    if "$type" in document:
        return _parse_legacy_binary(document, json_options)
    text, subtype = _parts(document, "$binary", "base64", "subType")
    if not isinstance(subtype, str) or not re.fullmatch("[0-9a-fA-F]{1,2}", subtype):
        _bad("$binary", "subType must be a string of one or two hex digits", document)
    data = _decode_base64(text, document)
    return _binary_or_uuid(data, int(subtype, 16), json_options)


def _parse_legacy_binary(document: Any, json_options: JSONOptions) -> Any:
    kind = document["$type"]
    if isinstance(kind, str):
        kind = int(kind, 16)
    if not isinstance(kind, int) or len(document) != 2:
        _bad("$binary", "must have a number or hex digits as $type and no other key", document)
    # mongoexport wrote subtypes from 128 on with their sign extended to 32 bits.
    if kind >= 0xFFFFFF80:
        kind &= 0xFF
    return _binary_or_uuid(_decode_base64(document["$binary"], document), kind, json_options)


def _binary_or_uuid(data: bytes, subtype: int, json_options: JSONOptions) -> Any:
    if subtype == 0:
        return data
    binary = Binary(data, subtype)
    representation = json_options.uuid_representation
    if subtype not in ALL_UUID_SUBTYPES or representation == UuidRepresentation.UNSPECIFIED:
        return binary
    if subtype == UUID_SUBTYPE:
        representation = STANDARD
    elif representation == STANDARD:
        representation = PYTHON_LEGACY
    return binary.as_uuid(representation)


def _parse_uuid(document: Any, json_options: JSONOptions) -> Any:
    text = _alone(document, "$uuid", str, "a string")
    try:
        value = uuid.UUID(text)
    except ValueError:
        raise ValueError(f"Bad $uuid: {text!r} is not a UUID") from None
    if json_options.uuid_representation == UuidRepresentation.UNSPECIFIED:
        return Binary.from_uuid(value)
    return value


_ISO8601 = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})T([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})"
    r"(?:\.([0-9]*))?(?:Z|([+-])([0-9]{2})(?::?([0-9]{2}))?)?"
)


def _parse_iso8601(text: str) -> datetime.datetime:
    found = _ISO8601.fullmatch(text)
    if found is None:
        raise ValueError(f"time data {text!r} does not match ISO-8601 datetime format")
    *civil, fraction, sign, hours, minutes = found.groups()
    year, month, day, hour, minute, second = map(int, civil)
    micros = int((fraction or "")[:6].ljust(6, "0"))
    moment = datetime.datetime(year, month, day, hour, minute, second, micros, utc)
    if sign is None:
        return moment
    offset = datetime.timedelta(hours=int(hours), minutes=int(minutes or 0))
    try:
        return moment + offset if sign == "-" else moment - offset
    except OverflowError as error:
        raise ValueError(f"Bad $date: {text!r} is out of datetime's range in UTC") from error


def _parse_date(document: Any, json_options: JSONOptions) -> Any:
    # Numbers are the legacy form, which every mode reads, as PyMongo's.
    value = _alone(document, "$date", (str, Int64, int, float), "a string or a $numberLong")
    if not isinstance(value, str):
        return _millis_to_datetime(int(value), json_options)
    moment = _parse_iso8601(value)
    if json_options.datetime_conversion == DatetimeConversion.DATETIME_MS:
        return DatetimeMS(moment)
    if not json_options.tz_aware:
        return moment.replace(tzinfo=None)
    return moment.astimezone(json_options.tzinfo) if json_options.tzinfo else moment


def _parse_dbref(document: Any, json_options: JSONOptions) -> Any:
    collection, database = document.get("$ref"), document.get("$db")
    # What only looks like a reference stays as it is.
    if (
        not isinstance(collection, str)
        or "$id" not in document
        or not isinstance(database, (str, type(None)))
    ):
        return document
    rest = {key: value for key, value in document.items() if key not in ("$ref", "$id", "$db")}
    return DBRef(collection, document["$id"], database, rest)


def _parse_dbpointer(document: Any, json_options: JSONOptions) -> DBRef:
    value = _alone(document, "$dbPointer", DBRef, "a document with $ref and $id")
    assert isinstance(value, DBRef)
    if not isinstance(value.id, ObjectId) or len(value.as_doc()) != 2:
        _bad("$dbPointer", "must have just $ref and an ObjectId as $id", value.as_doc())
    return value


PARSERS: dict[str, Callable[[Any, JSONOptions], Any]] = {
    "$binary": _parse_binary,
    "$code": _parse_code,
    "$date": _parse_date,
    "$dbPointer": _parse_dbpointer,
    "$maxKey": _parse_max_key,
    "$minKey": _parse_min_key,
    "$numberDecimal": _parse_decimal128,
    "$numberDouble": _parse_double,
    "$numberInt": _parse_int32,
    "$numberLong": _parse_int64,
    "$oid": _parse_oid,
    "$ref": _parse_dbref,
    "$regex": _parse_legacy_regex,
    "$regularExpression": _parse_regular_expression,
    "$symbol": _parse_symbol,
    "$timestamp": _parse_timestamp,
    "$undefined": _parse_undefined,
    "$uuid": _parse_uuid,
}
