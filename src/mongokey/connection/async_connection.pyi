from collections.abc import Coroutine, Mapping
from typing import Any

from mongokey._support.address import AddressLike
from mongokey._support.deadline import Deadline
from mongokey.connection.connection import Connection
from mongokey.transport.loop_stream import LoopStream

class AsyncConnection(Connection):
    """A connection over `stream`; `address` is ``(host, port)``, or ``(path, None)``.

    Only `close` may be called outside of the loop's thread.
    """

    def __init__(self, stream: LoopStream, address: AddressLike) -> None: ...
    def command(  # type: ignore[override]
        self, database: str, command: Mapping[str, Any], deadline: Deadline | None = None
    ) -> Coroutine[Any, Any, dict[str, Any]]: ...
