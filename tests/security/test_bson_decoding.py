"""What code of others may do while the decoder runs, and what hostile bytes may make it allocate.

Run under the sanitizers as well (MONGOKEY_SANITIZE=address), where a read of freed memory aborts.
"""

from __future__ import annotations

import codecs
import gc
import io
import mmap
import os
import socket
import struct
import subprocess
import sys
import tracemalloc

import pytest

from mongokey import bson, wire
from mongokey.bson import CodecOptions, InvalidBSON
from mongokey.bson.codec_options import TypeDecoder, TypeRegistry
from mongokey.bson.raw_bson import RawBSONDocument

DOCUMENTS = [{f"k{n}": {"a": "x" * 20, "b": [n, {"c": m}]} for n in range(20)} for m in range(5)]
DATA = b"".join(map(bson.encode, DOCUMENTS))


# ---- The bytes change while they are read ----


def scribbling_options(data):
    """Options whose document class overwrites `data` with each field that it is given."""

    class Scribbler(dict):
        def __setitem__(self, key, value):
            super().__setitem__(key, value)
            data[:] = b"\xff" * len(data)

    return CodecOptions(document_class=Scribbler)


def test_decode_reads_what_was_there_when_it_was_called():
    data = bytearray(bson.encode(DOCUMENTS[0]))
    assert bson.decode(data, scribbling_options(data)) == DOCUMENTS[0]


def test_a_type_decoder_that_overwrites_the_bytes():
    data = bytearray(bson.encode(DOCUMENTS[0]))

    class Decoder(TypeDecoder):
        bson_type = int

        def transform_bson(self, value):
            data[:] = b"\x7f" * len(data)
            return value

    options = CodecOptions(type_registry=TypeRegistry([Decoder()]))
    assert bson.decode(data, options) == DOCUMENTS[0]


def test_an_error_handler_that_overwrites_the_bytes():
    data = bytearray(bson.encode({"a": "xxxx", "b": [1, 2], "c": bson.Code("f", {"d": 1})}))
    data[data.index(b"xxxx")] = 0xFF

    def handler(error):
        data[:] = b"\xff" * len(data)
        return "?", error.end

    codecs.register_error("test_bson_scribble", handler)
    options = CodecOptions(unicode_decode_error_handler="test_bson_scribble")
    found = bson.decode(data, options)
    assert found == {"a": "?xxx", "b": [1, 2], "c": bson.Code("f", {"d": 1})}


@pytest.mark.parametrize("function", [bson.decode_all, bson.decode_iter])
def test_documents_in_a_row_that_are_overwritten(function):
    data = bytearray(DATA)
    found = []
    with pytest.raises(InvalidBSON):
        # What follows the first one is no BSON any more.
        found.extend(function(data, scribbling_options(data)))
    assert found in ([], DOCUMENTS[:1])


@pytest.mark.parametrize("function", [bson.decode_all, bson.decode_iter])
def test_memory_of_documents_in_a_row_cannot_be_taken_away(function):
    refused = []
    data = bytearray(DATA)

    class Shrinking(dict):
        def __setitem__(self, key, value):
            super().__setitem__(key, value)
            try:
                data.clear()
            except BufferError as error:
                refused.append(error)

    assert list(function(data, CodecOptions(document_class=Shrinking))) == DOCUMENTS
    assert refused
    data.clear()


def test_memory_that_is_given_back_while_a_document_is_read():
    options_seen = []

    class Closing(dict):
        def __setitem__(self, key, value):
            super().__setitem__(key, value)
            if not options_seen:
                memory.close()
                options_seen.append(key)

    data = bson.encode(DOCUMENTS[0])
    memory = mmap.mmap(-1, len(data))
    memory[:] = data
    assert bson.decode(memory, CodecOptions(document_class=Closing)) == DOCUMENTS[0]


def test_the_fields_of_a_raw_document_over_memory_that_changes():
    data = bytearray(bson.encode({"a": "xxxx", "b": {"c": 1}}))
    data[data.index(b"xxxx")] = 0xFF

    def handler(error):
        data[:] = b"\xff" * len(data)
        return "?", error.end

    codecs.register_error("test_bson_raw_scribble", handler)
    options = CodecOptions(
        document_class=RawBSONDocument, unicode_decode_error_handler="test_bson_raw_scribble"
    )
    document = RawBSONDocument(memoryview(data), options)
    assert document["a"] == "?xxx"
    assert document["b"]["c"] == 1


