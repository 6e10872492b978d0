"""A collection, under PyMongo's name: reads, writes, and what else one does to a collection.

It knows PyMongo's methods and their arguments. The operations that they take are made in
`mongokey.commands`; what is called all the time stands in `mongokey.faces.cores`.
"""

from __future__ import annotations

from mongokey.aio.cores import AsyncCalls, AsyncCollectionCore
from mongokey.aio.cursor import AsyncCommandCursor, AsyncCursor, AsyncRawBatchCursor
from mongokey.commands.choices import ReturnDocument
from mongokey.commands.named_part import Alias, NamedPart

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, NoReturn, TypeVar

    from mongokey.aio.change_stream import AsyncCollectionChangeStream
    from mongokey.aio.client_session import AsyncClientSession
    from mongokey.aio.database import AsyncDatabase
    from mongokey.bson.timestamp import Timestamp
    from mongokey.operations import (
        DeleteMany,
        DeleteOne,
        IndexModel,
        InsertOne,
        ReplaceOne,
        SearchIndexModel,
        UpdateMany,
        UpdateOne,
    )
    from mongokey.results import BulkWriteResult, InsertManyResult

    _Document = TypeVar("_Document", bound=Mapping[str, Any])
    _Keys = str | Sequence[str | tuple[str, Any]] | Mapping[str, Any]
    _Projection = Mapping[str, Any] | Sequence[str]


__all__ = ["AsyncCollection", "ReturnDocument"]


