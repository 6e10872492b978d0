"""BSON's own types: constructors, equality, order, repr and pickles, beside PyMongo's."""

from __future__ import annotations

import copy
import datetime
import pickle
import re
import uuid
from decimal import Decimal, Inexact, InvalidOperation, Overflow

import bson as theirs
import pytest

import mongokey.bson as ours
from mongokey.bson import (
    SON,
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
    UuidRepresentation,
)
from mongokey.bson.binary import BinaryVector, BinaryVectorDtype
from mongokey.bson.codec_options import CodecOptions, DatetimeConversion
from mongokey.bson.decimal128 import create_decimal128_context
from mongokey.bson.errors import InvalidBSON
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.bson.tz_util import FixedOffset, utc

THEIR_AUTO = theirs.CodecOptions(datetime_conversion=theirs.DatetimeConversion.DATETIME_AUTO)
ID = "0123456789abcdef01234567"


def examples(package):
    """The same values made by either package."""
    return {
        "binary": package.Binary(b"\x00\xff", 128),
        "binary_old": package.Binary(b"abc", 2),
        "sensitive": package.Binary(b"secret", 8),
        "code": package.Code("f()"),
        "code_scope": package.Code("f()", {"a": 1}, b=2),
        "dbref": package.DBRef("c", 5, "db", extra=[1]),
        "dbref_short": package.DBRef("c", package.ObjectId(ID)),
        "decimal": package.Decimal128("-1.50E+3"),
        "int64": package.Int64(-(2**40)),
        "maxkey": package.MaxKey(),
        "millis": package.DatetimeMS(-(2**62)),
        "minkey": package.MinKey(),
        "oid": package.ObjectId(ID),
        "regex": package.Regex("^a.*", "im"),
        "regex_bytes": package.Regex(b"x", re.DOTALL),
        "son": package.SON([("b", 1), ("a", package.SON())]),
        "timestamp": package.Timestamp(2**32 - 1, 7),
    }


OURS, THEIRS = examples(ours), examples(theirs)


@pytest.mark.parametrize("name", OURS)
def test_repr_is_pymongos(name):
    assert repr(OURS[name]) == repr(THEIRS[name])


@pytest.mark.parametrize("name", OURS)
def test_type_marker_is_pymongos(name):
    marker = getattr(type(THEIRS[name]), "_type_marker", None)
    assert getattr(type(OURS[name]), "_type_marker", None) == marker


@pytest.mark.parametrize("name", OURS)
def test_each_package_encodes_the_others_objects_to_the_same_bytes(name):
    expected = theirs.encode({"v": THEIRS[name]})
    assert ours.encode({"v": OURS[name]}) == expected
    assert ours.encode({"v": THEIRS[name]}) == expected
    assert theirs.encode({"v": OURS[name]}) == expected


@pytest.mark.parametrize("name", [name for name in OURS if name not in ("son", "regex_bytes")])
def test_decodes_to_an_equal_value_of_the_same_type(name):
    options = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
    value = ours.decode(ours.encode({"v": OURS[name]}), options)["v"]
    assert value == OURS[name]
    assert type(value) is type(OURS[name])
    # A decoded regex has its flags as a plain number, in both packages.
    assert repr(value) == repr(theirs.decode(theirs.encode({"v": value}), THEIR_AUTO)["v"])


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", OURS)
def test_pickles(name, protocol):
    again = pickle.loads(pickle.dumps(OURS[name], protocol))
    assert again == OURS[name]
    assert type(again) is type(OURS[name])
    assert repr(again) == repr(OURS[name])


@pytest.mark.parametrize("name", OURS)
def test_copies(name):
    assert copy.copy(OURS[name]) == OURS[name]
    assert copy.deepcopy(OURS[name]) == OURS[name]


@pytest.mark.parametrize("name", OURS)
def test_hash_is_pymongos_or_refused_as_there(name):
    try:
        expected = hash(THEIRS[name])
    except TypeError:
        with pytest.raises(TypeError):
            hash(OURS[name])
    else:
        assert isinstance(hash(OURS[name]), int)
        if name not in ("dbref", "dbref_short"):
            assert hash(OURS[name]) == expected