def test_a_message_that_is_overwritten_while_it_is_decoded():
    message = bytearray(
        wire.encode_message({"insert": "c", "x": {"y": 1}}, sections={"documents": DOCUMENTS})
    )
    for value in (b"\xff", b"\x7f", b"\x00"):
        data = bytearray(message)

        class Scribbler(dict):
            def __setitem__(self, key, field, data=data, value=value):
                super().__setitem__(key, field)
                data[16:] = value * (len(data) - 16)

        found = wire.decode_message(data, codec_options=CodecOptions(document_class=Scribbler))
        assert found.body == {"insert": "c", "x": {"y": 1}}
        assert found.sections == {"documents": DOCUMENTS}


def test_a_document_class_that_decodes_while_it_is_filled():
    inner = bson.encode({"k0": {"a": 1}, **{f"other{n}": n for n in range(40)}})

    class Nested(dict):
        def __setitem__(self, key, value):
            super().__setitem__(key, value)
            assert len(bson.decode(inner)) == 41
            gc.collect(0)

    options = CodecOptions(document_class=Nested)
    for _ in range(5):
        assert bson.decode_all(DATA, options) == DOCUMENTS


# ---- What is allocated ----


def peak_of(function):
    gc.collect()
    tracemalloc.start()
    try:
        found = function()
        return tracemalloc.get_traced_memory()[1], found
    finally:
        tracemalloc.stop()


def nested(levels, value):
    """`value`, an element named `a`, within so many documents `{a: ...}`."""
    for _ in range(levels):
        document = struct.pack("<i", len(value) + 5) + value + b"\0"
        value = b"\x03a\0" + document
    return value


def document_of(*elements):
    body = b"".join(elements)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


@pytest.mark.parametrize("distinct", [False, True])
def test_a_document_with_many_fields_makes_no_room_for_its_siblings(distinct):
    if distinct:
        fields = b"".join(b"\x10%s\0\1\0\0\0" % (b"a%05x" % n if n else b"a") for n in range(87000))
    else:
        fields = b"\x10a\0\1\0\0\0" * 87000
    many = b"\x03x\0" + document_of(fields)
    text = b"x" * 11_000_000
    value = b"\x02a\0" + struct.pack("<i", len(text) + 1) + text + b"\0"
    data = document_of(many, b"\x03y\0" + document_of(nested(150, value)))
    peak, found = peak_of(lambda: bson.decode(data))
    assert len(found["x"]) == (87000 if distinct else 1)
    assert peak < 8 * len(data)


def test_documents_in_a_batch_share_the_bound_on_room():
    # Each has room for all that the first one had, by its size; together they must not.
    first = document_of(b"".join(b"\x10%s\0\1\0\0\0" % (b"a%04x" % n) for n in range(20000)))
    text = b"y" * 200_000
    other = document_of(
        b"\x10a0000\0\1\0\0\0", b"\x02t\0" + struct.pack("<i", len(text) + 1) + text + b"\0"
    )
    array = document_of(*(b"\x030\0" + item for item in [first, *[other] * 50]))
    data = document_of(b"\x04l\0" + array)
    peak, found = peak_of(lambda: bson.decode(data))
    assert len(found["l"]) == 51
    assert peak < 8 * len(data)


def test_fields_of_two_bytes_are_bounded_too():
    data = document_of(b"\x0a\0" * 2_000_000)
    peak, found = peak_of(lambda: bson.decode(data))
    assert found == {"": None}
    assert peak < 8 * len(data)


# ---- The garbage collector ----


def batch_with_python_code():
    """More than 16 kB that plain options decode, some of it by classes written in Python."""
    documents = []
    for n in range(200):
        documents.append(
            {
                "ref": {"r": bson.DBRef("c", n)},
                "code": bson.Code("f()", {"x": [1, {"y": 2}]}),
                "when": bson.Timestamp(1, n),
                "text": "ä" * 20,
                "binary": bson.Binary(bytes(16), 4),
                "number": bson.Decimal128("1.5"),
                "regex": bson.Regex("x"),
            }
        )
    return b"".join(map(bson.encode, documents))


BATCH = batch_with_python_code()
WAYS = {
    "decode_all": bson.decode_all,
    "decode": lambda data: bson.decode(document_of(b"\x04l\0" + array_of(data))),
}


def array_of(data):
    parts, at = [], 0
    while at < len(data):
        size = struct.unpack_from("<i", data, at)[0]
        parts.append(b"\x03" + str(len(parts)).encode() + b"\0" + data[at : at + size])
        at += size
    return document_of(*parts)


