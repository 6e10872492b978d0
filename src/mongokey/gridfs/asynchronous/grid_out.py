"""A file that is read from GridFS, and the cursor over such files, under PyMongo's names.

Which chunks a file has, and how long they must be, `mongokey.gridfs.chunks` knows.
"""

from __future__ import annotations

import os
from io import BytesIO, UnsupportedOperation

from mongokey.aio.collection import AsyncCollection
from mongokey.aio.cursor import AsyncCursor
from mongokey.errors import CursorNotFound
from mongokey.execution.time_limits import lifetime_of, within
from mongokey.gridfs import rules
from mongokey.gridfs.asynchronous.stream_base import AsyncFileReader
from mongokey.gridfs.chunks import FileLayout
from mongokey.gridfs.errors import CorruptGridFile, NoFile
from mongokey.gridfs.file_fields import file_field
from mongokey.gridfs.grid_file_shared import EMPTY, NEWLN

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any, NoReturn, TypeVar

    from mongokey.aio.client_session import AsyncClientSession
    from mongokey.commands.find_query import FindQuery

    _Self = TypeVar("_Self", bound="AsyncGridOut")
    _CursorSelf = TypeVar("_CursorSelf", bound="AsyncGridOutCursor")


class AsyncChunkReader:
    """The chunks of one file in their order, from one of them on, read by one cursor."""

    def __init__(
        self,
        chunks: AsyncCollection[Any],
        layout: FileLayout,
        file_id: Any,
        number: int,
        session: AsyncClientSession | None,
    ) -> None:
        self._chunks = chunks
        self._layout = layout
        self._file_id = file_id
        self._number = number
        self._session = session
        self._cursor = self._find()
        # The documents at hand, the next one last.
        self._documents: list[Any] = []

    def _find(self) -> AsyncCursor[Any]:
        rules.refuse_transaction(self._session, self._chunks)
        wanted = rules.just("files_id", self._file_id)
        if self._number > 0:
            wanted["n"] = {"$gte": self._number}
        return self._chunks.find(
            wanted,
            sort=[("n", 1)],
            batch_size=self._layout.batch_from(self._number),
            session=self._session,
        )

    def take(self) -> bytes | None:
        """The data of the next chunk, if it is at hand; None where `next` has more to do."""
        if not self._documents:
            return None
        try:
            data = self._layout.data_of(self._documents[-1], self._number)
        except CorruptGridFile:
            # `next` closes the cursor and raises it.
            return None
        self._step()
        return data

    async def next(self) -> bytes:
        """The data of the next chunk; empty behind the last one.

        Raises `CorruptGridFile` where the chunk is missing or of the wrong size, and where there
        is one too many.
        """
        if not self._documents:
            try:
                await self._receive()
            except StopAsyncIteration:
                if self._number >= self._layout.chunk_count:
                    return EMPTY
                raise self._layout.missing(self._number) from None
        try:
            data = self._layout.data_of(self._documents[-1], self._number)
        except CorruptGridFile:
            await self.close()
            raise
        self._step()
        return data

    def _step(self) -> None:
        # Its data must not be held any longer.
        del self._documents[-1]
        self._number += 1

    async def _receive(self) -> None:
        """Take the documents of the next batch; raises StopAsyncIteration if there is none."""
        try:
            document = await self._cursor.next()
        except CursorNotFound:
            # The server forgets cursors that nobody asked for 10 minutes.
            self._cursor = self._find()
            document = await self._cursor.next()
        documents = [document, *self._cursor._take_batch()]
        documents.reverse()
        self._documents = documents

    async def close(self) -> None:
        """Close the cursor."""
        self._documents = []
        await self._cursor.close()