def test_binary_is_equal_only_to_binary_of_the_same_subtype():
    assert Binary(b"a", 0) == Binary(b"a")
    assert Binary(b"a", 1) != Binary(b"a", 2)
    assert Binary(b"a") != b"a"
    assert Binary(b"a") != b"a"
    assert Binary(bytearray(b"xy")) == Binary(memoryview(b"xy"))


@pytest.mark.parametrize(
    ("args", "error"),
    [(("text",), TypeError), ((b"", "1"), TypeError), ((b"", 256), ValueError), ((5,), TypeError)],
)
def test_binary_refuses(args, error):
    with pytest.raises(error):
        Binary(*args)


UUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")


@pytest.mark.parametrize(
    ("representation", "subtype", "expected"),
    [
        (UuidRepresentation.STANDARD, 4, "00112233445566778899aabbccddeeff"),
        (UuidRepresentation.PYTHON_LEGACY, 3, "00112233445566778899aabbccddeeff"),
        (UuidRepresentation.JAVA_LEGACY, 3, "7766554433221100ffeeddccbbaa9988"),
        (UuidRepresentation.CSHARP_LEGACY, 3, "33221100554477668899aabbccddeeff"),
    ],
)
def test_uuid_representations_follow_the_specification(representation, subtype, expected):
    binary = Binary.from_uuid(UUID, representation)
    assert (binary.subtype, binary.hex()) == (subtype, expected)
    assert binary.as_uuid(representation) == UUID
    options = CodecOptions(uuid_representation=representation)
    data = ours.encode({"u": UUID}, codec_options=options)
    assert ours.decode(data, options) == {"u": UUID}
    assert ours.decode(data) == {"u": binary}
    assert ours.encode({"u": binary}) == data


def test_uuids_are_refused_without_a_representation():
    with pytest.raises(ValueError, match="UNSPECIFIED"):
        ours.encode({"u": UUID})
    with pytest.raises(ValueError, match="UNSPECIFIED"):
        Binary.from_uuid(UUID, UuidRepresentation.UNSPECIFIED)
    with pytest.raises(TypeError):
        Binary.from_uuid("x")
    with pytest.raises(ValueError, match="subtype 0"):
        Binary(bytes(16)).as_uuid()
    with pytest.raises(ValueError, match="15-byte"):
        Binary(bytes(15), 4).as_uuid()
    with pytest.raises(ValueError, match="PYTHON_LEGACY"):
        Binary(bytes(16), 4).as_uuid(UuidRepresentation.PYTHON_LEGACY)
    with pytest.raises(ValueError, match="uuid_representation"):
        Binary(bytes(16), 4).as_uuid(99)


def test_a_uuid_of_wrong_size_is_invalid_bson_where_a_uuid_is_wanted():
    data = ours.encode({"u": Binary(b"short", 4)})
    assert ours.decode(data) == {"u": Binary(b"short", 4)}
    with pytest.raises(InvalidBSON, match="'u'"):
        ours.decode(data, CodecOptions(uuid_representation=4))


def test_vectors_go_both_ways():
    for data, dtype, padding in (
        ([-128, 0, 127], BinaryVectorDtype.INT8, 0),
        ([1.5, float("inf")], BinaryVectorDtype.FLOAT32, 0),
        ([255, 0b10000000], BinaryVectorDtype.PACKED_BIT, 7),
    ):
        vector = BinaryVector(data, dtype, padding)
        binary = Binary.from_vector(vector)
        assert binary.subtype == 9
        assert binary.as_vector() == vector
        assert Binary.from_vector(data, dtype, padding) == binary
        assert repr(vector) == f"BinaryVector(dtype={dtype}, padding={padding}, data={data})"


def test_padding_that_is_not_zero_warns_when_read():
    with pytest.warns(DeprecationWarning, match="padding"):
        Binary(b"\x10\x03\x07", 9).as_vector()


