"""Documents that resemble each other are decoded by what they have in common: none is read wrongly.

PyMongo's `bson` says what is right.
"""

from __future__ import annotations

import copy
import datetime
import gc
import json
import pickle
import random
import struct
import sys
import threading
import weakref

import bson as pymongo_bson
import pytest

from mongokey.bson import CodecOptions, DBRef, ObjectId, decode, decode_all, encode

VALUES = [
    5,
    2**40,
    1.5,
    "text",
    "日本語",
    None,
    True,
    b"bytes",
    [1, [2]],
    {"n": 1, "m": {"o": None}},
    [],
    {},
    ObjectId(b"x" * 12),
]


@pytest.fixture(autouse=True, scope="module")
def _only_new_objects():
    """The collector looks at what these tests make, not at all that a test run has."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def same(data):
    """What decode_all finds, once it is what PyMongo finds, in the same order of fields."""
    found = decode_all(data)
    right = pymongo_bson.decode_all(data)
    assert list(map(repr, found)) == list(map(repr, right))
    return found


def test_documents_of_one_shape():
    documents = [
        {"_id": n, "name": f"n{n}", "tags": [n], "sub": {"a": n, "b": 2}} for n in range(99)
    ]
    assert same(b"".join(map(encode, documents))) == documents


@pytest.mark.parametrize("seed", range(20))
def test_documents_that_nearly_resemble_each_other(seed):
    rng = random.Random(seed)
    names = [f"field{'x' * rng.randrange(70)}{n}"[-70:] for n in range(rng.randrange(2, 70))]
    names[rng.randrange(len(names))] = "ä"
    parts = []
    for n in range(300):
        fields = list(names)
        if n > 20 and rng.random() < 0.3:
            change = rng.randrange(5)
            at = rng.randrange(len(fields))
            if change == 0:
                del fields[at:]
            elif change == 1:
                del fields[at]
            elif change == 2:
                fields.insert(at, rng.choice(["extra", "$ref", "", fields[0] + "longer"]))
            elif change == 3:
                rng.shuffle(fields)
            else:
                fields.append("$id")
        parts.append(encode({name: rng.choice(VALUES) for name in fields}))
    same(b"".join(parts))


def repeated(*names):
    body = b"".join(b"\x10" + name.encode() + b"\0" + struct.pack("<i", n) for n, name in names)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def test_a_name_that_stands_twice():
    usual = repeated((1, "a"), (2, "b"), (3, "c")) * 10
    found = decode_all(usual + repeated((1, "a"), (2, "b"), (3, "b"), (4, "c"), (5, "a")) + usual)
    assert found[10] == {"a": 5, "b": 3, "c": 4}
    assert list(found[10]) == ["a", "b", "c"]
    assert found[9] == found[11] == {"a": 1, "b": 2, "c": 3}
    twice = repeated((1, "a"), (2, "a"), (3, "a"))
    assert decode_all(twice * 10) == [{"a": 3}] * 10


def test_a_reference_among_documents_that_look_alike():
    documents = [{"x": {"r": n, "s": 1}} for n in range(9)]
    documents += [{"x": {"r": 1, "s": 2, "$ref": "c", "$id": 3}}]
    documents += [{"x": {"$ref": "c", "$id": n}} for n in range(9)]
    found = decode_all(b"".join(map(encode, documents)))
    assert found[:9] == documents[:9]
    assert found[9]["x"] == DBRef("c", 3, r=1, s=2)
    assert [document["x"] for document in found[10:]] == [DBRef("c", n) for n in range(9)]


def test_many_shapes_that_begin_alike_in_turns():
    shapes = [[f"s{m}f{n}" for n in range(m + 2)] for m in range(12)]
    documents = [
        {"_id": n, **dict.fromkeys(shapes[n % 12 if n % 500 < 250 else 3], n)} for n in range(3000)
    ]
    assert same(b"".join(map(encode, documents))) == documents


def test_documents_that_are_cut_short_within_a_shape():
    data = encode({"first": 1, "second": "text", "third": [1], "fourth": None})
    assert len(decode_all(data * 10)) == 10
    for size in range(5, len(data)):
        cut = struct.pack("<i", size) + data[4 : size - 1] + b"\0"
        try:
            right = pymongo_bson.decode(cut)
        except pymongo_bson.InvalidBSON:
            continue
        assert decode(cut) == right


def test_decoded_documents_are_collected_when_they_refer_to_themselves():
    class Target:
        pass

    for value in ([], {"y": 1}, 5):
        data = encode({"a": 1, "b": value, "c": "x"})
        documents = decode_all(data * 20)
        while documents:
            document = documents.pop()
            assert gc.is_tracked(document) or not isinstance(value, (list, dict))
            target = Target()
            alive = weakref.ref(target)
            document["self"] = document
            document["target"] = target
            del document, target
            gc.collect()
            assert alive() is None


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is not counted")
def test_the_references_to_none_balance():
    data = encode({"a": 1, "b": None, "c": "x", "d": [None], "e": {"f": 1.5, "g": b"x"}}) * 1000
    odd = encode({"a": 1, "b": None, "x": 1}) + encode({"a": 1, "b": None})
    decode_all(data + odd)
    before = sys.getrefcount(None)
    for _ in range(20):
        decode_all(data + odd)
    assert abs(sys.getrefcount(None) - before) < 500


def test_dicts_are_as_small_as_those_that_python_makes():
    fields = {f"field{n}": n for n in range(14)}
    found = decode_all(encode(fields) * 50)[-1]
    made = {}
    for name, value in fields.items():
        made[name] = value
    assert sys.getsizeof(found) <= sys.getsizeof(made)


def test_a_document_found_and_changed_by_others_while_it_is_read():
    # A reference is made by Python code, which finds the unfinished document by its list.
    documents = [
        {"a": [f"mark{n}"], "r": DBRef("c", n), "x": n, "y": "text", "z": [n]} for n in range(400)
    ]
    data = b"".join(map(encode, documents))
    changed = []

    def meddle(frame, event, argument):
        if event != "call" or frame.f_code.co_name != "__init__":
            return
        for found in gc.get_objects():
            if type(found) is dict and "x" in found and found.get("x", 0) is None and "a" in found:
                changed.append(found)
                way = len(changed) % 4
                if way == 0:
                    found.clear()
                elif way == 1:
                    found.update((f"new{n}", n) for n in range(100))
                elif way == 2:
                    del found["y"]
                else:
                    found.clear()
                    found.update(dict.fromkeys("abcdefgh"))

    decode_all(data)
    sys.setprofile(meddle)
    try:
        found = decode_all(b"".join(map(encode, documents[:40])))
    finally:
        sys.setprofile(None)
    assert changed
    assert [document["z"] for document in found] == [[n] for n in range(40)]
    assert [document["x"] for document in found] == list(range(40))
    assert decode_all(data) == documents


ALIKE = {"_id": 1, "name": "text", "tags": ["a"], "score": 1.5, "on": True, "sub": {"a": 1, "b": 2}}


def alike(count):
    """So many equal documents, decoded: those at the end have a shape that has proved right."""
    return decode_all(encode(ALIKE) * count)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="names are shared since Python 3.11")
def test_documents_of_a_proven_shape_share_their_names():
    names = {f"shared{n}": n for n in range(8)}
    first, *_, last = decode_all(encode(names) * 40)
    assert sys.getsizeof(last) < sys.getsizeof(first)
    assert first == last == names


CHANGES = {
    "add": lambda d: d.update(new=1),
    "add many": lambda d: d.update({f"new{n}": [n] for n in range(70)}),
    "replace": lambda d: d.update(name=[1]),
    "delete": lambda d: d.pop("_id"),
    "delete and add": lambda d: (d.pop("name"), d.update(name=2)),
    "take the last": lambda d: d.popitem(),
    "clear": lambda d: d.clear(),
    "clear and add": lambda d: (d.clear(), d.update(x=1, _id=2)),
    "other keys": lambda d: d.update({1: 2, None: 3, (): 4}),
    "default": lambda d: (d.setdefault("new", []), d.setdefault("name", 1)),
    "union": lambda d: d.__ior__({"score": 2, "other": 3}),
    "delete in turn": lambda d: [d.pop(name) for name in list(d)[::-1]],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_document_changes_no_other(change):
    documents = alike(60)
    expected = copy.deepcopy(ALIKE)
    change(expected)
    for document in documents[::2]:
        change(document)
        assert document == expected
        assert list(document) == list(expected)
        assert list(document.items()) == list(expected.items())
        assert repr(document) == repr(expected)
        assert len(document) == len(expected)
    for document in documents[1::2] + alike(60):
        assert document == ALIKE
        assert list(document) == list(ALIKE)


def test_copies_of_documents_that_share_their_names():
    document = alike(60)[-1]
    for twin in (
        document.copy(),
        dict(document),
        {**document},
        copy.deepcopy(document),
        pickle.loads(pickle.dumps(document)),
        decode(encode(document)),
        dict(document.items()),
        json.loads(json.dumps(document)),
    ):
        twin["extra"] = twin.pop("_id")
        assert list(twin) == [*list(ALIKE)[1:], "extra"]
        assert document == ALIKE
    names = iter(document)
    next(names)
    document["new"] = 1
    with pytest.raises(RuntimeError, match="changed size"):
        next(names)


def test_documents_of_one_shape_are_changed_by_threads():
    failures = []

    def work(number):
        for _ in range(30):
            for document in alike(50):
                document[f"own{number}"] = number
                del document["score"]
                if list(document) != [n for n in ALIKE if n != "score"] + [f"own{number}"]:
                    failures.append(document)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_shapes_that_come_and_go_leave_nothing_behind():
    def turn(number):
        document = {f"turn{number}field{n}": n for n in range(6)}
        assert decode_all(encode(document) * 30) == [document] * 30

    for number in range(1500):
        turn(number)
    gc.collect()
    before = len(gc.get_objects())
    for number in range(1500, 3000):
        turn(number)
    gc.collect()
    # Each had a class of its own.
    assert len(gc.get_objects()) - before < 100


def test_a_document_that_is_changed_while_it_is_read():
    """Only the collector's list of objects can show a document that is not whole yet."""
    document = {"first": 1, "when": datetime.datetime(2024, 1, 1), "last": "text", "list": [1]}

    class Zone(datetime.tzinfo):
        def utcoffset(self, when):
            return datetime.timedelta(0)

        def dst(self, when):
            return datetime.timedelta(0)

        def fromutc(self, when):
            if changing:
                for found in gc.get_objects():
                    if type(found) is dict and "list" in found and found.get("when", 0) is None:
                        found["extra"] = 5
                        found.pop("last")
                        changed.append(found)
            return when

    options = CodecOptions(tz_aware=True, tzinfo=Zone())
    data = encode({"list": [1], **document})
    changing, changed = False, []
    assert len(decode_all(data * 60, options)) == 60
    changing = True
    documents = decode_all(data * 60, options)
    assert len(changed) == 60
    for found in documents:
        assert found["list"] == [1]
        assert found["first"] == 1
        assert found["last"] == "text"
