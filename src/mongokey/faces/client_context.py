"""`ClientContext`: what makes the connections and pools of one client.

It puts options, metadata, TLS, connections, pools and their maintenance together. It refers to no
client, so that a client nobody refers to is gone at once; and it does not know operations.
"""

from __future__ import annotations

import weakref
from functools import partial
from threading import RLock

from mongokey._support.deadline import Timeout
from mongokey._support.fork import call_after_fork
from mongokey._support.hosted_services import imitation_of
from mongokey._support.late_patches import warn_of_late_patches
from mongokey._support.lazy import imported_once, late_imports
from mongokey._support.system import any_is_set
from mongokey._support.weakly import weakly
from mongokey.commands.housekeeping import kill_pending_cursors
from mongokey.errors import (
    AutoReconnect,
    InvalidOperation,
    MongoError,
    ProtocolError,
    TLSError,
)
from mongokey.events.publisher import Publisher
from mongokey.faces.client_count import note_client
from mongokey.pool.blocking import BlockingPool
from mongokey.topology.objection import objection
from mongokey.topology.topology import Topology

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey._support.deadline import Deadline
    from mongokey.auth.login import LoginResult
    from mongokey.auth.shared_login import LoginScope
    from mongokey.bson.objectid import ObjectId
    from mongokey.client_options import ClientOptions
    from mongokey.connection.connection import Connection
    from mongokey.connection.settings import ConnectionSettings, Opening
    from mongokey.driver_info import DriverInfo
    from mongokey.execution.execution import Executor
    from mongokey.handshake import HelloReply
    from mongokey.pool.maintenance import PoolMaintenance
    from mongokey.pool.pool import Pool
    from mongokey.pool_options import PoolOptions
    from mongokey.topology.monitors import Monitors
    from mongokey.topology.server_description import ServerDescription
    from mongokey.transport.tls.watch import WatchedTLS
    from mongokey.wire.compression import Compression


