from collections.abc import Callable
from typing import Any

from mongokey._support.address import AddressLike
from mongokey._support.deadline import Timeout
from mongokey.connection.connection import Connection
from mongokey.connection.settings import Opening
from mongokey.events.flags import PublisherFlags
from mongokey.handshake import HelloReply
from mongokey.pool.state import PoolState

class Pool(PoolState):
    def __init__(
        self,
        address: AddressLike,
        connect: Callable[[Opening], Connection],
        *,
        max_size: int = 100,
        min_size: int = 0,
        max_connecting: int = 2,
        max_idle_ns: int = 0,
        wait_queue_timeout: Timeout | None = None,
        publisher: PublisherFlags | None = None,
        on_connect_failure: Callable[..., object] | None = None,
        holds_lock: Callable[[], bool] | None = None,
        on_ready: Callable[[], object] | None = None,
        load_balanced: bool = False,
    ) -> None: ...
    @property
    def address(self) -> AddressLike: ...
    @property
    def pinned_count(self) -> int:
        """How many of the connections in use are pinned to cursors."""
    @property
    def description(self) -> HelloReply: ...
    def check_in(self, connection: Connection) -> None:
        """Take back a connection that `check_out` has returned."""
    def reset_after_fork(self) -> None:
        """In a forked child, or on another loop: let go of all connections, without a word."""
    def ready(self) -> None:
        """The server was checked: connections may be had. Nothing if that is known."""
    def clear(
        self,
        error: BaseException | None = None,
        *,
        service_id: Any = None,
        interrupt: bool = False,
    ) -> None:
        """Begin a new generation: close what is idle, let what is in use be closed when it comes
        back, and pause until `ready`; who waits gets `PoolClearedError` at once.

        `error` is why. `interrupt` closes what is in use, or is being opened, too: who uses it gets
        `PoolClearedError`. Behind a load balancer this is about the connections to `service_id`
        (None: all), nothing is paused, and who waits goes on waiting.
        """
    def begin_clear(
        self,
        error: BaseException | None = None,
        *,
        service_id: Any = None,
        interrupt: bool = False,
    ) -> Any:
        """The part of `clear` that nobody may come in between: from here on nobody gets a
        connection. What is returned is for `finish_clear`, which tells and closes."""
    def finish_clear(self, begun: Any) -> None:
        """The rest of `clear`, that may call listeners."""
    def close(self, *, removed: bool = False) -> None:
        """Close the pool for good. Who waits, or comes later, gets `InvalidOperation`: the client
        is closed; or, if its server was `removed` from the deployment, `PoolClearedError`."""
    def prune(self) -> None:
        """Close what was idle for longer than `maxIdleTimeMS`; never waits."""
    def wants_connections(self) -> bool:
        """Whether `fill` would open connections: there are fewer than `minPoolSize`, the pool is
        ready, and it was not just now that a login was refused."""
