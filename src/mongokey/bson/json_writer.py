"""Each BSON value as Extended JSON: what `json.dumps` is given instead of it.

Knows the conversion table of the extended-json specification, one function for a type, chosen
once per class. Nothing is read here.
"""

from __future__ import annotations

import base64
import datetime
import math
import re
import uuid
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mongokey.bson.binary import Binary
from mongokey.bson.codec_options import CodecOptions
from mongokey.bson.datetime_ms import (
    _MAX_UTC_MS,
    DatetimeMS,
    _datetime_to_millis,
    _millis_to_datetime,
)
from mongokey.bson.json_options import (
    DEFAULT_JSON_OPTIONS,
    DatetimeRepresentation,
    JSONMode,
    JSONOptions,
)

if TYPE_CHECKING:
    from mongokey.bson.code import Code
    from mongokey.bson.dbref import DBRef
    from mongokey.bson.decimal128 import Decimal128
    from mongokey.bson.int64 import Int64
    from mongokey.bson.max_key import MaxKey
    from mongokey.bson.min_key import MinKey
    from mongokey.bson.objectid import ObjectId
    from mongokey.bson.timestamp import Timestamp

_AS_THEY_ARE = frozenset((str, bool, type(None)))


def _json_convert(obj: Any, json_options: JSONOptions = DEFAULT_JSON_OPTIONS) -> Any:
    """`obj` with all BSON values in it, at any depth, as `json.dumps` can write them."""
    plain_numbers = json_options.json_mode != JSONMode.CANONICAL
    as_they_are = _AS_THEY_ARE | {int} if plain_numbers else _AS_THEY_ARE

    def convert(value: Any) -> Any:
        kind = type(value)
        if kind in as_they_are:
            return value
        if kind is dict:
            return {key: convert(each) for key, each in value.items()}
        if kind is list:
            return [convert(each) for each in value]
        encoder = _encoder_of(kind)  # type: ignore[arg-type]
        if encoder is not None:
            return encoder(value, json_options)
        if hasattr(value, "items"):
            return {key: convert(each) for key, each in value.items()}
        if hasattr(value, "__iter__"):
            return [convert(each) for each in value]
        # json.dumps refuses it, or its caller's own `default` knows it.
        return value

    return convert(obj)


def default(obj: Any, json_options: JSONOptions = DEFAULT_JSON_OPTIONS) -> Any:
    """One BSON value as `json.dumps` can write it: for its `default` argument.

    Raises `TypeError` when BSON has no such value.
    """
    encoder = _encoder_of(type(obj))  # type: ignore[arg-type]
    if encoder is None:
        raise TypeError(f"{obj!r} is not JSON serializable")
    return encoder(obj, json_options)


def _encode_same(obj: Any, json_options: JSONOptions) -> Any:
    return obj


def _encode_int(obj: int, json_options: JSONOptions) -> Any:
    if json_options.json_mode != JSONMode.CANONICAL:
        return obj
    name = "$numberInt" if -(2**31) <= obj < 2**31 else "$numberLong"
    return {name: int.__repr__(obj)}


def _encode_int64(obj: Int64, json_options: JSONOptions) -> Any:
    number = int(obj)
    return {"$numberLong": str(number)} if json_options.strict_number_long else number


def _encode_float(obj: float, json_options: JSONOptions) -> Any:
    if json_options.json_mode == JSONMode.LEGACY:
        return obj
    if math.isnan(obj):
        return {"$numberDouble": "NaN"}
    if math.isinf(obj):
        return {"$numberDouble": "Infinity" if obj > 0 else "-Infinity"}
    # repr() is the shortest text that reads back as the same number.
    return {"$numberDouble": repr(obj)} if json_options.json_mode == JSONMode.CANONICAL else obj


def _encode_subtype(data: bytes, subtype: int, json_options: JSONOptions) -> Any:
    text = base64.b64encode(data).decode()
    if json_options.json_mode == JSONMode.LEGACY:
        return {"$binary": text, "$type": f"{subtype:02x}"}
    return {"$binary": {"base64": text, "subType": f"{subtype:02x}"}}


def _encode_bytes(obj: bytes, json_options: JSONOptions) -> Any:
    return _encode_subtype(obj, 0, json_options)


def _encode_binary(obj: Binary, json_options: JSONOptions) -> Any:
    return _encode_subtype(obj, obj.subtype, json_options)


