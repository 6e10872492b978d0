"""Encoding and decoding: documents, options, errors with their place, and odd Python values."""

from __future__ import annotations

import array
import collections
import datetime
import enum
import io
import mmap
import pickle
import subprocess
import sys
import types
from collections.abc import Mapping, MutableMapping
from decimal import Decimal

import bson as pymongo_bson
import pytest

from mongokey import bson
from mongokey.bson import (
    SON,
    Binary,
    CodecOptions,
    DatetimeConversion,
    DatetimeMS,
    DBRef,
    InvalidBSON,
    InvalidDocument,
    ObjectId,
    decode,
    decode_all,
    decode_file_iter,
    decode_iter,
    encode,
)
from mongokey.bson.codec_options import TypeCodec, TypeDecoder, TypeEncoder, TypeRegistry
from mongokey.bson.decimal128 import DecimalDecoder, DecimalEncoder
from mongokey.bson.errors import InvalidStringData
from mongokey.bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument
from mongokey.bson.tz_util import FixedOffset, utc

# ---- Encoding ----


def test_the_empty_document():
    assert encode({}) == b"\x05\0\0\0\0"
    assert decode(b"\x05\0\0\0\0") == {}


def test_id_comes_first_at_the_top_only():
    data = encode({"a": {"b": 1, "_id": 2}, "_id": 3})
    assert list(decode(data)) == ["_id", "a"]
    assert list(decode(data)["a"]) == ["b", "_id"]


@pytest.mark.parametrize(
    "number",
    [
        0,
        1,
        -1,
        2**30,
        -(2**30),
        2**31 - 1,
        2**31,
        -(2**31),
        -(2**31) - 1,
        2**60,
        2**63 - 1,
        -(2**63),
    ],
)
def test_ints_take_32_or_64_bits_by_size(number):
    data = encode({"a": number})
    assert data == pymongo_bson.encode({"a": number})
    assert decode(data) == {"a": number}


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64 - 1, 2**64, 2**90, -(2**200)])
def test_ints_of_more_than_64_bits_overflow(number):
    for value in (number, [number], {"x": number}, bson.Int64(number)):
        with pytest.raises(OverflowError):
            encode({"a": value})


class Number(enum.IntEnum):
    FIVE = 5


class Text(str):
    pass


class Pair(collections.namedtuple("Pair", "x y")):
    pass


class Moment(datetime.datetime):
    pass


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Number.FIVE, 5),
        (Text("é"), "é"),
        (Text("abc"), "abc"),
        (Pair(1, 2), [1, 2]),
        ((1, (2,)), [1, [2]]),
        (Moment(2020, 1, 1), datetime.datetime(2020, 1, 1)),
        (collections.Counter("a"), {"a": 1}),
        (collections.defaultdict(int, a=1), {"a": 1}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.ChainMap({"a": 1}, {"b": 2}), {"b": 2, "a": 1}),
        (collections.UserDict(a=1), {"a": 1}),
        (type("MyBytes", (bytes,), {})(b"x"), b"x"),
        (type("MyFloat", (float,), {})(1.5), 1.5),
        (type("MyList", (list,), {})([1]), [1]),
        (True, True),
    ],
)
def test_subclasses_and_mappings_encode_as_what_they_stand_for(value, plain):
    assert encode({"v": value}) == encode({"v": plain}) == pymongo_bson.encode({"v": plain})


def test_an_ordered_dict_keeps_its_own_order():
    document = collections.OrderedDict(a=1, b=2)
    document.move_to_end("a")
    assert list(decode(encode(document))) == ["b", "a"]


def test_a_default_dict_is_not_asked_for_an_id():
    document = collections.defaultdict(list, a=1)
    encode(document)
    assert list(document) == ["a"]


def test_any_mapping_is_a_document_with_its_id_first():
    class Upper(Mapping):
        def __getitem__(self, key):
            return key.upper()

        def __iter__(self):
            return iter(["a", "_id"])

        def __len__(self):
            return 2

    assert list(decode(encode(Upper())).items()) == [("_id", "_ID"), ("a", "A")]