class AsyncGridOut(AsyncFileReader):
    """A stored file, to be read.

    `AsyncGridFSBucket.open_download_stream`, `AsyncGridFS.get` and kin make it, of `file_id` or of
    the document `file_document` of the files collection. Fields of that document are attributes.

    Raises `TypeError` for what is no collection, `InvalidOperation` in a transaction. It is for
    one user at a time.
    """

    def __init__(
        self,
        root_collection: AsyncCollection[Any],
        file_id: Any = None,
        file_document: Any = None,
        session: AsyncClientSession | None = None,
    ) -> None:
        rules.require(AsyncCollection, "root_collection", root_collection)
        rules.refuse_transaction(session, root_collection)
        super().__init__()
        root = rules.plain(root_collection)
        self._files: AsyncCollection[Any] = root.files
        self._chunks: AsyncCollection[Any] = root.chunks
        # With timeoutMS, all that it does has to end within that time.
        self._lifetime = lifetime_of(root_collection._executor)
        self._file_id = file_id
        self._file = file_document
        self._session = session
        self._known_layout: FileLayout | None = None
        self._reader: AsyncChunkReader | None = None
        # A chunk, or the end of one, that was read from the server; the next byte of it.
        self._buffer = EMPTY
        self._buffer_at = 0
        # Where in the file that byte is.
        self._position = 0

    _id: Any = file_field("_id", "The ``_id`` of this file.")
    filename: str | None = file_field("filename", "The name of this file.")
    name: str | None = file_field("filename", "The name of this file.")
    content_type: str | None = file_field(
        "contentType", "The MIME type of this file.", deprecated=True
    )
    length: int = file_field("length", "The length of this file in bytes.")
    chunk_size: int = file_field("chunkSize", "The size of its chunks in bytes.")
    upload_date: datetime = file_field("uploadDate", "When it was uploaded.")
    aliases: list[str] | None = file_field("aliases", "Its aliases.", deprecated=True)
    metadata: Mapping[str, Any] | None = file_field("metadata", "What was stored beside it.")
    md5: str | None = file_field("md5", "Its MD5, if its uploader has stored one.", deprecated=True)

    def _field(self, name: str) -> Any:
        return self._found(name).get(name, 0 if name == "length" else None)

    def __getattr__(self, name: str) -> Any:
        # No question to the server for what Python itself asks for, or of one that is half made.
        if not (name.startswith("__") or "_session" not in vars(self)):
            file = self._found(name)
            if name in file:
                return file[name]
        raise AttributeError(f"{type(self).__name__} object has no attribute {name!r}", name=name)

    async def open(self) -> None:
        """Fetch the file's document, unless it is there. Raises `NoFile` if there is none."""
        if self._file:
            return
        rules.refuse_transaction(self._session, self._files)
        with within(self._lifetime):
            self._file = await self._files.find_one(
                rules.just("_id", self._file_id), session=self._session
            )
        if not self._file:
            raise NoFile(f"no file in gridfs collection {self._files!r} with _id {self._file_id!r}")

    async def _layout(self) -> FileLayout:
        layout = self._known_layout
        if layout is None:
            await self.open()
            assert self._file is not None, "open() raises where there is none"
            layout = self._known_layout = FileLayout(self._file)
        return layout

    # -- reading --------------------------------------------------------------------------------

    async def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, fewer at the end of the file; all that are left if negative.

        Raises `NoFile` if there is no such file, `CorruptGridFile` if it is not whole, and what
        finding raises; then the position is the former one.
        """
        return await self._read(size)

    async def readchunk(self) -> bytes:
        """The bytes up to the next end of a chunk; empty at the end of the file."""
        if not self._has_buffered():
            layout = await self._layout()
            if self._position >= layout.length:
                return EMPTY
            await self._fetch(layout)
        data = self._buffer[self._buffer_at :] if self._buffer_at else self._buffer
        self._drop_buffer()
        self._position += len(data)
        return data

    def _has_buffered(self) -> bool:
        return self._buffer_at < len(self._buffer)

    def _drop_buffer(self) -> None:
        self._buffer = EMPTY
        self._buffer_at = 0

    def _take_chunk(self) -> bytes | None:
        """The chunk of the position, if that is its start and it is at hand; then the position is
        behind it. It saves `readchunk`'s steps."""
        reader = self._reader
        if reader is None or self._has_buffered():
            return None
        data = reader.take()
        if data is not None:
            self._position += len(data)
        return data

    async def _fetch(self, layout: FileLayout) -> None:
        """Put the chunk of the position, which is in the file, into the buffer."""
        number, offset = divmod(self._position, layout.chunk_size)
        reader = self._reader
        if reader is None:
            file_id = self._found("_id").get("_id")
            reader = AsyncChunkReader(self._chunks, layout, file_id, number, self._session)
            self._reader = reader
        try:
            with within(self._lifetime):
                self._buffer = await reader.next()
        except BaseException:
            # Whoever reads on begins with this chunk anew.
            self._reader = None
            raise
        self._buffer_at = offset

    async def _read(self, size: int, *, line: bool = False) -> bytes:
        layout = await self._layout()
        begin = self._position
        left = layout.length - begin
        size = left if size < 0 or size > left else size
        if size <= 0:
            return EMPTY
        pieces: BytesIO | None = None
        try:
            while True:
                if not self._has_buffered():
                    await self._fetch(layout)
                start = self._buffer_at
                end = min(len(self._buffer), start + size)
                if line:
                    found = self._buffer.find(NEWLN, start, end)
                    if found >= 0:
                        end = found + 1
                        size = end - start
                size -= end - start
                self._position += end - start
                self._buffer_at = end
                if size == 0 and pieces is None:
                    data = self._buffer[start:end]
                    break
                if pieces is None:
                    pieces = BytesIO()
                # Into memory that becomes the result's: the pieces are never there twice.
                pieces.write(memoryview(self._buffer)[start:end])
                if size == 0:
                    data = pieces.getvalue()
                    break
            if len(data) == left:
                await self._check_end()
        except BaseException:
            # What was read is lost; whoever tries again must not miss it.
            self._drop_buffer()
            self._position = begin
            self._reader = None
            raise
        return data

    async def _check_end(self) -> None:
        """Raise `CorruptGridFile` if there is a chunk behind the last one. It costs nothing where
        the last batch had room for it."""
        reader, self._reader = self._reader, None
        if reader is not None:
            with within(self._lifetime):
                await reader.next()
                await reader.close()

    def tell(self) -> int:
        """Where in the file the next byte is read."""
        return self._position

    async def seek(self, pos: int, whence: int = os.SEEK_SET) -> int:
        """Go to `pos`, counted from the start (`os.SEEK_SET`), from here (`os.SEEK_CUR`) or from
        the end (`os.SEEK_END`); returns where that is.

        Raises `OSError` (EINVAL) for a position before the start.
        """
        if whence == os.SEEK_SET:
            position = pos
        elif whence == os.SEEK_CUR:
            position = self._position + pos
        elif whence == os.SEEK_END:
            position = (await self._layout()).length + pos
        else:
            raise OSError(22, "Invalid value for `whence`")
        if position < 0:
            raise OSError(22, "Invalid value for `pos` - must be positive")
        if position == self._position:
            return position
        at = self._buffer_at + position - self._position
        self._position = position
        if 0 <= at < len(self._buffer):
            self._buffer_at = at
            return position
        self._drop_buffer()
        await self._close_reader()
        return position

    async def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            with within(self._lifetime):
                await reader.close()

    async def close(self) -> None:
        """Close it, and the cursor of its chunks."""
        await self._close_reader()
        self._mark_closed()

    async def __aenter__(self: _Self) -> _Self:
        return self

    async def __aexit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        await self.close()

    # -- what else files have -------------------------------------------------------------------

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def writable(self) -> bool:
        """False."""
        return False

    def isatty(self) -> bool:
        """False."""
        return False

    def flush(self) -> None:
        """Nothing: it can be read only."""

    def write(self, value: Any) -> NoReturn:
        """Raises `io.UnsupportedOperation`: it can be read only."""
        raise UnsupportedOperation("write")

    def writelines(self, lines: Any) -> NoReturn:
        """Raises `io.UnsupportedOperation`: it can be read only."""
        raise UnsupportedOperation("writelines")

    def fileno(self) -> NoReturn:
        """Raises `io.UnsupportedOperation`."""
        raise UnsupportedOperation("fileno")

    def truncate(self, size: int | None = None) -> NoReturn:
        """Raises `io.UnsupportedOperation`."""
        raise UnsupportedOperation("truncate")

    def __del__(self) -> None:
        # The one of io.IOBase would close it, which may wait for the server.
        return


