from collections.abc import Callable

from mongokey._support.address import AddressLike
from mongokey._support.deadline import Timeout
from mongokey.connection.connection import Connection
from mongokey.handshake import HelloReply
from mongokey.pool.state import PoolState

class Pool(PoolState):
    def __init__(
        self,
        address: AddressLike,
        connect: Callable[[], Connection],
        *,
        max_size: int = 100,
        min_size: int = 0,
        max_connecting: int = 2,
        max_idle_ns: int = 0,
        wait_queue_timeout: Timeout | None = None,
    ) -> None: ...
    @property
    def address(self) -> AddressLike: ...
    @property
    def description(self) -> HelloReply: ...
    def add_connection(self, connection: Connection) -> None: ...
    def maintain(self) -> None: ...
    def clear(self) -> None: ...
    def close(self) -> None: ...