@pytest.mark.parametrize("bad", [None, 5, "x", [1], (("a", 1),), b"", iter([]), object()])
def test_only_mappings_are_documents(bad):
    with pytest.raises(TypeError, match="mapping"):
        encode(bad)


@pytest.mark.parametrize("key", [None, 5, b"a", 1.5, ("a",)])
def test_keys_must_be_strings(key):
    with pytest.raises(InvalidDocument, match="only string keys") as info:
        encode({"a": {"b": [0, {key: 1}]}})
    assert info.value.path == "a.b.1"


@pytest.mark.parametrize("key", ["\0", "a\0", "\0a", "long" * 5 + "\0", "é\0", Text("a\0b")])
def test_keys_must_not_hold_a_nul(key):
    with pytest.raises(InvalidDocument, match="NUL"):
        encode({key: 1})
    with pytest.raises(InvalidDocument, match="NUL"):
        encode({"sub": {key: 1}})


def test_nul_is_fine_within_strings():
    assert decode(encode({"a": "x\0y", "b": "é\0"})) == {"a": "x\0y", "b": "é\0"}


@pytest.mark.parametrize(
    ("key", "message"), [("$a", "must not start"), ("a.b", "must not contain"), (".é", "contain")]
)
def test_check_keys_refuses_operators_and_dots(key, message):
    assert decode(encode({key: 1})) == {key: 1}
    for document in ({key: 1}, {"x": [{key: 1}]}):
        with pytest.raises(InvalidDocument, match=message):
            encode(document, check_keys=True)
    assert encode({"r": DBRef("c", 1)}, check_keys=True)


@pytest.mark.parametrize("value", [Decimal(1), {1}, object(), (n for n in []), 1j, bytearray(b"x")])
def test_a_value_without_encoding_is_refused_with_its_path(value):
    with pytest.raises(InvalidDocument, match=r"cannot encode object: .*, of type") as info:
        encode({"a": 1, "b": [{}, {"c": value}]})
    assert info.value.path == "b.1.c"
    assert info.value.document == {"a": 1, "b": [{}, {"c": value}]}
    assert str(info.value).startswith("Invalid document: ")
    assert str(info.value).endswith("at field 'b.1.c'")


@pytest.mark.parametrize("text", ["\ud800", "ab\udfff", "é\ud800"])
def test_lone_surrogates_are_refused_with_their_path(text):
    for document in ({"a": text}, {"a": {text: 1}}, {"a": [text]}):
        with pytest.raises(UnicodeEncodeError, match="surrogates not allowed, at field 'a"):
            encode(document)


@pytest.mark.parametrize(
    "text", ["", "a", "é", "\x7f\x80", "߿ࠀ", "\uffff", "\U00010000", "日本語🎉" * 9]
)
def test_text_of_any_width_is_utf8(text):
    data = encode({text.replace("\0", ""): text, "k": Text(text)})
    assert data == pymongo_bson.encode({text: text, "k": text})
    assert decode(data) == {text: text, "k": text}


def test_arrays_of_any_length_have_their_index_as_key():
    for length in (0, 1, 9, 10, 11, 99, 100, 101, 1001, 12345):
        items = list(range(length))
        assert encode({"a": items}) == pymongo_bson.encode({"a": items})


def test_a_container_in_itself_is_an_error():
    document = {}
    document["a"] = document
    items = []
    items.append(items)
    mapping = collections.OrderedDict()
    mapping["m"] = mapping
    for endless in (document, {"l": items}, mapping, {"t": (items,)}):
        with pytest.raises(InvalidDocument, match="contains itself") as raised:
            encode(endless)
        assert isinstance(raised.value, RecursionError)  # what PyMongo raises


def test_what_the_int_of_a_derived_datetime_ms_raises_is_raised():
    class Odd(DatetimeMS):
        def __int__(self):
            return 1.5

    with pytest.raises(TypeError, match="non-int"):
        encode({"x": Odd(2)})


