"""GridFS on a real server: files written, read, found, renamed and removed, by both APIs."""

from __future__ import annotations

import contextlib
import copy
import io
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.bson import Binary, Code, Decimal128, Int64, MinKey, ObjectId
from mongokey.bson.codec_options import CodecOptions, TypeDecoder, TypeRegistry
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.errors import (
    InvalidOperation,
    MongoError,
    OperationFailure,
    ServerSelectionTimeoutError,
)
from mongokey.gridfs import CorruptGridFile, FileExists, NoFile, grid_file_shared
from mongokey.gridfs.grid_file_shared import batch_of
from mongokey.monitoring import CommandListener
from mongokey.read_concern import ReadConcern
from mongokey.read_preferences import ReadPreference
from mongokey.write_concern import WriteConcern
from tests.live._gridfs import Classes, Sink
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live


class Started(CommandListener):
    """Every command that was begun."""

    def __init__(self) -> None:
        self.commands: list[Any] = []

    def started(self, event: Any) -> None:
        self.commands.append(event.command)

    def succeeded(self, event: Any) -> None:
        """Not looked at."""

    def failed(self, event: Any) -> None:
        """Not looked at."""

    def names(self) -> list[str]:
        return [next(iter(each)) for each in self.commands]

    def of(self, name: str) -> list[Any]:
        return [each for each in self.commands if name in each]


@pytest.fixture
def seen() -> Started:
    return Started()


@pytest.fixture(autouse=True)
def batch(monkeypatch: pytest.MonkeyPatch) -> int:
    """Batches are of so many chunks of 4 bytes, for tests to be quick."""
    monkeypatch.setattr(grid_file_shared, "BATCH_BYTES", 8 * (4 + grid_file_shared.CHUNK_OVERHEAD))
    assert batch_of(4) == 8
    return 8


@pytest.fixture
def client(face: str, open_secantus: SecantusServer, seen: Started) -> Iterator[MongoClient]:
    uri = open_secantus.uri(None, replicaSet="secantus")
    with MongoClient(uri, event_listeners=[seen]) as made:
        yield made


@pytest.fixture
def database(client: MongoClient, open_secantus: SecantusServer, database_name: str) -> Any:
    yield client[database_name]
    open_secantus.drop_database(database_name)


@pytest.fixture
def classes(face: str) -> Classes:
    return Classes(face)


@pytest.fixture
def bucket(classes: Classes, database: Any) -> Any:
    return classes.GridFSBucket(database, chunk_size_bytes=4)


@pytest.fixture
def fs(classes: Classes, database: Any) -> Any:
    return classes.GridFS(database)


def chunks(database: Any) -> list[Any]:
    return [each["data"] for each in database.fs.chunks.find(sort=[("n", 1)])]


def counts(database: Any) -> tuple[int, int]:
    """How many files and chunks there are."""
    return database.fs.files.count_documents({}), database.fs.chunks.count_documents({})


# -- writing --------------------------------------------------------------------------------------


def test_a_file_is_stored_as_the_specification_has_it(bucket: Any, database: Any) -> None:
    before = datetime.now(tz=timezone.utc).replace(tzinfo=None, microsecond=0)
    file_id = bucket.upload_from_stream("name", b"0123456789", metadata={"a": 1})
    (file,) = database.fs.files.find()
    assert isinstance(file_id, ObjectId)
    assert file.pop("uploadDate") >= before
    assert file == {
        "_id": file_id,
        "filename": "name",
        "chunkSize": 4,
        "metadata": {"a": 1},
        "length": 10,
    }
    assert isinstance(file["length"], Int64)
    assert not isinstance(file["chunkSize"], Int64)
    stored = list(database.fs.chunks.find(sort=[("n", 1)]))
    assert [(each["n"], each["data"]) for each in stored] == [
        (0, b"0123"),
        (1, b"4567"),
        (2, b"89"),
    ]
    assert {each["files_id"] for each in stored} == {file_id}
    assert len({each["_id"] for each in stored}) == 3


def test_an_empty_file_has_no_chunks_and_none_are_asked_for(
    bucket: Any, database: Any, seen: Started
) -> None:
    file_id = bucket.upload_from_stream("empty", b"")
    assert counts(database) == (1, 0)
    seen.commands.clear()
    assert bucket.open_download_stream(file_id).read() == b""
    sink = Sink()
    bucket.download_to_stream(file_id, sink)
    assert sink.pieces == []
    assert {each["find"] for each in seen.of("find")} == {"fs.files"}


@pytest.mark.parametrize("size", [1, 3, 4, 5, 8, 9])
def test_what_was_written_is_read(bucket: Any, size: int) -> None:
    data = bytes(range(size))
    file_id = bucket.upload_from_stream("f", io.BytesIO(data))
    assert bucket.open_download_stream(file_id).read() == data
    sink = Sink()
    bucket.download_to_stream(file_id, sink)
    assert sink.pieces == [data[start : start + 4] for start in range(0, size, 4)]


def test_several_chunks_go_in_one_message(bucket: Any, batch: int, seen: Started) -> None:
    data = bytes(4 * (batch * 2 + 1))
    file_id = bucket.upload_from_stream("f", data)
    sent = [each for each in seen.of("insert") if each["insert"] == "fs.chunks"]
    assert [len(each["documents"]) for each in sent] == [batch, batch, 1]
    seen.commands.clear()
    assert bucket.open_download_stream(file_id).read() == data
    (find,) = [each for each in seen.of("find") if each["find"] == "fs.chunks"]
    assert find["batchSize"] == batch
    assert find["sort"] == {"n": 1}
    # As the last batch has room for one more, nothing is asked for a chunk too many.
    assert seen.names() == ["find", "find", "getMore", "getMore"]


def test_pieces_that_fit_no_chunk_are_put_together(bucket: Any, database: Any) -> None:
    with bucket.open_upload_stream("f") as file:
        for piece in (b"a", b"", b"bcdefg", b"h", b"ijklmnopq"):
            file.write(piece)
        assert not file.closed
    assert chunks(database) == [b"abcd", b"efgh", b"ijkl", b"mnop", b"q"]
    assert file.closed
    assert file.length == 17


def test_a_source_is_read_to_its_end_however_little_it_gives(bucket: Any, database: Any) -> None:
    class Dripping:
        def __init__(self) -> None:
            self.left = [b"a", b"bc", b"def", b"g"]

        def read(self, size: int) -> bytes:
            return self.left.pop(0) if self.left else b""

    bucket.upload_from_stream("f", Dripping())
    assert chunks(database) == [b"abcd", b"efg"]


