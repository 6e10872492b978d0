# Made from aio/database.py by tools/blocking_face.py: change that, then run ./dev format.
"""A database, under PyMongo's name: commands, and the way to collections.

It knows PyMongo's methods and their arguments. The operations that they take are made in
`mongokey.commands`; what is called all the time stands in `mongokey.faces.cores`.
"""

from __future__ import annotations

from mongokey.collection import Collection
from mongokey.commands import arguments
from mongokey.commands.arguments import check_database_name as _check_name  # noqa: F401 - for others
from mongokey.commands.named_part import Alias, NamedPart
from mongokey.cursor import CommandCursor
from mongokey.faces.cores import BlockingCalls, DatabaseCore

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypeVar

    from mongokey.bson.codec_options import CodecOptions
    from mongokey.bson.dbref import DBRef
    from mongokey.bson.timestamp import Timestamp
    from mongokey.change_stream import DatabaseChangeStream
    from mongokey.client_session import ClientSession
    from mongokey.mongo_client import MongoClient
    from mongokey.read_concern import ReadConcern
    from mongokey.read_preferences import _ServerMode
    from mongokey.write_concern import WriteConcern

    _Document = TypeVar("_Document", bound=Mapping[str, Any])


class Database(NamedPart, DatabaseCore["_Document"], BlockingCalls):
    """The database `name` of `client`; options left out are the client's."""

    _kind = "database"
    _collection_class = Collection
    _command_cursor_class = CommandCursor

    if TYPE_CHECKING:

        @property
        def client(self) -> MongoClient[_Document]: ...
        def __getitem__(self, name: str) -> Collection[_Document]: ...
        def __getattr__(self, name: str) -> Collection[_Document]: ...

    @property
    def _whole(self) -> MongoClient[_Document]:
        return self.client

    _client = Alias("client")  # PyMongo's private name, for programs that know it

    def get_collection(
        self,
        name: str,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> Collection[_Document]:
        """The collection `name`, with other options than the database's where given."""
        return self._collection_class(
            self, name, False, codec_options, read_preference, write_concern, read_concern
        )._limit_time(timeout_ms)

    def cursor_command(
        self,
        command: str | Mapping[str, Any],
        value: Any = 1,
        read_preference: _ServerMode | None = None,
        codec_options: CodecOptions[Any] | None = None,
        session: ClientSession | None = None,
        comment: Any = None,
        max_await_time_ms: int | None = None,
        *,
        timeout_ms: float | None = None,
        timeout_mode: str | None = None,
        **kwargs: Any,
    ) -> CommandCursor[Any]:
        """Run a command whose reply has a cursor, and return a `CommandCursor` over it.

        `comment` and `max_await_time_ms` go with its getMores, not with the command.
        Raises `InvalidOperation` if the reply has none, and what `command` raises.
        """
        from mongokey.commands.command import user_cursor_command

        if read_preference is None:
            read_preference = self._transaction_preference(session)
        return self._execute(
            user_cursor_command(
                self._namespace,
                command,
                value,
                read_preference,
                codec_options,
                comment,
                max_await_time_ms,
                kwargs,
            ),
            session,
            timeout_ms=timeout_ms,
            timeout_mode=timeout_mode,
        )

    def aggregate(
        self,
        pipeline: Sequence[Mapping[str, Any]],
        session: ClientSession | None = None,
        *,
        timeout_ms: float | None = None,
        timeout_mode: str | None = None,
        **kwargs: Any,
    ) -> CommandCursor[Any]:
        """Run an aggregation over the database (``$currentOp``, ``$documents``…)."""
        from mongokey.commands.aggregate import aggregate

        return self._execute(
            aggregate(self._namespace, self._inherited_in(session), pipeline, kwargs),
            session,
            timeout_ms=timeout_ms,
            timeout_mode=timeout_mode,
        )

    def watch(
        self,
        pipeline: Sequence[Mapping[str, Any]] | None = None,
        full_document: str | None = None,
        resume_after: Mapping[str, Any] | None = None,
        max_await_time_ms: int | None = None,
        batch_size: int | None = None,
        collation: Any = None,
        start_at_operation_time: Timestamp | None = None,
        session: ClientSession | None = None,
        start_after: Mapping[str, Any] | None = None,
        comment: Any = None,
        full_document_before_change: str | None = None,
        show_expanded_events: bool | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> DatabaseChangeStream[_Document]:
        """The changes of all collections of the database, a `DatabaseChangeStream`.

        Arguments and errors are those of `Collection.watch`.
        """
        from mongokey.change_stream import DatabaseChangeStream

        stream: DatabaseChangeStream[_Document] = DatabaseChangeStream(
            self,
            pipeline,
            full_document,
            resume_after,
            max_await_time_ms,
            batch_size,
            collation,
            start_at_operation_time,
            session,
            start_after,
            comment,
            full_document_before_change,
            show_expanded_events,
            timeout_ms=timeout_ms,
        )
        stream._open()
        return stream

    def create_collection(
        self,
        name: str,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
        session: ClientSession | None = None,
        check_exists: bool = True,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> Collection[_Document]:
        """Create a collection with options (capped, validator, timeseries…).

        With ``encryptedFields`` (Queryable Encryption), also those that the client was told, its
        helper collections and its index are created too. Raises `CollectionInvalid` if it exists
        (checked first unless `check_exists` is False).
        """
        from mongokey.commands.collections import create_collection

        collection = self.get_collection(
            name, codec_options, read_preference, write_concern, read_concern
        )
        # In a transaction, the command itself finds out.
        check_exists = check_exists and self._transaction_preference(session) is None
        # The write concern is the new collection's.
        inherited = collection._inherited_in(session)
        fields = self.client._encrypted_fields(kwargs.get("encryptedFields"), self.name, name)
        if fields is not None:
            kwargs["encryptedFields"] = fields
        self._run(
            create_collection(self._namespace, inherited, name, check_exists, kwargs),
            session,
            timeout_ms=timeout_ms,
        )
        return collection

    def list_collections(
        self,
        session: ClientSession | None = None,
        filter: Mapping[str, Any] | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        timeout_mode: str | None = None,
        **kwargs: Any,
    ) -> CommandCursor[dict[str, Any]]:
        """A cursor over the collections, a document for each."""
        from mongokey.commands.collections import list_collections

        return self._execute(
            list_collections(self._namespace, filter, comment, kwargs),
            session,
            timeout_ms=timeout_ms,
            timeout_mode=timeout_mode,
        )

    def list_collection_names(
        self,
        session: ClientSession | None = None,
        filter: Mapping[str, Any] | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """The names of the collections, a list."""
        from mongokey.commands.collections import list_collection_names

        return self._run(
            list_collection_names(self._namespace, filter, comment, kwargs),
            session,
            timeout_ms=timeout_ms,
        )

    def drop_collection(
        self,
        name_or_collection: str | Collection[_Document],
        session: ClientSession | None = None,
        comment: Any = None,
        encrypted_fields: Mapping[str, Any] | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> dict[str, Any]:
        """Drop a collection, given by its name or itself; no error if there is none.

        `encrypted_fields` of Queryable Encryption, also those that the client or, where it
        encrypts, the server knows, have its helper collections dropped too.
        """
        from mongokey.commands.collections import drop_collection

        name = name_or_collection
        if isinstance(name, Collection):
            name = name.name
        client = self.client
        fields = client._encrypted_fields(encrypted_fields, self.name, name)
        return self._run(
            drop_collection(
                self._namespace,
                self._inherited_in(session),
                name,
                comment,
                fields,
                client._encrypter is not None,
            ),
            session,
            timeout_ms=timeout_ms,
        )

    def validate_collection(
        self,
        name_or_collection: str | Collection[Any],
        scandata: bool = False,
        full: bool = False,
        session: ClientSession | None = None,
        background: bool | None = None,
        comment: Any | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> dict[str, Any]:
        """Have the server check a collection's data and indexes; returns its findings, a dict.

        :param name_or_collection: the collection, or its name
        :param scandata: whether the documents are looked at too
        :param full: whether all is looked at, which is slow and holds up others
        :param background: whether it may take long beside other operations; None leaves it to
            the server
        :param comment: goes with the command

        Raises `CollectionInvalid` when something is wrong.
        """
        from mongokey.commands.collections import validate_collection

        name = name_or_collection
        if isinstance(name, Collection):
            name = name.name
        findings: dict[str, Any] = self._execute(
            validate_collection(self._namespace, name, scandata, full, background, comment),
            session,
            timeout_ms=timeout_ms,
        )
        return findings

    def dereference(
        self,
        dbref: DBRef,
        session: ClientSession | None = None,
        comment: Any = None,
        **kwargs: Any,
    ) -> _Document | None:
        """The document that a `DBRef` points to, or None."""
        from mongokey.bson.dbref import DBRef

        if not isinstance(dbref, DBRef):
            arguments.refuse_type("dbref", "a DBRef", dbref)
        if dbref.database is not None and dbref.database != self.name:
            raise ValueError(
                f"trying to dereference a DBRef that points to another database "
                f"({dbref.database!r} not {self.name!r})"
            )
        return self[dbref.collection].find_one(
            {"_id": dbref.id}, session=session, comment=comment, **kwargs
        )
