"""ObjectId: its form, its generation across threads and forks, and its likeness to PyMongo's."""

from __future__ import annotations

import copy
import datetime
import os
import pickle
import threading
import time

import bson as pymongo_bson
import pytest

from mongokey.bson import objectid
from mongokey.bson.errors import InvalidId
from mongokey.bson.objectid import ObjectId
from mongokey.bson.tz_util import FixedOffset, utc

HEX = "0123456789abcdef01234567"


@pytest.mark.parametrize("form", [HEX, HEX.upper(), bytes.fromhex(HEX), ObjectId(HEX)])
def test_made_from_hex_bytes_or_another(form):
    oid = ObjectId(form)
    assert str(oid) == HEX
    assert oid.binary == bytes.fromhex(HEX)
    assert repr(oid) == f"ObjectId('{HEX}')"


def test_made_from_pymongos():
    theirs = pymongo_bson.ObjectId()
    assert ObjectId(theirs).binary == theirs.binary
    assert pymongo_bson.decode(pymongo_bson.encode({"a": ObjectId(theirs)})) == {"a": theirs}


@pytest.mark.parametrize("bad", ["", "0" * 23, "0" * 25, "g" * 24, "0" * 23 + " ", "é" * 24, b"12"])
def test_other_strings_and_bytes_are_invalid_ids(bad):
    with pytest.raises(InvalidId, match="12 bytes"):
        ObjectId(bad)
    assert not ObjectId.is_valid(bad)


@pytest.mark.parametrize("bad", [4, 1.5, {"a": 1}, ["x"], bytearray(12)])
def test_other_types_are_type_errors(bad):
    with pytest.raises(TypeError, match="bytes, str, ObjectId"):
        ObjectId(bad)
    assert not ObjectId.is_valid(bad)


def test_is_valid_accepts_what_the_constructor_accepts():
    assert ObjectId.is_valid(HEX)
    assert ObjectId.is_valid(bytes(12))
    assert not ObjectId.is_valid(None)


def test_equality_hash_and_order_are_those_of_the_bytes():
    low, high = ObjectId(bytes(12)), ObjectId(bytes(11) + b"\x01")
    assert low == ObjectId(bytes(12))
    assert low != high
    assert low != str(low)
    assert low < high
    assert low <= high
    assert high > low
    assert high >= low
    assert hash(low) == hash(bytes(12)) == hash(pymongo_bson.ObjectId(bytes(12)))
    with pytest.raises(TypeError):
        low < "a"  # noqa: B015


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_with_every_protocol(protocol):
    oid = ObjectId()
    again = pickle.loads(pickle.dumps(oid, protocol))
    assert again == oid
    assert type(again) is ObjectId


class Marked(ObjectId):
    """A subclass with its own constructor."""

    def __init__(self, mark, oid=None):
        super().__init__(oid)
        self.mark = mark


def test_subclasses_may_have_their_own_constructor():
    oid = Marked("x", HEX)
    assert oid.mark == "x"
    assert oid == ObjectId(HEX)
    assert pickle.loads(pickle.dumps(oid)) == oid


def test_is_immutable():
    oid = ObjectId()
    with pytest.raises(AttributeError):
        oid.binary = bytes(12)
    with pytest.raises(AttributeError):
        oid.other = 1
    assert copy.deepcopy(oid) == oid


def test_a_new_one_holds_the_present_time_in_utc():
    before = int(time.time())
    generated = ObjectId().generation_time
    assert before <= generated.timestamp() <= time.time()
    assert generated.tzinfo is utc


def test_seconds_are_unsigned_and_big_endian():
    # The bson-objectid specification's examples.
    assert ObjectId("00000000" + "0" * 16).generation_time.timestamp() == 0
    assert ObjectId("7fffffff" + "0" * 16).generation_time.timestamp() == 0x7FFFFFFF
    assert ObjectId("ffffffff" + "0" * 16).generation_time.timestamp() == 0xFFFFFFFF


def test_from_datetime_takes_naive_times_as_utc():
    naive = datetime.datetime(2020, 1, 2, 3, 4, 5, 999999)
    aware = naive.replace(tzinfo=FixedOffset(60, "east"))
    assert ObjectId.from_datetime(naive).binary[4:] == bytes(8)
    assert ObjectId.from_datetime(naive).generation_time == naive.replace(microsecond=0, tzinfo=utc)
    assert ObjectId.from_datetime(aware) < ObjectId.from_datetime(naive)
    with pytest.raises(OverflowError):
        ObjectId.from_datetime(datetime.datetime(1969, 12, 31))


def test_ids_of_a_process_share_their_random_part_and_count_up():
    first, second = ObjectId(), ObjectId()
    assert first.binary[4:9] == second.binary[4:9]
    assert (int(str(second)[18:], 16) - int(str(first)[18:], 16)) % 2**24 == 1


def test_the_counter_wraps():
    objectid._set_counter(0xFFFFFF)
    assert str(ObjectId()).endswith("ffffff")
    assert str(ObjectId()).endswith("000000")


def test_threads_never_get_the_same_id():
    found = []

    def make():
        found.extend([ObjectId() for _ in range(5000)])

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(found)) == len(found) == 40000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_draws_its_own_random_part():
    mine = ObjectId()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, ObjectId().binary + ObjectId().binary)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    assert data[4:9] == data[16:21] != mine.binary[4:9]
    assert ObjectId().binary[4:9] == mine.binary[4:9]
