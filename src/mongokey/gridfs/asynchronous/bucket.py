"""A bucket of GridFS, as the specification has it, under PyMongo's name.

It knows the specification's methods. How files are written and read, `grid_in` and `grid_out` know.
"""

from __future__ import annotations

from mongokey.aio.database import AsyncDatabase
from mongokey.execution.time_limits import lifetime_of, one_deadline, within
from mongokey.gridfs import rules
from mongokey.gridfs.asynchronous.grid_in import AsyncGridIn, AsyncIndexes
from mongokey.gridfs.asynchronous.grid_out import AsyncGridOut, AsyncGridOutCursor
from mongokey.gridfs.asynchronous.stream_base import write_to
from mongokey.gridfs.errors import NoFile
from mongokey.gridfs.grid_file_shared import DEFAULT_CHUNK_SIZE

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mongokey.aio.client_session import AsyncClientSession
    from mongokey.aio.collection import AsyncCollection
    from mongokey.read_preferences import _ServerMode
    from mongokey.write_concern import WriteConcern


class AsyncGridFSBucket:
    """The files of the bucket `bucket_name` of the database `db`: its collections ``.files`` and
    ``.chunks``.

    `chunk_size_bytes` is for new files. Options left out are the database's, its read concern
    among them. Methods take a `session`, but no transaction: they raise `InvalidOperation` in one.
    With `timeoutMS`, or in a block of `mongokey.timeout`, a method has one deadline for all that it
    does, and a file that is opened one for all that is done with it.

    Raises `TypeError` for what is no database, `ConfigurationError` for unacknowledged writes.
    """

    def __init__(
        self,
        db: AsyncDatabase[Any],
        bucket_name: str = "fs",
        chunk_size_bytes: int = DEFAULT_CHUNK_SIZE,
        write_concern: WriteConcern | None = None,
        read_preference: _ServerMode | None = None,
    ) -> None:
        rules.require(AsyncDatabase, "db", db)
        root: AsyncCollection[Any] = rules.plain(db)[bucket_name]
        root = root.with_options(write_concern=write_concern, read_preference=read_preference)
        rules.require_acknowledged(root, "the bucket")
        self._bucket_name = bucket_name
        self._collection = root
        self._files: AsyncCollection[Any] = root.files
        self._chunks: AsyncCollection[Any] = root.chunks
        self._chunk_size_bytes = rules.checked_chunk_size(chunk_size_bytes)
        self._indexes = AsyncIndexes()

    # -- uploading ------------------------------------------------------------------------------

    def open_upload_stream(
        self,
        filename: str,
        chunk_size_bytes: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        session: AsyncClientSession | None = None,
    ) -> AsyncGridIn:
        """A new file to write to, an `AsyncGridIn`; it is there once that is closed."""
        return self._new_file(filename, chunk_size_bytes, metadata, session, {})

    def open_upload_stream_with_id(
        self,
        file_id: Any,
        filename: str,
        chunk_size_bytes: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        session: AsyncClientSession | None = None,
    ) -> AsyncGridIn:
        """The same with an ``_id`` that no other file has: writing raises `FileExists`."""
        return self._new_file(filename, chunk_size_bytes, metadata, session, {"_id": file_id})

    def _new_file(
        self,
        filename: str,
        chunk_size_bytes: int | None,
        metadata: Mapping[str, Any] | None,
        session: AsyncClientSession | None,
        fields: dict[str, Any],
    ) -> AsyncGridIn:
        rules.require(str, "filename", filename)
        if chunk_size_bytes is None:
            chunk_size_bytes = self._chunk_size_bytes
        fields |= {"filename": filename, "chunkSize": chunk_size_bytes}
        if metadata is not None:
            fields["metadata"] = metadata
        made = AsyncGridIn(self._collection, session=session, **fields)
        made._indexes = self._indexes
        return made

    async def upload_from_stream(
        self,
        filename: str,
        source: Any,
        chunk_size_bytes: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        session: AsyncClientSession | None = None,
    ) -> Any:
        """Store bytes, or what a file-like object gives until its end; returns the file's ``_id``.

        Raises what `AsyncGridIn.write` raises. If the source raises, what was sent is removed.
        """
        with one_deadline(self._collection._executor):
            made = self.open_upload_stream(filename, chunk_size_bytes, metadata, session)
            async with made:
                await made.write(source)
        return made._id

    async def upload_from_stream_with_id(
        self,
        file_id: Any,
        filename: str,
        source: Any,
        chunk_size_bytes: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        session: AsyncClientSession | None = None,
    ) -> None:
        """The same with an ``_id`` that no other file has. Raises `FileExists` if one has it."""
        with one_deadline(self._collection._executor):
            made = self.open_upload_stream_with_id(
                file_id, filename, chunk_size_bytes, metadata, session
            )
            async with made:
                await made.write(source)

    # -- downloading ----------------------------------------------------------------------------

    async def open_download_stream(
        self, file_id: Any, session: AsyncClientSession | None = None
    ) -> AsyncGridOut:
        """The file of that ``_id``, an `AsyncGridOut`. Raises `NoFile` if there is none."""
        found = AsyncGridOut(self._collection, file_id, session=session)
        await found.open()
        return found

    async def open_download_stream_by_name(
        self, filename: str, revision: int = -1, session: AsyncClientSession | None = None
    ) -> AsyncGridOut:
        """A file of that name: of several, the one uploaded last, or the `revision` that was
        uploaded first (0), second (1), …, last but one (-2), last (-1).

        Raises `NoFile` if there is none, `TypeError` if the name is no `str`.
        """
        rules.require(str, "filename", filename)
        rules.refuse_transaction(session, self._files)
        skip, direction = rules.place_of_version(revision)
        lifetime = lifetime_of(self._collection._executor)
        with within(lifetime):
            document = await self._files.find_one(
                {"filename": filename},
                skip=skip,
                sort=[("uploadDate", direction)],
                session=session,
            )
        if document is None:
            raise rules.no_version(revision, filename)
        found = AsyncGridOut(self._collection, file_document=document, session=session)
        found._lifetime = lifetime
        return found

    async def download_to_stream(
        self, file_id: Any, destination: Any, session: AsyncClientSession | None = None
    ) -> None:
        """Write the file of that ``_id`` to a file-like object, which is not closed.

        Raises `NoFile` if there is none, and `CorruptGridFile`.
        """
        with one_deadline(self._collection._executor):
            found = await self.open_download_stream(file_id, session)
            await self._download(found, destination)

    async def download_to_stream_by_name(
        self,
        filename: str,
        destination: Any,
        revision: int = -1,
        session: AsyncClientSession | None = None,
    ) -> None:
        """The same by its name and revision, see `open_download_stream_by_name`."""
        with one_deadline(self._collection._executor):
            found = await self.open_download_stream_by_name(filename, revision, session)
            await self._download(found, destination)

    async def _download(self, source: AsyncGridOut, destination: Any) -> None:
        async with source:
            chunk = await source.readchunk()
            while chunk:
                await write_to(destination, chunk)
                chunk = source._take_chunk() or await source.readchunk()
            await source._check_end()

    def find(self, *args: Any, **kwargs: Any) -> AsyncGridOutCursor:
        """A cursor over the files whose documents a filter matches, each an `AsyncGridOut`.

        Arguments: filter, skip, limit, no_cursor_timeout, sort, batch_size, session. A field of
        the metadata is asked for as ``{"metadata.name": value}``.
        """
        return AsyncGridOutCursor(self._collection, *args, **kwargs)

    # -- deleting and renaming ------------------------------------------------------------------

    async def delete(self, file_id: Any, session: AsyncClientSession | None = None) -> None:
        """Delete the file of that ``_id``. Raises `NoFile` if there is none; chunks without a file
        are deleted even then."""
        rules.refuse_transaction(session, self._files)
        with one_deadline(self._collection._executor):
            result = await self._files.delete_one(rules.just("_id", file_id), session=session)
            await self._chunks.delete_many(rules.just("files_id", file_id), session=session)
        if not result.deleted_count:
            raise NoFile(f"no file could be deleted because none matched {file_id!r}")

    async def delete_by_name(
        self, filename: str, session: AsyncClientSession | None = None
    ) -> None:
        """Delete all files of that name. Raises `NoFile` if there is none."""
        rules.refuse_transaction(session, self._files)
        with one_deadline(self._collection._executor):
            found = self._files.find(rules.just("filename", filename), {"_id": 1}, session=session)
            file_ids = [each["_id"] for each in await found.to_list()]
            deleted = 0
            for start in range(0, len(file_ids), rules.MOST_IDS):
                some = {"$in": file_ids[start : start + rules.MOST_IDS]}
                result = await self._files.delete_many({"_id": some}, session=session)
                await self._chunks.delete_many({"files_id": some}, session=session)
                deleted += result.deleted_count
        if not deleted:
            raise NoFile(f"no file could be deleted because none matched filename {filename!r}")

    async def rename(
        self, file_id: Any, new_filename: str, session: AsyncClientSession | None = None
    ) -> None:
        """Give the file of that ``_id`` another name. Raises `NoFile` if there is none."""
        rules.refuse_transaction(session, self._files)
        result = await self._files.update_one(
            rules.just("_id", file_id), {"$set": {"filename": new_filename}}, session=session
        )
        if not result.matched_count:
            raise NoFile(
                f"no files could be renamed {new_filename!r} because none matched file_id "
                f"{file_id!r}"
            )

    async def rename_by_name(
        self, filename: str, new_filename: str, session: AsyncClientSession | None = None
    ) -> None:
        """Give all files of that name another one. Raises `NoFile` if there is none."""
        rules.refuse_transaction(session, self._files)
        result = await self._files.update_many(
            rules.just("filename", filename),
            {"$set": {"filename": new_filename}},
            session=session,
        )
        if not result.matched_count:
            raise NoFile(
                f"no files could be renamed {new_filename!r} because none matched filename "
                f"{filename!r}"
            )