def test_code_takes_over_and_extends_a_scope_without_touching_the_other():
    first = Code("f()", {"a": 1})
    second = Code(first, b=2)
    assert second.scope == {"a": 1, "b": 2}
    assert first.scope == {"a": 1}
    assert Code(first).scope == {"a": 1}
    assert Code("x") == Code("x")
    assert Code("x") != "x"
    with pytest.raises(TypeError):
        Code(5)
    with pytest.raises(TypeError):
        Code("x", 5)


def test_datetime_ms_orders_and_converts():
    moment = datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)
    assert int(DatetimeMS(moment)) == -1
    assert DatetimeMS(1) < DatetimeMS(2)
    assert DatetimeMS(1) >= DatetimeMS(1)
    assert DatetimeMS(1) != 1
    assert DatetimeMS(0).as_datetime() == datetime.datetime(1970, 1, 1)
    aware = moment.replace(tzinfo=FixedOffset(-90, "west"))
    assert int(DatetimeMS(aware)) == 90 * 60000 - 1
    with pytest.raises(OverflowError):
        DatetimeMS(2**63)
    with pytest.raises(TypeError):
        DatetimeMS("x")
    with pytest.raises(InvalidBSON):
        DatetimeMS(2**62).as_datetime()
    with pytest.raises(ValueError, match="DatetimeConversion"):
        DatetimeMS(0).as_datetime(CodecOptions(datetime_conversion=None))


def test_clamping_keeps_within_what_a_time_zone_can_say():
    for minutes in (-600, 0, 600):
        options = CodecOptions(
            tz_aware=True,
            tzinfo=FixedOffset(minutes, "zone"),
            datetime_conversion=DatetimeConversion.DATETIME_CLAMP,
        )
        low, high = (DatetimeMS(ms).as_datetime(options) for ms in (-(2**62), 2**62))
        assert low.replace(tzinfo=None) < datetime.datetime(1, 1, 2)
        assert high.replace(tzinfo=None) > datetime.datetime(9999, 12, 30)


def test_decimal_refuses_what_it_cannot_keep_exactly():
    for text, error in (
        ("1" * 35, Inexact),
        ("1E-6177", Inexact),
        ("1E6145", Overflow),
        (".1.1", InvalidOperation),
    ):
        with pytest.raises(error):
            Decimal128(text)
        assert Decimal128(create_decimal128_context().create_decimal(text)) is not None
    with pytest.raises(ValueError, match="payload"):
        Decimal128("NaN123")
    with pytest.raises(TypeError):
        Decimal128(1.5)
    with pytest.raises(ValueError, match="2 elements"):
        Decimal128((1, 2, 3))
    with pytest.raises(ValueError, match="16 bytes"):
        Decimal128.from_bid(b"")
    with pytest.raises(TypeError):
        Decimal128.from_bid("x")


def test_decimal_signs_and_nans_are_kept():
    for text in ("-0", "-Infinity", "sNaN", "-sNaN", "-NaN", "NaN"):
        assert str(Decimal128(text).to_decimal()) == text
    assert str(Decimal128("-sNaN")) == "NaN"
    assert Decimal128("NaN") == Decimal128("NaN")
    assert Decimal128(Decimal("1.0")) != Decimal128("1.00")


def test_min_and_max_keys_enclose_everything():
    low, high = MinKey(), MaxKey()
    assert low < 1 < high
    assert low <= low
    assert not low < MinKey()
    assert not low > 1
    assert high >= high
    assert not high < 1
    assert not high > MaxKey()
    assert low == MinKey() != high
    assert low <= high
    assert high > low


def test_regex_knows_pythons_patterns():
    native = re.compile("a.b", re.IGNORECASE | re.MULTILINE)
    regex = Regex.from_native(native)
    assert regex == Regex("a.b", "imu")
    assert regex.try_compile() == native
    assert regex != Regex("a.b")
    assert ours.encode({"r": native}) == ours.encode({"r": regex})
    with pytest.raises(TypeError):
        Regex.from_native("a")
    with pytest.raises(TypeError):
        Regex(5)
    with pytest.raises(TypeError):
        Regex("a", 1.5)
    with pytest.raises(re.error):
        Regex("(").try_compile()