@pytest.fixture
def collector():
    was = gc.isenabled()
    gc.enable()
    yield
    gc.enable() if was else gc.disable()


@pytest.mark.parametrize("way", WAYS)
def test_python_code_never_finds_the_collector_switched_off(way, collector):
    seen = []
    sys.setprofile(lambda frame, event, argument: seen.append(gc.isenabled()))
    try:
        WAYS[way](BATCH)
    finally:
        sys.setprofile(None)
    assert len(seen) > 400
    assert all(seen)
    assert gc.isenabled()


@pytest.mark.parametrize("way", WAYS)
def test_a_program_that_switches_the_collector_off_meanwhile_keeps_it_off(way, collector):
    calls = []

    def profile(frame, event, argument):
        calls.append(event)
        gc.disable()

    sys.setprofile(profile)
    try:
        WAYS[way](BATCH)
    finally:
        sys.setprofile(None)
    assert len(calls) > 400
    assert not gc.isenabled()
    WAYS[way](BATCH)
    assert not gc.isenabled()


@pytest.mark.parametrize("way", WAYS)
def test_an_error_leaves_the_collector_as_it_was(way, collector):
    seen = []
    bad = bytearray(BATCH)
    at = bad.rindex(b"f()")
    bad[at] = 0xFF
    sys.setprofile(lambda frame, event, argument: seen.append(gc.isenabled()))
    try:
        with pytest.raises(InvalidBSON):
            WAYS[way](bytes(bad))
    finally:
        sys.setprofile(None)
    assert all(seen)
    assert gc.isenabled()


FORKING = """
import gc, os, sys, threading
sys.path[:] = %r
from mongokey import bson

data = bson.encode({"l": [{"r": bson.DBRef("c", n), "t": "x" * 50} for n in range(2000)]})
sys.setswitchinterval(1e-5)
stop = threading.Event()

def decode():
    while not stop.is_set():
        bson.decode(data)

threads = [threading.Thread(target=decode) for _ in range(3)]
for thread in threads:
    thread.start()
off = 0
for _ in range(60):
    child = os.fork()
    if child == 0:
        os._exit(0 if gc.isenabled() else 1)
    off += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
stop.set()
for thread in threads:
    thread.join()
print(off)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_its_collector(tmp_path):
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING % sys.path],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.stdout, result.stderr) == ("0\n", "")


# ---- Files ----


class Trickle(io.RawIOBase):
    """A file that gives at most `most` bytes at a time, as pipes and sockets may."""

    def __init__(self, data, most):
        self.source, self.most = io.BytesIO(data), most

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.source.readinto(memoryview(buffer)[: self.most])


@pytest.mark.parametrize("most", [1, 3, 7, 100])
def test_a_file_that_gives_less_than_it_was_asked_for(most):
    assert list(bson.decode_file_iter(Trickle(DATA, most))) == DOCUMENTS


def test_an_unbuffered_socket_file():
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb", buffering=0) as file:
        documents = bson.decode_file_iter(file)
        for start in range(0, len(DATA), 997):
            theirs.sendall(DATA[start : start + 997])
        theirs.shutdown(socket.SHUT_WR)
        assert list(documents) == DOCUMENTS


@pytest.mark.parametrize("cut", [1, 3, 5, 100, len(DATA) - 1])
def test_a_file_that_ends_within_a_document_is_an_error(cut):
    for file in (Trickle(DATA[:cut], 7), io.BytesIO(DATA[:cut])):
        with pytest.raises(InvalidBSON):
            list(bson.decode_file_iter(file))


def test_a_document_that_says_it_has_two_gigabytes_is_not_read_at_once():
    sizes = []

    class File(io.BytesIO):
        def read(self, size=-1):
            sizes.append(size)
            return super().read(size)

    with pytest.raises(InvalidBSON):
        list(bson.decode_file_iter(File(b"\xff\xff\xff\x7f" + bytes(100))))
    assert max(sizes) <= 1 << 20


def test_files_that_cannot_be_read_so_say_why():
    class File:
        def __init__(self, answer):
            self.answer = answer

        def read(self, size):
            return self.answer

    for answer, error in ((None, BlockingIOError), ("text", TypeError), (b"x" * 100, ValueError)):
        with pytest.raises(error):
            next(bson.decode_file_iter(File(answer)))
