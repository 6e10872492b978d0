# Made from asynchronous/grid_fs.py by tools/blocking_face.py: change that, then run ./dev format.
"""GridFS as PyMongo had it before there was a specification, under PyMongo's name.

It knows that API's methods. How files are written and read, `grid_in` and `grid_out` know.
"""

from __future__ import annotations

from mongokey.database import Database
from mongokey.execution.time_limits import one_deadline
from mongokey.gridfs import rules
from mongokey.gridfs.synchronous.grid_in import GridIn, Indexes
from mongokey.gridfs.synchronous.grid_out import GridOut, GridOutCursor

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    import builtins
    from typing import Any

    from mongokey.client_session import ClientSession
    from mongokey.collection import Collection


class GridFS:
    """The files of a database, in the collections ``.files`` and ``.chunks`` of the collection
    named `collection`. `GridFSBucket` is the specification's API.

    Methods take a `session`, but no transaction: they raise `InvalidOperation` in one.

    Raises `TypeError` for what is no database, `ConfigurationError` for unacknowledged writes.
    """

    def __init__(self, database: Database[Any], collection: str = "fs") -> None:
        rules.require(Database, "database", database)
        rules.require_acknowledged(database, "database")
        root: Collection[Any] = rules.plain(database)[collection]
        self._collection = root
        self._files: Collection[Any] = root.files
        self._chunks: Collection[Any] = root.chunks
        self._indexes = Indexes()

    def new_file(self, **kwargs: Any) -> GridIn:
        """A new file to write to; keyword arguments are those of `GridIn`."""
        made = GridIn(self._collection, **kwargs)
        made._indexes = self._indexes
        return made

    def put(self, data: Any, **kwargs: Any) -> Any:
        """Store data as a new file; returns its ``_id``.

        `data` is what `GridIn.write` takes, keyword arguments are those of `GridIn`.
        Raises `FileExists` if there is a file with an ``_id`` that was given.
        """
        with one_deadline(self._collection._executor):
            made = self.new_file(**kwargs)
            with made:
                made.write(data)
        return made._id

    def get(self, file_id: Any, session: ClientSession | None = None) -> GridOut:
        """The file of that ``_id``, a `GridOut`. Raises `NoFile` if there is none."""
        found = GridOut(self._collection, file_id, session=session)
        found.open()
        return found

    def get_version(
        self,
        filename: str | None = None,
        version: int | None = -1,
        session: ClientSession | None = None,
        **kwargs: Any,
    ) -> GridOut:
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
        document = self._files.find_one(
            query, skip=skip, sort=[("uploadDate", direction)], session=session
        )
        if document is None:
            raise rules.no_version(version, filename)
        return GridOut(self._collection, file_document=document, session=session)

    def get_last_version(
        self,
        filename: str | None = None,
        session: ClientSession | None = None,
        **kwargs: Any,
    ) -> GridOut:
        """The version -1, see `get_version`."""
        return self.get_version(filename=filename, session=session, **kwargs)

    def delete(self, file_id: Any, session: ClientSession | None = None) -> None:
        """Delete the file of that ``_id``, if there is one."""
        rules.refuse_transaction(session, self._files)
        with one_deadline(self._collection._executor):
            self._files.delete_one(rules.just("_id", file_id), session=session)
            self._chunks.delete_many(rules.just("files_id", file_id), session=session)

    def list(self, session: ClientSession | None = None) -> builtins.list[str]:
        """The names of all files, each once."""
        rules.refuse_transaction(session, self._files)
        names = self._files.distinct("filename", session=session)
        # By an index, files without a name count as None.
        return [name for name in names if name is not None]

    def find_one(
        self,
        filter: Any = None,
        session: ClientSession | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> GridOut | None:
        """The first file whose document `filter` matches, which may also be an ``_id``; or None.

        Further arguments are those of `find`.
        """
        cursor = self.find(rules.filter_or_id(filter), *args, session=session, **kwargs)
        for found in cursor.limit(-1).to_list():
            return found
        return None

    def find(self, *args: Any, **kwargs: Any) -> GridOutCursor:
        """A cursor over the files whose documents a filter matches, each a `GridOut`.

        Arguments: filter, skip, limit, no_cursor_timeout, sort, batch_size, session.
        """
        return GridOutCursor(self._collection, *args, **kwargs)

    def exists(
        self,
        document_or_id: Any = None,
        session: ClientSession | None = None,
        **kwargs: Any,
    ) -> bool:
        """Whether there is a file of an ``_id``, or whose document a filter matches: a document,
        or keyword arguments."""
        rules.refuse_transaction(session, self._files)
        wanted = kwargs or rules.filter_or_id(document_or_id)
        return self._files.find_one(wanted, ["_id"], session=session) is not None
