from mongokey._support.deadline import Deadline
from mongokey.connection.connection import Connection
from mongokey.pool.pool import Pool

class BlockingPool(Pool):
    def check_out(self, deadline: Deadline | None = None) -> Connection:
        """A connection for the caller alone, until `check_in`.

        Raises `WaitQueueTimeoutError`, `PoolClearedError` while the pool is paused or when it is
        cleared, `InvalidOperation` where only the caller's own thread could give one back or the
        client is closed, or what making a connection raises.
        """
    def fill(self) -> None:
        """Open connections up to `minPoolSize`; waits for them, in a thread that may.

        What goes wrong is told to `on_connect_failure`, and to the operation that comes next.
        """