class AsyncCollection(NamedPart, AsyncCollectionCore["_Document"], AsyncCalls):
    """The collection `name` of `database`; options left out are the database's."""

    _kind = "collection"
    _command_cursor_class = AsyncCommandCursor
    _cursor_class = AsyncCursor

    if TYPE_CHECKING:

        @property
        def database(self) -> AsyncDatabase[_Document]: ...
        def __getitem__(self, name: str) -> AsyncCollection[_Document]: ...
        def __getattr__(self, name: str) -> AsyncCollection[_Document]: ...

    @property
    def _whole(self) -> AsyncDatabase[_Document]:
        return self.database

    @property
    def full_name(self) -> str:
        """``database.collection``."""
        return f"{self.database.name}.{self.name}"

    # PyMongo's private names, for programs that know them.
    _database = Alias("database")
    _full_name = Alias("full_name")

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__!r} object is not callable. If you meant to call the method "
            f"{self.name.rpartition('.')[2]!r}, it does not exist."
        )

    # -- many writes ----------------------------------------------------------------------------

    async def insert_many(
        self,
        documents: Iterable[Any],
        ordered: bool = True,
        bypass_document_validation: bool | None = None,
        session: AsyncClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> InsertManyResult:
        """Insert documents, in as few messages as the server's limits allow.

        With `ordered`, the first error stops it. Returns an `InsertManyResult`; raises
        `BulkWriteError` with the counts and every error in `details`.
        """
        from mongokey.commands.bulk_write import insert_many
        from mongokey.faces.sessions import refuse_unacknowledged

        inherited = self._inherited_in(session)
        refuse_unacknowledged(session, inherited)

        return await self._run(
            insert_many(
                self._namespace,
                inherited,
                documents,
                ordered,
                bypass_document_validation,
                comment,
            ),
            session,
            timeout_ms=timeout_ms,
        )

    async def bulk_write(
        self,
        requests: list[InsertOne | UpdateOne | UpdateMany | ReplaceOne | DeleteOne | DeleteMany],
        ordered: bool = True,
        bypass_document_validation: bool | None = None,
        session: AsyncClientSession | None = None,
        comment: Any = None,
        let: Mapping[str, Any] | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> BulkWriteResult:
        """Carry out requests of `mongokey.operations` (InsertOne, UpdateOne…), many in a message.

        With `ordered`, in their order and only up to the first error; otherwise those of one
        kind go together. Returns a `BulkWriteResult`; raises `BulkWriteError` with the counts
        and every error in `details`.
        """
        from mongokey.commands.bulk_write import bulk_write
        from mongokey.faces.sessions import refuse_unacknowledged

        inherited = self._inherited_in(session)
        refuse_unacknowledged(session, inherited)

        return await self._run(
            bulk_write(
                self._namespace,
                inherited,
                requests,
                ordered,
                bypass_document_validation,
                comment,
                let,
            ),
            session,
            timeout_ms=timeout_ms,
        )

    # -- find and count -------------------------------------------------------------------------

    async def count_documents(
        self,
        filter: Mapping[str, Any],
        session: AsyncClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> int:
        """How many documents `filter` matches, counted by an aggregation.

        Keyword arguments: skip, limit, hint, collation, maxTimeMS.
        """
        from mongokey.commands.reads import count_documents

        count: int = await self._execute(
            count_documents(self._namespace, self._inherited_in(session), filter, comment, kwargs),
            session,
            timeout_ms=timeout_ms,
        )
        return count

    async def estimated_document_count(
        self,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> int:
        """About how many documents there are, from the collection's metadata."""
        from mongokey.commands.reads import estimated_document_count

        count: int = await self._execute(
            estimated_document_count(self._namespace, self._inherited, comment, kwargs),
            timeout_ms=timeout_ms,
        )
        return count

    async def distinct(
        self,
        key: str,
        filter: Any = None,
        session: AsyncClientSession | None = None,
        comment: Any = None,
        hint: _Keys | None = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> list[Any]:
        """The distinct values of the field `key`, a list."""
        from mongokey.commands.reads import distinct

        values: list[Any] = await self._execute(
            distinct(
                self._namespace,
                self._inherited_in(session),
                key,
                filter,
                comment,
                {**kwargs, "hint": hint},
            ),
            session,
            timeout_ms=timeout_ms,
        )
        return values

    async def aggregate(
        self,
        pipeline: Sequence[Mapping[str, Any]],
        session: AsyncClientSession | None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        timeout_mode: str | None = None,
        **kwargs: Any,
    ) -> AsyncCommandCursor[Any]:
        """Run an aggregation; returns an `AsyncCommandCursor` over its result."""
        from mongokey.commands.aggregate import aggregate

        return await self._execute(
            aggregate(
                self._namespace,
                self._inherited_in(session),
                pipeline,
                {**kwargs, "let": let},
                comment,
            ),
            session,
            timeout_ms=timeout_ms,
            timeout_mode=timeout_mode,
        )

    async def watch(
        self,
        pipeline: Sequence[Mapping[str, Any]] | None = None,
        full_document: str | None = None,
        resume_after: Mapping[str, Any] | None = None,
        max_await_time_ms: int | None = None,
        batch_size: int | None = None,
        collation: Any = None,
        start_at_operation_time: Timestamp | None = None,
        session: AsyncClientSession | None = None,
        start_after: Mapping[str, Any] | None = None,
        comment: Any = None,
        full_document_before_change: str | None = None,
        show_expanded_events: bool | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> AsyncCollectionChangeStream[_Document]:
        """The changes of the collection as they happen, an `AsyncCollectionChangeStream`.

        :param pipeline: stages that events go through: ``$match``, ``$project``…; they have to
            leave ``_id``, the resume token, as it is
        :param full_document: what updates bring besides their changes: "updateLookup",
            "whenAvailable" or "required"
        :param resume_after: a resume token, after which it begins
        :param max_await_time_ms: how long the server waits for an event before it answers, in ms;
            default the server's, 1000
        :param batch_size: how many events one reply has at most; default the server's
        :param collation: of the pipeline, a `Collation` or its document
        :param start_at_operation_time: the server's time at which it begins, a `Timestamp`
        :param session: in which its commands are carried out
        :param start_after: as `resume_after`, and also after an invalidate event
        :param comment: of all its commands
        :param full_document_before_change: whether events bring the document before the change:
            "whenAvailable" or "required"
        :param show_expanded_events: also events of indexes, options and the like

        Without a starting point it begins now: what is changed once this has returned, comes. It
        needs a replica set or a sharded cluster, and the read concern "majority", or none. It goes
        on after lost connections and fail-overs, which an aggregation with a ``$changeStream``
        stage of its own does not (change-streams specification). Raises `OperationFailure` for
        what the server refuses, `TypeError` and `ValueError` for what cannot be sent.
        """
        from mongokey.aio.change_stream import AsyncCollectionChangeStream

        stream: AsyncCollectionChangeStream[_Document] = AsyncCollectionChangeStream(
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
        await stream._open()
        return stream

    def find_raw_batches(self, *args: Any, **kwargs: Any) -> AsyncRawBatchCursor[_Document]:
        """As `find`, but what comes is each batch as a `bytes` object: BSON documents, one after
        another, which are not decoded here."""
        self.database.client._refuse_encryption("find_raw_batches")
        return AsyncRawBatchCursor(self, *args, **kwargs)

    async def aggregate_raw_batches(
        self,
        pipeline: Sequence[Mapping[str, Any]],
        session: AsyncClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        timeout_mode: str | None = None,
        **kwargs: Any,
    ) -> AsyncRawBatchCursor[_Document]:
        """As `aggregate`, but what comes is each batch as a `bytes` object: BSON documents, one
        after another, which are not decoded here. Returns an `AsyncRawBatchCommandCursor`."""
        from mongokey.commands.aggregate import aggregate

        self.database.client._refuse_encryption("aggregate_raw_batches")
        command = aggregate(self._namespace, self._inherited_in(session), pipeline, kwargs, comment)
        found: Any = await self._execute(
            command.in_raw_batches(), session, timeout_ms=timeout_ms, timeout_mode=timeout_mode
        )
        return found  # type: ignore[no-any-return]

    # -- find and modify ------------------------------------------------------------------------

    async def find_one_and_delete(
        self,
        filter: Mapping[str, Any],
        projection: _Projection | None = None,
        sort: _Keys | None = None,
        hint: _Keys | None = None,
        session: AsyncClientSession | None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> _Document | None:
        """Delete one document and return it, or None if none matched."""
        from mongokey.commands.find_and_modify import find_and_modify

        found: _Document | None = await self._execute(
            find_and_modify(
                self._namespace,
                self._inherited_in(session),
                {"remove": True},
                filter,
                projection=projection,
                sort=sort,
                hint=hint,
                let=let,
                comment=comment,
                further=kwargs,
            ),
            session,
            timeout_ms=timeout_ms,
        )
        return found

    async def find_one_and_replace(
        self,
        filter: Mapping[str, Any],
        replacement: Mapping[str, Any],
        projection: _Projection | None = None,
        sort: _Keys | None = None,
        upsert: bool = False,
        return_document: bool = ReturnDocument.BEFORE,
        hint: _Keys | None = None,
        session: AsyncClientSession | None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> _Document | None:
        """Replace one document and return it, as it was before or (`return_document`) after."""
        from mongokey.commands.find_and_modify import find_and_modify, replacement_change

        found: _Document | None = await self._execute(
            find_and_modify(
                self._namespace,
                self._inherited_in(session),
                replacement_change(replacement),
                filter,
                projection=projection,
                sort=sort,
                hint=hint,
                let=let,
                comment=comment,
                further=kwargs,
                upsert=upsert,
                return_document=return_document,
            ),
            session,
            timeout_ms=timeout_ms,
        )
        return found

    async def find_one_and_update(
        self,
        filter: Mapping[str, Any],
        update: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        projection: _Projection | None = None,
        sort: _Keys | None = None,
        upsert: bool = False,
        return_document: bool = ReturnDocument.BEFORE,
        array_filters: Sequence[Mapping[str, Any]] | None = None,
        hint: _Keys | None = None,
        session: AsyncClientSession | None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> _Document | None:
        """Update one document and return it, as it was before or (`return_document`) after."""
        from mongokey.commands.find_and_modify import find_and_modify, update_change

        found: _Document | None = await self._execute(
            find_and_modify(
                self._namespace,
                self._inherited_in(session),
                update_change(update, array_filters),
                filter,
                projection=projection,
                sort=sort,
                hint=hint,
                let=let,
                comment=comment,
                further=kwargs,
                upsert=upsert,
                return_document=return_document,
            ),
            session,
            timeout_ms=timeout_ms,
        )
        return found

    # -- the collection itself ------------------------------------------------------------------

    async def drop(
        self,
        session: AsyncClientSession | None = None,
        comment: Any = None,
        encrypted_fields: Mapping[str, Any] | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Drop the collection; no error if there is none.

        `encrypted_fields` of Queryable Encryption, also those that the client or, where it
        encrypts, the server knows, have its helper collections dropped too.
        """
        database = self.database.with_options(
            self.codec_options, self.read_preference, self.write_concern, self.read_concern
        )._carried_out_by(self._executor)
        await database.drop_collection(
            self.name, session, comment, encrypted_fields, timeout_ms=timeout_ms
        )

    async def rename(
        self,
        new_name: str,
        session: AsyncClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Rename the collection within its database; ``dropTarget=True`` replaces another."""
        from mongokey.commands.collections import rename_collection

        inherited = self._inherited_in(session)
        reply: dict[str, Any] = await self._execute(
            rename_collection(self._namespace, inherited, new_name, comment, kwargs),
            session,
            timeout_ms=timeout_ms,
        )
        return reply

    async def options(
        self,
        session: AsyncClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> dict[str, Any]:
        """The options the collection was created with, a dict; empty if there is none."""
        from mongokey.commands.collections import collection_options

        return await self._run(
            collection_options(self._namespace, comment), session, timeout_ms=timeout_ms
        )

    # -- indexes --------------------------------------------------------------------------------

    async def create_index(
        self,
        keys: _Keys,
        session: AsyncClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> str:
        """Create an index on `keys`; returns its name. Options as PyMongo's (unique, name…)."""
        from mongokey.commands.index_model import IndexModel
        from mongokey.commands.indexes import COMMAND_OPTIONS

        # These two are the command's, all others the index's.
        options = {name: kwargs.pop(name) for name in COMMAND_OPTIONS if name in kwargs}
        (name,) = await self.create_indexes(
            [IndexModel(keys, **kwargs)],
            session=session,
            comment=comment,
            timeout_ms=timeout_ms,
            **options,
        )
        return name

    async def create_indexes(
        self,
        indexes: Sequence[IndexModel],
        session: AsyncClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Create indexes given as `IndexModel`; returns their names, a list."""
        from mongokey.commands.indexes import create_indexes

        return await self._run(
            create_indexes(self._namespace, self._inherited_in(session), indexes, comment, kwargs),
            session,
            timeout_ms=timeout_ms,
        )

    async def drop_index(
        self,
        index_or_name: _Keys,
        session: AsyncClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Drop one index, by its name or its keys."""
        from mongokey.commands.indexes import drop_index

        await self._execute(
            drop_index(
                self._namespace, self._inherited_in(session), index_or_name, comment, kwargs
            ),
            session,
            timeout_ms=timeout_ms,
        )

    async def drop_indexes(
        self,
        session: AsyncClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Drop every index but the one on ``_id``."""
        await self.drop_index(
            "*", session=session, comment=comment, timeout_ms=timeout_ms, **kwargs
        )

    async def list_indexes(
        self,
        session: AsyncClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        timeout_mode: str | None = None,
    ) -> AsyncCommandCursor[dict[str, Any]]:
        """A cursor over the indexes, a document for each."""
        from mongokey.commands.indexes import list_indexes

        cursor: AsyncCommandCursor[dict[str, Any]] = await self._run(
            list_indexes(self._namespace, comment),
            session,
            timeout_ms=timeout_ms,
            timeout_mode=timeout_mode,
        )
        return cursor

    async def index_information(
        self,
        session: AsyncClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> dict[str, dict[str, Any]]:
        """The indexes: name -> their facts, with ``key`` as a list of pairs."""
        from mongokey.commands.indexes import index_information

        return await self._run(
            index_information(self._namespace, comment), session, timeout_ms=timeout_ms
        )

    # -- search indexes (Atlas, and servers with a search process beside them) --------------------

    async def list_search_indexes(
        self,
        name: str | None = None,
        session: AsyncClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        timeout_mode: str | None = None,
        **kwargs: Any,
    ) -> AsyncCommandCursor[Mapping[str, Any]]:
        """A cursor over the search indexes, or over the one called `name`, a document for each.

        The collection's read preference, read concern and codec options do not apply.
        """
        from mongokey.commands.search_indexes import list_search_indexes

        return await self._execute(
            list_search_indexes(self._namespace, name, comment, kwargs),
            session,
            timeout_ms=timeout_ms,
            timeout_mode=timeout_mode,
        )

    async def create_search_index(
        self,
        model: Mapping[str, Any] | SearchIndexModel,
        session: AsyncClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> str:
        """Create a search index, given as `SearchIndexModel` or as a document with a
        ``definition`` and perhaps a ``name`` and a ``type``; returns its name.

        The server builds it in the background: `list_search_indexes` tells how far it is.
        """
        from mongokey.commands.search_indexes import search_index_model

        (name,) = await self.create_search_indexes(
            [search_index_model(model)], session, comment, timeout_ms=timeout_ms, **kwargs
        )
        return name

    async def create_search_indexes(
        self,
        models: list[SearchIndexModel],
        session: AsyncClientSession | None = None,
        comment: Any | None = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Create search indexes given as `SearchIndexModel`; returns their names, a list."""
        from mongokey.commands.search_indexes import create_search_indexes

        names: list[str] = await self._execute(
            create_search_indexes(self._namespace, models, comment, kwargs),
            session,
            timeout_ms=timeout_ms,
        )
        return names

    async def update_search_index(
        self,
        name: str,
        definition: Mapping[str, Any],
        session: AsyncClientSession | None = None,
        comment: Any | None = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Replace the definition of the search index `name`."""
        from mongokey.commands.search_indexes import update_search_index

        await self._execute(
            update_search_index(self._namespace, name, definition, comment, kwargs),
            session,
            timeout_ms=timeout_ms,
        )

    async def drop_search_index(
        self,
        name: str,
        session: AsyncClientSession | None = None,
        comment: Any | None = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Drop the search index `name`; no error if there is no such collection."""
        from mongokey.commands.search_indexes import drop_search_index

        await self._execute(
            drop_search_index(self._namespace, name, comment, kwargs),
            session,
            timeout_ms=timeout_ms,
        )
