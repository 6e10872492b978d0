from collections.abc import Mapping
from typing import Any

from mongokey._support.address import AddressLike
from mongokey._support.deadline import Deadline
from mongokey.auth.login import LoginResult
from mongokey.connection.settings import ConnectionSettings
from mongokey.errors import PoolClearedError
from mongokey.handshake import HelloReply
from mongokey.transport import Stream
from mongokey.wire.message_buffer import MessageBuffer

class Connection(MessageBuffer):
    login: LoginResult | None
    settings: ConnectionSettings | None
    def __init__(self, stream: Stream, address: AddressLike) -> None: ...
    @property
    def stream(self) -> Stream: ...
    @property
    def address(self) -> AddressLike: ...
    @property
    def hello(self) -> HelloReply: ...
    @property
    def max_bson_size(self) -> int: ...
    @property
    def max_write_batch_size(self) -> int: ...
    @property
    def max_wire_version(self) -> int: ...
    @property
    def is_member(self) -> bool: ...
    @property
    def supports_sessions(self) -> bool: ...
    @property
    def supports_retryable_writes(self) -> bool: ...
    @property
    def supports_cluster_time(self) -> bool: ...
    @property
    def id(self) -> int:
        """Counts from 1 in each pool."""
    @property
    def generation(self) -> int:
        """The pool's, or the service's behind a load balancer, when it was begun."""
    @property
    def service_id(self) -> Any:
        """Which service it leads to behind a load balancer; None without one."""
    @property
    def stale(self) -> bool:
        """Whether the pool has a newer generation."""
    @property
    def interruption(self) -> PoolClearedError | None:
        """The error for its user, where the pool has closed it while it was in use."""
    @property
    def closed(self) -> bool: ...
    def accept_hello(self, hello: HelloReply) -> None: ...
    def command(
        self, database: str, command: Mapping[str, Any], deadline: Deadline | None = None
    ) -> dict[str, Any]: ...
    def close(self) -> None: ...
