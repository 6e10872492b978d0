# Made from aio/mongo_client.py by tools/blocking_face.py: change that, then run ./dev format.
"""`MongoClient`, under PyMongo's name: one deployment, its options, its databases.

It knows PyMongo's methods and their arguments. What a client is made of, `mongokey.faces` knows; it
must not know commands beyond the few about a whole deployment.
"""

from __future__ import annotations

from mongokey.commands.housekeeping import end_sessions
from mongokey.cursor import CommandCursor
from mongokey.database import Database
from mongokey.errors import InvalidOperation
from mongokey.execution.time_limits import limited
from mongokey.faces.blocking_client import BlockingClientBase
from mongokey.faces.cores import BlockingCalls
from mongokey.handshake.reply import RS_ARBITER, RS_SECONDARY
from mongokey.sessions.options import SessionOptions
from mongokey.topology.server_description import ServerDescription

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Any, TypeVar

    from mongokey._support.address import AddressLike
    from mongokey.bson.codec_options import CodecOptions
    from mongokey.bson.timestamp import Timestamp
    from mongokey.change_stream import ClusterChangeStream
    from mongokey.client_session import ClientSession
    from mongokey.commands.client_bulk_result import ClientBulkWriteResult
    from mongokey.commands.write_requests import (
        DeleteMany,
        DeleteOne,
        InsertOne,
        ReplaceOne,
        UpdateMany,
        UpdateOne,
    )
    from mongokey.read_concern import ReadConcern
    from mongokey.read_preferences import _ServerMode
    from mongokey.sessions.options import TransactionOptions
    from mongokey.write_concern import WriteConcern

    _Document = TypeVar("_Document", bound=Mapping[str, Any])
    _Self = TypeVar("_Self", bound="MongoClient[Any]")


