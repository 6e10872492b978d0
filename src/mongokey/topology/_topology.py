"""Finds the server that operations go to: the direct connection, or the seed that is writable.

It knows seeds, the pools made for them, and what each server answered; it opens connections
only through the callable it is given. It must not know commands or logins. Monitoring and
read preferences over several members are to come behind the same `select`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from mongokey._clock import monotonic
from mongokey.errors import (
    ConfigurationError,
    ConnectionFailure,
    InvalidOperation,
    MongoError,
    OperationFailure,
    ProtocolError,
    ServerSelectionTimeoutError,
    TLSError,
)

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.connection._connection import Connection
    from mongokey.handshake import HelloReply
    from mongokey.pool._pool import Pool

Address = tuple[str, "int | None"]

# server-discovery-and-monitoring.md, minHeartbeatFrequencyMS: the least time between two looks
# at one server.
_MIN_PAUSE_S = 0.5


def format_address(address: Address) -> str:
    """``host:port``, ``[ipv6]:port``, or the path of a Unix socket."""
    host, port = address
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Survey:
    """Connects to several servers side by side, and hands out the answers as they come."""

    def __init__(
        self,
        connect: Callable[[Address, float], Connection],
        deadline: float,
        clock: Callable[[], float],
    ) -> None:
        self._connect = connect
        self._deadline = deadline
        self._clock = clock
        self._asked: set[Address] = set()
        # Late: only a client that looks for a server needs it.
        from queue import Empty, SimpleQueue

        self._answers: SimpleQueue[tuple[Address, Connection | Exception]] = SimpleQueue()
        self._nothing = Empty
        self._pending = 0
        self._lock = threading.Lock()
        self._over = False

    def ask(self, addresses: Sequence[Address]) -> None:
        """Connect to those of `addresses` that were not asked before."""
        new = [each for each in dict.fromkeys(addresses) if each not in self._asked]
        self._asked.update(new)
        alone = len(new) == 1 and self._pending == 0
        self._pending += len(new)
        for address in new:
            if alone:
                # No thread for the usual case of one server.
                self._answers.put((address, self._try(address)))
            else:
                threading.Thread(target=self._run, args=(address,), daemon=True).start()

    def _try(self, address: Address) -> Connection | Exception:
        try:
            return self._connect(address, max(0.001, self._deadline - self._clock()))
        except MongoError as error:
            return error

    def _run(self, address: Address) -> None:
        outcome: Connection | Exception
        try:
            outcome = self._try(address)
        except Exception as error:  # told to the asking thread, which would wait for ever
            outcome = error
        with self._lock:
            if not self._over:
                self._answers.put((address, outcome))
                return
        if not isinstance(outcome, Exception):
            outcome.close()

    def next(self) -> tuple[Address, Connection | Exception] | None:
        """The next answer; None when all have answered or the time is over."""
        if self._pending == 0:
            return None
        while True:
            left = self._deadline - self._clock()
            try:
                answer = self._answers.get(timeout=max(0.001, left))
                break
            except self._nothing:
                if left <= 0:
                    return None
        self._pending -= 1
        if isinstance(answer[1], Exception) and not isinstance(answer[1], MongoError):
            raise answer[1]
        return answer

    def end(self) -> None:
        """Close what was connected and not taken, now or when it arrives."""
        with self._lock:
            self._over = True
        while not self._answers.empty():
            _, outcome = self._answers.get()
            if not isinstance(outcome, Exception):
                outcome.close()


def _is_doubt(error: Exception | None) -> bool:
    """Whether `error` says that a server will not become usable by waiting alone, or most likely
    not: of TLS, or another protocol spoken there."""
    return isinstance(error, TLSError) or (isinstance(error, ProtocolError) and error.permanent)


class Topology:
    """The servers of one client.

    `connect(address, timeout_s)` opens a connection, logged in and with its `hello`;
    `make_pool(address)` makes an empty pool for an address. `discover()`, if given, is called once
    before the first look around and returns (seeds, replica_set): what DNS says. `clock` counts the
    seconds of `server_selection_timeout_s`; it may stand still, while a login waits for a person.
    `tls_patience_s` is how long TLS may fail with every seed in a way that time might mend: a
    server that hangs up without a word may be one that does not speak TLS, or one that is starting.
    """

    def __init__(
        self,
        seeds: Sequence[Address],
        connect: Callable[[Address, float], Connection],
        make_pool: Callable[[Address], Pool],
        *,
        server_selection_timeout_s: float = 30.0,
        direct_connection: bool = False,
        replica_set: str | None = None,
        discover: Callable[[], tuple[Sequence[Address], str | None]] | None = None,
        clock: Callable[[], float] = monotonic,
        tls_patience_s: float = 20.0,
    ) -> None:
        self._seeds = list(seeds)
        self._connect = connect
        self._make_pool = make_pool
        self._timeout_s = server_selection_timeout_s
        self._direct = direct_connection
        self._replica_set = replica_set
        self._discover = discover
        self._clock = clock
        self._tls_patience_s = tls_patience_s
        self._pools: dict[Address, Pool] = {}
        self._lock = threading.Lock()
        self._closed = False
        self.current: Pool | None = None

    @property
    def seeds(self) -> list[Address]:
        """The addresses the client was given."""
        return list(self._seeds)

    @property
    def pools(self) -> list[Pool]:
        """A pool for each server that was ever selected."""
        return list(self._pools.values())

    def start_anew(self) -> None:
        """In a forked child: the lock may have been held by a thread that is no more."""
        self._lock = threading.Lock()

    def forget(self, pool: Pool) -> None:
        """Look again before the next operation: `pool`'s server failed or is no longer primary."""
        if self.current is pool:
            self.current = None

    def close(self) -> None:
        """Close every pool."""
        self._closed = True
        self.current = None
        for pool in self.pools:
            pool.close()

    def select(self) -> Pool:
        """The pool of the server that operations go to; finds one if none is known.

        Raises `ServerSelectionTimeoutError` saying what each seed answered, or at once what no
        waiting can mend: a refused login (`OperationFailure`), a `ConfigurationError`, or a
        `TLSError` when TLS is refused for good (a certificate, a host name) with every seed. A
        `TLSError` is raised too when nothing else came from any seed for `tls_patience_s`.
        """
        deadline = self._clock() + self._timeout_s
        while not self._lock.acquire(timeout=max(0.001, left := deadline - self._clock())):
            if left > 0:
                continue  # it may have stood still meanwhile
            raise ServerSelectionTimeoutError(
                f"no server found within serverSelectionTimeoutMS={self._timeout_s * 1000:.0f}: "
                f"another thread is still trying {', '.join(map(format_address, self._seeds))}"
            )
        try:
            if self._discover is not None and not self._closed:
                seeds, self._replica_set = self._discover()
                self._seeds = list(seeds)
                self._discover = None
            answers: dict[Address, str] = {}
            errors: dict[Address, Exception] = {}
            doubted_s: float | None = None  # since when TLS fails with every seed
            while True:
                if self._closed:
                    raise InvalidOperation("Cannot use MongoClient after close")
                if self.current is not None:
                    return self.current
                began = self._clock()
                found = self._look_around(deadline, answers, errors)
                if found is not None:
                    self.current = found
                    return found
                now = self._clock()
                if self._all_tls_errors(errors):
                    doubted_s = began if doubted_s is None else doubted_s
                    self._stop_if_hopeless(errors, now - doubted_s >= self._tls_patience_s)
                else:
                    doubted_s = None
                pause = max(0.0, _MIN_PAUSE_S - (now - began))
                if now + pause >= deadline:
                    raise ServerSelectionTimeoutError(self._explain(answers), errors=errors)
                time.sleep(pause)
        finally:
            self._lock.release()

    def _all_tls_errors(self, errors: dict[Address, Exception]) -> bool:
        """Whether no seed is left that may answer yet: TLS is why, or another protocol."""
        return all(_is_doubt(errors.get(seed)) for seed in self._seeds)

    def _stop_if_hopeless(self, errors: dict[Address, Exception], waited: bool) -> None:
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
            raise refused[0]
        text = "; ".join(str(each) for each in refused)
        tls = [each for each in refused if isinstance(each, TLSError)]
        if not tls:
            raise ProtocolError(text, permanent)
        told = TLSError(text, tls[0].reason, permanent)
        told.errors = told.details = dict(errors)
        raise told

    def _look_around(
        self, deadline: float, answers: dict[Address, str], errors: dict[Address, Exception]
    ) -> Pool | None:
        """Ask every seed, and whoever one of them names as primary; the first that takes
        writes wins, without waiting for the others."""
        survey = _Survey(self._connect, deadline, self._clock)
        try:
            survey.ask(self._seeds)
            while (answer := survey.next()) is not None:
                address, outcome = answer
                errors.pop(address, None)
                if isinstance(outcome, Exception):
                    if isinstance(outcome, OperationFailure | ConfigurationError):
                        raise outcome
                    answers[address] = str(outcome)
                    errors[address] = outcome
                    continue
                refusal = self._refusal(outcome.hello)
                if refusal is None:
                    pool = self._pools.get(address)
                    if pool is None:
                        pool = self._pools[address] = self._make_pool(address)
                    pool.adopt(outcome)
                    return pool
                answers[address] = refusal
                primary = outcome.hello.primary
                outcome.close()
                if primary and not self._direct:
                    survey.ask([primary])
            return None
        finally:
            survey.end()

    def _refusal(self, hello: HelloReply) -> str | None:
        """Why operations cannot go to the server that said `hello`; None if they can."""
        if self._replica_set and hello.set_name != self._replica_set:
            is_called = f"is called {hello.set_name!r}" if hello.set_name else "is not in a set"
            return f"the server {is_called}, not replicaSet={self._replica_set!r}"
        if self._direct or hello.is_writable:
            return None
        if hello.is_ghost:
            return "a replica set member that was never initiated: run rs.initiate()"
        if hello.is_arbiter:
            return "an arbiter: it holds no data"
        primary = format_address(hello.primary) if hello.primary else "none"
        return f"not writable: a member of set {hello.set_name!r} whose primary is {primary}"

    def _explain(self, answers: dict[Address, str]) -> str:
        lines = [
            f"no server that takes writes was found within serverSelectionTimeoutMS="
            f"{self._timeout_s * 1000:.0f}"
        ]
        for address, answer in answers.items():
            name = format_address(address)
            lines.append(answer if answer.startswith(name) else f"{name}: {answer}")
        if len(answers) < len(self._seeds):
            silent = [format_address(s) for s in self._seeds if s not in answers]
            lines.append(f"no answer yet from {', '.join(silent)}")
        return "; ".join(lines)


__all__ = ["Address", "ConnectionFailure", "Topology", "format_address"]
