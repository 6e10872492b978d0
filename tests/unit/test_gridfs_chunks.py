"""How files of GridFS are cut into chunks and checked, without a server."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from typing import Any

import pytest

from mongokey.bson import Binary, Decimal128, Int64
from mongokey.errors import ConfigurationError, InvalidOperation, MongoError
from mongokey.gridfs import CorruptGridFile, FileExists, NoFile, rules
from mongokey.gridfs.chunk_buffer import ChunkBuffer
from mongokey.gridfs.chunks import FileLayout
from mongokey.gridfs.errors import GridFSError
from mongokey.gridfs.grid_file_shared import BATCH_BYTES, DEFAULT_CHUNK_SIZE, batch_of


def layout(length: Any, chunk_size: Any = 4) -> FileLayout:
    return FileLayout({"_id": 1, "length": length, "chunkSize": chunk_size})


@pytest.mark.parametrize(
    ("length", "sizes"),
    [
        (0, []),
        (1, [1]),
        (3, [3]),
        (4, [4]),
        (5, [4, 1]),
        (8, [4, 4]),
        (9, [4, 4, 1]),
    ],
)
def test_a_file_has_full_chunks_and_a_rest(length: int, sizes: list[int]) -> None:
    found = layout(length)
    assert found.chunk_count == len(sizes)
    assert [found.size_of(number) for number in range(len(sizes))] == sizes
    assert found.size_of(len(sizes)) == 0


@pytest.mark.parametrize(
    ("length", "chunk_size"),
    [
        (Int64(9), 4),
        (9.0, 4.0),
        (9, Int64(4)),
        (Decimal128("9"), Decimal128("4.0")),
        (Decimal128("0.9E1"), 4),
    ],
)
def test_numbers_of_every_type_are_understood(length: Any, chunk_size: Any) -> None:
    found = layout(length, chunk_size)
    assert (found.length, found.chunk_size, found.chunk_count) == (9, 4, 3)
    assert type(found.length) is int


def test_large_numbers_are_exact() -> None:
    # As floats, these are the same number.
    assert layout(2**62 + 1, 2**61).chunk_count == 3
    assert layout(2**62, 2**61).chunk_count == 2
    assert layout(2**63 - 1, 1).chunk_count == 2**63 - 1


@pytest.mark.parametrize(
    "length",
    [
        *(-1, -(2**62), 2**63, 4.5, float("nan"), float("inf"), -0.5, "4", None, True, b"4", [4]),
        *map(Decimal128, ("NaN", "Infinity", "-1", "1.5", "1E6000")),
    ],
)
def test_a_length_that_cannot_be_is_told(length: Any) -> None:
    with pytest.raises(CorruptGridFile, match="has length"):
        layout(length)


@pytest.mark.parametrize("size", [0, -4, 4.5, float("nan"), "4", None, False, Decimal128("0")])
def test_a_chunk_size_that_cannot_be_is_told(size: Any) -> None:
    with pytest.raises(CorruptGridFile, match="has chunkSize"):
        layout(4, size)


def test_what_is_missing_counts_only_where_it_is_needed() -> None:
    assert FileLayout({"_id": 1}).length == 0
    assert FileLayout({"_id": 1, "length": 0}).chunk_count == 0
    with pytest.raises(CorruptGridFile, match="has chunkSize None"):
        FileLayout({"_id": 1, "length": 1})


def test_a_chunk_is_taken_if_it_is_the_right_one() -> None:
    found = layout(5)
    assert found.data_of({"n": 0, "data": b"abcd"}, 0) == b"abcd"
    assert found.data_of({"n": 1.0, "data": b"e"}, 1) == b"e"
    assert found.data_of({"n": Decimal128("1"), "data": b"e"}, 1) == b"e"
    data = found.data_of({"n": Int64(0), "data": Binary(b"abcd", 0x80)}, 0)
    assert (data, type(data)) == (b"abcd", bytes)


def test_an_empty_chunk_behind_the_last_is_nothing() -> None:
    assert layout(4).data_of({"n": 1, "data": b""}, 1) == b""


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        ({"n": 1, "data": b"abcd"}, "Missing chunk: expected chunk #0 but found chunk with n=1"),
        ({"n": -1, "data": b"abcd"}, "found chunk with n=-1"),
        ({"n": "0", "data": b"abcd"}, "found chunk with n='0'"),
        ({"n": False, "data": b"abcd"}, "found chunk with n=False"),
        ({"n": 0.5, "data": b"abcd"}, "found chunk with n=0.5"),
        ({"n": float("nan"), "data": b"abcd"}, "found chunk with n=nan"),
        ({"n": Decimal128("NaN"), "data": b"abcd"}, "found chunk with n="),
        ({"data": b"abcd"}, "found chunk with n=None"),
        ({"n": 0, "data": b"abc"}, "truncated chunk #0: expected chunk length to be 4 but found"),
        ({"n": 0, "data": b"abcde"}, "found chunk with length 5"),
        ({"n": 0, "data": b""}, "found chunk with length 0"),
        ({"n": 0, "data": "abcd"}, "chunk #0 has no binary data but str"),
        ({"n": 0, "data": None}, "chunk #0 has no binary data but NoneType"),
        ({"n": 0, "data": [1, 2, 3, 4]}, "chunk #0 has no binary data but list"),
        ({"n": 0}, "chunk #0 has no binary data"),
    ],
)
def test_a_wrong_chunk_is_told(chunk: dict[str, Any], message: str) -> None:
    with pytest.raises(CorruptGridFile, match=message):
        layout(5).data_of(chunk, 0)


def test_a_chunk_too_many_is_told() -> None:
    with pytest.raises(CorruptGridFile, match="Extra chunk found: expected 1 chunks"):
        layout(4).data_of({"n": 1, "data": b"x"}, 1)


def test_the_last_batch_has_room_for_one_chunk_more() -> None:
    many = batch_of(4)
    assert layout(0).batch_from(0) == 1
    assert layout(9).batch_from(0) == 4
    assert layout(9).batch_from(2) == 2
    assert layout(4 * many).batch_from(0) == many
    assert layout(2**62).batch_from(0) == many


def test_batches_are_of_about_one_size() -> None:
    for chunk_size in (1, 1000, DEFAULT_CHUNK_SIZE, BATCH_BYTES, 15 * 1024 * 1024):
        batch = batch_of(chunk_size)
        assert batch == 1 or batch * chunk_size <= BATCH_BYTES
        assert (batch + 1) * (chunk_size + 512) > BATCH_BYTES


def cut(pieces: list[bytes], chunk_size: int) -> list[dict[str, Any]]:
    """The documents of what is written piece by piece."""
    buffer = ChunkBuffer("id", chunk_size)
    for piece in pieces:
        position = 0
        while position < len(piece):
            position = buffer.add(piece, position)
    buffer.finish()
    assert buffer.written == sum(map(len, pieces))
    return buffer.documents


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 7, 8, 9, 20])
def test_pieces_of_any_size_make_the_same_chunks(step: int) -> None:
    data = bytes(range(18))
    found = cut([data[start : start + step] for start in range(0, len(data), step)], 4)
    assert [each["data"] for each in found] == [
        data[start : start + 4] for start in range(0, len(data), 4)
    ]
    assert [each["n"] for each in found] == [0, 1, 2, 3, 4]
    assert {each["files_id"] for each in found} == {"id"}
    assert {type(each["data"]) for each in found} == {bytes}


def test_nothing_makes_no_chunk() -> None:
    assert cut([], 4) == []
    assert cut([b"", b""], 4) == []


def test_what_is_confirmed_counts_on() -> None:
    buffer = ChunkBuffer("id", 1)
    for byte in (b"a", b"b", b"c"):
        buffer.add(byte)
    buffer.confirm(2)
    assert [each["data"] for each in buffer.documents] == [b"c"]
    assert buffer.sent == 2
    buffer.add(b"d")
    assert [each["n"] for each in buffer.documents] == [2, 3]
    buffer.confirm()
    assert (buffer.sent, buffer.documents) == (4, [])


def test_a_chunk_that_was_put_together_is_not_copied() -> None:
    half = bytes(500_000)
    gc.collect()
    tracemalloc.start()
    try:
        buffer = ChunkBuffer("id", 1_000_000)
        buffer.add(half)
        buffer.add(half)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    (document,) = buffer.documents
    assert len(document["data"]) == 1_000_000
    assert peak < 1_600_000  # the chunk, and what its memory had too much while it grew
    # A whole chunk that was given as one is the caller's own object.
    buffer = ChunkBuffer("id", len(half))
    buffer.add(half)
    assert buffer.documents[0]["data"] is half


def test_a_batch_is_full_when_it_has_its_chunks() -> None:
    buffer = ChunkBuffer("id", DEFAULT_CHUNK_SIZE)
    chunk = bytes(DEFAULT_CHUNK_SIZE)
    for _ in range(batch_of(DEFAULT_CHUNK_SIZE)):
        assert not buffer.is_full
        buffer.add(chunk)
    assert buffer.is_full


def test_fields_of_a_new_file_have_their_stored_names() -> None:
    made = rules.file_fields({"content_type": "text/plain", "chunk_size": 7, "extra": 1})
    assert made.pop("_id")
    assert made == {"contentType": "text/plain", "chunkSize": 7, "extra": 1}
    assert rules.file_fields({"_id": None})["_id"] is None
    assert rules.file_fields({})["chunkSize"] == DEFAULT_CHUNK_SIZE


@pytest.mark.parametrize(
    ("value", "error"),
    [
        *((each, ValueError) for each in (0, -1, 2**31)),
        *((each, TypeError) for each in (1.0, True, "7", None)),
    ],
)
def test_a_chunk_size_that_cannot_be_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="chunk size must be"):
        rules.file_fields({"chunk_size": value})


@pytest.mark.parametrize(
    ("keys", "is_it"),
    [
        ({"files_id": 1, "n": 1}, True),
        ({"files_id": 1.0, "n": Int64(1)}, True),
        ({"n": 1, "files_id": 1}, False),
        ({"files_id": 1, "n": -1}, False),
        ({"files_id": 1}, False),
        ({"files_id": 1, "n": 1, "x": 1}, False),
    ],
)
def test_an_index_is_known_by_its_keys_in_their_order(keys: dict[str, Any], is_it: bool) -> None:
    found: list[dict[str, Any]] = [{"key": {"_id": 1}}, {"key": keys}, {}]
    assert rules.has_index(found, rules.CHUNKS_INDEX) is is_it


@pytest.mark.parametrize(
    ("version", "place"), [(0, (0, 1)), (1, (1, 1)), (-1, (0, -1)), (-3, (2, -1))]
)
def test_versions_are_counted_from_both_ends(version: int, place: tuple[int, int]) -> None:
    assert rules.place_of_version(version) == place


@pytest.mark.parametrize("data", [bytearray(b"x"), memoryview(b"x"), 5, None, [b"x"]])
def test_what_is_no_bytes_is_refused(data: Any) -> None:
    with pytest.raises(TypeError, match="can only write bytes, str or file-like objects"):
        rules.as_bytes(data, "utf-8")


def test_a_text_needs_an_encoding() -> None:
    assert rules.as_bytes("é", "iso-8859-1") == b"\xe9"
    with pytest.raises(TypeError, match="must specify an encoding"):
        rules.as_bytes("é", None)


def test_what_a_source_gives_has_to_be_bytes() -> None:
    assert rules.read_bytes(bytearray(b"x")) == b"x"
    assert rules.read_bytes(memoryview(b"x")) == b"x"
    with pytest.raises(TypeError, match="open it in binary mode"):
        rules.read_bytes("text")
    with pytest.raises(BlockingIOError):
        rules.read_bytes(None)


def test_errors_are_those_of_the_driver() -> None:
    for kind in (CorruptGridFile, NoFile, FileExists):
        assert issubclass(kind, GridFSError)
    assert issubclass(GridFSError, MongoError)


@pytest.mark.parametrize("face", ["blocking", "asyncio"])
def test_what_cannot_be_used_is_refused_before_a_server_is_asked(face: str) -> None:
    from mongokey import AsyncMongoClient, MongoClient, gridfs

    prefix = "" if face == "blocking" else "Async"
    client: Any = (MongoClient if face == "blocking" else AsyncMongoClient)(connect=False)
    database = client["db"]
    for name in ("GridFS", "GridFSBucket", "GridIn", "GridOut"):
        with pytest.raises(TypeError, match="must be an instance of"):
            getattr(gridfs, prefix + name)("foo")
    unacknowledged = client.get_database("db", write_concern=_w0())
    for name in ("GridFS", "GridFSBucket"):
        made = getattr(gridfs, prefix + name)
        with pytest.raises(ConfigurationError, match="acknowledged"):
            made(unacknowledged)
        with pytest.raises(TypeError):
            made(database, 5)
    with pytest.raises(ConfigurationError, match="acknowledged"):
        getattr(gridfs, prefix + "GridFSBucket")(database, write_concern=_w0())
    with pytest.raises(ConfigurationError, match="acknowledged"):
        getattr(gridfs, prefix + "GridIn")(unacknowledged.fs)
    bucket = getattr(gridfs, prefix + "GridFSBucket")(database)
    with pytest.raises(TypeError, match="filename"):
        bucket.open_upload_stream(5)
    with pytest.raises(ValueError, match="chunk size"):
        bucket.open_upload_stream("x", chunk_size_bytes=0)
    with pytest.raises(TypeError):
        bucket.find({}, {"_id": True})


def _w0() -> Any:
    from mongokey.write_concern import WriteConcern

    return WriteConcern(w=0)


def test_the_faces_do_not_load_each_other() -> None:
    import subprocess

    program = (
        "import sys; from mongokey import gridfs; gridfs.{name}; "
        "print(*[each for each in sys.modules if each.startswith('mongokey.gridfs.')"
        " and each.count('.') == 2])"
    )
    for name, mine, other in (
        ("GridFS", "synchronous", "asynchronous"),
        ("AsyncGridFS", "asynchronous", "synchronous"),
    ):
        run = subprocess.run(
            [sys.executable, "-c", program.format(name=name)],
            capture_output=True,
            text=True,
            check=True,
        )
        loaded = run.stdout.split()
        assert f"mongokey.gridfs.{mine}" in loaded
        assert f"mongokey.gridfs.{other}" not in loaded


def test_a_file_out_of_reach_of_its_loop_needs_to_be_opened() -> None:
    from mongokey import AsyncMongoClient
    from mongokey.gridfs import AsyncGridOut

    found = AsyncGridOut(AsyncMongoClient(connect=False)["db"]["fs"], 5)
    with pytest.raises(InvalidOperation, match=r"await file\.open\(\)"):
        _ = found.length
    with pytest.raises(InvalidOperation, match=r"await file\.open\(\)"):
        _ = found.anything
    assert not hasattr(found, "__anything__")
