"""`ClientBase`: what the clients of both faces have in common.

It puts options, topology and executor together, and says what a client is. It does not wait; which
connections are made and how, `ClientContext` knows.
"""

from __future__ import annotations

import weakref
from functools import partial

from mongokey._support.address import format_address
from mongokey._support.lazy import imported_once
from mongokey._support.secrets import Secret
from mongokey.client_options import ClientOptions
from mongokey.commands import arguments
from mongokey.commands.housekeeping import kill_pending_cursors
from mongokey.commands.inherited_options import InheritedOptions
from mongokey.errors import ConfigurationError, InvalidOperation
from mongokey.faces.client_context import ClientContext
from mongokey.faces.cores import ClientCore
from mongokey.topology.topology import Topology

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeVar

    from mongokey._support.address import AddressLike
    from mongokey._support.deadline import Deadline
    from mongokey._support.jobs import JobSteps
    from mongokey.auth.login import LoginResult
    from mongokey.bson.codec_options import TypeRegistry
    from mongokey.driver_info import DriverInfo
    from mongokey.execution.execution import Executor
    from mongokey.faces.auto_encryption import AutoEncrypter
    from mongokey.handshake.hello import ServerApiLike
    from mongokey.topology.topology_description import TopologyDescription
    from mongokey.transport.tls.context import ClientTLS

    _Document = TypeVar("_Document", bound=Mapping[str, Any])