def nested(levels):
    document = {}
    for _ in range(levels - 1):
        document = {"a": document}
    return document


def test_documents_nest_200_levels_deep_and_no_more():
    data = encode(nested(200))
    assert data == pymongo_bson.encode(nested(200))
    assert decode(data) == nested(200)
    with pytest.raises(InvalidDocument, match="200 levels"):
        encode(nested(201))
    with pytest.raises(InvalidBSON, match="200 levels"):
        decode(pymongo_bson.encode(nested(201)))


def test_code_that_changes_the_document_while_it_is_encoded_is_noticed():
    document = {"x": 1}

    class Meddler(Mapping):
        def __getitem__(self, key):
            return 1

        def __iter__(self):
            document.clear()
            document.update((str(n), object()) for n in range(100))
            return iter(["a"])

        def __len__(self):
            return 1

    document["m"] = Meddler()
    with pytest.raises(RuntimeError, match="changed size"):
        encode(document)


def test_code_that_empties_the_list_while_it_is_encoded_is_an_error():
    items = []

    class Meddler(Mapping):
        def __getitem__(self, key):
            return 1

        def __iter__(self):
            items.clear()
            return iter(["a"])

        def __len__(self):
            return 1

    items.extend([Meddler(), object(), object()])
    with pytest.raises(RuntimeError, match="list changed size"):
        encode({"l": items})


def test_encoding_within_encoding_works():
    class Nested(Mapping):
        def __getitem__(self, key):
            return encode({"inner": "x" * 5000})

        def __iter__(self):
            return iter(["a", "b"])

        def __len__(self):
            return 2

    inner = encode({"inner": "x" * 5000})
    assert decode(encode({"n": Nested(), "z": 1})) == {"n": {"a": inner, "b": inner}, "z": 1}


def test_an_error_leaves_the_encoder_usable():
    for _ in range(3):
        with pytest.raises(InvalidDocument):
            encode({"a": "x" * 100000, "b": object()})
        assert encode({"a": 1}) == b"\x0c\0\0\0\x10a\0\x01\0\0\0\0"


def test_regex_patterns_are_checked():
    for pattern in ("a\0b", b"a\0b"):
        with pytest.raises(InvalidDocument, match="NULL byte"):
            encode({"r": bson.Regex(pattern)})
    with pytest.raises(InvalidStringData, match="UTF-8"):
        encode({"r": bson.Regex(b"\xff")})
    assert decode(encode({"r": bson.Regex(b"x", "xusmli")})) == {"r": bson.Regex("x", "ilmsux")}


def test_objects_that_only_claim_to_be_bson_are_refused():
    class FakeId:
        _type_marker = 7
        binary = b"short"

    class FakeBinary:
        _type_marker = 5
        subtype = 0

    class FakeCode:
        _type_marker = 13
        scope = None

    class FakeRaw:
        _type_marker = 101
        raw = b"\x06\0\0\0\0"

    for fake in (FakeId(), FakeBinary(), FakeCode(), FakeRaw()):
        with pytest.raises(InvalidDocument):
            encode({"f": fake})
    with pytest.raises(InvalidDocument):
        encode(FakeRaw())


def test_markers_of_instances_or_unknown_ones_mean_nothing():
    class Strange(dict):
        _type_marker = 77

    assert decode(encode({"s": Strange(a=1)})) == {"s": {"a": 1}}


# ---- Decoding ----


def test_any_bytes_like_object_decodes():
    data = encode({"a": 1})
    mapped = mmap.mmap(-1, len(data))
    mapped[:] = data
    for form in (bytearray(data), memoryview(data), array.array("B", data), mapped):
        assert decode(form) == {"a": 1}
        assert decode_all(form) == [{"a": 1}]
        assert list(decode_iter(form)) == [{"a": 1}]
    with pytest.raises(TypeError):
        decode("text")


