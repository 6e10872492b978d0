"""`ClientContext`: what makes the connections and pools of one client.

It puts options, metadata, TLS, connections, pools and their maintenance together. It refers to no
client, so that a client nobody refers to is gone at once; and it does not know operations.
"""

from __future__ import annotations

import weakref
from functools import partial
from threading import RLock

from mongokey._support.clock import monotonic
from mongokey._support.deadline import Timeout, shortest
from mongokey._support.fork import call_after_fork
from mongokey._support.lazy import imported_once, late_imports
from mongokey.commands.housekeeping import kill_pending_cursors
from mongokey.errors import InvalidOperation
from mongokey.events.publisher import Publisher
from mongokey.options.without_effect import check_effects
from mongokey.pool.pool import Pool
from mongokey.topology.topology import Topology

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.auth.login import LoginResult
    from mongokey.client_options import ClientOptions
    from mongokey.connection.connection import Connection
    from mongokey.connection.openings import Opening
    from mongokey.connection.settings import ConnectionSettings
    from mongokey.execution.blocking import BlockingExecutor
    from mongokey.handshake import HelloReply
    from mongokey.pool.maintenance import PoolMaintenance


class ClientContext:
    """The context of the client that was told `options`."""

    def __init__(self, options: ClientOptions) -> None:
        self.options = options
        self.publisher = Publisher(options.event_listeners)
        # Weak references to what must not be kept alive from here.
        self.topology: Callable[[], Topology | None] = _nothing
        self.executor: Callable[[], BlockingExecutor | None] = _nothing
        self.on_login: Callable[[AddressLike, LoginResult], Any] | None = None
        self._settings: ConnectionSettings | None = None
        # Reentrant: a signal handler may use the client whose thread it interrupted.
        self._making = RLock()
        self._closed = False
        call_after_fork(self)

    def reset_after_fork(self) -> None:
        """In a forked child: who held the lock may be a thread of the parent's."""
        self._making = RLock()

    def make_topology(self) -> Topology:
        """The client's topology, to be kept alive by the client."""
        options = self.options
        whole = Timeout.from_seconds(options.timeout, "timeoutMS")
        selection = Timeout(
            round(options.server_selection_timeout * 1e9), "serverSelectionTimeoutMS"
        )
        connect_s = options.pool_options.connect_timeout
        topology = Topology(
            options.hosts,
            self.connect,
            self.make_pool,
            selection_timeout=shortest(selection, whole) or selection,
            before_thread=self.remember_caller,
            connect_limit=shortest(Timeout.from_seconds(connect_s, "connectTimeoutMS"), whole),
            direct_connection=bool(options.direct_connection),
            replica_set=options.replica_set_name,
            resolve_srv=self.resolve_srv if options.needs_dns else None,
            clock=self.clock,
            # As long as one attempt may take; but a proxy without a server behind it hangs up too,
            # so a short connectTimeoutMS does not make a program give up while things start.
            tls_patience_s=max(connect_s or 20.0, 10.0),
        )
        self.topology = weakref.ref(topology)
        return topology

    def resolve_srv(self) -> tuple[Sequence[AddressLike], str | None]:
        """Ask DNS, which was put off until the first operation: (seeds, replica set's name)."""
        self.options = self.options.resolved()
        check_effects(self.options.options)  # a TXT record may have said loadBalanced
        return self.options.hosts, self.options.replica_set_name

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
        tls = None
        if pool_options.tls is not None:
            tls = imported_once("mongokey.transport.tls.context").ClientTLS(pool_options.tls)
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
        )
        if self._closed:
            settings.openings.end()
        return settings

    def clock(self) -> float:
        """The seconds that selection counts: not those in which a login waits for a person."""
        return monotonic() if self._settings is None else self._settings.pausable_clock.clock()

    def remember_caller(self) -> None:
        """Warnings of the threads that connect now are to point at the program."""
        warner = self.settings().plaintext_warner
        if warner is not None:
            warner.remember_caller()

    def connect(
        self,
        address: AddressLike,
        judge: Callable[[HelloReply], None],
        to_be_used: bool,
        opening: Opening | None = None,
    ) -> Connection:
        """A connection, logged in, whose server `judge` has nothing against; for `Topology`."""
        # Late: handshake and login are loaded by the first connection.
        establish = imported_once("mongokey.connection.establish")
        connection: Connection
        connection, result = establish.open_connection(
            address, self.settings(), judge, to_be_used=to_be_used, opening=opening
        )
        if self.on_login is not None:
            self.on_login(address, result)
        return connection

    def connect_for_pool(self, address: AddressLike, opening: Opening) -> Connection:
        """One more connection of the pool for `address`, if its server is still what it was."""
        topology = self.topology()
        if topology is None:
            raise InvalidOperation("Cannot use MongoClient after close")
        return self.connect(
            address, partial(topology.review, address), topology.is_selected(address), opening
        )

    def make_pool(self, address: AddressLike) -> Pool:
        """An empty pool for `address`."""
        self.publisher.start()
        pool_options = self.options.pool_options
        pool = Pool(
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
        )
        if pool_options.min_pool_size or pool_options.max_idle_time_ns:
            self.maintenance().maintain()
        return pool

    def maintenance(self) -> PoolMaintenance:
        """The client's maintenance thread, made when it is first needed."""
        found: PoolMaintenance | None = self.__dict__.get("_maintenance")
        if found is None:
            with late_imports:
                from mongokey.pool.maintenance import PoolMaintenance

            topology = self.topology()
            assert topology is not None, "whoever has operations carried out keeps it"
            # In one step: whoever makes one at the same time gets the same.
            found = self.__dict__.setdefault(
                "_maintenance",
                PoolMaintenance(topology, partial(_tidy, self.executor), prunes=False),
            )
        return found

    def explain(self, answer: dict[str, Any], address: AddressLike, database: str) -> object:
        """What an error of a command most likely means, a hint or None."""
        # Late: only failures are explained.
        with late_imports:
            from mongokey.auth.diagnosis import explain_command

        return explain_command(answer, self.options.credential, address, database)

    def stop(self) -> None:
        """End what connects or logs in now, and the maintenance thread."""
        self._closed = True
        if self._settings is not None:
            self._settings.openings.end()
        maintenance = self.__dict__.get("_maintenance")
        if maintenance is not None:
            maintenance.stop()


def _nothing() -> None:
    """A weak reference to nothing yet."""


def _tidy(executor: Callable[[], BlockingExecutor | None]) -> bool:
    """Kill the cursors that were let go; False if some are left. `executor` is a weak reference."""
    found = executor()
    return found is None or kill_pending_cursors(found)
