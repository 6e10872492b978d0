"""A deployment as one client sees it: its description, a pool for each server, and the selection of
servers for operations.

It carries out what the pure rules beside it say (`topology_description`, `selection`,
`error_effects`) and owns "which server". Pools and monitors are made by callables it is given. It
must not know commands, logins, or how a server is checked.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from types import SimpleNamespace

from mongokey._support.deadline import Timeout
from mongokey._support.jobs import call_for_each
from mongokey._support.lazy import imported_once
from mongokey._support.waiting import Cancelled, call_in_thread
from mongokey.errors import (
    ConfigurationError,
    InvalidOperation,
    MongoError,
    NetworkTimeout,
)
from mongokey.events.publisher import Publisher
from mongokey.topology.announcements import Announcements
from mongokey.topology.error_effects import SYSTEM_OVERLOADED, effect_of
from mongokey.topology.selected_servers import SelectedServers
from mongokey.topology.selection import choose, suitable_servers
from mongokey.topology.selection_errors import (
    dns_is_silent,
    is_incurable,
    nothing_found,
    raise_if_hopeless,
    topology_causes,
    unavailable,
)
from mongokey.topology.server_description import ServerDescription
from mongokey.topology.topology_description import (
    TopologyDescription,
    initial_topology,
    updated_topology_description,
)
from mongokey.topology.topology_types import (
    LOAD_BALANCED,
    REPLICA_SET_NO_PRIMARY,
    REPLICA_SET_WITH_PRIMARY,
    SHARDED,
    SINGLE,
    UNKNOWN,
)
from mongokey.transport.stream import monotonic_ns

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    import random
    from collections.abc import Generator
    from typing import Any, TypeVar

    from mongokey._support.address import AddressLike
    from mongokey._support.deadline import Deadline
    from mongokey.bson.objectid import ObjectId
    from mongokey.diagnostics import Diagnosis
    from mongokey.pool.pool import Pool
    from mongokey.topology.selected_servers import ServerCriteria
    from mongokey.topology.selection import ServerSelector

    _Result = TypeVar("_Result")
    WaitingFor = Generator[tuple[int, Deadline], None, _Result]

# server-selection: serverSelectionTimeoutMS where it is not given.
_SELECTION_TIMEOUT = Timeout(30_000_000_000, "serverSelectionTimeoutMS")
# So often a thread that waits for another's DNS question looks whether the client was closed.
_LOOK_EVERY_S = 0.25
# server-selection.md, "$out and $merge": secondaries of MongoDB 5.0 can pass their writes on.
_SECONDARIES_WRITE_OUTPUT = 13


class Topology:
    """The servers of one client.

    `make_pool(address)` makes an empty pool, paused. `make_monitors(on_check)` makes the object
    that checks servers (a `WatchedServers`: `watch`, `unwatch`, `request_check`, `cancel_check`,
    `hold`, `expect`, `found`, `carry_out`, `let_go`, `is_own_thread`, `close`) and hands a
    `ServerDescription` to `on_check` after each check; None with a load balancer. `resolve_srv()`,
    if given, is called once, at first use, and returns (seeds, replica_set, load_balanced): what
    DNS says.
    `on_opened()` is called once the servers are watched. `find_first(address, deadline)`, if given,
    finds out what the only server is, for the operation that opens the topology, and tells the
    monitors (`found`); False where it is not to do so. `publisher` tells listeners and loggers.
    """

    def __init__(
        self,
        seeds: Sequence[AddressLike],
        make_pool: Callable[[AddressLike], Pool],
        make_monitors: Callable[[Callable[[ServerDescription], None]], Any] | None,
        *,
        selection_timeout: Timeout = _SELECTION_TIMEOUT,
        direct_connection: bool = False,
        replica_set: str | None = None,
        load_balanced: bool = False,
        resolve_srv: Callable[[], tuple[Sequence[AddressLike], str | None, bool]] | None = None,
        heartbeat_s: float = 10.0,
        local_threshold_s: float = 0.015,
        server_selector: ServerSelector | None = None,
        overload_retargeting: bool = False,
        fail_fast: bool = False,
        on_opened: Callable[[], None] | None = None,
        find_first: Callable[[AddressLike, Deadline], bool] | None = None,
        publisher: Publisher | None = None,
    ) -> None:
        self._seeds = list(seeds)
        self._make_pool = make_pool
        self._make_monitors = make_monitors
        self._selection_timeout = selection_timeout
        self._direct = direct_connection
        self._replica_set = replica_set
        self._load_balanced = load_balanced
        self._resolve_srv = resolve_srv
        self._heartbeat_s = heartbeat_s
        self._local_threshold_s = local_threshold_s
        self._server_selector = server_selector
        self._overload_retargeting = overload_retargeting
        self._fail_fast = fail_fast
        self._on_opened = on_opened
        self._find_first = find_first
        self._publisher = Publisher() if publisher is None else publisher
        self._announce = Announcements(self._publisher)
        self._pools: dict[AddressLike, Pool] = {}
        self._monitors: Any = None
        self._opened = self._closed = False
        #: On an asyncio loop: (the loop, the task that asks DNS for the servers).
        self.question: Any = None
        #: The server sessions of the client; nothing here needs them.
        self.sessions: Any = None
        #: The servers that operations go to, where executions see them.
        self.selected = SelectedServers()
        self._begin()

    def _begin(self) -> None:
        # Reentrant: a signal handler may use the client whose thread it interrupted.
        self._lock = threading.RLock()
        self._opening = threading.RLock()
        self._changed: threading.Condition | None = None  # of the lock, once somebody waits
        self._changes = 0
        # Whom to call at the next change, once.
        self._watchers: dict[Callable[[], object], None] = {}
        self._description = initial_topology(
            self._seeds,
            direct_connection=self._direct,
            replica_set=self._replica_set,
            load_balanced=self._load_balanced,
        )
        # When the last check of each server was over; servers that turned out to be no part of the
        # deployment, and why.
        self._checked_ns: dict[AddressLike, int] = {}
        self._removed: dict[AddressLike, tuple[str, Diagnosis]] = {}
        # Servers that are new, and to be watched once listeners were told so.
        self._unwatched: deque[AddressLike] = deque()

    def reset_after_fork(self) -> None:
        """In a forked child: who held the lock, and the monitors' thread, were the parent's."""
        self.question = None
        self.selected.change(())
        self._opened = False
        self._begin()

    @property
    def seeds(self) -> list[AddressLike]:
        """The addresses the client was given."""
        return list(self._seeds)

    @property
    def description(self) -> TopologyDescription:
        """What is known now."""
        return self._description

    @property
    def topology_id(self) -> ObjectId:
        """What events name this topology by."""
        return self._publisher.topology_id

    @property
    def monitors(self) -> Any:
        """What checks the servers; None before the first use, and with a load balancer."""
        return self._monitors

    @property
    def pools(self) -> list[Pool]:
        """A pool for each server."""
        return list(self._pools.values())

    def pool(self, address: AddressLike) -> Pool | None:
        """The pool of the server at `address`, None if it is not one of the deployment's."""
        return self._pools.get(address)

    # What PyMongo's private names lead to, for programs that look at them.

    @property
    def _servers(self) -> dict[AddressLike, SimpleNamespace]:
        """Address -> `description` and `pool` of the server, once servers are looked for."""
        described = self._description.server_descriptions()
        return {
            address: SimpleNamespace(description=described.get(address), pool=pool)
            for address, pool in self._pools.items()
        }

    @property
    def _session_pool(self) -> list[SimpleNamespace]:
        """`session_id` of each server session that is idle, the one used last at the front."""
        binary = imported_once("mongokey.bson.binary").Binary
        return [
            SimpleNamespace(session_id={"id": binary(each.session_id, 4)})
            for each in reversed(self.sessions.idle)
        ]

    def any_pool(self) -> Pool | None:
        """The pool of a server that is known to answer, one that takes writes before others."""
        readable = self._description.readable_servers
        for each in readable:
            if each.is_writable:
                return self._pools.get(each.address)
        return self._pools.get(readable[0].address) if readable else None

    # -- opening and closing ----------------------------------------------------------------------

    def open(self) -> None:
        """Start to look for the servers, if that was not done yet; raises what DNS says of an SRV
        name, and `InvalidOperation` when the client is closed."""
        if not self._opened:
            self._open(self.selection_deadline())

    @property
    def opened(self) -> bool:
        """Whether the servers are looked for."""
        return self._opened

    @property
    def closed(self) -> bool:
        """Whether the client is closed."""
        return self._closed

    @property
    def ask_dns(self) -> Callable[[], tuple[Sequence[AddressLike], str | None, bool]] | None:
        """What asks DNS for the servers, which waits; None where that is not to be done."""
        return self._resolve_srv

    def open_with(self, answer: tuple[Sequence[AddressLike], str | None, bool]) -> None:
        """`open`, where somebody has called `ask_dns` already, in a thread that may wait."""
        if not self._opened:
            self._open(self.selection_deadline(), answer)

    def _open(
        self,
        deadline: Deadline,
        answer: tuple[Sequence[AddressLike], str | None, bool] | None = None,
        *,
        holds: bool = False,
    ) -> AddressLike | None:
        """`open`; with `holds` the caller waits for a server next, and then lets the monitors
        go. Returns the address that is for the caller to find out about, if there is one."""
        first: AddressLike | None = None
        while not self._opening.acquire(timeout=_LOOK_EVERY_S):
            if self._closed:
                raise _closed()
            if deadline.passed():
                raise dns_is_silent(deadline)
        try:
            if self._closed:
                raise _closed()
            if self._opened:
                return None
            if self._resolve_srv is not None:
                seeds, replica_set, load_balanced = answer or self._ask_dns(
                    self._resolve_srv, deadline
                )
                if self._opened:
                    return None  # a signal handler used the client meanwhile
                self._seeds, self._replica_set = list(seeds), replica_set
                self._load_balanced = load_balanced
                if load_balanced:
                    self._make_monitors = None
                self._resolve_srv = None
                self._begin_anew()
            publisher = self._publisher
            publisher.start()
            publisher.on_selection = self.selected.ask_each_time
            if self._make_monitors is not None and self._monitors is None:
                self._monitors = self._make_monitors(self.on_check)
            held = holds and self._monitors is not None and self._monitors.hold()
            with self._lock:
                self._announce.opening(self._description)
                self._follow(self._description, ())
                if held and self._find_first is not None and len(self._unwatched) == 1:
                    first = self._unwatched.popleft()
                    self._monitors.expect(first)
                if self._load_balanced:
                    self._announce.balancers(self._description)
                self._opened = True
            self._carry_on()
        finally:
            self._opening.release()
        if self._on_opened is not None:
            self._on_opened()
        return first

    def _ask_dns(
        self,
        resolve: Callable[[], tuple[Sequence[AddressLike], str | None, bool]],
        deadline: Deadline,
    ) -> tuple[Sequence[AddressLike], str | None, bool]:
        # DNS has a time of its own; an operation may have less.
        until = deadline if deadline.timeout is not self._selection_timeout else None
        try:
            return call_in_thread(resolve, lambda: self._closed, until)
        except Cancelled as error:
            if not self._closed:
                raise dns_is_silent(deadline) from error
            raise _closed() from error

    def _carry_on(self, closing: Sequence[Pool] = ()) -> None:
        """What follows a change, once the lock is free: tell listeners, then have new servers
        watched, of which they are told afterwards, and close pools."""
        try:
            self._publisher.deliver()
        finally:
            # Whatever a listener raises, such as a Ctrl-C that came in it.
            if self._unwatched:
                self._watch_new()
            if closing:
                call_for_each(_close_removed, closing)

    def _watch_new(self) -> None:
        monitors = self._monitors
        while self._unwatched and monitors is not None:
            try:
                address = self._unwatched.popleft()
            except IndexError:
                return  # another thread took the last one out
            monitors.watch(address)

    def _begin_anew(self) -> None:
        opening = self._opening
        self._begin()
        self._opening = opening

    def close(self) -> None:
        """Close every pool, end the monitors, and wake who waits for a server."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self.selected.change(())
            self._notify()
            if self._opened:
                self._announce.closing(self._description)
        if self._monitors is not None:
            self._monitors.close()
        if self.question is not None:
            imported_once("mongokey.topology.aio_selection").give_up(*self.question)
        try:
            call_for_each(_close, self.pools)
        finally:
            self._publisher.deliver()

    def _follow(self, new: TopologyDescription, before: Collection[AddressLike]) -> list[Pool]:
        """Make pools for the servers that are new in `new`, and have them watched; the pools of
        those that are gone since `before`, to be closed."""
        addresses = new._addresses
        if addresses == before and self._pools.keys() == addresses:
            # As after nearly every check.
            self._select_writable(new)
            return []
        for address in addresses:
            if address not in self._pools:
                self._pools[address] = self._make_pool(address)
            if address not in before:
                self._removed.pop(address, None)
                self._announce.server_opening(address)
                if self._monitors is not None:
                    self._unwatched.append(address)
        gone = [address for address in self._pools if address not in addresses]
        for address in gone:
            if self._monitors is not None:
                if address in self._unwatched:
                    self._unwatched.remove(address)
                self._monitors.unwatch(address)
            self._announce.server_closed(address)
        closing = [self._pools.pop(address) for address in gone]
        self._select_writable(new)
        return closing

    def _select_writable(self, new: TopologyDescription) -> None:
        """Put the servers that take writes where executions see them."""
        found: Sequence[ServerDescription] = ()
        if (
            new.topology_type_name != UNKNOWN  # then nobody does
            and new.is_compatible
            and not self._asked_each_time
            and not self._closed
        ):
            found = suitable_servers(
                new,
                None,
                heartbeat_s=self._heartbeat_s,
                local_threshold_s=self._local_threshold_s,
            )
        self.selected.change([self._pools[each.address] for each in found])

    # -- what changes the description -------------------------------------------------------------

    def on_check(self, server: ServerDescription) -> None:
        """A monitor has checked a server."""
        self._checked_ns[server.address] = monotonic_ns()
        pool = self._pools.get(server.address)
        try:
            if pool is not None and self._may_be_used(server):
                # connection-monitoring-and-pooling.md. Before anybody can select the server: who
                # does must not find its pool paused.
                pool.ready()
        finally:
            # Whatever a listener raises.
            self._take_in(server, pool)

    def _take_in(self, server: ServerDescription, pool: Pool | None) -> None:
        error = server.error
        begun = None
        with self._lock:
            closing = self._update(server)
            if error is not None and pool is not None:
                # server-monitoring.md: what hangs in the middle of an operation would hang for
                # long.
                begun = pool.begin_clear(error, interrupt=isinstance(error, NetworkTimeout))
        try:
            self._carry_on(closing)
        finally:
            if pool is not None:
                try:
                    pool.finish_clear(begun)
                finally:
                    if self._is_stranded(pool):
                        pool.ready()

    def _is_stranded(self, pool: Pool) -> bool:
        """Whether a pool is paused whose server is known: an operation's error cleared it after it
        became ready and before this check's outcome was taken in, which would be for long."""
        if not pool.paused:
            return False
        with self._lock:
            server = self._description.get(pool.address)
            return (
                not self._closed
                and self._pools.get(pool.address) is pool
                and server is not None
                and self._may_be_used(server)
            )

    def _update(self, server: ServerDescription) -> list[Pool]:
        """Take in a server's new description; `_carry_on` is to follow, with what is returned."""
        with self._lock:
            old = self._description
            if self._closed or old.get(server.address) is None:
                return []
            new = updated_topology_description(old, server)
            if new is old:
                self._notify()
                return []
            self._note_removal(new, server)
            self._description = new
            self._announce.checked(old, new, server)
            closing = self._follow(new, old._addresses)
            self._notify()
        return closing

    def _may_be_used(self, server: ServerDescription) -> bool:
        """Whether connections to a server are worth having, as it says itself."""
        if self._description.topology_type_name == SINGLE or self._direct:
            return server.is_server_type_known
        return server.is_readable

    @property
    def _asked_each_time(self) -> bool:
        """Whether nothing may be remembered for later operations."""
        return self._server_selector is not None or self._publisher.selection

    def _note_removal(self, new: TopologyDescription, server: ServerDescription) -> None:
        """Remember why a server that answered is not used, for the error of a selection."""
        if new.get(server.address) is None and server.hello is not None:
            self._removed[server.address] = topology_causes().why_removed(
                new, server, self._replica_set
            )

    def holds_lock(self) -> bool:
        """Whether the calling thread is in the middle of a change: a signal handler or a destructor
        must not wait then for who may be about to note another one."""
        owned: bool = self._lock._is_owned()  # type: ignore[attr-defined]
        return owned

    def handle_application_error(
        self,
        pool: Pool,
        error: BaseException,
        generation: int,
        sent: bool,
        service_id: ObjectId | None = None,
    ) -> None:
        """Note what `error` of an operation, or of making a connection, says about the server
        behind `pool` (server-discovery-and-monitoring.md, "Error handling").

        `generation` is the connection's, or what the pool's was when no connection could be had;
        `sent` says whether the command may have reached the server, so the connection was made.
        """
        address = pool.address
        if self._load_balanced and service_id is None and not sent:
            return  # which server it was is not known
        closing: list[Pool] = []
        with self._lock:
            if self._closed or self._pools.get(address) is not pool:
                return
            effect = effect_of(
                error,
                self._description,
                address,
                generation=generation,
                pool_generation=pool.generation_of(service_id),
                handshake_done=sent,
            )
            if effect.description is not None:
                closing = self._update(effect.description)
            # Under the same lock: who selects the server next does not find its old connections.
            begun = pool.begin_clear(error, service_id=service_id) if effect.clears_pool else None
        try:
            self._carry_on(closing)
        finally:
            try:
                pool.finish_clear(begun)
            finally:
                if self._monitors is not None:
                    if effect.cancels_check:
                        self._monitors.cancel_check(address)
                    if effect.checks_now:
                        self._monitors.request_check(address)

    def avoids_after(self, error: MongoError) -> bool:
        """Whether another attempt is to go to another server than the one that `error` came from,
        where there is one (retryable-reads.md, retryable-writes.md, client-backpressure.md)."""
        if self._description.topology_type_name == SHARDED:
            return True
        return self._overload_retargeting and error.has_error_label(SYSTEM_OVERLOADED)

    @property
    def follows_dns(self) -> bool:
        """Whether `update_seeds` may change the servers: they are routers, or not known yet."""
        return not self._closed and self._description.topology_type_name in (SHARDED, UNKNOWN)

    def update_seeds(self, hosts: Sequence[AddressLike], max_hosts: int = 0) -> None:
        """DNS names other servers than before (polling-srv-records-for-mongos-discovery.md): those
        that are not named any more are let go, and new ones are watched, at most `max_hosts` (0:
        all) altogether."""
        with self._lock:
            old = self._description
            if not self.follows_dns:
                return
            named = list(dict.fromkeys(hosts))
            kept = {
                address: each
                for address, each in old.server_descriptions().items()
                if address in named
            }
            added = [address for address in named if address not in kept]
            if max_hosts > 0:
                free = max(max_hosts - len(kept), 0)
                added = _chance().sample(added, min(free, len(added)))
            servers = {**kept, **{address: ServerDescription(address) for address in added}}
            if servers.keys() == old.server_descriptions().keys():
                return
            new = TopologyDescription(old.topology_type_name, servers, old.replica_set_name)
            self._description = new
            self._announce.changed(old, new)
            closing = self._follow(new, old._addresses)
            self._notify()
        self._carry_on(closing)

    # -- selection --------------------------------------------------------------------------------

    def select(
        self,
        criteria: ServerCriteria | None = None,
        deprioritized: Collection[AddressLike] = (),
        operation: str = "",
        operation_id: int | None = None,
        until: Deadline | None = None,
    ) -> Pool:
        """The pool of a server that operations with these criteria may go to.

        :param criteria: None for writes and reads of the primary
        :param deprioritized: addresses to avoid while others do
        :param operation: the command's name, and `operation_id` its number, for logs
        :param until: the deadline of the operation, or None

        Waits for one at most `serverSelectionTimeoutMS`, and not beyond `until`, then raises
        `ServerSelectionTimeoutError`, which says of each server what is known of it. Raises at once
        what no waiting can mend: a `ConfigurationError`, a hello that every server refuses
        (`OperationFailure`), TLS refused for good (a certificate, a host name) or another protocol
        spoken by every server (`TLSError`, `ProtocolError`).
        """
        deadline = self.selection_deadline(until)
        steps = self.selection(criteria, deprioritized, operation, operation_id, deadline)
        if self._opened:
            return self._wait(steps)
        try:
            first = self._open(deadline, holds=True)
            if first is not None and (
                self._find_first is None or not self._find_first(first, deadline)
            ):
                self._monitors.watch(first)
            return self._wait(steps)
        finally:
            if self._monitors is not None:
                self._monitors.let_go()

    def selection_deadline(self, until: Deadline | None = None) -> Deadline:
        """The deadline of a selection that begins now, for an operation that has `until`."""
        deadline = self._selection_timeout.start()
        if until is not None and until.at_ns < deadline.at_ns:
            return until.begun(deadline.began_ns)
        return deadline

    def min_round_trip_ns(self, address: AddressLike) -> int:
        """The least time that a server has taken to answer of late; 0 where that is not known."""
        server = self._description.get(address)
        return 0 if server is None else round(server.min_round_trip_time * 1e9)

    def selection(
        self,
        criteria: ServerCriteria | None,
        deprioritized: Collection[AddressLike],
        operation: str,
        operation_id: int | None,
        deadline: Deadline,
    ) -> WaitingFor[Pool]:
        """`select` in steps, for who waits in a way of their own, once the topology is open.

        A generator that returns the pool. It yields (a count of changes, a deadline): go on when
        `changed_since` that count, or at the deadline.
        """
        publisher = self._publisher
        shown = (_shown(criteria), operation, operation_id)
        if publisher.selection:
            publisher.selection_started(*shown, self._description)
        try:
            pool = yield from self._wait_for(criteria, deprioritized, deadline, shown)
        except MongoError as error:
            if publisher.selection:
                publisher.selection_failed(*shown, self._description, str(error))
            raise
        if publisher.selection:
            publisher.selection_succeeded(*shown, self._description, pool.address)
        return pool

    def _wait_for(
        self,
        criteria: ServerCriteria | None,
        deprioritized: Collection[AddressLike],
        deadline: Deadline,
        shown: tuple[object, str, int | None],
    ) -> WaitingFor[Pool]:
        """The pool of a suitable server, as soon as there is one."""
        waiting = False
        while True:
            with self._lock:
                if self._closed:
                    raise _closed()
                pool = self._choose(criteria, deprioritized)
                if pool is not None:
                    return pool
                checked = (self._description, self._checked_ns, deadline.began_ns)
                if self._checked_ns:
                    raise_if_hopeless(*checked)
                within = f"within {deadline}" if deadline.passed() else ""
                if self._fail_fast and is_incurable(*checked, self._removed):
                    within = "(failFast: waiting cannot mend that)"
                if within:
                    raise nothing_found(self._description, criteria, within, self._removed)
                seen = self._changes
                self._have_checked(self._pools)
            if not waiting:
                # Once, and without the lock, as a log handler may use the client.
                waiting = True
                self._publisher.selection_waiting(*shown, self._description, deadline.left_ns())
            yield seen, deadline

    def wait_for_server(self, pool: Pool, until: Deadline | None = None) -> None:
        """Wait until connections of `pool` may be had, at most `serverSelectionTimeoutMS` and not
        beyond `until`: nobody but its server has what is asked for. Raises
        `ServerSelectionTimeoutError` then."""
        self._wait(self.availability(pool, until))

    def availability(self, pool: Pool, until: Deadline | None = None) -> WaitingFor[None]:
        """`wait_for_server` in steps, as `selection`'s are."""
        address = pool.address
        deadline = self.selection_deadline(until)
        while True:
            with self._lock:
                if not pool.paused or self._pools.get(address) is not pool or self._closed:
                    return
                if deadline.passed():
                    server = self._description.get(address) or ServerDescription(address)
                    raise unavailable(server, address, deadline)
                seen = self._changes
                self._have_checked((address,))
            yield seen, deadline

    def _have_checked(self, addresses: Iterable[AddressLike]) -> None:
        """Have these servers checked soon, since somebody waits for a change."""
        if self._monitors is not None:
            for address in addresses:
                self._monitors.request_check(address)

    def _wait(self, steps: WaitingFor[_Result]) -> _Result:
        """What the steps come to; the calling thread waits."""
        try:
            seen, deadline = next(steps)
            # In a listener that is told of new servers: they are watched once it has returned.
            if self._unwatched:
                self._watch_new()
            if self._monitors is not None and self._monitors.is_own_thread():
                steps.throw(_monitors_wait())
            while True:
                if self._monitors is not None:
                    self._monitors.carry_out(partial(self._has_changed, seen), deadline.at_ns)
                with self._lock:
                    if self._changes == seen:
                        if self._changed is None:
                            self._changed = threading.Condition(self._lock)
                        self._changed.wait(deadline.left_s)
                seen, deadline = steps.send(None)
        except StopIteration as end:
            result: _Result = end.value
            return result

    def _has_changed(self, seen: int) -> bool:
        return self._changes != seen

    @property
    def changes(self) -> int:
        """How many changes there were: for `changed_since`."""
        return self._changes

    def changed_since(self, seen: int, watcher: Callable[[], object]) -> bool:
        """Whether there was a change since the count was `seen`; if not, `watcher`, which must not
        wait, is called at the next one, in whatever thread that comes to pass."""
        with self._lock:
            if self._changes != seen:
                return True
            self._watchers[watcher] = None
            return False

    def forget_watcher(self, watcher: Callable[[], object]) -> None:
        """Do not call `watcher` any more."""
        with self._lock:
            self._watchers.pop(watcher, None)

    def _choose(
        self, criteria: ServerCriteria | None, deprioritized: Collection[AddressLike]
    ) -> Pool | None:
        description = self._description
        if not description.is_compatible:
            incompatible = ConfigurationError(description.compatibility_error or "")
            incompatible.diagnoses = topology_causes().version_causes(description)
            raise incompatible
        if criteria is None and not deprioritized:
            # Who takes writes was found out when the description changed.
            writable = self.selected.choose(None)
            if writable is not None:
                return writable
            if description.topology_type_name == UNKNOWN and self._server_selector is None:
                return None
        preference = None if criteria is None else criteria.preference
        if criteria is not None and criteria.output_stage:
            version = description.common_wire_version
            if version is None or version < _SECONDARIES_WRITE_OUTPUT:
                preference = None
        found = suitable_servers(
            description,
            preference,
            heartbeat_s=self._heartbeat_s,
            deprioritized=deprioritized,
            server_selector=self._server_selector,
            local_threshold_s=self._local_threshold_s,
        )
        if not found:
            return None
        if not deprioritized and not self._asked_each_time:
            self.selected.remember(criteria, [self._pools[each.address] for each in found])
        if len(found) == 1:
            return self._pools[found[0].address]
        chosen = choose(found, lambda address: self._pools[address].operation_count, _chance())
        return self._pools[chosen.address]

    # -- what clients are asked -------------------------------------------------------------------

    def primary(self) -> AddressLike | None:
        """The primary of a replica set, None where none is known."""
        if self._description.topology_type_name != REPLICA_SET_WITH_PRIMARY:
            return None
        found = self._description.primary()
        return None if found is None else found.address

    def members(self, kind: str) -> set[AddressLike]:
        """The members of a replica set of one kind."""
        name = self._description.topology_type_name
        if name not in (REPLICA_SET_NO_PRIMARY, REPLICA_SET_WITH_PRIMARY):
            return set()
        return {
            each.address
            for each in self._description.server_descriptions().values()
            if each.server_type_name == kind
        }

    @property
    def routes(self) -> bool:
        """Whether operations are spread over several routers."""
        return (
            self._description.topology_type_name == SHARDED
            and len(self._description.server_descriptions()) > 1
        )

    @property
    def is_load_balanced(self) -> bool:
        """Whether the deployment is behind a load balancer."""
        return self._description.topology_type_name == LOAD_BALANCED

    def _notify(self) -> None:
        """Wake who waits for a change; the caller holds the lock."""
        self._changes += 1
        if self._changed is not None:
            self._changed.notify_all()
        if self._watchers:
            watchers, self._watchers = self._watchers, {}
            for each in watchers:
                each()


def _close(pool: Pool) -> None:
    pool.close()


def _close_removed(pool: Pool) -> None:
    pool.close(removed=True)


def _chance() -> random.Random:
    """Where chance comes from, which is only to spread the load."""
    # Late: the module costs more than a client.
    made: random.Random = imported_once("random").Random()
    return made


def _shown(criteria: ServerCriteria | None) -> object:
    """What logs say of criteria."""
    return "writable" if criteria is None else criteria.preference


def _monitors_wait() -> InvalidOperation:
    return InvalidOperation(
        "no server can be waited for in the thread that monitors them: this operation began in a "
        "listener that is called there; have another thread carry it out"
    )


def _closed() -> InvalidOperation:
    return InvalidOperation("Cannot use MongoClient after close")


__all__ = ["Topology"]