def _encode_uuid(obj: uuid.UUID, json_options: JSONOptions) -> Any:
    if not json_options.strict_uuid:
        return {"$uuid": obj.hex}
    return _encode_binary(Binary.from_uuid(obj, json_options.uuid_representation), json_options)


def _encode_millis(millis: int, json_options: JSONOptions) -> Any:
    if json_options.datetime_representation == DatetimeRepresentation.LEGACY:
        return {"$date": millis}
    return {"$date": {"$numberLong": str(millis)}}


def _encode_datetime(obj: datetime.datetime, json_options: JSONOptions) -> Any:
    millis = _datetime_to_millis(obj)
    if (
        json_options.datetime_representation != DatetimeRepresentation.ISO8601
        or not 0 <= millis <= _MAX_UTC_MS
    ):
        return _encode_millis(millis, json_options)
    fraction = obj.microsecond // 1000
    text = f"{obj:%Y-%m-%dT%H:%M:%S}" + (f".{fraction:03d}" if fraction else "")
    return {"$date": text + (f"{obj:%z}" if obj.utcoffset() else "Z")}


def _encode_datetime_ms(obj: DatetimeMS, json_options: JSONOptions) -> Any:
    millis = int(obj)
    if (
        json_options.datetime_representation == DatetimeRepresentation.ISO8601
        and 0 <= millis <= _MAX_UTC_MS
    ):
        return _encode_datetime(_millis_to_datetime(millis, CodecOptions()), json_options)
    return _encode_millis(millis, json_options)


def _encode_code(obj: Code, json_options: JSONOptions) -> Any:
    text = str.__str__(obj)
    if obj.scope is None:
        return {"$code": text}
    return {"$code": text, "$scope": _json_convert(obj.scope, json_options)}


def _encode_regex(obj: Any, json_options: JSONOptions) -> Any:
    pattern = obj.pattern if isinstance(obj.pattern, str) else obj.pattern.decode("utf-8")
    # The letters of the flags re.I, L, M, S, U, X, whose bits follow each other from the second.
    letters = "".join(letter for bit, letter in enumerate("ilmsux", 1) if int(obj.flags) >> bit & 1)
    if json_options.json_mode == JSONMode.LEGACY:
        return {"$regex": pattern, "$options": letters}
    return {"$regularExpression": {"pattern": pattern, "options": letters}}


def _encode_objectid(obj: ObjectId, json_options: JSONOptions) -> Any:
    return {"$oid": str(obj)}


def _encode_timestamp(obj: Timestamp, json_options: JSONOptions) -> Any:
    return {"$timestamp": {"t": obj.time, "i": obj.inc}}


def _encode_decimal128(obj: Decimal128, json_options: JSONOptions) -> Any:
    return {"$numberDecimal": str(obj)}


def _encode_dbref(obj: DBRef, json_options: JSONOptions) -> Any:
    return _json_convert(obj.as_doc(), json_options)


def _encode_min_key(obj: MinKey, json_options: JSONOptions) -> Any:
    return {"$minKey": 1}


def _encode_max_key(obj: MaxKey, json_options: JSONOptions) -> Any:
    return {"$maxKey": 1}


_Encoder = Callable[[Any, JSONOptions], Any]
#: By `_type_marker`, which the objects of PyMongo's `bson` have too.
_MARKED: dict[int, _Encoder] = {
    5: _encode_binary,
    7: _encode_objectid,
    9: _encode_datetime_ms,
    11: _encode_regex,
    13: _encode_code,
    17: _encode_timestamp,
    18: _encode_int64,
    19: _encode_decimal128,
    100: _encode_dbref,
    127: _encode_max_key,
    255: _encode_min_key,
}
#: Python's own, bool before int.
_BUILT_IN: tuple[tuple[type, _Encoder], ...] = (
    (bool, _encode_same),
    (bytes, _encode_bytes),
    (datetime.datetime, _encode_datetime),
    (float, _encode_float),
    (int, _encode_int),
    (str, _encode_same),
    (type(None), _encode_same),
    (uuid.UUID, _encode_uuid),
    (re.Pattern, _encode_regex),
)


@lru_cache(maxsize=512)
def _encoder_of(kind: Hashable) -> _Encoder | None:
    marked = _MARKED.get(getattr(kind, "_type_marker", 0))
    if marked is not None:
        return marked
    assert isinstance(kind, type)
    for base, encoder in _BUILT_IN:
        if issubclass(kind, base):
            return encoder
    return None
