"""Finds the server that operations go to: the direct connection, or the seed that is writable.

It knows seeds, the pools made for them, and what each server answered; it opens connections
only through the callable it is given. It must not know commands or logins. Monitoring and
read preferences over several members are to come behind the same `select`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from mongokey._support.address import format_address
from mongokey._support.callers import act_for, caller_number
from mongokey._support.clock import monotonic
from mongokey._support.deadline import Timeout
from mongokey._support.portable import Portable
from mongokey._support.shared_errors import own_copy
from mongokey.diagnostics import surest_first
from mongokey.errors import (
    AutoReconnect,
    ConfigurationError,
    InvalidOperation,
    MongoError,
    NotPrimaryError,
    OperationFailure,
    ProtocolError,
    ServerSelectionTimeoutError,
    TLSError,
)
from mongokey.topology.application_errors import (
    MARK_UNKNOWN_AND_CLEAR_POOL,
    NOTHING,
    effect_of,
)
from mongokey.topology.selected_server import SelectedServer

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey._support.address import AddressLike
    from mongokey.connection.connection import Connection
    from mongokey.handshake import HelloReply
    from mongokey.pool.pool import Pool

# server-discovery-and-monitoring.md, minHeartbeatFrequencyMS: the least time between two looks
# at one server.
_MIN_PAUSE_S = 0.5
# server-selection: serverSelectionTimeoutMS where it is not given.
_SELECTION_TIMEOUT = Timeout(30_000_000_000, "serverSelectionTimeoutMS")
# So often a thread that waits for another's DNS question looks whether the client was closed.
_LOOK_EVERY_S = 0.25
# The server's own code for a write that is sent to it while it is not primary.
_NOT_WRITABLE = 10107


class _Unsuitable(Portable, Exception):
    """What a server says against itself in its hello; `primary` is whom it names instead."""

    def __init__(self, reason: str, primary: AddressLike | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.primary = primary


class _Probe:
    """One round of probing the servers, shared by all threads that wait for it: what each one
    answered.

    `over` once all have answered or one was `found`; `failure` is an error that no waiting mends.
    """

    __slots__ = (
        "answers",
        "asked",
        "at_once",
        "began_s",
        "errors",
        "failure",
        "found",
        "left_out",
        "over",
        "pending",
        "refused",
    )

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.asked: set[AddressLike] = set()
        self.pending: set[AddressLike] = set()
        self.answers: dict[AddressLike, str] = {}
        self.errors: dict[AddressLike, Exception] = {}
        # Hello itself refused, by servers that may not be the one to be used.
        self.refused: dict[AddressLike, OperationFailure] = {}
        self.found: Pool | None = None
        self.failure: Exception | None = None
        self.over = False
        # A usable server was left out for another one, which then failed: look again at once.
        self.left_out = self.at_once = False


def _nothing() -> None:
    """What is done by default."""


def _take_over(
    probe: _Probe, answers: dict[AddressLike, str], errors: dict[AddressLike, Exception]
) -> None:
    """Add what `probe` found out to what was known before."""
    answers.update(probe.answers)
    for address in probe.answers:
        errors.pop(address, None)
    errors.update(probe.errors)


def _may_be_missing_tls(error: Exception | None) -> bool:
    """Whether `error` says that a server will not become usable by waiting alone, or most likely
    not: of TLS, or another protocol spoken there."""
    return isinstance(error, TLSError) or (isinstance(error, ProtocolError) and error.permanent)


class Topology:
    """The servers of one client.

    `connect(address, judge, to_be_used)` opens a connection: it gives `judge` the server's hello
    before anybody logs in, and passes on what that raises; `to_be_used` says that the server is the
    only one there is. `make_pool(address)` makes an empty pool for an address. `resolve_srv()`, if
    given, is called once before the first probe and returns (seeds, replica_set): what DNS
    says. `clock` counts the seconds of `selection_timeout`; it may stand still, while a
    login waits for a person. `connect_limit` is what bounds `connect`, None for nothing.
    `tls_patience_s` is how long TLS may fail with every seed in a way that time might mend: a
    server that hangs up without a word may be one that does not speak TLS, or one that is starting.
    `before_thread` is called in the thread that selects before another one connects for it.
    """

    def __init__(
        self,
        seeds: Sequence[AddressLike],
        connect: Callable[[AddressLike, Callable[[HelloReply], None], bool], Connection],
        make_pool: Callable[[AddressLike], Pool],
        *,
        selection_timeout: Timeout = _SELECTION_TIMEOUT,
        direct_connection: bool = False,
        replica_set: str | None = None,
        resolve_srv: Callable[[], tuple[Sequence[AddressLike], str | None]] | None = None,
        clock: Callable[[], float] = monotonic,
        connect_limit: Timeout | None = None,
        tls_patience_s: float = 20.0,
        before_thread: Callable[[], None] = _nothing,
    ) -> None:
        self._seeds = list(seeds)
        self._connect = connect
        self._make_pool = make_pool
        self._selection_timeout = selection_timeout
        self._direct = direct_connection
        self._replica_set = replica_set
        self._resolve_srv = resolve_srv
        self._clock = clock
        self._connect_limit = connect_limit
        self._tls_patience_s = tls_patience_s
        self._before_thread = before_thread
        self._pools: dict[AddressLike, Pool] = {}
        self._closed = False
        #: The server that operations go to, where executions see it.
        self.selected = SelectedServer()
        self.reset_after_fork()

    @property
    def seeds(self) -> list[AddressLike]:
        """The addresses the client was given."""
        return list(self._seeds)

    @property
    def current(self) -> Pool | None:
        """The pool of the server that operations go to; None while one must be found."""
        return self.selected.pool

    @property
    def pools(self) -> list[Pool]:
        """A pool for each server that was ever selected."""
        return list(self._pools.values())

    def reset_after_fork(self) -> None:
        """In a forked child: who held the lock, or was connecting, was a thread of the parent."""
        # Reentrant: a signal handler may use the client whose thread it interrupted.
        self._lock = threading.RLock()
        self._changed: threading.Condition | None = None  # of the lock, once somebody waits
        if self._resolve_srv is not None:
            self._resolving_srv = threading.RLock()
        self._probe: _Probe | None = None
        # Servers that are being connected and logged in to, each with the thread that selects and
        # does so itself, 0 where it is a thread of its own; and the one that is logged in to.
        self._attempts: dict[AddressLike, int] = {}
        self._chosen: AddressLike | None = None

    def _wait(self, seconds: float) -> None:
        """Wait, holding the lock, until something changed."""
        if self._changed is None:
            self._changed = threading.Condition(self._lock)
        self._changed.wait(seconds)

    def _notify(self) -> None:
        """Wake who waits for a change; the caller holds the lock."""
        if self._changed is not None:
            self._changed.notify_all()

    def mark_unknown(self, pool: Pool) -> None:
        """Look again before the next operation: `pool`'s server failed or is no longer primary."""
        if self.selected.pool is pool:
            self.selected.pool = None

    def handle_application_error(
        self, pool: Pool, error: Exception, generation: int, sent: bool
    ) -> None:
        """Note what `error` of an operation says about the server behind `pool`.

        `generation` is the connection's, or what the pool's was when no connection could be had;
        `sent` says whether the command may have reached the server.
        """
        effect = effect_of(error, stale=generation != pool.generation, sent=sent)
        if effect == NOTHING:
            return
        if effect == MARK_UNKNOWN_AND_CLEAR_POOL:
            pool.clear(error)
        self.mark_unknown(pool)

    def close(self) -> None:
        """Close every pool, and wake who waits for a server."""
        self._closed = True
        self.selected.pool = None
        for pool in self.pools:
            pool.close()
        with self._lock:
            self._notify()

    # -- selection --------------------------------------------------------------------------------

    def select(self) -> Pool:
        """The pool of the server that operations go to; finds one if none is known.

        Raises `ServerSelectionTimeoutError` saying what each seed answered, or at once what no
        waiting can mend: a refused login (`OperationFailure`), a `ConfigurationError`, or a
        `TLSError` when TLS is refused for good (a certificate, a host name) with every seed. A
        `TLSError` is raised too when nothing else came from any seed for `tls_patience_s`. What
        is being connected when the time is over goes on, into its pool, for later operations.
        """
        left = self._selection_timeout.ns / 1e9
        deadline = self._clock() + left
        if self._resolve_srv is not None and not self._closed:
            self._ask_dns(deadline)
        tls_fails_since_s: float | None = None  # since when TLS fails with every seed
        # What each server answered last, and the errors among that.
        answers: dict[AddressLike, str] = {}
        errors: dict[AddressLike, Exception] = {}
        while True:
            begun: list[AddressLike] = []
            try:
                found = self._enter_probe(begun)
                if not isinstance(found, _Probe):
                    return found
                probe = found
                self._run(probe, begun, left)
            finally:
                self._abandon(begun)
            try:
                pool = self._await(probe, deadline)
            except TimeoutError:
                _take_over(probe, answers, errors)
                raise ServerSelectionTimeoutError(self._explain(answers), errors=errors) from None
            if pool is not None:
                return pool
            _take_over(probe, answers, errors)
            now = self._clock()
            if self._all_tls_errors(errors):
                tls_fails_since_s = (
                    probe.began_s if tls_fails_since_s is None else tls_fails_since_s
                )
                self._stop_if_hopeless(errors, now - tls_fails_since_s >= self._tls_patience_s)
            else:
                tls_fails_since_s = None
            pause = 0.0 if probe.at_once else max(0.0, _MIN_PAUSE_S - (now - probe.began_s))
            if now + pause >= deadline:
                raise ServerSelectionTimeoutError(self._explain(answers), errors=errors)
            with self._lock:
                if not self._closed and self.current is None and pause:
                    self._wait(pause)
            left = deadline - self._clock()

    def _ask_dns(self, deadline: float) -> None:
        """Have one thread ask what the seeds are; the others wait for that."""
        while not self._resolving_srv.acquire(timeout=_LOOK_EVERY_S):
            if self._closed:
                raise _closed()
            if self._clock() >= deadline:
                raise ServerSelectionTimeoutError(
                    f"no server found within {self._selection_timeout}: DNS has not yet said what "
                    "the servers are"
                )
        try:
            if self._resolve_srv is not None:
                seeds, self._replica_set = self._resolve_srv()
                self._seeds = list(seeds)
                self._resolve_srv = None
        finally:
            self._resolving_srv.release()

    def _enter_probe(self, begun: list[AddressLike]) -> Pool | _Probe:
        """The pool of the selected server, or the probe under way, a new one if there is
        none. Puts into `begun` the servers that the caller has to connect to."""
        with self._lock:
            if self._closed:
                raise _closed()
            if self.current is not None:
                return self.current
            if self._probe is None or self._probe.over or self._is_mine(self._probe):
                self._probe = _Probe(self._clock())
                self._ask(self._probe, self._seeds, begun)
            return self._probe

    def _is_mine(self, probe: _Probe) -> bool:
        """Whether this very thread is in the middle of `probe`: a signal handler must not wait for
        what it interrupted. It looks anew, and the other probe is given up."""
        me = threading.get_ident()
        mine = any(self._attempts.get(address) == me for address in probe.pending)
        if mine:
            probe.over = probe.at_once = True
            self._chosen = None
        return mine

    def _ask(
        self, probe: _Probe, addresses: Iterable[AddressLike], begun: list[AddressLike]
    ) -> None:
        """Have `probe` wait for `addresses`; those nobody else connects to go to `begun`."""
        me = threading.get_ident()
        for address in addresses:
            if address in probe.asked:
                continue
            probe.asked.add(address)
            probe.pending.add(address)
            if self._attempts.get(address, me) == me:
                begun.append(address)
                self._attempts[address] = me

    def _run(self, probe: _Probe, begun: list[AddressLike], left_s: float) -> None:
        """Connect to `begun`: the usual one server in this thread if that ends in the `left_s` that
        it may take, else in threads, which go on when nobody waits for them any more."""
        while begun:
            alone = len(begun) == 1 and len(probe.pending) == 1
            limit = self._connect_limit
            if alone and limit is not None and limit.ns <= left_s * 1e9:
                self._attempt(begun)
            else:
                self._attempts[begun[-1]] = 0
                self._before_thread()
                given = ([begun[-1]], caller_number())
                threading.Thread(target=self._go_on, args=given, daemon=True).start()
                begun.pop()

    def _go_on(self, begun: list[AddressLike], caller: int) -> None:
        """Connect to `begun`, and whoever is named as primary there, in this thread, for the one
        that has the number `caller`."""
        act_for(caller)
        try:
            while begun:
                self._attempt(begun)
        finally:
            self._abandon(begun)

    def _abandon(self, begun: list[AddressLike]) -> None:
        """Nobody connects to what is left of `begun`, for instance for a Ctrl-C."""
        if begun:
            with self._lock:
                for address in begun:
                    self._attempts.pop(address, None)
                    if self._chosen == address:
                        self._chosen = None
                    if self._probe is not None:
                        self._probe.pending.discard(address)
                if self._probe is not None and not self._probe.pending:
                    self._probe.over = self._probe.at_once = True
                begun.clear()
                self._notify()

    def _attempt(self, begun: list[AddressLike]) -> None:
        """Connect to the last of `begun`, replaced then by what is to be asked besides."""
        address = begun[-1]
        outcome: Connection | Exception
        try:
            outcome = self._connect(address, partial(self._judge, address), self._is_only(address))
        except Exception as error:  # told to who selects, which would wait for ever
            outcome = error
        with self._lock:
            begun.pop()
            self._attempts.pop(address, None)
            chosen = self._chosen == address
            if chosen:
                self._chosen = None
            probe = self._probe
            if probe is not None and (probe.over or address not in probe.pending):
                probe = None
            if not isinstance(outcome, Exception):
                pool = self._take_in(address, outcome)
                if probe is not None and pool is not None:
                    probe.found, probe.over = pool, True
            elif probe is not None:
                probe.pending.discard(address)
                self._note(probe, address, outcome, chosen, begun)
            self._notify()

    def _take_in(self, address: AddressLike, connection: Connection) -> Pool | None:
        """Put a connection that is logged in into its server's pool, and select that server."""
        if self._closed:
            connection.close()
            return None
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = self._make_pool(address)
        pool.ready()
        pool.add_connection(connection)
        if self.selected.pool is None:
            self.selected.pool = pool
        return pool

    def _note(
        self,
        probe: _Probe,
        address: AddressLike,
        error: Exception,
        chosen: bool,
        begun: list[AddressLike],
    ) -> None:
        """Take in why the server at `address` cannot be used."""
        if isinstance(error, _Unsuitable):
            probe.answers[address] = error.reason
            if error.primary is not None and not self._direct:
                self._ask(probe, [error.primary], begun)
        elif isinstance(error, OperationFailure) and not chosen:
            # It refused hello, and may not be the server that is to be used.
            probe.refused[address] = error
            probe.answers[address], probe.errors[address] = str(error), error
        elif isinstance(error, MongoError) and not isinstance(
            error, OperationFailure | ConfigurationError | InvalidOperation
        ):
            probe.answers[address], probe.errors[address] = str(error), error
            probe.at_once = probe.at_once or (chosen and probe.left_out)
        else:
            probe.failure, probe.over = error, True
        if not probe.pending:
            probe.over = True
            if probe.failure is None and all(seed in probe.refused for seed in self._seeds):
                probe.failure = probe.refused[self._seeds[0]]

    def _await(self, probe: _Probe, deadline: float) -> Pool | None:
        """The pool of the server that `probe` finds, None if it ends without one.

        Raises its failure, or `TimeoutError` when the time is over before.
        """
        with self._lock:
            while True:
                if self._closed:
                    raise _closed()
                if probe.found is not None:
                    return probe.found
                if self.current is not None:
                    return self.current
                if probe.failure is not None:
                    raise own_copy(probe.failure) from probe.failure.__cause__
                if probe.over:
                    return None
                left = deadline - self._clock()
                if left <= 0:
                    raise TimeoutError
                self._wait(left)

    def _all_tls_errors(self, errors: dict[AddressLike, Exception]) -> bool:
        """Whether no seed is left that may answer yet: TLS is why, or another protocol."""
        return all(_may_be_missing_tls(errors.get(seed)) for seed in self._seeds)

    def _stop_if_hopeless(self, errors: dict[AddressLike, Exception], waited: bool) -> None:
        """Certificates do not get better by asking again: told at once. What might get better is
        told when it was waited for."""
        refused = [
            each
            for seed in self._seeds
            if isinstance(each := errors[seed], TLSError | ProtocolError)
        ]
        permanent = all(each.permanent for each in refused)
        if not permanent and not waited:
            return
        if len(refused) == 1:
            raise own_copy(refused[0]) from refused[0].__cause__
        text = "; ".join(str(each) for each in refused)
        tls = [each for each in refused if isinstance(each, TLSError)]
        if not tls:
            raise ProtocolError(text, permanent)
        failed = TLSError(text, permanent=permanent)
        failed.diagnoses = surest_first(dict.fromkeys(d for each in tls for d in each.diagnoses))
        failed.errors = failed.details = dict(errors)
        raise failed

    # -- judging ----------------------------------------------------------------------------------

    def _is_only(self, address: AddressLike) -> bool:
        """Whether `address` is the one server there is, so that a login may go along with hello."""
        return len(self._seeds) == 1 and address == self._seeds[0] and not self._replica_set

    def _judge(self, address: AddressLike, hello: HelloReply) -> None:
        """Have the server at `address` logged in to if it is to be used and no other one is.

        Raises `_Unsuitable`, or `ConfigurationError` for a version that does not fit.
        """
        reason = self._unsuitable_reason(hello, address)
        if reason is not None:
            raise _Unsuitable(reason, hello.primary)
        with self._lock:
            if self._closed:
                raise _closed()
            if self.current is not None or self._chosen is not None:
                if self._probe is not None:
                    self._probe.left_out = True
                raise _Unsuitable("not used: another server answered first")
            self._chosen = address

    def is_selected(self, address: AddressLike) -> bool:
        """Whether operations go to the server at `address` now."""
        current = self.current
        return current is not None and current.address == address

    def review(self, address: AddressLike, hello: HelloReply) -> None:
        """Raise what is against using one more connection of the pool for `address`.

        The server may not be what it was when it was selected: then `NotPrimaryError`, or
        `AutoReconnect` where another set's member answers. A cursor may go on at a member that is
        no longer primary.
        """
        reason = self._unsuitable_reason(hello, address)
        if reason is None:
            return
        told = f"{format_address(address)}: {reason}"
        if self._other_set(hello) is not None:
            raise AutoReconnect(told)
        if self.is_selected(address) or not hello.is_readable:
            raise NotPrimaryError(told, {"ok": 0, "errmsg": reason, "code": _NOT_WRITABLE})

    def _other_set(self, hello: HelloReply) -> str | None:
        """Why the server is none of the set that the client is for; None if it may be one."""
        if not self._replica_set or hello.set_name == self._replica_set:
            return None
        is_called = f"is called {hello.set_name!r}" if hello.set_name else "is not in a set"
        return f"the server {is_called}, not replicaSet={self._replica_set!r}"

    def _unsuitable_reason(self, hello: HelloReply, address: AddressLike) -> str | None:
        """Why operations cannot go to the server that said `hello`; None if they can.

        Raises `ConfigurationError` when it is one of ours and of a version that does not fit.
        """
        other = self._other_set(hello)
        if other is not None:
            return other
        if hello.is_ghost and not self._direct:
            return "a replica set member that was never initiated: run rs.initiate()"
        if not hello.is_compatible:
            hello.check_compatible(format_address(address))
        if self._direct or hello.is_writable:
            return None
        if hello.is_arbiter:
            return "an arbiter: it holds no data"
        primary = format_address(hello.primary) if hello.primary else "none"
        return f"not writable: a member of set {hello.set_name!r} whose primary is {primary}"

    def _explain(self, answers: dict[AddressLike, str]) -> str:
        lines = [f"no server that takes writes was found within {self._selection_timeout}"]
        for address, answer in answers.items():
            name = format_address(address)
            lines.append(answer if answer.startswith(name) else f"{name}: {answer}")
        if len(answers) < len(self._seeds):
            silent = [format_address(s) for s in self._seeds if s not in answers]
            lines.append(f"no answer yet from {', '.join(silent)}")
        return "; ".join(lines)


def _closed() -> InvalidOperation:
    return InvalidOperation("Cannot use MongoClient after close")


__all__ = ["Topology"]
