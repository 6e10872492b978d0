"""GridFS as PyMongo had it before there was a specification, under PyMongo's name.

It knows that API's methods. How files are written and read, `grid_in` and `grid_out` know.
"""

from __future__ import annotations

from mongokey.aio.database import AsyncDatabase
from mongokey.execution.time_limits import one_deadline
from mongokey.gridfs import rules
from mongokey.gridfs.asynchronous.grid_in import AsyncGridIn, AsyncIndexes
from mongokey.gridfs.asynchronous.grid_out import AsyncGridOut, AsyncGridOutCursor

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    import builtins
    from typing import Any

    from mongokey.aio.client_session import AsyncClientSession
    from mongokey.aio.collection import AsyncCollection


class AsyncGridFS:
    """The files of a database, in the collections ``.files`` and ``.chunks`` of the collection
    named `collection`. `AsyncGridFSBucket` is the specification's API.

    Methods take a `session`, but no transaction: they raise `InvalidOperation` in one.

    Raises `TypeError` for what is no database, `ConfigurationError` for unacknowledged writes.
    """

    def __init__(self, database: AsyncDatabase[Any], collection: str = "fs") -> None:
        rules.require(AsyncDatabase, "database", database)
        rules.require_acknowledged(database, "database")
        root: AsyncCollection[Any] = rules.plain(database)[collection]
        self._collection = root
        self._files: AsyncCollection[Any] = root.files
        self._chunks: AsyncCollection[Any] = root.chunks
        self._indexes = AsyncIndexes()

    def new_file(self, **kwargs: Any) -> AsyncGridIn:
        """A new file to write to; keyword arguments are those of `AsyncGridIn`."""
        made = AsyncGridIn(self._collection, **kwargs)
        made._indexes = self._indexes
        return made

    async def put(self, data: Any, **kwargs: Any) -> Any:
        """Store data as a new file; returns its ``_id``.

        `data` is what `AsyncGridIn.write` takes, keyword arguments are those of `AsyncGridIn`.
        Raises `FileExists` if there is a file with an ``_id`` that was given.
        """
        with one_deadline(self._collection._executor):
            made = self.new_file(**kwargs)
            async with made:
                await made.write(data)
        return made._id

    async def get(self, file_id: Any, session: AsyncClientSession | None = None) -> AsyncGridOut:
        """The file of that ``_id``, an `AsyncGridOut`. Raises `NoFile` if there is none."""
        found = AsyncGridOut(self._collection, file_id, session=session)
        await found.open()
        return found

    async def get_version(
        self,
        filename: str | None = None,
        version: int | None = -1,
        session: AsyncClientSession | None = None,
        **kwargs: Any,
    ) -> AsyncGridOut:
        """A file by its name, or by fields of its document given as keywords, or both.

        Of several, version 0 is the first that was uploaded, 1 the second, -1 the last, -2 the
        last but one. Raises `NoFile` if there is no such version.
        """
        query = kwargs
        if filename is not None:
            query["filename"] = filename
        rules.refuse_transaction(session, self._files)
        version = -1 if version is None else version
        skip, direction = rules.place_of_version(version)
        document = await self._files.find_one(
            query, skip=skip, sort=[("uploadDate", direction)], session=session
        )
        if document is None:
            raise rules.no_version(version, filename)
        return AsyncGridOut(self._collection, file_document=document, session=session)

    async def get_last_version(
        self,
        filename: str | None = None,
        session: AsyncClientSession | None = None,
        **kwargs: Any,
    ) -> AsyncGridOut:
        """The version -1, see `get_version`."""
        return await self.get_version(filename=filename, session=session, **kwargs)

    async def delete(self, file_id: Any, session: AsyncClientSession | None = None) -> None:
        """Delete the file of that ``_id``, if there is one."""
        rules.refuse_transaction(session, self._files)
        with one_deadline(self._collection._executor):
            await self._files.delete_one(rules.just("_id", file_id), session=session)
            await self._chunks.delete_many(rules.just("files_id", file_id), session=session)

    async def list(self, session: AsyncClientSession | None = None) -> builtins.list[str]:
        """The names of all files, each once."""
        rules.refuse_transaction(session, self._files)
        names = await self._files.distinct("filename", session=session)
        # By an index, files without a name count as None.
        return [name for name in names if name is not None]

    async def find_one(
        self,
        filter: Any = None,
        session: AsyncClientSession | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> AsyncGridOut | None:
        """The first file whose document `filter` matches, which may also be an ``_id``; or None.

        Further arguments are those of `find`.
        """
        cursor = self.find(rules.filter_or_id(filter), *args, session=session, **kwargs)
        for found in await cursor.limit(-1).to_list():
            return found
        return None

    def find(self, *args: Any, **kwargs: Any) -> AsyncGridOutCursor:
        """A cursor over the files whose documents a filter matches, each an `AsyncGridOut`.

        Arguments: filter, skip, limit, no_cursor_timeout, sort, batch_size, session.
        """
        return AsyncGridOutCursor(self._collection, *args, **kwargs)

    async def exists(
        self,
        document_or_id: Any = None,
        session: AsyncClientSession | None = None,
        **kwargs: Any,
    ) -> bool:
        """Whether there is a file of an ``_id``, or whose document a filter matches: a document,
        or keyword arguments."""
        rules.refuse_transaction(session, self._files)
        wanted = kwargs or rules.filter_or_id(document_or_id)
        return await self._files.find_one(wanted, ["_id"], session=session) is not None