class AsyncGridOutCursor(AsyncCursor["Mapping[str, Any]"]):
    """An iterator over stored files, each an `AsyncGridOut`; `find` of `AsyncGridFSBucket` and
    `AsyncGridFS` makes it."""

    def __init__(
        self,
        collection: AsyncCollection[Any],
        filter: Mapping[str, Any] | None = None,
        skip: int = 0,
        limit: int = 0,
        no_cursor_timeout: bool = False,
        sort: Any = None,
        batch_size: int = 0,
        session: AsyncClientSession | None = None,
    ) -> None:
        rules.refuse_transaction(session, collection)
        root = rules.plain(collection)
        self._root_collection: AsyncCollection[Any] = root
        super().__init__(
            root.files,
            filter,
            skip=skip,
            limit=limit,
            no_cursor_timeout=no_cursor_timeout,
            sort=sort,
            batch_size=batch_size,
            session=session,
        )

    async def __anext__(self) -> AsyncGridOut:  # type: ignore[override]
        rules.refuse_transaction(self.session, self._root_collection)
        document = await super().__anext__()
        return AsyncGridOut(self._root_collection, file_document=document, session=self.session)

    async def next(self) -> AsyncGridOut:  # type: ignore[override]
        """The next file. Raises StopAsyncIteration when there is none."""
        return await self.__anext__()

    async def to_list(self, length: int | None = None) -> list[AsyncGridOut]:  # type: ignore[override]
        """The files that are left (at most `length` of them) as a list."""
        rules.refuse_transaction(self.session, self._root_collection)
        documents = await super().to_list(length)
        return [
            AsyncGridOut(self._root_collection, file_document=each, session=self.session)
            for each in documents
        ]

    def add_option(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises `NotImplementedError`: files have no options of the wire protocol."""
        raise NotImplementedError("Method does not exist for GridOutCursor")

    def remove_option(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises `NotImplementedError`: files have no options of the wire protocol."""
        raise NotImplementedError("Method does not exist for GridOutCursor")

    def _of_query(self: _CursorSelf, query: FindQuery) -> _CursorSelf:
        cursor = type(self)(self._root_collection)
        cursor._replace_query(query)
        return cursor
