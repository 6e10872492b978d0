"""Hostile objects given to the encoder: code that changes what is being encoded, and classes that
imitate those of BSON. Errors that name the field, never memory of others.

Run under the sanitizers as well (MONGOKEY_SANITIZE=address), where a read of freed memory aborts.
"""

from __future__ import annotations

import datetime
import struct
import sys
import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping

import pytest

from mongokey import bson
from mongokey.bson import CodecOptions, InvalidDocument
from mongokey.bson.codec_options import TypeEncoder, TypeRegistry
from mongokey.bson.datetime_ms import DatetimeMS
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.bson.son import SON


class Unknown:
    """A type that BSON does not know, so that the fallback encoder runs."""


def with_fallback(encoder):
    return CodecOptions(type_registry=TypeRegistry(fallback_encoder=encoder))


# ---- Code that changes the containers around it ----


@pytest.mark.parametrize("inner_type", [dict, list, tuple, SON, OrderedDict])
def test_a_container_that_its_own_value_takes_out_of_the_document_is_still_read(inner_type):
    unrelated = []

    def inner():
        names = [f"field{n}" for n in range(12)]
        if issubclass(inner_type, dict):
            return inner_type((name, Unknown() if n == 2 else n) for n, name in enumerate(names))
        return inner_type(Unknown() if n == 2 else n for n in range(12))

    def encoder(value):
        document["a"] = None
        # Something else takes the memory, if it was let go.
        unrelated.extend({f"secret{n}": "x" * 50 for n in range(12)} for _ in range(50))
        unrelated.extend(["secret"] * 12 for _ in range(50))
        return "encoded"

    options = with_fallback(encoder)
    for _ in range(200):
        unrelated.clear()
        document = {"a": inner(), "b": 1}
        found = bson.decode(bson.encode(document, codec_options=options))
        values = found["a"].values() if issubclass(inner_type, dict) else found["a"]
        assert list(values) == [0, 1, "encoded", *range(3, 12)]


def test_containers_taken_out_at_every_level():
    def encoder(value):
        for container in reversed(chain):
            container.clear()
        return 1

    chain = [{}]
    for _ in range(50):
        inner = [chain[-1]] if isinstance(chain[-1], dict) else {"key" + "x" * 30: chain[-1]}
        chain.append(inner)
    chain[0]["value"] = Unknown()
    # A container that is empty afterwards has changed its size.
    with pytest.raises(RuntimeError, match="changed size"):
        bson.encode({"a": chain[-1]}, codec_options=with_fallback(encoder))


def test_keys_of_containers_taken_out_are_named_in_errors():
    def encoder(value):
        root.clear()
        return object()

    def key(n):
        return "".join(["name", str(n)])

    root = {key(0): {key(1): [{key(2): Unknown()}]}}
    with pytest.raises(InvalidDocument) as info:
        bson.encode(root, codec_options=with_fallback(encoder))
    assert info.value.path == "name0.name1.0.name2"


def test_another_thread_changes_the_document_between_dates_with_a_time_zone():
    class Zone(datetime.tzinfo):
        def utcoffset(self, when):
            return datetime.timedelta(hours=1)

    when = datetime.datetime(2024, 1, 1, tzinfo=Zone())
    document = {"a": {}}
    stop = threading.Event()

    def change():
        n = 0
        while not stop.is_set():
            n += 1
            name = f"n{n % 7}"
            document["a"] = {f"{name}_{i}": [{name: when}] for i in range(8)}

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(3000):
            found = bson.decode(bson.encode(document))["a"]
            # All of one of the thread's documents.
            assert len({name.partition("_")[0] for name in found}) <= 1
            for name, (item,) in found.items():
                assert list(item) == [name.partition("_")[0]]
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_a_dict_whose_item_is_put_in_again_and_again_ends():
    def encoder(value):
        document["k"] = document.pop("k")
        return 1

    document = {"k": Unknown()}
    with pytest.raises(RuntimeError, match="changed size"):
        bson.encode(document, codec_options=with_fallback(encoder))


