"""`MongoClient`, under PyMongo's name: one deployment, its options, its databases.

It puts options, topology and executor together. How they make connections, `ClientContext` knows;
it must not know commands beyond the few about a whole deployment.
"""

from __future__ import annotations

import weakref
from functools import partial

from mongokey._support.address import format_address
from mongokey._support.secrets import Secret
from mongokey.client_options import ClientOptions
from mongokey.commands import arguments
from mongokey.commands.housekeeping import end_sessions, kill_pending_cursors
from mongokey.commands.inherited_options import InheritedOptions
from mongokey.cursor import CommandCursor
from mongokey.database import Database
from mongokey.errors import ConfigurationError, InvalidOperation
from mongokey.execution.blocking import BlockingExecutor
from mongokey.faces.client_context import ClientContext
from mongokey.faces.cores import BlockingCalls, ClientCore
from mongokey.handshake.reply import RS_ARBITER, RS_SECONDARY
from mongokey.options.without_effect import check_effects
from mongokey.topology.server_description import ServerDescription
from mongokey.topology.topology import Topology

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Any, TypeVar

    from mongokey._support.address import AddressLike
    from mongokey._support.jobs import JobSteps
    from mongokey.auth.login import LoginResult
    from mongokey.bson.codec_options import CodecOptions, TypeRegistry
    from mongokey.driver_info import DriverInfo
    from mongokey.execution.execution import Executor
    from mongokey.handshake.hello import ServerApiLike
    from mongokey.pool.pool import Pool
    from mongokey.read_concern import ReadConcern
    from mongokey.read_preferences import _ServerMode
    from mongokey.topology.topology_description import TopologyDescription
    from mongokey.transport.tls.context import ClientTLS
    from mongokey.write_concern import WriteConcern

    _Document = TypeVar("_Document", bound=Mapping[str, Any])