def test_a_source_that_gives_more_than_was_asked_for_is_taken_whole(
    bucket: Any, database: Any
) -> None:
    class Generous(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(11)

    bucket.upload_from_stream("f", Generous(b"0123456789abcdef"))
    assert b"".join(chunks(database)) == b"0123456789abcdef"


def test_a_stored_file_is_a_source(bucket: Any, database: Any) -> None:
    first = bucket.upload_from_stream("f", b"hello world")
    second = bucket.upload_from_stream("g", bucket.open_download_stream(first))
    assert bucket.open_download_stream(second).read() == b"hello world"


def test_the_source_stays_open(bucket: Any) -> None:
    source = io.BytesIO(b"0123456789")
    bucket.upload_from_stream("f", source)
    assert not source.closed


def test_texts_are_written_in_the_files_encoding(fs: Any) -> None:
    with pytest.raises(TypeError, match="must specify an encoding"):
        fs.put("hello")
    file_id = fs.put("aé", encoding="iso-8859-1")
    found = fs.get(file_id)
    assert found.read() == "aé".encode("iso-8859-1")
    assert found.encoding == "iso-8859-1"
    with fs.new_file(encoding="utf-8") as file:
        file.writelines(["a", "é", b"!"])
    assert fs.get(file._id).read() == "aé!".encode()


def test_a_closed_file_takes_nothing_more(bucket: Any, database: Any) -> None:
    file = bucket.open_upload_stream("f")
    file.close()
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.write(b"x")
    assert counts(database) == (1, 0)


def test_it_is_a_file_that_cannot_be_read(bucket: Any) -> None:
    file = bucket.open_upload_stream("f")
    assert (file.readable(), file.seekable(), file.writeable()) == (False, False, True)
    with pytest.raises(io.UnsupportedOperation):
        file.read()


def test_fields_of_a_new_file_are_attributes(
    classes: Classes, fs: Any, database: Any, face: str
) -> None:
    file = classes.GridIn(
        database.fs, _id=5, filename="f", chunkSize=1000, metadata={"a": 1}, extra="x"
    )
    assert (file._id, file.filename, file.name, file.chunk_size) == (5, "f", "f", 1000)
    assert (file.metadata, file.extra) == ({"a": 1}, "x")
    for name in ("_id", "length", "chunk_size", "upload_date", "md5"):
        with pytest.raises(AttributeError):
            setattr(file, name, 5)
    for name in ("missing", "length", "upload_date", "uploadDate"):
        with pytest.raises(AttributeError):
            getattr(file, name)
    file.filename = "g"
    file.more = [1]
    file.close()
    assert file.length == 0
    assert isinstance(file.upload_date, datetime)
    if face == "blocking":
        file.later = 42
        file.filename = "h"
    else:
        for name in ("later", "filename"):
            with pytest.raises(AttributeError, match=r"await file\.set"):
                setattr(file, name, 42)
        file.set("later", 42)
        file.set("filename", "h")
    assert (file.later, file.filename) == (42, "h")
    found = fs.get(5)
    assert (found.filename, found.extra, found.more, found.later) == ("h", "x", [1], 42)
    assert not hasattr(found, "missing")
    for name in ("_id", "filename", "length", "metadata"):
        with pytest.raises(AttributeError):
            setattr(found, name, 5)
    assert set(database.fs.files.find_one()) == {
        *("_id", "filename", "chunkSize", "metadata", "extra", "more", "later"),
        *("length", "uploadDate"),
    }


#: As PyMongo begins it, for programs that filter it.
OF_CONTENT_TYPE = "^Grid(In|Out) property 'contentType' is deprecated and will be removed"


def test_what_the_specification_has_dropped_is_deprecated(
    classes: Classes, fs: Any, database: Any
) -> None:
    file = classes.GridIn(database.fs, content_type="text/plain")
    with pytest.warns(DeprecationWarning, match=OF_CONTENT_TYPE):
        assert file.content_type == "text/plain"
    with pytest.warns(DeprecationWarning, match=OF_CONTENT_TYPE):
        file.content_type = "text/html"
    file.close()
    with pytest.warns(DeprecationWarning, match="^Grid(In|Out) property 'md5'"):
        assert file.md5 is None
    found = fs.get(file._id)
    with pytest.warns(DeprecationWarning, match=OF_CONTENT_TYPE):
        assert found.content_type == "text/html"
    with pytest.warns(DeprecationWarning, match="^Grid(In|Out) property 'aliases'"):
        assert found.aliases is None
    with pytest.warns(DeprecationWarning, match="md5"):
        assert found.md5 is None


def write_and_close(file: Any, data: bytes) -> None:
    file.write(data)
    file.close()


def test_a_file_that_exists_is_not_overwritten(
    bucket: Any, fs: Any, database: Any, classes: Classes
) -> None:
    fs.put(b"some content", _id=123)
    for length in (0, 1, 12, 36):
        with pytest.raises(FileExists, match="_id 123"):
            fs.put(b"x" * length, _id=123, chunk_size=4)
        file = fs.new_file(_id=123, chunk_size=4)
        with pytest.raises(FileExists):
            write_and_close(file, b"y" * length)
        # What belongs to the other file stays.
        file.abort()
        assert fs.get(123).read() == b"some content"
    with pytest.raises(FileExists):
        bucket.upload_from_stream_with_id(123, "f", b"z")
    assert counts(database) == (1, 1)


def test_after_an_error_nothing_more_is_written_and_close_tells_it_again(
    fs: Any, database: Any
) -> None:
    fs.put(b"x", _id=1)
    file = fs.new_file(_id=1, chunk_size=4)
    with pytest.raises(FileExists):
        file.write(bytes(4 * batch_of(4)))
    for call in (lambda: file.write(b"more"), file.close):
        with pytest.raises(FileExists):
            call()
    assert counts(database) == (1, 1)


def test_errors_of_the_server_are_those_of_one_insert(
    bucket: Any, database: Any, seen: Started
) -> None:
    database.create_collection("fs.chunks", validator={"n": {"$lt": 1}})
    with pytest.raises(OperationFailure) as raised:
        bucket.upload_from_stream("f", b"0123456789")
    assert type(raised.value).__name__ == "WriteError"
    assert raised.value.code == 121
    assert database.fs.files.count_documents({}) == 0
    # The specification: what arrived is left.
    assert "delete" not in seen.names()


@pytest.fixture
def unreachable(face: str) -> Iterator[Any]:
    uri = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=20"
    with MongoClient(uri, connect=False) as client:
        yield client["db"]


def test_nothing_is_asked_of_a_server_before_it_is_needed(
    classes: Classes, unreachable: Any
) -> None:
    for made in (classes.GridFSBucket(unreachable), classes.GridFS(unreachable)):
        with pytest.raises(ServerSelectionTimeoutError):
            made.delete(1)
    file = classes.GridFS(unreachable).new_file(chunk_size=1)
    with pytest.raises(ServerSelectionTimeoutError):
        file.write(b"data")
    with pytest.raises(ServerSelectionTimeoutError):
        file.close()
    with pytest.raises(ServerSelectionTimeoutError):
        classes.GridFSBucket(unreachable).upload_from_stream("f", b"")


# -- indexes --------------------------------------------------------------------------------------


def test_indexes_are_made_before_the_first_write_alone(
    bucket: Any, database: Any, seen: Started
) -> None:
    with pytest.raises(NoFile):
        bucket.open_download_stream(1)
    assert list(bucket.find()) == []
    assert "createIndexes" not in seen.names()
    seen.commands.clear()
    bucket.upload_from_stream("f", b"x")
    assert seen.names() == [
        *("find", "listIndexes", "createIndexes") * 2,
        *("insert", "insert"),
    ]
    made = {
        each["createIndexes"]: (dict(each["indexes"][0]["key"]), each["indexes"][0].get("unique"))
        for each in seen.of("createIndexes")
    }
    assert made["fs.files"] == ({"filename": 1, "uploadDate": 1}, False)
    assert made["fs.chunks"] == ({"files_id": 1, "n": 1}, True)
    seen.commands.clear()
    bucket.upload_from_stream("f", b"x")
    assert seen.names() == ["insert", "insert"]


def test_a_bucket_with_files_is_taken_to_have_its_indexes(
    classes: Classes, database: Any, seen: Started
) -> None:
    classes.GridFSBucket(database).upload_from_stream("f", b"x")
    seen.commands.clear()
    classes.GridFSBucket(database).upload_from_stream("f", b"x")
    assert seen.names() == ["find", "find", "insert", "insert"]


@pytest.mark.parametrize("one", [1, 1.0, Int64(1)])
def test_indexes_that_are_there_are_not_made_again(
    bucket: Any, database: Any, seen: Started, one: Any
) -> None:
    database.fs.files.create_index([("filename", one), ("uploadDate", 1.0)], name="mine")
    database.fs.chunks.create_index([("files_id", 1.0), ("n", one)], name="too", unique=True)
    seen.commands.clear()
    bucket.upload_from_stream("f", b"x")
    assert "createIndexes" not in seen.names()


def test_the_primary_says_whether_there_are_files(
    classes: Classes, database: Any, seen: Started
) -> None:
    bucket = classes.GridFSBucket(
        database.client.get_database(database.name, read_preference=ReadPreference.NEAREST)
    )
    seen.commands.clear()
    bucket.upload_from_stream("f", b"x")
    for find in seen.of("find"):
        assert find.get("$readPreference", {"mode": "primary"}) != {"mode": "nearest"}


# -- reading --------------------------------------------------------------------------------------


@pytest.fixture
def text(bucket: Any) -> Any:
    """A function that stores a text and opens it."""

    def store(data: bytes = b"Hello world,\nHow are you?\nHope all is well.\nBye") -> Any:
        return bucket.open_download_stream(bucket.upload_from_stream("text", data))

    return store


def test_a_file_is_read_in_any_steps(text: Any) -> None:
    data = bytes(range(30))
    for step in (1, 2, 3, 4, 5, 8, 13, 29, 30, 31):
        file = text(data)
        got = []
        while piece := file.read(step):
            assert type(piece) is bytes
            got.append(piece)
            assert file.tell() == sum(map(len, got))
        assert b"".join(got) == data
        assert {len(each) for each in got[:-1]} <= {step}
        assert file.read() == file.readchunk() == file.readline() == b""


def test_chunks_are_read_to_their_ends(text: Any) -> None:
    file = text(b"0123456789")
    assert file.readchunk() == b"0123"
    assert file.read(1) == b"4"
    assert file.readchunk() == b"567"
    assert file.readchunk() == b"89"
    assert file.readchunk() == b""


def test_lines_are_read(text: Any) -> None:
    file = text()
    assert file.read(1) == b"H"
    assert file.readline() == b"ello world,\n"
    assert file.readline(5) == b"How a"
    assert file.readline(0) == b""
    assert file.readline() == b"re you?\n"
    assert file.readline(1000) == b"Hope all is well.\n"
    assert file.readline() == b"Bye"
    assert file.readline() == b""


def test_lists_of_lines_are_read(text: Any) -> None:
    lines = [b"Hello world,\n", b"How are you?\n", b"Hope all is well.\n", b"Bye"]
    assert text().readlines() == text().readlines(0) == text().readlines(1000) == lines
    assert list(text()) == lines
    # Until there is more than was asked for, as io.IOBase: the first line has 13 bytes.
    assert text().readlines(12) == lines[:1]
    assert text().readlines(13) == lines[:2]
    file = text()
    assert file.readlines(1) == lines[:1]
    assert file.readlines(14) == lines[1:3]
    assert next(iter(file)) == b"Bye"
    with pytest.raises(StopIteration):
        next(iter(file))
    assert list(text(b"")) == []


def test_the_asyncio_face_makes_a_list_of_lines(text: Any, face: str) -> None:
    if face == "blocking":
        assert not hasattr(text(), "to_list")
    else:
        assert text(b"a\nb").to_list() == [b"a\n", b"b"]


def test_a_file_is_read_from_anywhere(text: Any, seen: Started) -> None:
    file = text(b"0123456789")
    assert file.seek(7) == 7
    assert file.read() == b"789"
    assert file.seek(-3, io.SEEK_END) == 7
    assert file.read(2) == b"78"
    assert file.seek(-4, io.SEEK_CUR) == 5
    assert file.read(1) == b"5"
    for position, whence in ((-1, 0), (-100, 1), (-100, 2), (0, 7)):
        with pytest.raises(OSError):
            file.seek(position, whence)
    assert file.tell() == 6
    assert file.seek(100) == 100
    assert file.read() == b""
    assert file.readchunk() == b""
    assert file.seek(0) == 0
    assert file.read() == b"0123456789"
    file.seek(0)
    # Within a chunk that is there, nothing is asked for.
    assert file.read(1) == b"0"
    seen.commands.clear()
    file.seek(3)
    assert file.read(1) == b"3"
    file.seek(1)
    assert file.readline(2) == b"12"
    assert seen.commands == []


def test_only_the_chunks_behind_a_position_are_asked_for(text: Any, seen: Started) -> None:
    file = text(b"0123456789")
    file.seek(5)
    seen.commands.clear()
    assert file.read(2) == b"56"
    (find,) = seen.of("find")
    assert find["filter"] == {"files_id": {"$eq": file._id}, "n": {"$gte": 1}}


def test_a_zip_archive_is_read_from_its_file(classes: Classes, database: Any, face: str) -> None:
    if face == "asyncio":
        pytest.skip("zipfile has no asyncio face")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("a.txt", b"hello " * 100)
    archive.seek(0)
    with classes.GridIn(database.fs, chunk_size=16) as file:
        file.write(archive)
    with zipfile.ZipFile(classes.GridOut(database.fs, file._id)) as found:
        assert found.namelist() == ["a.txt"]
        assert found.read("a.txt") == b"hello " * 100
    assert io.TextIOWrapper(io.BufferedReader(_Raw(b"x"))).read() == "x"


class _Raw(io.RawIOBase):
    def __init__(self, data: bytes) -> None:
        self.source = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self.source.readinto(buffer)


def test_it_is_a_file_that_cannot_be_written(text: Any) -> None:
    file = text()
    assert (file.readable(), file.seekable(), file.writable(), file.isatty()) == (
        True,
        True,
        False,
        False,
    )
    file.flush()
    for call in (
        lambda: file.write(b"x"),
        lambda: file.writelines([b"x"]),
        file.fileno,
        file.truncate,
    ):
        with pytest.raises(io.UnsupportedOperation):
            call()


def test_a_file_is_closed_with_its_cursor(text: Any, seen: Started) -> None:
    with text(bytes(4 * (batch_of(4) + 10))) as file:
        file.read(1)
        assert not file.closed
        seen.commands.clear()
    assert file.closed
    assert seen.names() == ["killCursors"]
    file.close()


def test_a_file_is_fetched_when_it_is_first_needed(
    classes: Classes, database: Any, bucket: Any, face: str
) -> None:
    missing = classes.GridOut(database.fs, 5)
    for call in (missing.open, missing.read, missing.readchunk, missing.readline):
        with pytest.raises(NoFile, match="_id 5"):
            call()
    with pytest.raises(NoFile if face == "blocking" else InvalidOperation):
        _ = missing.filename
    file_id = bucket.upload_from_stream("f", b"12345")
    assert classes.GridOut(database.fs, file_id).readchunk() == b"1234"
    document = database.fs.files.find_one()
    given = classes.GridOut(database.fs, 7, file_document=document)
    assert (given._id, given.read()) == (file_id, b"12345")
    with pytest.raises(NoFile):
        classes.GridOut(database.fs, file_document={}).open()


def test_a_cursor_that_the_server_forgot_is_opened_again(
    text: Any, database: Any, seen: Started
) -> None:
    data = bytes(range(4 * batch_of(4) * 2 + 1))
    file = text(data)
    assert file.read(6) == data[:6]
    reader = file._reader
    cursor = reader._cursor.cursor_id
    assert cursor
    killed = database.command("killCursors", "fs.chunks", cursors=[cursor])
    assert killed["cursorsKilled"] == [cursor]
    seen.commands.clear()
    assert file.read() == data[6:]
    assert "getMore" in seen.names()
    again = seen.of("find")[-1]
    assert again["filter"]["n"]["$gte"] == batch_of(4)


def test_after_an_error_the_position_is_the_former_one(text: Any, database: Any) -> None:
    file = text(b"0123456789")
    (lost,) = database.fs.chunks.find({"n": 2})
    database.fs.chunks.delete_one({"n": 2})
    assert file.read(2) == b"01"
    for _ in range(2):
        with pytest.raises(CorruptGridFile):
            file.read()
        assert file.tell() == 2
    database.fs.chunks.insert_one(lost)
    assert file.read() == b"23456789"


# -- what is stored cannot be trusted -------------------------------------------------------------


def change_chunk(database: Any, number: int, **fields: Any) -> None:
    assert database.fs.chunks.update_one({"n": number}, {"$set": fields}).matched_count


def read_in_every_way(bucket: Any, file_id: Any) -> Iterator[Any]:
    yield lambda: bucket.open_download_stream(file_id).read()
    yield lambda: list(bucket.open_download_stream(file_id))
    yield lambda: bucket.open_download_stream(file_id).readlines()
    yield lambda: bucket.download_to_stream(file_id, Sink())
    yield lambda: bucket.download_to_stream_by_name("f", Sink())


@pytest.mark.parametrize(
    ("number", "fields"),
    [
        (0, {"data": b"012"}),
        (1, {"data": b"45678"}),
        (2, {"data": b"8"}),
        (2, {"data": b"890"}),
        (0, {"data": b""}),
        (0, {"data": "0123"}),
        (1, {"data": None}),
        (1, {"data": [1, 2, 3, 4]}),
        (1, {"data": {"a": 1}}),
        (0, {"n": -1}),
        (2, {"n": 3}),
        (2, {"n": 2**62}),
        (1, {"n": 1.5}),
        (1, {"n": "1"}),
        (2, {"n": float("nan")}),
        (2, {"n": Decimal128("NaN")}),
        (2, {"n": Code("2")}),
    ],
)
def test_a_wrong_chunk_is_never_read(
    bucket: Any, database: Any, number: int, fields: dict[str, Any]
) -> None:
    file_id = bucket.upload_from_stream("f", b"0123456789")
    change_chunk(database, number, **fields)
    for read in read_in_every_way(bucket, file_id):
        with pytest.raises(CorruptGridFile):
            read()


def test_a_missing_and_an_extra_chunk_are_told(bucket: Any, database: Any) -> None:
    file_id = bucket.upload_from_stream("f", b"0123456789")
    database.fs.chunks.insert_one({"files_id": file_id, "n": 3, "data": b"x"})
    for read in read_in_every_way(bucket, file_id):
        with pytest.raises(CorruptGridFile, match="Extra chunk"):
            read()
    # An empty one is allowed.
    change_chunk(database, 3, data=b"")
    for read in read_in_every_way(bucket, file_id):
        read()
    for number in (3, 2, 1, 0):
        database.fs.chunks.delete_one({"n": number})
        if number == 3:
            continue
        for read in read_in_every_way(bucket, file_id):
            with pytest.raises(CorruptGridFile, match=f"no chunk #{number}"):
                read()


@pytest.mark.parametrize(
    "fields",
    [
        {"length": -1},
        {"length": 2**62},
        {"length": 9.5},
        {"length": float("nan")},
        {"length": float("inf")},
        {"length": "10"},
        {"length": None},
        {"length": 11},
        {"length": 7},
        {"length": 2**62, "chunkSize": 2**62},
        {"chunkSize": 0},
        {"chunkSize": -4},
        {"chunkSize": 2**62},
        {"chunkSize": 3.5},
        {"chunkSize": "4"},
        {"chunkSize": 5},
        {"chunkSize": None},
        {"chunkSize": 1, "length": 2**63 - 1},
    ],
)
def test_a_wrong_length_is_never_read(bucket: Any, database: Any, fields: dict[str, Any]) -> None:
    file_id = bucket.upload_from_stream("f", b"0123456789")
    database.fs.files.update_one({"_id": file_id}, {"$set": fields})
    for read in read_in_every_way(bucket, file_id):
        with pytest.raises(CorruptGridFile):
            read()


@pytest.mark.parametrize(
    "fields",
    [
        {"length": 10.0, "chunkSize": 4.0},
        {"length": 10, "chunkSize": Int64(4)},
        {"length": Decimal128("10"), "chunkSize": Decimal128("4")},
        {"metadata": 7, "filename": "f", "aliases": {"a": 1}, "uploadDate": "never"},
        {"metadata": {"": {"$x": [None]}}, "contentType": 5, "md5": []},
    ],
)
def test_what_other_drivers_have_stored_is_read(
    bucket: Any, database: Any, fields: dict[str, Any]
) -> None:
    file_id = bucket.upload_from_stream("f", b"0123456789")
    database.fs.files.update_one({"_id": file_id}, {"$set": fields})
    database.fs.chunks.update_one({"n": 1}, {"$set": {"n": 1.0, "data": Binary(b"4567", 2)}})
    found = bucket.open_download_stream(file_id)
    data = found.read()
    assert (data, type(data)) == (b"0123456789", bytes)
    for name, value in fields.items():
        if name in ("length", "metadata", "uploadDate"):
            assert getattr(found, {"uploadDate": "upload_date"}.get(name, name)) == value


def test_an_empty_file_of_phps_driver_is_read(bucket: Any, database: Any) -> None:
    file_id = bucket.upload_from_stream("f", b"")
    database.fs.files.update_one({"_id": file_id}, {"$unset": {"length": 1, "chunkSize": 1}})
    found = bucket.open_download_stream(file_id)
    assert (found.length, list(found), found.read()) == (0, [], b"")


# -- finding, renaming, deleting ------------------------------------------------------------------


@pytest.fixture
def versions(bucket: Any, database: Any) -> list[Any]:
    """The ids of three files of one name, each a second later."""
    ids = [bucket.upload_from_stream("v", each) for each in (b"foo", b"bar", b"baz")]
    for second, each in enumerate(ids):
        database.fs.files.update_one(
            {"_id": each}, {"$set": {"uploadDate": datetime(2026, 1, 1, 0, 0, second)}}
        )
    return ids


def test_revisions_are_counted_from_both_ends(bucket: Any, fs: Any, versions: list[Any]) -> None:
    for revision, data in enumerate((b"foo", b"bar", b"baz")):
        for number in (revision, revision - 3):
            assert bucket.open_download_stream_by_name("v", number).read() == data
            assert bucket.open_download_stream_by_name("v", revision=number).read() == data
            assert fs.get_version("v", number).read() == data
            sink = Sink()
            bucket.download_to_stream_by_name("v", sink, revision=number)
            assert sink.data == data
    assert bucket.open_download_stream_by_name("v").read() == b"baz"
    assert fs.get_version("v", None).read() == fs.get_last_version("v").read() == b"baz"
    for number in (3, -4):
        with pytest.raises(NoFile, match=f"no version {number} for filename 'v'"):
            bucket.open_download_stream_by_name("v", number)
        with pytest.raises(NoFile):
            fs.get_version("v", number)
    with pytest.raises(TypeError):
        bucket.open_download_stream_by_name(5)


def test_versions_are_found_by_fields_too(fs: Any) -> None:
    fs.put(b"foo", filename="t", author="one")
    fs.put(b"bar", filename="u", author="two")
    assert fs.get_last_version(author="one").read() == b"foo"
    assert fs.get_last_version("u", author="two").read() == b"bar"
    with pytest.raises(NoFile):
        fs.get_last_version("t", author="two")


def test_files_are_found_by_a_cursor(bucket: Any, fs: Any, versions: list[Any]) -> None:
    cursor = bucket.find({"filename": "v"}, sort=[("uploadDate", -1)], skip=1, limit=5)
    assert cursor.next().read() == b"bar"
    assert [each.read() for each in cursor] == [b"foo"]
    with pytest.raises(StopIteration):
        cursor.next()
    cursor.rewind()
    assert [each._id for each in cursor.to_list()] == [versions[1], versions[0]]
    cursor.rewind()
    assert [each._id for each in cursor.to_list(1)] == [versions[1]]
    cursor.close()
    found = fs.find().sort("uploadDate", 1).limit(2)
    assert [each._id for each in found.clone()] == versions[:2]
    assert [each._id for each in found] == versions[:2]
    assert [each.length for each in fs.find(batch_size=2)] == [3, 3, 3]
    for refused in (found.add_option, found.remove_option):
        with pytest.raises(NotImplementedError):
            refused(0)


def test_cursors_of_files_are_copied_and_sliced(bucket: Any, face: str) -> None:
    for name in ("a", "b", "c"):
        bucket.upload_from_stream(name, name.encode())
    cursor = bucket.find().sort("filename", 1)
    assert [each.name for each in copy.copy(cursor)] == ["a", "b", "c"]
    assert [each.read() for each in cursor.clone()[1:]] == [b"b", b"c"]
    assert cursor.distinct("filename") == ["a", "b", "c"]
    if face == "blocking":
        assert cursor[1].read() == b"b"
    with cursor as entered:
        assert entered.next().name == "a"


def test_one_file_is_found(fs: Any, seen: Started) -> None:
    assert fs.find_one() is None
    first = fs.put(b"one", filename="a", meta="data")
    fs.put(b"two", filename="b")
    seen.commands.clear()
    assert fs.find_one(first).read() == b"one"
    assert fs.find_one({"filename": "b"}).read() == b"two"
    assert fs.find_one(first).meta == "data"
    assert fs.find_one({"filename": {"$exists": True}}, sort=[("filename", -1)]).name == "b"
    assert fs.find_one("missing") is None
    # No cursor is left open for the others.
    assert all(each["singleBatch"] for each in seen.of("find") if each["find"] == "fs.files")


def test_names_are_listed_once(fs: Any) -> None:
    assert fs.list() == []
    for name in ("b", "a", "b", None):
        fs.put(b"", **({} if name is None else {"filename": name}))
    assert sorted(fs.list()) == ["a", "b"]


def test_whether_a_file_exists(fs: Any) -> None:
    file_id = fs.put(b"hello", filename="a", foo=12)
    for found in (
        *(fs.exists(file_id), fs.exists({"_id": file_id}), fs.exists(_id=file_id)),
        *(fs.exists(filename="a"), fs.exists({"foo": {"$gt": 11}}), fs.exists(foo={"$gt": 11})),
        fs.exists(),
    ):
        assert found is True
    for missing in (fs.exists("b"), fs.exists(filename="b"), fs.exists({"foo": 13})):
        assert missing is False


#: What would find every file, were it a query.
INJECTED = [{"$ne": None}, {"$gt": MinKey()}, re.compile("")]


@pytest.mark.parametrize("injected", INJECTED, ids=repr)
def test_an_id_or_a_name_is_a_value_and_no_query(
    bucket: Any, fs: Any, database: Any, injected: Any
) -> None:
    for name in ("one", "two"):
        bucket.upload_from_stream_with_id(name, name, b"0123456789")
    before = counts(database)
    for call in (
        bucket.delete,
        bucket.delete_by_name,
        lambda value: bucket.rename(value, "x"),
        lambda value: bucket.rename_by_name(value, "x"),
        lambda value: bucket.open_download_stream(value).read(),
        lambda value: fs.get(value).read(),
    ):
        with pytest.raises(MongoError):  # NoFile, or a server refuses to look for such a value
            call(injected)
    with contextlib.suppress(OperationFailure):
        fs.delete(injected)
    if isinstance(injected, re.Pattern):  # a document is the filter itself
        assert not fs.exists(injected)
        assert fs.find_one(injected) is None
    assert counts(database) == before
    assert sorted(fs.list()) == ["one", "two"]


@pytest.mark.parametrize("injected", INJECTED, ids=repr)
def test_an_upload_that_is_aborted_takes_no_other_files_along(
    bucket: Any, database: Any, batch: int, injected: Any
) -> None:
    bucket.upload_from_stream_with_id("one", "one", b"0123456789")
    before = counts(database)
    file = bucket.open_upload_stream_with_id(injected, "two")
    with contextlib.suppress(OperationFailure):
        file.write(b"0123" * 2 * batch)
        file.abort()
    found = counts(database)
    assert found[0] == before[0]
    assert database.fs.chunks.count_documents({"files_id": "one"}) == before[1]


def test_files_are_deleted_with_their_chunks(bucket: Any, fs: Any, database: Any) -> None:
    file_id = bucket.upload_from_stream("f", b"0123456789")
    other = bucket.upload_from_stream("g", b"0123")
    bucket.delete(file_id)
    assert counts(database) == (1, 1)
    with pytest.raises(NoFile, match="none matched"):
        bucket.delete(file_id)
    fs.delete(file_id)
    fs.delete(other)
    assert counts(database) == (0, 0)


def test_chunks_without_a_file_are_deleted_all_the_same(bucket: Any, database: Any) -> None:
    database.fs.chunks.insert_one({"files_id": 1, "n": 0, "data": b"x"})
    with pytest.raises(NoFile):
        bucket.delete(1)
    assert counts(database) == (0, 0)


def test_the_file_is_deleted_before_its_chunks(bucket: Any, seen: Started) -> None:
    file_id = bucket.upload_from_stream("f", b"0123")
    seen.commands.clear()
    bucket.delete(file_id)
    assert [each["delete"] for each in seen.commands] == ["fs.files", "fs.chunks"]


def test_all_files_of_a_name_are_deleted(
    bucket: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mongokey.gridfs import rules

    monkeypatch.setattr(rules, "MOST_IDS", 2)
    for _ in range(5):
        bucket.upload_from_stream("f", b"01234")
    bucket.upload_from_stream("g", b"01234")
    bucket.delete_by_name("f")
    assert counts(database) == (1, 2)
    with pytest.raises(NoFile, match="filename 'f'"):
        bucket.delete_by_name("f")


def test_files_are_renamed(bucket: Any, versions: list[Any]) -> None:
    bucket.rename(versions[0], "w")
    assert bucket.open_download_stream_by_name("w").read() == b"foo"
    bucket.rename_by_name("v", "x")
    with pytest.raises(NoFile):
        bucket.open_download_stream_by_name("v")
    assert {each._id for each in bucket.find({"filename": "x"})} == set(versions[1:])
    with pytest.raises(NoFile, match="file_id 'missing'"):
        bucket.rename("missing", "y")
    with pytest.raises(NoFile, match="filename 'missing'"):
        bucket.rename_by_name("missing", "y")


# -- options --------------------------------------------------------------------------------------


def test_a_bucket_has_its_own_collections_and_options(
    classes: Classes, database: Any, seen: Started
) -> None:
    bucket = classes.GridFSBucket(
        database,
        bucket_name="alt",
        chunk_size_bytes=3,
        write_concern=WriteConcern(w="majority"),
        read_preference=ReadPreference.PRIMARY_PREFERRED,
    )
    file_id = bucket.upload_from_stream("f", b"0123")
    bucket.upload_from_stream_with_id("mine", "g", b"0123", chunk_size_bytes=1)
    assert database.alt.chunks.count_documents({}) == 6
    assert database.fs.chunks.count_documents({}) == 0
    inserts = seen.of("insert")
    assert inserts
    assert {each["writeConcern"]["w"] for each in inserts} == {"majority"}
    seen.commands.clear()
    bucket.open_download_stream(file_id).read()
    assert {each["$readPreference"]["mode"] for each in seen.of("find")} == {"primaryPreferred"}
    bucket.delete(file_id)
    assert {each["writeConcern"]["w"] for each in seen.of("delete")} == {"majority"}


def test_the_read_concern_is_the_databases(classes: Classes, database: Any, seen: Started) -> None:
    careful = database.client.get_database(database.name, read_concern=ReadConcern("majority"))
    bucket = classes.GridFSBucket(careful)
    file_id = bucket.upload_from_stream("f", b"0123")
    seen.commands.clear()
    bucket.open_download_stream(file_id).read()
    assert {each["readConcern"]["level"] for each in seen.of("find")} == {"majority"}


def test_types_that_the_application_registered_are_not_for_files(
    classes: Classes, database: Any
) -> None:
    class Refusing(TypeDecoder):
        bson_type = bytes

        def transform_bson(self, value: Any) -> Any:
            raise AssertionError("chunks are no business of the application's types")

    options: Any = CodecOptions(type_registry=TypeRegistry([Refusing()]))
    bucket = classes.GridFSBucket(database.client.get_database(database.name, options))
    file_id = bucket.upload_from_stream("f", b"0123")
    assert bucket.open_download_stream(file_id).read() == b"0123"


def test_documents_may_be_of_another_class(classes: Classes, database: Any) -> None:
    options: Any = CodecOptions(document_class=RawBSONDocument, tz_aware=True)
    bucket = classes.GridFSBucket(database.client.get_database(database.name, options))
    file_id = bucket.upload_from_stream("f", b"0123", metadata={"a": 1})
    found = bucket.open_download_stream(file_id)
    assert found.read() == b"0123"
    assert isinstance(found.metadata, RawBSONDocument)
    assert found.upload_date.tzinfo is not None


# -- sessions -------------------------------------------------------------------------------------


def test_every_command_is_in_the_session(
    bucket: Any, fs: Any, client: MongoClient, seen: Started
) -> None:
    with client.start_session() as session:
        file_id = bucket.upload_from_stream("f", b"0123456789", session=session)
        bucket.upload_from_stream_with_id("x", "f", b"0123", session=session)
        with bucket.open_upload_stream("g", session=session) as file:
            file.write(b"0123")
        file.set("more", 1)
        aborted = bucket.open_upload_stream_with_id("y", "g", session=session)
        aborted.write(bytes(4 * batch_of(4)))
        aborted.abort()
        bucket.open_download_stream(file_id, session=session).read()
        bucket.open_download_stream_by_name("f", session=session).read()
        bucket.download_to_stream(file_id, Sink(), session=session)
        bucket.download_to_stream_by_name("f", Sink(), session=session)
        assert [each.read() for each in bucket.find(session=session)]
        bucket.rename(file_id, "h", session=session)
        bucket.rename_by_name("h", "i", session=session)
        bucket.delete_by_name("i", session=session)
        bucket.delete("x", session=session)
        put = fs.put(b"x", session=session, filename="n")
        fs.get(put, session=session).read()
        fs.get_version("n", session=session).read()
        fs.get_last_version("n", session=session).read()
        assert fs.list(session=session)
        assert fs.find_one(put, session=session).read() == b"x"
        assert fs.exists(put, session=session)
        fs.delete(put, session=session)
        lsids = [each.get("lsid") for each in seen.commands]
        assert len(lsids) >= 40
        assert all(each == session.session_id for each in lsids), seen.commands


def test_a_transaction_is_refused(
    bucket: Any, fs: Any, classes: Classes, database: Any, client: MongoClient, seen: Started
) -> None:
    file_id = bucket.upload_from_stream("f", b"0123456789")
    with client.start_session() as session:
        begun = bucket.open_upload_stream("g", session=session)
        found = bucket.open_download_stream(file_id, session=session)
        cursor = bucket.find(session=session)
        session.start_transaction()
        seen.commands.clear()
        for call in (
            lambda: bucket.upload_from_stream("f", b"", session=session),
            lambda: bucket.upload_from_stream_with_id(1, "f", b"", session=session),
            lambda: bucket.open_upload_stream("f", session=session),
            lambda: bucket.open_download_stream(file_id, session=session),
            lambda: bucket.open_download_stream_by_name("f", session=session),
            lambda: bucket.find(session=session),
            lambda: bucket.rename(file_id, "g", session=session),
            lambda: bucket.rename_by_name("f", "g", session=session),
            lambda: bucket.delete(file_id, session=session),
            lambda: bucket.delete_by_name("f", session=session),
            lambda: fs.put(b"", session=session),
            lambda: fs.get(file_id, session=session),
            lambda: fs.get_version("f", session=session),
            lambda: fs.list(session=session),
            lambda: fs.find(session=session),
            lambda: fs.find_one(session=session),
            lambda: fs.exists(session=session),
            lambda: fs.delete(file_id, session=session),
            lambda: classes.GridIn(database.fs, session=session),
            lambda: classes.GridOut(database.fs, file_id, session=session),
            lambda: found.read(),
            lambda: found.readchunk(),
            lambda: cursor.next(),
            lambda: cursor.to_list(),
            lambda: begun.close(),
        ):
            with pytest.raises(InvalidOperation, match="GridFS does not support multi-document"):
                call()
        assert seen.commands == []
        session.abort_transaction()


def test_a_transaction_that_is_bound_is_refused_too(
    bucket: Any, client: MongoClient, seen: Started, face: str
) -> None:
    if face == "asyncio":
        pytest.skip("calls into the loop have contexts of their own")
    bucket.upload_from_stream("f", b"0123")
    found = bucket.open_download_stream_by_name("f")
    with client.start_session() as session, session.bind(end_session=False):
        session.start_transaction()
        seen.commands.clear()
        for call in (
            lambda: bucket.upload_from_stream("f", b"0123"),
            lambda: bucket.delete_by_name("f"),
            lambda: bucket.find(),
            found.read,
        ):
            with pytest.raises(InvalidOperation, match="GridFS does not support multi-document"):
                call()
        assert seen.commands == []
        session.abort_transaction()
        bucket.upload_from_stream("g", b"0123")
        assert all(each["lsid"] == session.session_id for each in seen.commands)


# -- aborting -------------------------------------------------------------------------------------


def test_an_aborted_file_leaves_nothing(bucket: Any, database: Any) -> None:
    file = bucket.open_upload_stream("f")
    file.write(bytes(4 * batch_of(4) + 1))
    assert database.fs.chunks.count_documents({"files_id": file._id}) == batch_of(4)
    file.abort()
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.write(b"x")
    assert counts(database) == (0, 0)


def test_what_was_never_sent_needs_no_abort(bucket: Any, seen: Started) -> None:
    file = bucket.open_upload_stream("f")
    file.write(b"x")
    seen.commands.clear()
    file.abort()
    assert seen.commands == []


def test_a_stored_file_can_be_aborted_too(bucket: Any, database: Any) -> None:
    file = bucket.open_upload_stream("f")
    file.write(b"0123456789")
    file.close()
    file.abort()
    assert counts(database) == (0, 0)


class Broken(Exception):
    """What a source raises."""


def test_an_error_in_its_block_leaves_nothing_of_a_file(bucket: Any, database: Any) -> None:
    file = bucket.open_upload_stream("f")

    def work() -> None:
        with file:
            file.write(bytes(4 * batch_of(4)))
            assert counts(database) == (0, batch_of(4))
            raise Broken

    with pytest.raises(Broken):
        work()
    assert file.closed
    assert counts(database) == (0, 0)


def test_a_source_that_raises_leaves_nothing_of_a_file(bucket: Any, database: Any) -> None:
    class Source:
        left = batch_of(4) + 1

        def read(self, size: int) -> bytes:
            self.left -= 1
            if not self.left:
                raise Broken
            return bytes(size)

    with pytest.raises(Broken):
        bucket.upload_from_stream("f", Source())
    file = bucket.open_upload_stream("f")
    with pytest.raises(Broken):
        file.write(Source())
    assert file.closed
    assert counts(database) == (0, 0)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_leaves_nothing_of_a_file(
    bucket: Any, database: Any, kind: type[BaseException], face: str
) -> None:
    if face == "asyncio":
        pytest.skip("it ends the loop; a cancellation is tested in test_async_gridfs.py")

    def work() -> None:
        with bucket.open_upload_stream("f") as file:
            file.write(bytes(4 * batch_of(4)))
            raise kind

    with pytest.raises(kind):
        work()
    assert counts(database) == (0, 0)


@pytest.mark.parametrize("source", [io.StringIO("text"), object()])
def test_a_source_that_is_none_leaves_nothing_of_a_file(
    bucket: Any, database: Any, source: Any
) -> None:
    with pytest.raises(TypeError):
        bucket.upload_from_stream("f", source)
    assert counts(database) == (0, 0)


# -- timeouts -------------------------------------------------------------------------------------


class Slow(io.BytesIO):
    """A source and destination that takes some time for each piece."""

    def read(self, size: int | None = -1) -> bytes:
        time.sleep(0.02)
        return super().read(size)

    def write(self, data: Any) -> int:
        time.sleep(0.02)
        return super().write(data)


@pytest.fixture
def timed(
    face: str, open_secantus: SecantusServer, seen: Started, database_name: str, classes: Classes
) -> Iterator[Any]:
    """A bucket whose client has a timeoutMS."""
    with MongoClient(
        open_secantus.uri(None), timeoutMS=3_600_000, event_listeners=[seen]
    ) as client:
        yield classes.GridFSBucket(client[database_name], chunk_size_bytes=4)
    open_secantus.drop_database(database_name)


def times(seen: Started, *names: str) -> list[int]:
    """What is left of the time with each command, in ms."""
    found = [each["maxTimeMS"] for name in names for each in seen.of(name)]
    seen.commands.clear()
    return found


def test_a_method_has_one_deadline(timed: Any, seen: Started) -> None:
    timed.upload_from_stream("f", b"")
    seen.commands.clear()
    data = bytes(4 * batch_of(4) * 3)
    file_id = timed.upload_from_stream("g", Slow(data))
    sent = times(seen, "insert")
    assert len(sent) == 4
    # Each batch is of 8 pieces of the source.
    assert all(sent[index] - sent[index + 1] >= 100 for index in range(2))
    assert sent[0] > 3_500_000 - 100_000
    timed.upload_from_stream_with_id(1, "g", Slow(data))
    sent = times(seen, "insert")
    assert sent[0] - sent[2] >= 200
    for download in (
        lambda: timed.download_to_stream(file_id, Slow()),
        lambda: timed.download_to_stream_by_name("g", Slow()),
    ):
        download()
        # A getMore has no maxTimeMS of its own.
        assert len(times(seen, "find")) == 2
    timed.delete_by_name("g")
    first, second = times(seen, "delete")
    assert first >= second


def test_a_file_that_is_opened_has_one_deadline(timed: Any, seen: Started) -> None:
    timed.upload_from_stream("f", b"")
    file = timed.open_upload_stream("g")
    time.sleep(0.1)
    file.write(bytes(4 * batch_of(4)))
    time.sleep(0.1)
    seen.commands.clear()
    file.close()
    (sent,) = times(seen, "insert")
    assert sent <= 3_600_000 - 200
    found = timed.open_download_stream_by_name("g")
    assert found.read(1) == bytes(1)
    time.sleep(0.1)
    found.seek(0)
    seen.commands.clear()
    found.seek(4)
    found.read()
    (sent,) = times(seen, "find")
    assert sent <= 3_600_000 - 100


def test_a_file_whose_time_is_over_is_told(
    face: str, open_secantus: SecantusServer, database_name: str, classes: Classes
) -> None:
    with MongoClient(open_secantus.uri(None), timeoutMS=200) as client:
        bucket = classes.GridFSBucket(client[database_name], chunk_size_bytes=4)
        file = bucket.open_upload_stream("f")
        time.sleep(0.25)
        with pytest.raises(MongoError) as raised:
            file.write(b"0123")
        assert raised.value.timeout
        with pytest.raises(MongoError):
            file.close()


# -- threads --------------------------------------------------------------------------------------


def test_threads_share_a_bucket(classes: Classes, database: Any) -> None:
    bucket = classes.GridFSBucket(database, chunk_size_bytes=1000)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        data = bytes([number]) * 2500
        try:
            for _ in range(3):
                file_id = bucket.upload_from_stream(f"f{number}", data)
                assert bucket.open_download_stream(file_id).read() == data
                assert bucket.open_download_stream_by_name(f"f{number}").read() == data
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert counts(database) == (24, 72)