class ClientContext:
    """The context of the client that was told `options`; this one makes connections in the thread
    that needs them."""

    _pool_class: Any = BlockingPool

    def __init__(self, options: ClientOptions) -> None:
        self.options = options
        self.publisher = Publisher(options._event_listeners)
        if options.tracing is not None or any_is_set(_TRACES):
            _trace(self.publisher, options.tracing)
        # Weak references to what must not be kept alive from here.
        self.topology: Callable[[], Topology | None] = _nothing
        self.executor: Callable[[], Executor | None] = _nothing
        self.on_login: Callable[[AddressLike, LoginResult], Any] | None = None
        self._settings: ConnectionSettings | None = None
        self._tls_watch: WatchedTLS | None = None
        self._tell_of_imitations(options.hosts)
        # Reentrant: a signal handler may use the client whose thread it interrupted.
        self._making = RLock()
        self._closed = False
        if not options._is_for_driver:
            note_client(options)
        warn_of_late_patches()
        call_after_fork(self)

    def _tell_of_imitations(self, hosts: Sequence[AddressLike]) -> None:
        """Log, once, that a server is no MongoDB, where its name says so."""
        for host, _ in hosts:
            service = imitation_of(host)
            if service is not None:
                self.publisher.client_of_imitation(host, service)
                return

    def reset_after_fork(self) -> None:
        """In a forked child: who held the lock may be a thread of the parent's."""
        self._making = RLock()

    def make_topology(self) -> Topology:
        """The client's topology, to be kept alive by the client."""
        options = self.options
        selection = Timeout(
            round(options.server_selection_timeout * 1e9), "serverSelectionTimeoutMS"
        )
        balanced = bool(options.load_balanced)
        string = options.connection_string
        topology = Topology(
            options.hosts,
            self.make_pool,
            None if balanced else self.make_monitors,
            selection_timeout=selection,
            direct_connection=bool(options.direct_connection),
            replica_set=options.replica_set_name,
            load_balanced=balanced,
            resolve_srv=self.resolve_srv if options.needs_dns else None,
            heartbeat_s=options.heartbeat_frequency,
            local_threshold_s=options.local_threshold_ns / 1e9,
            server_selector=options.server_selector,
            overload_retargeting=options.enable_overload_retargeting,
            fail_fast=options.fail_fast,
            on_opened=self.poll_srv if string is not None and string.is_srv else None,
            find_first=self.find_first,
            publisher=self.publisher,
        )
        self.topology = weakref.ref(topology)
        return topology

    def resolve_srv(self) -> tuple[Sequence[AddressLike], str | None, bool]:
        """Ask DNS, which was put off until the first operation: (seeds, replica set's name, whether
        they are a load balancer)."""
        told = self.options.pool_options._metadata
        options = self.options.resolved()
        if told is not None:
            options = options._with_metadata(told)
        self.options = options
        self._tell_of_imitations(options.hosts)
        settings = self._settings
        if settings is not None:
            # Made before DNS was asked, whose TXT record may say authSource and loadBalanced.
            self._say_who_logs_in(settings)
        return options.hosts, options.replica_set_name, bool(options.load_balanced)

    def _say_who_logs_in(self, settings: ConnectionSettings) -> None:
        options = self.options
        settings.load_balanced = bool(options.load_balanced)
        settings.credential = credential = options.credential
        if options.provided is not None:
            settings.secrets = imported_once("mongokey.auth.provided").ProvidedSecrets(
                credential, self.login_scope().share
            )
        elif credential is not None:
            self.login_scope().share(credential)

    def poll_srv(self) -> None:
        """The servers are watched: if DNS named them, it is asked again now and then. Anew in a
        forked child, and on another event loop."""
        options, topology = self.options, self.topology()
        string, question = options.connection_string, options.srv_question
        if question is None or string is None or topology is None or topology.monitors is None:
            return
        with late_imports:
            from mongokey.dns.polling import SrvPolling, make_ask

        before: SrvPolling | None = self.__dict__.get("_polling")
        if before is not None:
            before.stop()
        polling = self.__dict__["_polling"] = SrvPolling(
            make_ask(question, options.options.get("srv_resolver")),
            partial(_update_seeds, self.topology, question.max_hosts),
            partial(_may_be_sharded, self.topology),
            heartbeat_s=options.heartbeat_frequency,
            ttl_s=string.srv_ttl_s,
        )
        polling.start(topology.monitors)

    def settings(self) -> ConnectionSettings:
        """What connections share; made at the first one, so that a client costs little, and once,
        however many threads come first."""
        if self._settings is None:
            with self._making:
                if self._settings is None:
                    self._settings = self._make_settings()
        return self._settings

    def _make_settings(self) -> ConnectionSettings:
        self.publisher.start()
        pool_options = self.options.pool_options
        tls = watch = None
        if pool_options.tls is not None:
            imported_once("mongokey.transport.tls.context").warn_of_no_checks(pool_options.tls)
            module = imported_once("mongokey.transport.tls.watch")
            watch = self._tls_watch = module.WatchedTLS(
                pool_options.tls, partial(_certificate_changed, weakref.ref(self))
            )
            tls = watch.current()
            if self.options.provided is None and not module.names_files(pool_options.tls):
                watch = None  # it stays as it is
        metadata = imported_once("mongokey.handshake.metadata").ClientMetadata(
            pool_options.appname, pool_options.driver
        )
        settings: ConnectionSettings = imported_once(
            "mongokey.connection.settings"
        ).ConnectionSettings(
            metadata=metadata,
            credential=self.options.credential,
            connect_timeout=Timeout.from_seconds(pool_options.connect_timeout, "connectTimeoutMS"),
            socket_timeout=Timeout.from_seconds(pool_options.socket_timeout, "socketTimeoutMS"),
            tls=tls,
            server_api=pool_options.server_api,
            timeout=Timeout.from_seconds(self.options.timeout, "timeoutMS"),
            tls_watch=watch,
            compression=_compression(pool_options),
        )
        self._say_who_logs_in(settings)
        if self._closed:
            settings.openings.end()
        return settings

    def append_metadata(self, driver_info: DriverInfo) -> None:
        """Tell servers of a wrapping library too, on new connections."""
        metadata = self.settings().metadata
        assert metadata is not None, "a client says what it is"
        metadata.append(driver_info)
        self.options = self.options._with_metadata(metadata)

    def login_scope(self) -> LoginScope:
        """With which other clients of the process this one shares what it knows of its secret."""
        found: LoginScope | None = self.__dict__.get("_login_scope")
        if found is None:
            shared_login = imported_once("mongokey.auth.shared_login")
            turns = imported_once("mongokey.auth.turns")
            options = self.options
            string, tls = options.connection_string, options.pool_options.tls
            name = None if string is None else string.fqdn
            made = shared_login.LoginScope(
                # Of an SRV name the hosts may change.
                (
                    [name, options.srv_service_name] if name is not None else None,
                    sorted(map(str, options.hosts)) if name is None else None,
                    options.replica_set_name if name is None else None,
                    options.options.get("srv_resolver"),
                ),
                None if tls is None else tls.identity(),
                turns.Backoff(options.login_backoff_ns, options.max_login_backoff_ns),
                options._login_digests,
            )
            # In one step: whoever makes one at the same time gets the same.
            found = self.__dict__.setdefault("_login_scope", made)
        return found

    def make_monitors(self, on_check: Callable[[ServerDescription], None]) -> Monitors:
        """What checks the servers, and has work done beside the program; it does not keep the
        topology alive that it reports to. The same for each call."""
        found: Monitors | None = self.__dict__.get("_monitors")
        if found is None:
            made = self._monitors_class()(
                self.settings(),
                weakly(on_check),
                heartbeat_ns=self.options.heartbeat_frequency_ns,
                mode=self.options.server_monitoring_mode,
                publisher=self.publisher,
            )
            # In one step: whoever makes one at the same time gets the same.
            found = self.__dict__.setdefault("_monitors", made)
        return found

    def _monitors_class(self) -> Any:
        return imported_once("mongokey.topology.monitors").Monitors

    def find_first(self, address: AddressLike, deadline: Deadline) -> bool:
        """Find out what the only server is, by the connection that the operation with `deadline`
        is going to have, instead of one more. False, and nothing was done, where the operation
        waits less long than that connection may take, or where there is more to it."""
        settings = self.settings()
        limit = settings.connect_timeout
        monitors: Monitors | None = self.__dict__.get("_monitors")
        if (
            monitors is None
            or limit is None
            or limit.ns > deadline.left_ns()
            or settings.secrets is not None
        ):
            return False
        establish = imported_once("mongokey.connection.establish")
        server_monitor = imported_once("mongokey.topology.server_monitor")
        begun = error = None
        try:
            begun = establish.begin_connection(address, settings, monitors.finding)
        except (AutoReconnect, ProtocolError, TLSError) as failure:
            error = failure
        except MongoError:
            return False  # a monitor says what it means without a login
        monitors.found(server_monitor.found_first(address, begun, error), begun)
        return True

    def connect_for_pool(self, address: AddressLike, opening: Opening) -> Any:
        """One more connection of the pool for `address`, logged in."""
        credential = self.options.credential
        # Looked at here, as nearly always there is none.
        if credential is not None and credential.state.shared.turns.refusal is not None:
            self.answer_from_memory()
        # Late: handshake and login are loaded by the first connection.
        establish = imported_once("mongokey.connection.establish")
        connection: Connection
        settings = self._settings or self.settings()
        judge = partial(self._judge, address)
        monitors: Monitors | None = self.__dict__.get("_monitors")
        if monitors is not None and monitors.begun and (begun := monitors.take_begun(address)):
            connection, result = begun.finish(judge, opening)
        else:
            connection, result = establish.open_connection(
                address, settings, judge, opening=opening
            )
        if self.on_login is not None:
            self.on_login(address, result)
        return connection

    def answer_from_memory(self) -> None:
        """Raise what the server said of the client's secret, while that holds: a connection that
        will not be logged in need not be made."""
        credential = self.options.credential
        if credential is None:
            return
        state = credential.state
        turns = state.shared.turns
        # Where somebody tries it at this moment, the connection is made and waits for that.
        if turns.refusal is None or turns.proven or turns.busy:
            return
        if credential.password is None:
            return  # a provider's secret, or a certificate, may be another one by now
        refusal = turns.remembered(state.backoff)
        if refusal is not None:
            raise imported_once("mongokey.auth.refusals").from_memory(refusal, credential)

    def _judge(self, address: AddressLike, hello: HelloReply) -> None:
        """Raise what is against logging in to the server that said `hello`."""
        topology = self.topology()
        if topology is None:
            raise InvalidOperation("Cannot use MongoClient after close")
        error = objection(topology._description, address, hello)
        if error is not None:
            raise error

    def on_connect_failure(
        self,
        address: AddressLike,
        error: BaseException,
        generation: int,
        service_id: ObjectId | None = None,
    ) -> None:
        """A connection of the pool for `address` could not be made."""
        errors = imported_once("mongokey.auth.errors")
        if isinstance(error, errors.LoginTimeout | errors.ProviderFailed):
            return  # not the server took so long, or failed, but what a login needs besides
        if isinstance(error, errors.AuthenticationFailed) and error.answered_from_memory:
            return  # nothing new: what the server said was handled then
        if self.options.provided is not None and type(error) is errors.AuthenticationFailed:
            return  # a secret was changed: what is logged in stays so
        topology = self.topology()
        pool = None if topology is None else topology.pool(address)
        if topology is not None and pool is not None:
            topology.handle_application_error(
                pool, error, generation, sent=False, service_id=service_id
            )

    def make_pool(self, address: AddressLike) -> Pool:
        """An empty pool for `address`."""
        self.publisher.start()
        pool_options = self.options.pool_options
        pool: Pool = self._pool_class(
            address,
            partial(self.connect_for_pool, address),
            max_size=pool_options.max_pool_size or 0,
            min_size=pool_options.min_pool_size,
            max_connecting=pool_options.max_connecting,
            max_idle_ns=pool_options.max_idle_time_ns or 0,
            wait_queue_timeout=Timeout.from_seconds(
                pool_options.wait_queue_timeout, "waitQueueTimeoutMS"
            ),
            publisher=self.publisher,
            on_connect_failure=partial(self.on_connect_failure, address),
            holds_lock=partial(_holds_lock, self.topology),
            on_ready=self._fill_soon if pool_options.min_pool_size else None,
            load_balanced=bool(self.options.load_balanced),
        )
        if pool_options.min_pool_size or pool_options.max_idle_time_ns:
            self.maintenance().maintain()
        return pool

    def _fill_soon(self) -> None:
        self.maintenance().fill_soon()

    def maintenance(self) -> PoolMaintenance:
        """The client's maintenance, made when it is first needed."""
        found: PoolMaintenance | None = self.__dict__.get("_maintenance")
        if found is None:
            with late_imports:
                from mongokey.pool.maintenance import PoolMaintenance

            topology = self.topology()
            assert topology is not None, "whoever has operations carried out keeps it"
            # In one step: whoever makes one at the same time gets the same.
            found = self.__dict__.setdefault(
                "_maintenance",
                PoolMaintenance(
                    topology, self.make_monitors(topology.on_check), partial(_tidy, self.executor)
                ),
            )
        return found

    def explain(self, answer: dict[str, Any], address: AddressLike, database: str) -> object:
        """What an error of a command most likely means, a hint or None."""
        # Late: only failures are explained.
        with late_imports:
            from mongokey.auth.diagnosis import explain_command

        return explain_command(answer, self.options.credential, address, database)

    def stop(self) -> None:
        """End what connects or logs in now, the monitors, and maintenance."""
        self._closed = True
        if self._settings is not None:
            self._settings.openings.end()
        if self._tls_watch is not None:
            self._tls_watch.close()
        maintenance = self.__dict__.get("_maintenance")
        if maintenance is not None:
            maintenance.stop()
        monitors = self.__dict__.get("_monitors")
        if monitors is not None:
            monitors.close()
        scope = self.__dict__.get("_login_scope")
        if scope is not None:
            scope.close()