class MongoClient(BlockingClientBase["_Document"], BlockingCalls):
    """A client of one MongoDB deployment: thread-safe, with a pool of connections.

    :param host: host name, ``host:port``, a ``mongodb://`` or ``mongodb+srv://`` URI, the path of
        a Unix socket, or a list of those; default ``localhost``
    :param port: the port of hosts that name none; default 27017
    :param document_class: what documents are decoded as; default dict
    :param tz_aware: whether datetimes are decoded with a time zone; default False
    :param connect: True starts to look for the servers now, and does not wait for them; the default
        asks DNS now (in function services later) and leaves the rest to the first operation; False
        leaves even the DNS questions of a ``mongodb+srv://`` URI to the first operation
    :param type_registry: codecs for further types, a `TypeRegistry`
    :param kwargs: the URI's options as keywords (see docs), which go before the URI's

    Raises `InvalidURI` for a URI that cannot be read, and `ConfigurationError` for wrong options
    and hosts that DNS does not know.
    """

    _database_class = Database
    _command_cursor_class = CommandCursor

    if TYPE_CHECKING:

        def __getitem__(self, name: str) -> Database[_Document]: ...
        def __getattr__(self, name: str) -> Database[_Document]: ...

    def close(self) -> None:
        """End the server sessions and close every connection. The client cannot be used again.

        What is told to servers that do not answer is given up after 3 seconds.
        """
        try:
            end_sessions(self._executor)
        finally:
            try:
                self._close_pools()
            finally:
                self._context.stop()
                self._close_encrypter()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()

    def get_database(
        self,
        name: str | None = None,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> Database[_Document]:
        """The database `name`; without a name, the one in the URI's path.

        Raises `ConfigurationError` if there is neither.
        """
        if name is None:
            name = self._default_name(None)
        return self._database_class(
            self, name, codec_options, read_preference, write_concern, read_concern
        )._limit_time(timeout_ms)

    def get_default_database(
        self,
        default: str | None = None,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> Database[_Document]:
        """The database in the URI's path, or `default`.

        Raises `ConfigurationError` if there is neither.
        """
        name = self._default_name(default)
        return self._database_class(
            self, name, codec_options, read_preference, write_concern, read_concern
        )._limit_time(timeout_ms)

    def start_session(
        self,
        causal_consistency: bool | None = None,
        default_transaction_options: TransactionOptions | None = None,
        snapshot: bool | None = False,
        *,
        default_timeout_ms: float | None = None,
    ) -> ClientSession:
        """A `ClientSession`, in which operations of this client can be carried out.

        Its options are those of `SessionOptions`. It asks no server: the session's id is chosen
        here, and reused when the session has ended.
        """
        from mongokey.client_session import ClientSession

        options = SessionOptions(
            causal_consistency,
            default_transaction_options,
            snapshot,
            default_timeout_ms=default_timeout_ms,
        )
        executor = limited(self._executor, default_timeout_ms, option="default_timeout_ms")
        return ClientSession(self, executor, options)

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
    ) -> ClusterChangeStream[_Document]:
        """The changes of all databases, a `ClusterChangeStream`.

        Arguments and errors are those of `Collection.watch`.
        """
        from mongokey.change_stream import ClusterChangeStream

        stream: ClusterChangeStream[_Document] = ClusterChangeStream(
            self["admin"],
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

    def bulk_write(
        self,
        models: Sequence[InsertOne | UpdateOne | UpdateMany | ReplaceOne | DeleteOne | DeleteMany],
        session: ClientSession | None = None,
        ordered: bool = True,
        verbose_results: bool = False,
        bypass_document_validation: bool | None = None,
        comment: Any = None,
        let: Mapping[str, Any] | None = None,
        write_concern: WriteConcern | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> ClientBulkWriteResult:
        """Write to any collections: a list of requests of `mongokey.operations`, each with its
        ``namespace="database.collection"``, as few messages as can be. MongoDB 8.0 and newer.

        They are carried out in their order; with `ordered` only up to the first that is refused.
        With `verbose_results` the `ClientBulkWriteResult` has a result for each of them.
        `write_concern` replaces the client's. Raises `ClientBulkWriteException`, whose
        `partial_result` tells what was done; and before anything is sent `InvalidOperation` for
        older servers, `DocumentTooLarge`, and what is wrong with the models.
        """
        from mongokey.commands.client_bulk import client_bulk_write
        from mongokey.faces.sessions import refuse_unacknowledged, with_write_concern

        self._refuse_encryption("MongoClient.bulk_write")
        options = with_write_concern(session, self._executor, self._inherited, write_concern)
        refuse_unacknowledged(session, options)
        plan = client_bulk_write(
            options, models, ordered, verbose_results, bypass_document_validation, comment, let
        )
        return self._run(plan, session, timeout_ms=timeout_ms)

    # -- the deployment --------------------------------------------------------------------------

    def _writable(self) -> ServerDescription:
        """The description of a server that takes writes, found if need be."""
        topology = self._topology
        address = self._pool().address
        # It may be gone again by now; what it was like does not matter then.
        return topology.description.get(address) or ServerDescription(address)

    @property
    def address(self) -> AddressLike | None:
        """(host, port) of the standalone, the primary or the router; finds it if need be.

        Raises `InvalidOperation` with several routers, `ServerSelectionTimeoutError` when none is
        found in time.
        """
        address = self._pool().address
        if self._topology.routes:
            raise InvalidOperation(
                "a client of several routers has no single address: use client.nodes"
            )
        return address

    @property
    def primary(self) -> AddressLike | None:
        """(host, port) of a replica set's primary; None while none is known, and for other
        deployments. Does not wait."""
        self._open()
        return self._topology.primary()

    @property
    def secondaries(self) -> set[AddressLike]:
        """The addresses of a replica set's secondaries that are known now. Does not wait."""
        self._open()
        return self._topology.members(RS_SECONDARY)

    @property
    def arbiters(self) -> set[AddressLike]:
        """The addresses of a replica set's arbiters that are known now. Does not wait."""
        self._open()
        return self._topology.members(RS_ARBITER)

    @property
    def is_primary(self) -> bool:
        """Whether the server that operations go to takes writes; finds it if need be."""
        return self._writable().is_writable

    @property
    def is_mongos(self) -> bool:
        """Whether the server that operations go to is a router of a sharded cluster; finds it if
        need be."""
        return self._writable().mongos

    def server_info(
        self,
        session: ClientSession | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> dict[str, Any]:
        """The server's ``buildInfo``, a dict."""
        return self["admin"].command("buildInfo", session=session, timeout_ms=timeout_ms)

    def list_databases(
        self,
        session: ClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> CommandCursor[dict[str, Any]]:
        """A cursor over the databases, a document for each."""
        from mongokey.commands.databases import list_databases

        cursor: CommandCursor[dict[str, Any]] = self._run(
            list_databases(comment, kwargs), session, timeout_ms=timeout_ms
        )
        return cursor

    def list_database_names(
        self,
        session: ClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> list[str]:
        """The names of the databases, a list."""
        from mongokey.commands.databases import list_database_names

        return self._run(list_database_names(comment), session, timeout_ms=timeout_ms)

    def drop_database(
        self,
        name_or_database: str | Database[_Document],
        session: ClientSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Drop a database, given by its name or itself."""
        from mongokey.commands.databases import drop_database

        name = name_or_database
        if isinstance(name, Database):
            name = name.name
        self._execute(
            drop_database(self._inherited_in(session), name, comment),
            session,
            timeout_ms=timeout_ms,
        )