def test_a_dict_that_was_emptied_and_filled_again_is_not_read_in_part():
    def encoder(value):
        document.clear()
        document.update((f"other{n}", n) for n in range(5))
        return 1

    document = {"k": Unknown(), **{f"f{n}": n for n in range(4)}}
    for n in range(60):
        document[f"gone{n}"] = n
    for n in range(60):
        del document[f"gone{n}"]
    try:
        found = bson.decode(bson.encode(document, codec_options=with_fallback(encoder)))
    except RuntimeError:
        return
    assert len(found) == 5


@pytest.mark.parametrize("change", ["append", "pop", "clear"])
def test_a_list_that_changes_its_size_is_an_error(change):
    def encoder(value):
        {"append": lambda: items.append(1), "pop": items.pop, "clear": items.clear}[change]()
        return 1

    items = [Unknown(), 2, 3]
    with pytest.raises(RuntimeError, match="list changed size"):
        bson.encode({"l": items}, codec_options=with_fallback(encoder))


def test_a_key_whose_repr_takes_it_out_of_the_document():
    class Key(str):
        def __repr__(self):
            document.clear()
            return "shown"

        def __str__(self):
            document.clear()
            return "another"

    for text in ("a\0b", "$a", "a.b"):
        document = {Key(text): 1}
        with pytest.raises(InvalidDocument):
            bson.encode(document, check_keys=True)

    class NoKey:
        def __repr__(self):
            document.clear()
            return "shown"

    document = {"a": {NoKey(): 1}}
    with pytest.raises(InvalidDocument, match="string keys, key was shown") as info:
        bson.encode(document)
    assert info.value.path == "a"


def test_the_path_holds_the_characters_of_a_key_whatever_it_says_it_is():
    class Key(str):
        def __str__(self):
            return "another"

    with pytest.raises(InvalidDocument) as info:
        bson.encode({Key("key"): {"b": object()}})
    assert info.value.path == "key.b"
    with pytest.raises(UnicodeEncodeError, match=r"at field 'key\.b'"):
        bson.encode({Key("key"): {"b": "\ud800"}})


def test_a_surrogate_in_text_that_encodes_itself_in_its_own_way():
    class Text(str):
        def encode(self, *arguments):
            return b"fine"

    with pytest.raises(UnicodeEncodeError):
        bson.encode({"a": Text("\ud800")})


def test_an_id_under_a_subclass_of_str_is_written_once():
    class Key(str):
        pass

    data = bson.encode({"a": 1, Key("_id"): 2})
    assert data == bson.encode({"_id": 2, "a": 1})


def test_keys_that_run_code_when_they_are_looked_up():
    class Key(str):
        def __hash__(self):
            return hash("_id")

        def __eq__(self, other):
            document.clear()
            return False

    document = {}
    document[Key("k")] = {"a": 1}
    document["b"] = 1
    with pytest.raises(RuntimeError, match="changed size"):
        bson.encode(document)


def test_mappings_that_change_as_they_are_read():
    class Odd(Mapping):
        def __init__(self):
            self.fields = {f"f{n}" * 5: {"v": n} for n in range(5)}

        def __getitem__(self, key):
            return self.fields.pop(key)

        def __iter__(self):
            return iter(list(self.fields))

        def __len__(self):
            return len(self.fields)

        def __contains__(self, key):
            return False

    found = bson.decode(bson.encode({"a": Odd()}))
    assert found["a"] == {f"f{n}" * 5: {"v": n} for n in range(5)}


def test_a_type_encoder_that_empties_the_registry_while_it_runs():
    class Encoder(TypeEncoder):
        python_type = Unknown

        def transform_python(self, value):
            registry._encoder_map.clear()
            document.clear()
            return {"deep": [1, 2]}

    registry = TypeRegistry([Encoder()])
    document = {"a": [Unknown()]}
    with pytest.raises(RuntimeError, match="changed size"):
        bson.encode(document, codec_options=CodecOptions(type_registry=registry))


# ---- Classes that imitate those of BSON ----