class MongoClient(ClientCore["_Document"], BlockingCalls):
    """A client of one MongoDB deployment: thread-safe, with a pool of connections.

    :param host: host name, ``host:port``, a ``mongodb://`` or ``mongodb+srv://`` URI, the path of
        a Unix socket, or a list of those; default ``localhost``
    :param port: the port of hosts that name none; default 27017
    :param document_class: what documents are decoded as; default dict
    :param tz_aware: whether datetimes are decoded with a time zone; default False
    :param connect: False leaves even the DNS questions of a ``mongodb+srv://`` URI to the first
        operation; default True, in function services False
    :param type_registry: codecs for further types, a `TypeRegistry`
    :param kwargs: the URI's options as keywords (see docs), which go before the URI's

    No server is connected before the first operation. Raises `InvalidURI` for a URI that cannot be
    read, and `ConfigurationError` for wrong options and hosts that DNS does not know.
    """

    HOST = "localhost"
    PORT = 27017
    _database_class = Database
    _command_cursor_class = CommandCursor
    # Until `__init__` is through.
    _context: ClientContext = None  # type: ignore[assignment]
    _topology: Topology = None  # type: ignore[assignment]

    if TYPE_CHECKING:

        def __getitem__(self, name: str) -> Database[_Document]: ...
        def __getattr__(self, name: str) -> Database[_Document]: ...

    def __init__(
        self,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        document_class: type[_Document] | None = None,
        tz_aware: bool | None = None,
        connect: bool | None = None,
        type_registry: TypeRegistry | None = None,
        **kwargs: Any,
    ) -> None:
        for name, value in (
            ("document_class", document_class),
            ("tz_aware", tz_aware),
            ("connect", connect),
            ("type_registry", type_registry),
        ):
            if value is not None:
                kwargs[name] = value
        # In no variable of this frame when they are refused: tools that report errors print those.
        given = Secret((host, port, kwargs))
        del host, port, kwargs, value
        options = ClientOptions.build(
            *given.reveal()[:2], _stacklevel=3, _may_defer=True, **given.reveal()[2]
        )
        check_effects(options.options, stacklevel=2)
        context = self._context = ClientContext(options)
        self._topology = context.make_topology()
        server_api = options.pool_options.server_api
        executor = BlockingExecutor(
            self._topology,
            retry_reads=options.retry_reads,
            retry_writes=options.retry_writes,
            direct=bool(options.direct_connection),
            server_api=None if server_api is None else _server_api_elements(server_api),
            explain=context.explain,
            make_maintenance=context.maintenance,
            publisher=context.publisher,
            max_adaptive_retries=options.max_adaptive_retries,
        )
        context.executor = weakref.ref(executor)
        self._set_up(
            InheritedOptions(
                options.codec_options,
                options.read_preference,
                options.write_concern,
                options.read_concern,
            ),
            executor,
        )

    @property
    def options(self) -> ClientOptions:
        """What this client was told, a `ClientOptions`."""
        return self._context.options

    # -- connecting ---------------------------------------------------------------------------

    def _on_login(self, callback: Callable[[AddressLike, LoginResult], Any]) -> None:
        """Call ``callback(address, LoginResult)`` after each login; for tools and tests."""
        self._context.on_login = callback

    @property
    def _tls(self) -> ClientTLS | None:
        """The client's ClientTLS, None without TLS; for tools and tests."""
        return self._context.settings().tls

    def append_metadata(self, driver_info: DriverInfo) -> None:
        """Add a `DriverInfo` of a wrapping library to what new connections tell the server."""
        from mongokey.driver_info import DriverInfo

        if not isinstance(driver_info, DriverInfo):
            arguments.refuse_type("driver_info", "a DriverInfo", driver_info)
        metadata = self._context.settings().metadata
        assert metadata is not None, "a client says what it is"
        metadata.append(driver_info)

    def close(self) -> None:
        """End the server sessions and close every connection. The client cannot be used again.

        What is told to servers that do not answer is given up after 3 seconds.
        """
        try:
            end_sessions(self._executor)
        finally:
            try:
                self._executor.close()
            finally:
                self._context.stop()

    def __enter__(self) -> MongoClient[_Document]:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        executor = self._executor
        if executor is None or executor.closed:
            return
        # Sockets are closed; sessions are left to time out: a destructor must not wait. Cursors
        # that were let go just before are killed, by a thread that may wait.
        if executor.has_pending_cursors and self._context.maintenance().wake(
            partial(_finish, executor, self._topology)
        ):
            self._context.stop()
            return
        self._context.stop()
        self._topology.close()

    # -- the object ----------------------------------------------------------------------------

    def _identity(self) -> tuple[Any, ...]:
        string = self.options.connection_string
        return (
            tuple(sorted(self._topology.seeds, key=str)),
            self.options.replica_set_name,
            None if string is None else string.fqdn,
        )

    def __eq__(self, other: object) -> bool:
        if isinstance(other, MongoClient):
            return self._identity() == other._identity()
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        if self._topology is None:
            return f"<{type(self).__name__}, not initialized>"
        hosts = [format_address(seed) for seed in self._topology.seeds]
        string = self.options.connection_string
        if self.options.needs_dns and string is not None:
            hosts.append(f"mongodb+srv://{string.fqdn}")
        credential = self.options.credential
        login = "" if credential is None else f", {credential!r}"
        return f"{type(self).__name__}(host={hosts!r}{login})"

    def __bool__(self) -> bool:
        return True

    def get_database(
        self,
        name: str | None = None,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> Database[_Document]:
        """The database `name`; without a name, the one in the URI's path.

        Raises `ConfigurationError` if there is neither.
        """
        if name is None:
            name = self._default_name(None)
        return self._database_class(
            self, name, codec_options, read_preference, write_concern, read_concern
        )

    def get_default_database(
        self,
        default: str | None = None,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> Database[_Document]:
        """The database in the URI's path, or `default`.

        Raises `ConfigurationError` if there is neither.
        """
        name = self._default_name(default)
        return self._database_class(
            self, name, codec_options, read_preference, write_concern, read_concern
        )

    def _default_name(self, default: str | None) -> str:
        name = self.options.database or default
        if name is None:
            raise ConfigurationError(
                "No default database name defined or provided: put it in the URI's path "
                "(mongodb://host/name) or give a name"
            )
        return name

    # -- the deployment --------------------------------------------------------------------------

    def _pool(self) -> Pool:
        """The pool of a server that takes writes, found if need be; for tools and tests."""
        return self._topology.select()

    def _writable(self) -> ServerDescription:
        """The description of a server that takes writes, found if need be."""
        topology = self._topology
        address = topology.select().address
        # It may be gone again by now; what it was like does not matter then.
        return topology.description.get(address) or ServerDescription(address)

    @property
    def topology_description(self) -> TopologyDescription:
        """What is known of the deployment now, a `TopologyDescription`; starts to look for it."""
        self._topology.open()
        return self._topology.description

    @property
    def address(self) -> AddressLike | None:
        """(host, port) of the standalone, the primary or the router; finds it if need be.

        Raises `InvalidOperation` with several routers, `ServerSelectionTimeoutError` when none is
        found in time.
        """
        address = self._topology.select().address
        if self._topology.routes:
            raise InvalidOperation(
                "a client of several routers has no single address: use client.nodes"
            )
        return address

    @property
    def primary(self) -> AddressLike | None:
        """(host, port) of a replica set's primary; None while none is known, and for other
        deployments. Does not wait."""
        self._topology.open()
        return self._topology.primary()

    @property
    def secondaries(self) -> set[AddressLike]:
        """The addresses of a replica set's secondaries that are known now. Does not wait."""
        self._topology.open()
        return self._topology.members(RS_SECONDARY)

    @property
    def arbiters(self) -> set[AddressLike]:
        """The addresses of a replica set's arbiters that are known now. Does not wait."""
        self._topology.open()
        return self._topology.members(RS_ARBITER)

    @property
    def nodes(self) -> frozenset[AddressLike]:
        """The addresses of the servers that have answered. Does not wait, nor start to look."""
        return frozenset(each.address for each in self._topology.description.known_servers)

    @property
    def is_primary(self) -> bool:
        """Whether the server that operations go to takes writes; finds it if need be."""
        return self._writable().is_writable

    @property
    def is_mongos(self) -> bool:
        """Whether the server that operations go to is a router of a sharded cluster; finds it if
        need be."""
        return self._writable().mongos

    def server_info(self, session: None = None) -> dict[str, Any]:
        """The server's ``buildInfo``, a dict."""
        return self["admin"].command("buildInfo", session=session)

    def list_databases(
        self, session: None = None, comment: Any = None, **kwargs: Any
    ) -> CommandCursor[dict[str, Any]]:
        """A cursor over the databases, a document for each."""
        from mongokey.commands.databases import list_databases

        cursor: CommandCursor[dict[str, Any]] = self._run(list_databases(session, comment, kwargs))
        return cursor

    def list_database_names(self, session: None = None, comment: Any = None) -> list[str]:
        """The names of the databases, a list."""
        from mongokey.commands.databases import list_database_names

        return self._run(list_database_names(session, comment))

    def drop_database(
        self,
        name_or_database: str | Database[_Document],
        session: None = None,
        comment: Any = None,
    ) -> None:
        """Drop a database, given by its name or itself."""
        from mongokey.commands.databases import drop_database

        name = name_or_database
        if isinstance(name, Database):
            name = name.name
        self._execute(drop_database(self._inherited, name, session, comment))


def _finish(executor: Executor, topology: Topology) -> JobSteps[None]:
    """The end of a client that nobody refers to any more."""
    try:
        yield kill_pending_cursors(executor)
    finally:
        topology.close()


def _server_api_elements(api: ServerApiLike) -> bytes:
    """`apiVersion` and kin, as elements of each command (versioned-api specification)."""
    from mongokey.bson import encode
    from mongokey.handshake.hello import api_fields

    return encode(api_fields(api))[4:-1]
