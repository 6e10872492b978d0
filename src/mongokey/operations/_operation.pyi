from collections.abc import Callable
from typing import Any

from mongokey.topology._topology import Topology

class Namespace:
    def __init__(self, database: str, collection: str | None = None) -> None: ...
    @property
    def database(self) -> str: ...
    @property
    def collection(self) -> str | None: ...

class ServerSession: ...
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
        explain: Callable[[dict[str, Any], tuple[str, int | None], str], object] | None = None,
    ) -> None: ...
    @property
    def topology(self) -> Topology: ...
    @property
    def closed(self) -> bool: ...
    def close(self) -> None: ...