def test_duplicate_fields_keep_the_last():
    data = encode({"a": 1})[4:-1] + encode({"a": 2})[4:-1]
    assert decode((len(data) + 5).to_bytes(4, "little") + data + b"\0") == {"a": 2}


def test_the_same_field_name_is_one_object():
    first, second = decode_all(encode({"a name": 1}) * 2)
    assert next(iter(first)) is next(iter(second))


def test_field_names_of_every_kind_are_kept_apart():
    names = [chr(97 + n % 26) * (n % 70) + str(n) for n in range(5000)] + ["é", "ab\x80", "日本"]
    document = {name: n for n, name in enumerate(names)}
    for _ in range(2):
        assert decode(encode(document)) == document


def test_many_documents_decode_to_a_list_or_one_by_one():
    documents = [{"n": n, "t": "x" * n} for n in range(50)]
    data = b"".join(map(encode, documents))
    assert decode_all(data) == documents
    assert list(decode_iter(data)) == documents
    assert list(decode_file_iter(io.BytesIO(data))) == documents
    assert decode_all(b"") == []
    options = CodecOptions(document_class=SON)
    for found in (decode_all(data, options), decode_iter(data, options)):
        assert all(type(document) is SON for document in found)
    assert type(next(decode_file_iter(io.BytesIO(data), options))) is SON


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 11])
def test_many_documents_cut_short_are_invalid(cut):
    data = encode({"a": 1}) * 2
    data = data[:-cut]
    with pytest.raises(InvalidBSON):
        decode_all(data)
    for found in (decode_iter(data), decode_file_iter(io.BytesIO(data))):
        assert next(found) == {"a": 1}
        with pytest.raises(InvalidBSON):
            next(found)


@pytest.mark.parametrize("options", [5, {"tz_aware": True}, pymongo_bson.CodecOptions()])
def test_options_must_be_codec_options(options):
    data = encode({})
    for call in (
        lambda: encode({}, codec_options=options),
        lambda: decode(data, options),
        lambda: decode_all(data, options),
        lambda: decode_iter(data, options),
        lambda: decode_file_iter(io.BytesIO(data), options),
    ):
        with pytest.raises(TypeError, match="CodecOptions"):
            call()


def test_errors_say_byte_and_field():
    data = bytearray(encode({"a": {"b": [1, {"c": True}]}}))
    at = data.index(b"\x08c\0") + 3
    data[at] = 7
    with pytest.raises(
        InvalidBSON, match=rf"boolean value: 7, at byte {at}, in field 'a.b.1.c'"
    ) as info:
        decode(data)
    assert (info.value.offset, info.value.path) == (at, "a.b.1.c")


def test_bad_utf8_is_told_with_its_own_byte_or_handled_as_asked():
    data = encode({"a": "0123456789"}).replace(b"456", b"4\xff6")
    at = data.index(b"\xff")
    with pytest.raises(InvalidBSON, match="utf-8") as info:
        decode(data)
    assert info.value.offset == at
    for handler, expected in (
        ("replace", "01234\ufffd6789"),
        ("ignore", "012346789"),
        ("backslashreplace", "01234\\xff6789"),
        ("surrogateescape", "01234\udcff6789"),
    ):
        assert decode(data, CodecOptions(unicode_decode_error_handler=handler)) == {"a": expected}
    with pytest.raises(InvalidBSON, match="junk"):
        decode(data, CodecOptions(unicode_decode_error_handler="junk"))


def test_bad_utf8_in_a_field_name_is_handled_alike():
    data = b"\x09\0\0\0\x0aa\xff\0\0"
    with pytest.raises(InvalidBSON, match="utf-8"):
        decode(data)
    assert decode(data, CodecOptions(unicode_decode_error_handler="replace")) == {"a\ufffd": None}
    # What one handler made of a name is not what another caller gets.
    with pytest.raises(InvalidBSON):
        decode(data)