class ClientBase(ClientCore["_Document"]):
    """Base of the clients: all that does not wait."""

    HOST = "localhost"
    PORT = 27017
    _context_class: type[ClientContext] = ClientContext
    # Whether no question to DNS may be asked in the constructor, which waits.
    _leaves_dns_for_later = False
    # Until `__init__` is through.
    _context: ClientContext = None  # type: ignore[assignment]
    _topology: Topology = None  # type: ignore[assignment]

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
        # A subclass, or the program, may have set defaults of its own.
        given = Secret(
            (self.HOST if host is None else host, self.PORT if port is None else port, kwargs)
        )
        del host, port, kwargs, value
        options = ClientOptions.build(
            *given.reveal()[:2],
            _stacklevel=3,
            _may_defer=True,
            _must_defer=self._leaves_dns_for_later,
            **given.reveal()[2],
        )
        self._begin(options)

    def _begin(self, options: ClientOptions) -> None:
        """Be the client that was told `options`."""
        if options.pool_options.compressors:
            module = imported_once("mongokey.wire.compression")
            module.warn_of_missing(options.pool_options.compressors)
        context = self._context = self._context_class(options)
        self._topology = context.make_topology()
        server_api = options.pool_options.server_api
        executor = self._make_executor(
            retry_reads=options.retry_reads,
            retry_writes=options.retry_writes,
            direct=bool(options.direct_connection),
            server_api=None if server_api is None else _server_api_elements(server_api),
            explain=context.explain,
            make_maintenance=context.maintenance,
            publisher=context.publisher,
            max_adaptive_retries=options.max_adaptive_retries,
            timeout=options.timeout,
        )
        context.executor = weakref.ref(executor)
        self._topology.sessions = executor.sessions
        self._set_up(
            InheritedOptions(
                options.codec_options,
                options.read_preference,
                options.write_concern,
                options.read_concern,
            ),
            executor,
        )
        encryption = options.auto_encryption_opts
        if encryption is not None:
            made = imported_once("mongokey.faces.auto_encryption").AutoEncrypter(
                self, encryption, type(self)._carry_out, self._open_for_driver
            )
            self._encrypter = made
            executor.set_crypt(made, not encryption._bypass_auto_encryption)
        if options._connects_at_once:
            self._begin_to_connect()

    def _begin_to_connect(self) -> None:
        """What ``connect=True`` asks for; nothing on asyncio, where no loop need run yet."""

    @classmethod
    def _for_driver(cls, options: ClientOptions) -> Any:
        """A client with such options that is the driver's own, beside the user's."""
        made: ClientBase[Any] = cls.__new__(cls)
        made._begin(options._for_driver())
        return made

    @classmethod
    def _open_for_driver(cls, host: str, **options: Any) -> Any:
        """The same, by the arguments of a client."""
        given = ClientOptions.build(
            host,
            _stacklevel=0,
            _may_defer=True,
            _must_defer=cls._leaves_dns_for_later,
            **options,
        )
        return cls._for_driver(given)

    @staticmethod
    def _carry_out(steps: JobSteps[Any]) -> Any:
        """Carry out steps (`_support.jobs`); what they return, on asyncio an awaitable of it."""
        raise NotImplementedError

    def _encrypted_fields(self, given: Any, database: str, collection: str) -> Any:
        """The encrypted fields of a collection: what is given, or the client was told; None."""
        if not given:
            options = self.options.auto_encryption_opts
            known = None if options is None else options._encrypted_fields_map
            given = None if known is None else known.get(f"{database}.{collection}")
        return given or None

    def _refuse_encryption(self, what: str) -> None:
        """Raise `InvalidOperation` where the client encrypts or decrypts: `what` cannot."""
        if self._encrypter is not None:
            raise InvalidOperation(f"{what} does not support auto encryption")

    def _make_executor(self, **options: Any) -> Executor:
        """What carries out the operations of this client."""
        raise NotImplementedError

    @property
    def options(self) -> ClientOptions:
        """What this client was told, a `ClientOptions`."""
        return self._context.options

    # PyMongo's private names, for programs that know them.
    _options = options
    _encrypter: AutoEncrypter | None = None

    @property
    def _closed(self) -> bool:
        executor = self._executor
        return executor is None or bool(executor.closed)

    # A client is nothing to iterate over, nor to `isinstance` of Iterable.
    __iter__ = None

    def _deadline(self) -> Deadline | None:
        """The deadline of what begins now, for what is no operation."""
        executor = self._executor
        limits = imported_once("mongokey.execution.time_limits")
        found: Deadline | None = limits.deadline_of(executor.timeout, executor.timed, None)
        return found

    # -- connecting ---------------------------------------------------------------------------

    def _on_login(self, callback: Callable[[AddressLike, LoginResult], Any]) -> None:
        """Call ``callback(address, LoginResult)`` after each login; for tools and tests."""
        self._context.on_login = callback

    @property
    def _tls(self) -> ClientTLS | None:
        """The client's ClientTLS, None without TLS; for tools and tests."""
        return self._context.settings().tls

    def append_metadata(self, driver_info: DriverInfo) -> None:
        """Add a `DriverInfo` of a wrapping library, or PyMongo's own such object, to what new
        connections tell the server."""
        from mongokey.driver_info import DriverInfo

        if not isinstance(driver_info, DriverInfo):
            if getattr(driver_info, "_fields", ()) != DriverInfo._fields:
                arguments.refuse_type("driver_info", "a DriverInfo", driver_info)
            driver_info = DriverInfo(*driver_info)
        self._context.append_metadata(driver_info)

    # -- the end ------------------------------------------------------------------------------

    def __del__(self) -> None:
        executor = self._executor
        if executor is None or executor.closed:
            return
        try:
            self._warn_unclosed()
        finally:
            self._let_go(executor)

    def _let_go(self, executor: Executor) -> None:
        if self._encrypter is not None:
            self._encrypter.let_go()
        # Sockets are closed; sessions are left to time out: a destructor must not wait. Cursors
        # that were let go just before are killed, by a thread or loop that may wait.
        if (
            executor.has_pending_cursors
            and self._has_background()
            and self._context.maintenance().wake(partial(_finish, executor, self._topology))
        ):
            self._context.stop()
            return
        self._context.stop()
        self._topology.close()

    def _warn_unclosed(self) -> None:
        """The client is garbage, and was not closed."""

    def _has_background(self) -> bool:
        """Whether what is to be done beside the program will be."""
        return True

    # -- the object ----------------------------------------------------------------------------

    def eq_props(self) -> tuple[tuple[AddressLike, ...], str | None, str | None, str]:
        """What clients are compared by: the hosts that the options name, in order, the name of the
        replica set, and the name that DNS is asked about with the service's name there."""
        string = self.options.connection_string
        return (
            tuple(sorted(self._topology.seeds, key=str)),
            self.options.replica_set_name,
            None if string is None else string.fqdn,
            self.options.options.get("srvServiceName") or "mongodb",
        )

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ClientBase) and other._context_class is self._context_class:
            return self.eq_props() == other.eq_props()
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.eq_props())

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

    def _default_name(self, default: str | None) -> str:
        name = self.options.database or default
        if name is None:
            raise ConfigurationError(
                "No default database name defined or provided: put it in the URI's path "
                "(mongodb://host/name) or give a name"
            )
        return name

    @property
    def topology_description(self) -> TopologyDescription:
        """What is known of the deployment now, a `TopologyDescription`."""
        return self._topology.description

    @property
    def nodes(self) -> frozenset[AddressLike]:
        """The addresses of the servers that have answered. Does not wait, nor start to look."""
        return frozenset(each.address for each in self._topology.description.known_servers)


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