# mongokey.events.tracing.ENABLED_VARIABLE
_TRACES = (b"OTEL_PYTHON_INSTRUMENTATION_MONGODB_ENABLED",)


def _trace(publisher: Publisher, given: Mapping[str, Any] | None) -> None:
    """Have spans made, where the option `tracing` or the environment wants it."""
    tracing = imported_once("mongokey.events.tracing").tracing_of(given)
    if tracing is not None:
        # Executions ask for it on the way to their deadline, so that those of others need not.
        imported_once("mongokey.execution.time_limits").be_asked()
        publisher.trace_with(tracing)


def _compression(pool_options: PoolOptions) -> Compression | None:
    """The compressors that were asked for and whose libraries are there; None for none."""
    if not pool_options.compressors:
        return None
    found: Compression | None = imported_once("mongokey.wire.compression").available(
        pool_options.compressors, pool_options.zlib_compression_level
    )
    return found


def _update_seeds(
    topology: Callable[[], Topology | None], max_hosts: int, hosts: Sequence[AddressLike]
) -> None:
    """Take in what DNS names now. `topology` is a weak reference."""
    found = topology()
    if found is not None:
        found.update_seeds(hosts, max_hosts)


def _may_be_sharded(topology: Callable[[], Topology | None]) -> bool:
    """Whether DNS is to be asked for the servers again. `topology` is a weak reference."""
    found = topology()
    return found is not None and found.follows_dns


def _holds_lock(topology: Callable[[], Topology | None]) -> bool:
    """Whether the calling thread is in the middle of a change of `topology`, a weak reference."""
    found = topology()
    return found is not None and found.holds_lock()


def _certificate_changed(context: Callable[[], ClientContext | None], certificate: object) -> None:
    """Where the client's certificate is the secret, what was known of the last one is not known of
    this one. `context` is a weak reference."""
    found = context()
    credential = None if found is None else found.options.credential
    rules = imported_once("mongokey.auth.registry").find_rules
    if found is not None and credential is not None and rules(credential.mechanism).certificate:
        found.login_scope().share(credential, certificate)


def _nothing() -> None:
    """A weak reference to nothing yet."""


def _tidy(executor: Callable[[], Executor | None]) -> Any:
    """Kill the cursors that were let go; False if some are left. `executor` is a weak reference."""
    found = executor()
    return found is None or kill_pending_cursors(found)