class Mine(MutableMapping):
    def __init__(self):
        self.items_ = {}

    def __getitem__(self, key):
        return self.items_[key]

    def __setitem__(self, key, value):
        self.items_[key] = value

    def __delitem__(self, key):
        del self.items_[key]

    def __iter__(self):
        return iter(self.items_)

    def __len__(self):
        return len(self.items_)


@pytest.mark.parametrize("kind", [dict, SON, collections.OrderedDict, Mine, SON[str, int]])
def test_documents_decode_to_the_class_asked_for(kind):
    document = decode(
        encode({"a": {"b": 1}, "l": [{"c": 2}], "r": DBRef("c", 1)}),
        CodecOptions(document_class=kind),
    )
    plain = getattr(kind, "__origin__", kind)
    assert type(document) is type(document["a"]) is type(document["l"][0]) is plain
    assert document["a"]["b"] == 1
    assert document["r"] == DBRef("c", 1)


def test_documents_that_look_like_references():
    reference = {"$ref": "c", "$id": 1, "$db": "d", "x": 2}
    assert decode(encode({"r": reference}))["r"] == DBRef("c", 1, "d", x=2)
    # The outermost document is never one.
    assert decode(encode(reference)) == reference
    for other in (
        {"$ref": "c"},
        {"$ref": 1, "$id": 2},
        {"$ref": "c", "$id": 1, "$db": 5},
        {"$x": 1},
    ):
        assert decode(encode({"r": other})) == {"r": other}


def test_raw_documents_all_the_way_down():
    data = encode({"a": {"b": 1}, "c": bson.Code("f", {"s": 1})})
    document = decode(data, DEFAULT_RAW_BSON_OPTIONS)
    assert isinstance(document, RawBSONDocument)
    assert document.raw == data
    assert isinstance(document["a"], RawBSONDocument)
    assert document["c"].scope["s"] == 1
    (again,) = decode_all(bytearray(data), DEFAULT_RAW_BSON_OPTIONS)
    assert again == document


MOMENT = datetime.datetime(2024, 2, 29, 23, 59, 59, 999000)


@pytest.mark.parametrize(
    "moment",
    [
        MOMENT,
        datetime.datetime(1, 1, 1),
        datetime.datetime(9999, 12, 31, 23, 59, 59, 999000),
        datetime.datetime(1969, 12, 31, 23, 59, 59, 999000),
        datetime.datetime(1600, 2, 29),
        datetime.datetime(1900, 3, 1),
        datetime.datetime(2000, 12, 31),
    ],
)
def test_dates_keep_milliseconds(moment):
    data = encode({"d": moment})
    assert data == pymongo_bson.encode({"d": moment})
    assert decode(data) == {"d": moment}
    aware = decode(data, CodecOptions(tz_aware=True))["d"]
    assert aware == moment.replace(tzinfo=utc)
    assert aware.tzinfo is utc
    assert encode({"d": aware}) == data
    assert encode({"d": moment.replace(microsecond=moment.microsecond + 999)}) == data


def test_aware_dates_are_stored_in_utc_and_come_back_in_the_zone_asked_for():
    east = FixedOffset(330, "east")
    aware = MOMENT.replace(tzinfo=east)
    data = encode({"d": aware, "o": aware.replace(tzinfo=datetime.timezone.utc)})
    assert data == pymongo_bson.encode(
        {"d": aware, "o": aware.replace(tzinfo=datetime.timezone.utc)}
    )
    found = decode(data, CodecOptions(tz_aware=True, tzinfo=east))
    assert found["d"] == aware
    assert found["d"].tzinfo is east
    assert found["o"] == aware.replace(tzinfo=utc)


def test_utc_is_not_asked_for_its_offset_but_a_subclass_is():
    class Later(datetime.datetime):
        def utcoffset(self):
            return datetime.timedelta(hours=2)

    utc = datetime.timezone.utc
    moment = datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999, utc)
    assert encode({"d": moment}) == encode({"d": moment.replace(tzinfo=None)})
    later = Later(2000, 1, 1, 2, tzinfo=utc)
    assert encode({"d": later}) == encode({"d": datetime.datetime(2000, 1, 1)})


