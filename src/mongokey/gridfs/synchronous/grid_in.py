# Made from asynchronous/grid_in.py by tools/blocking_face.py: change that, then run ./dev format.
"""A file that is being written to GridFS, under PyMongo's name.

How what is written becomes chunks, `mongokey.gridfs.chunk_buffer` knows.
"""

from __future__ import annotations

from contextlib import suppress
from copy import copy
from datetime import datetime, timezone
from io import UnsupportedOperation

from mongokey.bson.int64 import Int64
from mongokey.collection import Collection
from mongokey.errors import (
    BulkWriteError,
    DuplicateKeyError,
    InvalidOperation,
    MongoError,
    OperationFailure,
)
from mongokey.execution.time_limits import lifetime_of, refreshed_deadline, within
from mongokey.gridfs import rules
from mongokey.gridfs.chunk_buffer import ChunkBuffer
from mongokey.gridfs.file_fields import closed_field, file_field
from mongokey.gridfs.synchronous.stream_base import FileWriter, read_from
from mongokey.read_preferences import ReadPreference

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, NoReturn, TypeVar

    from mongokey.client_session import ClientSession

    _Self = TypeVar("_Self", bound="GridIn")


class Indexes:
    """The indexes of one bucket, which are made before the first write."""

    def __init__(self) -> None:
        self._are_there = False

    def ensure(self, root: Collection[Any], session: ClientSession | None) -> None:
        """Make the indexes of a bucket without files, unless they are there; `root` reads from
        the primary."""
        rules.refuse_transaction(session, root)
        if self._are_there:
            return
        self._ensure(root.files, rules.FILES_INDEX, False, session)
        self._ensure(root.chunks, rules.CHUNKS_INDEX, True, session)
        self._are_there = True

    def _ensure(
        self,
        collection: Collection[Any],
        keys: Mapping[str, int],
        unique: bool,
        session: ClientSession | None,
    ) -> None:
        # It is looked for before it is made, for users that may not make indexes.
        found = collection.find_one({}, {"_id": 1}, session=session)
        if found is not None:
            return
        indexes: list[dict[str, Any]] = []
        # Those of a collection that is not there are asked for in vain.
        with suppress(OperationFailure):
            cursor = collection.list_indexes(session=session)
            indexes = cursor.to_list()
        if not rules.has_index(indexes, keys):
            collection.create_index(list(keys.items()), unique=unique, session=session)


