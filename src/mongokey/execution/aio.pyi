from asyncio import AbstractEventLoop
from collections.abc import Coroutine, Generator
from typing import Any, Protocol

from mongokey._support.deadline import Deadline
from mongokey.execution.execution import Executor
from mongokey.execution.operation import Operation
from mongokey.topology.topology import Topology

class Binding(Protocol):
    """Which loop a client belongs to."""

    def enter(self, running_loop: AbstractEventLoop) -> object:
        """Belong to another loop than before; raises where that must not be."""

class AsyncExecutor(Executor):
    """An `Executor` whose calls return coroutines."""

    def __init__(self, topology: Topology, *, binding: Binding, **options: Any) -> None: ...
    def execute(self, operation: Operation) -> Coroutine[Any, Any, Any]: ...
    def carry_out(self, plan: Generator[Any, Any, Any]) -> Coroutine[Any, Any, Any]: ...
    def enter(self) -> None:
        """Belong to the running loop from now on. Raises `InvalidOperation` where it must not."""
    async def open(self) -> None:
        """Start to look for the servers, if that was not done yet; raises what DNS says of an SRV
        name, and `InvalidOperation` when the client is closed."""
    async def selected_server(self, until: Deadline | None = None) -> Any:
        """The pool of a server that takes writes, found if need be."""
    def new_loop(self) -> None:
        """The loop that it belonged to is gone: what waited in it does not go on."""