def imitation(marker, base=object, **fields):
    return type("Imitation", (base,), {"_type_marker": marker, **fields})


class Long(bytes):
    def __len__(self):
        return 12

    def __contains__(self, item):
        return False


class Wide(bytes):
    def __len__(self):
        return 16


def regex(pattern, flags=0):
    value = bson.Regex("x")
    value.pattern = pattern
    value.flags = flags
    return value


def changed(value, **fields):
    for name, field in fields.items():
        setattr(value, name, field)
    return value


REFUSED = {
    "regex of a bytearray": regex(bytearray(b"abc")),
    "regex of None": regex(None),
    "regex with a NUL its class denies": regex(Long(b"a\0b")),
    "regex with flags of text": regex("x", "i"),
    "regex with endless flags": regex("x", 1 << 80),
    "regex imitated without fields": imitation(11)(),
    "regex imitated with other fields": imitation(11, pattern=7, flags=0)(),
    "int64 that is no int": imitation(18)(),
    "int64 with an index": imitation(18, __index__=lambda self: 5)(),
    "objectid without bytes": imitation(7)(),
    "objectid of a str": imitation(7, binary="x" * 12)(),
    "objectid shorter than it says": imitation(7, binary=Long(b"x"))(),
    "date without a number": imitation(9)(),
    "date of a str": changed(DatetimeMS(1), _value="x"),
    "binary that is no bytes": imitation(5, subtype=0)(),
    "binary without a subtype": imitation(5, bytes)(b"x"),
    "binary of subtype 300": imitation(5, bytes, subtype=300)(b"x"),
    "binary of subtype -1": imitation(5, bytes, subtype=-1)(b"x"),
    "binary of subtype 1.5": imitation(5, bytes, subtype=1.5)(b"x"),
    "binary made without its class": bytes.__new__(bson.Binary, b"x"),
    "code that is no str": imitation(13, scope=None)(),
    "code with a scope that is none": imitation(13, str, scope=5)("f()"),
    "code made without its class": str.__new__(bson.Code, "f()"),
    "timestamp without fields": imitation(17)(),
    "timestamp of text": imitation(17, time="x", inc=1)(),
    "timestamp beyond 32 bits": imitation(17, time=1 << 32, inc=1)(),
    "timestamp below zero": changed(bson.Timestamp(1, 1), _Timestamp__inc=-1),
    "timestamp of a float": changed(bson.Timestamp(1, 1), _Timestamp__time=1.5),
    "decimal of a str": imitation(19, bid="x" * 16)(),
    "decimal shorter than it says": imitation(19, bid=Wide(b"x"))(),
    "dbref without a document": imitation(100)(),
    "dbref that is a list": imitation(100, as_doc=lambda self: [1])(),
    "raw document of None": imitation(101, raw=None)(),
    "raw document of text": imitation(101, raw="x")(),
    "raw document that is too short": imitation(101, raw=b"\x05\0")(),
    "raw document that says it is longer": imitation(101, raw=b"\x50\0\0\0\0")(),
    "raw document of every other byte": imitation(101, raw=memoryview(b"\5\0" * 9)[::2])(),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_of_a_bson_type_is_refused_with_its_path(name):
    for document, path in (
        ({"a": {"b": REFUSED[name]}}, "a.b"),
        ({"a": [1, REFUSED[name]]}, "a.1"),
    ):
        with pytest.raises(InvalidDocument) as info:
            bson.encode(document)
        assert info.value.path == path


def test_numbers_of_more_than_64_bits_are_refused():
    for value in (bson.Int64(1 << 63), changed(DatetimeMS(1), _value=1 << 64), -(1 << 63) - 1):
        with pytest.raises(OverflowError, match="8-byte ints"):
            bson.encode({"a": value})
    for value in ((1 << 63) - 1, -(1 << 63)):
        assert bson.decode(bson.encode({"a": value})) == {"a": value}


def test_fields_are_read_as_they_are_and_not_as_a_subclass_says():
    class Number(int):
        def __index__(self):
            return 7

        __int__ = __index__

        def __le__(self, other):
            return True

        __ge__ = __lt__ = __gt__ = __le__

    class Text(str):
        def __contains__(self, item):
            return False

        def __len__(self):
            return 100

    class Bytes(bytes):
        def __len__(self):
            return 100

        def __bytes__(self):
            return b"other"

    for value, right in (
        (Number(5), 5),
        (Text("text"), "text"),
        (Bytes(b"bytes"), b"bytes"),
        (regex(Text("x"), Number(2)), bson.Regex("x", 2)),
        (regex(Bytes(b"x")), bson.Regex("x")),
        (imitation(5, bytes, subtype=Number(4))(b"x"), bson.Binary(b"x", 4)),
        (imitation(17, time=Number(3), inc=True)(), bson.Timestamp(3, 1)),
    ):
        assert bson.encode({"a": value}) == bson.encode({"a": right})
    with pytest.raises(InvalidDocument, match="NULL byte"):
        bson.encode({"a": regex(Text("a\0b"))})


@pytest.mark.parametrize(
    "offset",
    [
        "text",
        5,
        object(),
        datetime.timedelta.max,
        datetime.timedelta.min,
        datetime.timedelta(days=1),
        datetime.timedelta(days=-1),
    ],
)
def test_an_offset_from_utc_that_is_none_is_refused(offset):
    class Odd(datetime.datetime):
        def utcoffset(self):
            return offset

    with pytest.raises(InvalidDocument, match="utcoffset") as info:
        bson.encode({"a": [Odd(2024, 1, 1)]})
    assert info.value.path == "a.0"


def test_offsets_from_utc_of_almost_a_day_are_taken():
    for seconds in (86399, -86399, 1, 0):

        class Odd(datetime.datetime):
            def utcoffset(self, _seconds=seconds):
                return datetime.timedelta(seconds=_seconds)

        found = bson.decode(bson.encode({"a": Odd(2024, 1, 1)}))["a"]
        assert found == datetime.datetime(2024, 1, 1) - datetime.timedelta(seconds=seconds)


def test_a_date_that_takes_itself_out_of_its_document():
    class Odd(datetime.datetime):
        def utcoffset(self):
            document["a"] = document["b"] = None
            return datetime.timedelta(hours=1)

    document = {"a": Odd(2024, 1, 1), "b": [1, 2]}
    found = bson.decode(bson.encode(document))
    assert found["a"] == datetime.datetime(2023, 12, 31, 23)
    assert found["b"] is None


def test_a_uuid_with_other_bytes_is_refused():
    class Odd(uuid.UUID):
        @property
        def bytes(self):
            return b"short"

    options = CodecOptions(uuid_representation=4)
    with pytest.raises(InvalidDocument):
        bson.encode({"a": Odd(int=5)}, codec_options=options)


def test_a_class_that_says_it_is_another():
    for kind in (dict, list, str, bytes, int, datetime.datetime, uuid.UUID):
        odd = type("Odd", (), {"__class__": property(lambda self, kind=kind: kind)})()
        with pytest.raises((InvalidDocument, AttributeError, TypeError)):
            bson.encode({"a": odd}, codec_options=CodecOptions(uuid_representation=4))


def test_raw_documents_of_any_memory_are_copied_whole():
    data = bson.encode({"x": 1})
    for raw in (data, bytearray(data), memoryview(data), memoryview(data).cast("b")):
        assert bson.encode({"a": imitation(101, raw=raw)()}) == bson.encode({"a": {"x": 1}})
    assert bson.encode({"a": RawBSONDocument(data)}) == bson.encode({"a": {"x": 1}})


def test_nothing_of_the_heap_is_sent_for_any_field_that_is_replaced():
    filler = b"\xa5" * 64
    for value in REFUSED.values():
        with pytest.raises(InvalidDocument):
            bson.encode({"filler": filler, "a": value})
    # And the encoder is none the worse for it.
    assert struct.unpack("<i", bson.encode({"a": 1})[:4]) == (12,)