def test_dates_before_the_epoch_are_rounded_down():
    for micros in (-1, -999, -1000, -1001, 1, 999):
        naive = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=micros)
        for moment in (naive, naive.replace(tzinfo=datetime.timezone.utc)):
            data = encode({"d": moment})
            assert data == pymongo_bson.encode({"d": moment})
            options = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
            assert decode(data, options)["d"] == DatetimeMS(micros // 1000)


@pytest.mark.parametrize("millis", [2**62, -(2**62), 253402300800000, -62135596800001])
def test_dates_beyond_datetime_follow_datetime_conversion(millis):
    data = encode({"d": DatetimeMS(millis)})
    with pytest.raises(InvalidBSON, match=r"DATETIME_AUTO.*'d'"):
        decode(data)
    for conversion in (DatetimeConversion.DATETIME_AUTO, DatetimeConversion.DATETIME_MS):
        options = CodecOptions(datetime_conversion=conversion)
        assert decode(data, options) == {"d": DatetimeMS(millis)}
    clamped = decode(data, CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_CLAMP))
    extreme = datetime.datetime.max if millis > 0 else datetime.datetime.min
    assert abs(clamped["d"] - extreme) < datetime.timedelta(milliseconds=1)


def test_is_valid_tells_documents_from_other_bytes():
    assert bson.is_valid(encode({"a": 1}))
    assert not bson.is_valid(b"")
    assert not bson.is_valid(encode({"a": 1}) + b"\0")
    with pytest.raises(TypeError):
        bson.is_valid("x")


def test_the_bson_class_encodes_and_decodes():
    data = bson.BSON.encode({"a": 1})
    assert isinstance(data, bson.BSON)
    assert data.decode() == {"a": 1}
    assert type(data.decode(CodecOptions(document_class=SON))) is SON
    assert bson.has_c()


# ---- Options and type codecs ----


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        ({"document_class": int}, TypeError),
        ({"document_class": "x"}, TypeError),
        ({"tz_aware": 1}, TypeError),
        ({"uuid_representation": 2}, ValueError),
        ({"unicode_decode_error_handler": None}, TypeError),
        ({"tzinfo": utc}, ValueError),
        ({"tzinfo": 5, "tz_aware": True}, TypeError),
        ({"type_registry": 5}, TypeError),
    ],
)
def test_bad_options_are_refused(kwargs, error):
    with pytest.raises(error):
        CodecOptions(**kwargs)


def test_options_are_values():
    options = CodecOptions(tz_aware=True)
    assert options == CodecOptions().with_options(tz_aware=True)
    assert options != CodecOptions()
    decode(encode({}), options)
    again = pickle.loads(pickle.dumps(CodecOptions(uuid_representation=4)))
    assert again == CodecOptions(uuid_representation=4)
    assert repr(options) == repr(pymongo_bson.CodecOptions(tz_aware=True))


class Money:
    def __init__(self, cents):
        self.cents = cents

    def __eq__(self, other):
        return isinstance(other, Money) and self.cents == other.cents

    __hash__ = None


class MoneyCodec(TypeCodec):
    python_type = Money
    bson_type = bson.Decimal128

    def transform_python(self, value):
        return bson.Decimal128(str(value.cents / 100))

    def transform_bson(self, value):
        return Money(int(value.to_decimal() * 100))


def test_type_codecs_transform_both_ways_at_any_depth():
    options = CodecOptions(type_registry=TypeRegistry([MoneyCodec()]))
    document = {"a": Money(150), "l": [Money(275), {"x": Money(5)}]}
    data = encode(document, codec_options=options)
    assert decode(data)["a"] == bson.Decimal128("1.5")
    assert decode(data, options) == document
    with pytest.raises(InvalidDocument):
        encode(document)


