from mongokey._support.deadline import Deadline
from mongokey.connection.connection import Connection
from mongokey.pool.pool import Pool

class AsyncPool(Pool):
    async def checkout_soon(self, deadline: Deadline | None = None) -> Connection:
        """A connection for the caller alone, until `check_in`.

        Raises `WaitQueueTimeoutError`, `PoolClearedError` while the pool is paused or when it is
        cleared, `InvalidOperation` when the client is closed, or what making a connection raises.
        """
    async def fill(self) -> None:
        """Open connections up to `minPoolSize`.

        What goes wrong is told to `on_connect_failure`, and to the operation that comes next.
        """
