from collections.abc import Callable
from typing import Any

from mongokey.connection.connection import Connection

class Waiter:
    """Somebody in the queue; a subclass knows how they wait."""

    @property
    def connection(self) -> Connection | None:
        """What it was handed; None: a turn, to ask again."""
    @property
    def error(self) -> Exception | None:
        """What to raise instead, or None."""

class CallingWaiter(Waiter):
    """A waiter that calls `woken()`: for tests, and for whoever waits in a way of their own.

    `caller` identifies the thread that waits; `stops_thread` says that nothing else goes on in it
    meanwhile.
    """

    def __init__(
        self, woken: Callable[[], object], *, caller: int = 0, stops_thread: bool = False
    ) -> None: ...

class PoolState:
    """The connections of one server; `max_size` and `max_idle_ns` 0 mean no limit.

    It starts paused, unless it is `load_balanced`: that one is never paused, and has a generation
    for each service behind the load balancer.
    """

    def __init__(
        self,
        *,
        max_size: int = 100,
        min_size: int = 0,
        max_connecting: int = 2,
        max_idle_ns: int = 0,
        load_balanced: bool = False,
    ) -> None: ...
    @property
    def max_size(self) -> int: ...
    @property
    def min_size(self) -> int: ...
    @property
    def max_connecting(self) -> int: ...
    @property
    def max_idle_ns(self) -> int: ...
    @property
    def idle_count(self) -> int:
        """How many connections wait to be used."""
    @property
    def waiting_count(self) -> int:
        """How many wait in the queue."""
    @property
    def in_use(self) -> int: ...
    @property
    def connecting(self) -> int: ...
    @property
    def operation_count(self) -> int:
        """How many operations use a connection, wait for one, or open one."""
    @property
    def generation(self) -> int: ...
    def generation_of(self, service_id: Any = None) -> int:
        """The pool's generation, or behind a load balancer that of a service."""
    @property
    def load_balanced(self) -> bool: ...
    @property
    def paused(self) -> bool:
        """Whether the server has not been checked since the pool was made or cleared."""
    @property
    def closed(self) -> bool: ...

class PoolDecisions(PoolState):
    """The same decisions, to be asked from Python: for tests, and for a pool of another kind."""

    def take(self, caller: int, now_ns: int) -> tuple[Connection | None, list[Connection]]:
        """An idle connection that is not too old, lent to `caller`, or None; and those that were
        too old, to be closed."""
    def ask(self, waiter: Waiter, *, again: bool = False, waited: bool = False) -> str:
        """What is to be done for `waiter`, which found no idle connection, as a word.

        ``open``: open a connection; ``wait``: it is in the queue; ``wait for borrowed``: the same,
        but not for long; ``held by caller``: only its own thread could give one back; ``paused``;
        ``closed``.
        `again` says that it had been woken, and keeps its place; `waited` that borrowed connections
        were waited for in vain.
        """
    def give_up(self, waiter: Waiter) -> Connection | None:
        """Take `waiter` out of the queue; the connection it was handed meanwhile, or None."""
    def opened_by(self, caller: int, connection: Connection, generation: int | None = None) -> None:
        """The connection that `caller` was told to open is there, of the present generation or of
        the one that was when it began."""
    def failed_to_open(self, caller: int, refused: Exception | None = None) -> None:
        """It is not; `refused` is the error of a login that all others would get too."""
    def give_back(self, connection: Connection, now_ns: int, *, reusable: bool = True) -> bool:
        """Whether the pool keeps it; if not, it is to be closed."""
    def ready(self) -> None:
        """The server was checked: connections may be had."""
    def clear(
        self, error: Exception | None = None, *, service_id: Any = None
    ) -> tuple[list[Connection], list[Connection]]:
        """Start a new generation: the connections to be closed, those that were idle and those in
        use. All who wait are told `error`."""
    def join(self, service_id: Any) -> int:
        """A connection to `service_id` is there: its generation."""
    def prune(self, now_ns: int) -> list[Connection]:
        """Those that were idle for too long, to be closed."""
    def close(self) -> list[Connection]:
        """For good; the same. All who wait are woken."""
    def reset_after_fork(self) -> list[Connection]:
        """In a forked child; the parent's idle connections, to be let go of."""