def test_son_is_ordered_and_its_methods_work():
    son = SON([("b", 1), ("a", 2)])
    assert son == {"a": 2, "b": 1}
    assert son != SON([("a", 2), ("b", 1)])
    assert son.popitem() == ("b", 1)
    assert son.copy() == SON(a=2)
    assert SON(x=SON(y=[SON(z=1)])).to_dict() == {"x": {"y": [{"z": 1}]}}
    assert type(SON(x=SON()).to_dict()["x"]) is dict
    assert son.values() == [2]
    with pytest.warns(DeprecationWarning, match="deprecated"):
        assert son.has_key("a")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        assert list(son.iterkeys()) == ["a"]
    with pytest.warns(DeprecationWarning, match="deprecated"):
        assert list(son.itervalues()) == [2]
    del son["a"]
    with pytest.raises(KeyError):
        son.popitem()


def test_timestamp_orders_by_time_then_ordinal():
    assert Timestamp(1, 2) < Timestamp(2, 1) < Timestamp(2, 2)
    assert Timestamp(1, 1) <= Timestamp(1, 1) >= Timestamp(1, 1)
    assert Timestamp(1, 2) > Timestamp(1, 1)
    assert Timestamp(1, 1) != (1, 1)
    moment = datetime.datetime(2020, 1, 1, 1, tzinfo=FixedOffset(60, "east"))
    assert Timestamp(moment, 0).as_datetime() == datetime.datetime(2020, 1, 1, tzinfo=utc)
    for args, error in (
        ((-1, 0), ValueError),
        ((0, 2**32), ValueError),
        ((1.5, 0), TypeError),
        ((0, "1"), TypeError),
    ):
        with pytest.raises(error):
            Timestamp(*args)


def test_dbref_gives_its_further_fields_as_attributes():
    ref = DBRef("c", 1, "d", note="x")
    assert (ref.collection, ref.id, ref.database, ref.note) == ("c", 1, "d", "x")
    assert ref.as_doc() == SON([("$ref", "c"), ("$id", 1), ("$db", "d"), ("note", "x")])
    with pytest.raises(AttributeError):
        ref.other  # noqa: B018
    assert ref != DBRef("c", 1)
    for args in ((1, 1), ("c", 1, 5)):
        with pytest.raises(TypeError):
            DBRef(*args)


def test_int64_is_an_int():
    number = Int64(5)
    assert number == 5
    assert type(number + 1) is int
    assert {5: "x"}[number] == "x"
    assert ours.encode({"a": number}) != ours.encode({"a": 5})


def test_raw_documents_decode_when_read():
    data = ours.encode({"a": {"b": [{"c": 1}]}, "d": 2})
    raw = RawBSONDocument(data)
    assert raw.raw == data
    assert raw["d"] == 2
    assert isinstance(raw["a"], RawBSONDocument)
    assert raw["a"]["b"][0]["c"] == 1
    assert list(raw) == ["a", "d"]
    assert len(raw) == 2
    assert dict(raw.items()).keys() == {"a", "d"}
    assert raw == RawBSONDocument(data)
    assert raw != {"a": 1}
    assert pickle.loads(pickle.dumps(raw)) == raw
    assert eval(repr(raw["a"]["b"][0]).split(", codec_options")[0] + ")") == raw["a"]["b"][0]
    assert ours.encode(raw) == data
    assert ours.encode({"x": raw})[7:-1] == data
    with pytest.raises(TypeError):
        hash(raw)
    with pytest.raises(TypeError, match="document class"):
        RawBSONDocument(data, CodecOptions())


@pytest.mark.parametrize("data", [b"", b"\x05\0\0\0", b"\x06\0\0\0\0", b"\x05\0\0\0\x01", bytes(9)])
def test_raw_documents_must_be_whole(data):
    with pytest.raises(InvalidBSON):
        RawBSONDocument(data)


def test_a_raw_document_with_bad_fields_says_so_when_read():
    raw = RawBSONDocument(b"\x08\0\0\0\x99a\0\0")
    with pytest.raises(InvalidBSON, match="unknown BSON type"):
        raw["a"]


def test_oid_example_is_the_same_in_both():
    assert str(ObjectId(ID)) == str(theirs.ObjectId(ID))