class GridIn(FileWriter):
    """A new file: what is written to it goes to the server in batches of chunks, and the file is
    there once it is closed.

    `GridFSBucket.open_upload_stream` and `GridFS.new_file` make it. Further keyword
    arguments are fields of the file's document: ``_id``, ``filename``, ``chunkSize`` (or
    ``chunk_size``, in bytes; default 255 KiB), ``metadata``, ``encoding`` (of `str` that is
    written), ``contentType``… and are attributes as well.

    As a context manager it is closed at the end of the block; an error or a cancellation in it has
    the chunks removed that were sent. Errors of sending have not, as the specification asks:
    `abort` removes them.

    Raises `TypeError` for what is no collection, `ConfigurationError` where writes are
    unacknowledged, `InvalidOperation` in a transaction. It is for one user at a time.
    """

    # The attributes that are its own, all others are fields of the document.
    _OWN = frozenset(
        {
            "_closed",
            "_coll",
            "_buffer",
            "_failure",
            "_fields",
            "_indexes",
            "_is_file_sent",
            "_lifetime",
            "_may_be_sent",
            "_session",
        }
    )

    def __init__(
        self,
        root_collection: Collection[Any],
        session: ClientSession | None = None,
        **kwargs: Any,
    ) -> None:
        rules.require(Collection, "root_collection", root_collection)
        rules.require_acknowledged(root_collection, "root_collection")
        rules.refuse_transaction(session, root_collection)
        self._session = session
        self._coll: Collection[Any] = rules.plain(
            root_collection, read_preference=ReadPreference.PRIMARY
        )
        # With timeoutMS, all that it does has to end within that time.
        self._lifetime = lifetime_of(root_collection._executor)
        self._fields = rules.file_fields(kwargs)
        self._buffer = ChunkBuffer(self._fields["_id"], self._fields["chunkSize"])
        # Those of the same bucket share what they know of its indexes.
        self._indexes = Indexes()
        self._closed = False
        # What ended the upload before its time.
        self._failure: MongoError | None = None
        # The chunks up to this number may be on the server, and the file's document.
        self._may_be_sent = 0
        self._is_file_sent = False

    _id: Any = file_field("_id", "The ``_id`` of this file.")
    filename: str | None = file_field("filename", "The name of this file.", settable=True)
    name: str | None = file_field("filename", "The name of this file.", settable=True)
    content_type: str | None = file_field(
        "contentType", "The MIME type of this file.", settable=True, deprecated=True
    )
    length: int = closed_field("length", "The length of this file in bytes.")
    chunk_size: int = file_field("chunkSize", "The size of its chunks in bytes.")
    upload_date: datetime = closed_field("uploadDate", "When it was uploaded.")
    md5: str | None = closed_field("md5", "None, as no MD5 is computed.", deprecated=True)

    @property
    def closed(self) -> bool:
        """Whether it was closed or aborted."""
        return self._closed

    def _field(self, name: str) -> Any:
        return self._fields.get(name, 0 if name == "length" else None)

    def _set_field(self, name: str, value: Any) -> None:
        if self._closed:
            self._store(name, value)
        self._fields[name] = value

    def __getattr__(self, name: str) -> Any:
        fields = vars(self).get("_fields", {})
        if name in fields:
            return fields[name]
        raise AttributeError(f"{type(self).__name__} object has no attribute {name!r}", name=name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._OWN or hasattr(type(self), name):
            object.__setattr__(self, name, value)
        else:
            self._set_field(name, value)

    def set(self, name: str, value: Any) -> None:
        """Set a field of the file's document; where the file is closed, on the server too."""
        self._fields[name] = value
        if self._closed:
            with within(self._lifetime):
                self._coll.files.update_one(
                    rules.just("_id", self._id), {"$set": {name: value}}, session=self._session
                )

    # -- writing --------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        """Write bytes, what a file-like object gives until its end, or a `str` if the file has an
        `encoding`.

        What is no whole batch of chunks is kept until there is one, or the file is closed. Raises
        `ValueError` if the file is closed, `TypeError` for other data, `FileExists` if there is a
        file with its ``_id``, and what inserting raises; after such an error nothing more can be
        written, and `close` raises it again. An error of the file-like object aborts the file.
        """
        if self._closed:
            raise ValueError("cannot write to a closed file")
        self._check_not_failed()
        with within(self._lifetime):
            if hasattr(data, "read"):
                self._write_from(data)
            else:
                self._write(rules.as_bytes(data, self._fields.get("encoding")))

    def _write_from(self, source: Any) -> None:
        while True:
            try:
                data = rules.read_bytes(read_from(source, self._buffer.space))
            except BaseException:
                self._give_up()
                raise
            if not data:
                return
            self._write(data)

    def _write(self, data: bytes) -> None:
        buffer = self._buffer
        position = 0
        try:
            while position < len(data):
                position = buffer.add(data, position)
                if buffer.documents:
                    self._indexes.ensure(self._coll, self._session)
                    if buffer.is_full:
                        self._send()
        except BaseException as error:
            # The rest of the data is lost.
            self._note_failure(error)
            raise

    def _send(self) -> None:
        buffer = self._buffer
        self._may_be_sent = buffer.sent + len(buffer.documents)
        try:
            self._coll.chunks.insert_many(buffer.documents, session=self._session)
        except BulkWriteError as error:
            refused = error.details.get("writeErrors")
            if refused:
                # Those before the first that was refused are there.
                self._may_be_sent = buffer.sent + refused[0]["index"]
            rules.raise_chunk_error(error, self._id)
        buffer.confirm()

    def _note_failure(self, error: BaseException) -> None:
        # A copy, as the traceback has frames that would stay alive with it.
        self._failure = (
            copy(error)
            if isinstance(error, MongoError)
            else InvalidOperation(
                f"an earlier write was interrupted by {type(error).__name__}, so that a part of "
                f"the file is missing: abort() removes what was sent"
            )
        )

    def _check_not_failed(self) -> None:
        if self._failure is not None:
            raise self._failure

    def writelines(self, sequence: Iterable[Any]) -> None:
        """Write each item of a sequence; nothing is put between them."""
        for line in sequence:
            self.write(line)

    # -- ending ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Send what is left, and then the file's document; once more, it does nothing.

        Raises `FileExists` if there is a file with its ``_id``, what ended an earlier `write`, and
        what inserting raises.
        """
        if self._closed:
            return
        self._check_not_failed()
        with within(self._lifetime):
            self._finish()
        self._closed = True

    def _finish(self) -> None:
        self._indexes.ensure(self._coll, self._session)
        self._buffer.finish()
        if self._buffer.documents:
            self._send()
        self._fields["length"] = Int64(self._buffer.written)
        self._fields["uploadDate"] = datetime.now(tz=timezone.utc)
        self._is_file_sent = True
        try:
            self._coll.files.insert_one(self._fields, session=self._session)
        except DuplicateKeyError:
            self._is_file_sent = False
            rules.raise_file_exists(self._id)

    def abort(self) -> None:
        """Remove from the server what was sent of this file, and close it.

        A file that was closed is removed as a whole; what belongs to another file of the same
        ``_id`` (see `FileExists`) is left.
        """
        with within(self._lifetime):
            self._remove()
        self._closed = True

    def _remove(self) -> None:
        if self._is_file_sent:
            self._coll.files.delete_one(rules.just("_id", self._id), session=self._session)
        if self._may_be_sent:
            self._coll.chunks.delete_many(
                {**rules.just("files_id", self._id), "n": {"$lt": self._may_be_sent}},
                session=self._session,
            )

    def _give_up(self) -> None:
        """Abort it because of an error, which is what is told; not that aborting failed too."""
        self._closed = True
        with suppress(MongoError), refreshed_deadline(self._coll._executor):
            self._remove()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        if exc_type is not None:
            if isinstance(exc_val, MongoError) and self._failure is not None:
                self._closed = True
            elif not self._closed:
                self._give_up()
            return
        try:
            self.close()
        except MongoError:
            raise
        except BaseException:
            # Cancelled or interrupted.
            self._give_up()
            raise

    # -- what else files have -------------------------------------------------------------------

    def read(self, size: int = -1) -> NoReturn:
        """Raises `io.UnsupportedOperation`: it can be written only."""
        raise UnsupportedOperation("read")

    def readable(self) -> bool:
        """False."""
        return False

    def seekable(self) -> bool:
        """False."""
        return False

    def writeable(self) -> bool:
        """True."""
        return True