def test_decimals_can_be_had_as_decimals():
    options = CodecOptions(type_registry=TypeRegistry([DecimalEncoder(), DecimalDecoder()]))
    document = {"d": Decimal("1.50")}
    assert decode(encode(document, codec_options=options), options) == document


def test_a_fallback_encoder_gets_what_nothing_else_encodes():
    def fallback(value):
        return {"was": str(value)}

    options = CodecOptions(type_registry=TypeRegistry(fallback_encoder=fallback))
    document = {"a": Decimal(1), "b": 2**70, "c": [1j]}
    assert decode(encode(document, codec_options=options)) == {
        "a": {"was": "1"},
        "b": {"was": str(2**70)},
        "c": [{"was": "1j"}],
    }


def test_what_the_fallback_returns_may_need_a_codec_but_not_the_fallback_again():
    to_money = CodecOptions(
        type_registry=TypeRegistry([MoneyCodec()], lambda value: Money(int(value)))
    )
    assert decode(encode({"a": Decimal(150)}, codec_options=to_money)) == {
        "a": bson.Decimal128("1.5")
    }
    for fallback in (lambda value: value, lambda value: Decimal(1), lambda value: object()):
        options = CodecOptions(type_registry=TypeRegistry([MoneyCodec()], fallback))
        with pytest.raises(InvalidDocument, match="cannot encode"):
            encode({"a": Decimal(1)}, codec_options=options)


def test_a_codec_and_a_fallback_that_send_values_to_each_other_end():
    class Circle(TypeEncoder):
        python_type = Money

        def transform_python(self, value):
            return Decimal(1)

    options = CodecOptions(type_registry=TypeRegistry([Circle()], lambda value: Money(1)))
    for value in (Money(1), Decimal(1)):
        with pytest.raises(InvalidDocument, match="cannot encode"):
            encode({"a": value}, codec_options=options)


def test_errors_of_type_codecs_come_through():
    class Broken(TypeCodec):
        python_type = Money
        bson_type = str

        def transform_python(self, value):
            raise ZeroDivisionError("mine")

        def transform_bson(self, value):
            raise ZeroDivisionError("mine")

    options = CodecOptions(type_registry=TypeRegistry([Broken()]))
    with pytest.raises(ZeroDivisionError, match="mine"):
        encode({"a": [Money(1)]}, codec_options=options)
    with pytest.raises(ZeroDivisionError, match="mine"):
        decode(encode({"a": ["x"]}), options)


def test_registries_refuse_what_cannot_work():
    class IntEncoder(TypeEncoder):
        python_type = int

        def transform_python(self, value):
            return value

    class OidEncoder(IntEncoder):
        python_type = ObjectId

    for codec in (IntEncoder(), OidEncoder()):
        with pytest.raises(TypeError, match="built-in"):
            TypeRegistry([codec])
    with pytest.raises(TypeError, match="Expected an instance"):
        TypeRegistry([5])
    with pytest.raises(TypeError, match="callable"):
        TypeRegistry(fallback_encoder=5)
    with pytest.raises(TypeError):
        TypeDecoder()
    registry = TypeRegistry([MoneyCodec()])
    assert registry.codecs[0].python_type is Money
    assert registry.fallback_encoder is None
    assert TypeRegistry() == TypeRegistry() != registry


# ---- The package ----


def test_importing_bson_loads_no_heavy_module():
    code = (
        "import sys, mongokey.bson; print(*{'uuid', 'decimal', 'ssl', 'asyncio', 'hashlib',"
        " 'numpy', 'bson'} & set(sys.modules))"
    )
    output = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60)
    assert output.strip() == ""


def test_every_name_of_pymongos_bson_is_here():
    assert set(pymongo_bson.__all__) <= set(bson.__all__)
    for name in bson.__all__:
        assert getattr(bson, name) is not None


def test_binary_subtype_2_repeats_its_length():
    assert encode({"b": Binary(b"abc", 2)})[7:] == b"\x07\0\0\0\x02\x03\0\0\0abc\0"
