from collections.abc import Callable
from typing import Any

from mongokey._support.address import AddressLike
from mongokey.pool.maintenance import PoolMaintenance
from mongokey.topology.topology import Topology

class Namespace:
    def __init__(self, database: str, collection: str | None = None) -> None: ...
    @property
    def database(self) -> str: ...
    @property
    def collection(self) -> str | None: ...

class ServerSession: ...
class PendingCursor: ...
class Operation: ...

class Executor:
    def __init__(
        self,
        topology: Topology,
        *,
        retry_reads: bool,
        retry_writes: bool,
        direct: bool = False,
        server_api: bytes | None = None,
        explain: Callable[[dict[str, Any], AddressLike, str], object] | None = None,
        make_maintenance: Callable[[], PoolMaintenance] | None = None,
    ) -> None: ...
    @property
    def topology(self) -> Topology: ...
    @property
    def closed(self) -> bool: ...
    @property
    def has_abandoned(self) -> bool: ...
    def close(self) -> None: ...
