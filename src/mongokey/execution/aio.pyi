from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine, Generator
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

class LoopBinding:
    """The event loop that one client belongs to: that of its first operation, until that loop is
    over; then the one that asks next.

    :param on_new_loop: called, without arguments, when a client that was used in a loop which is
        over is used in another: it must drop what belongs to the old one, without a word, and
        without touching that loop where it is closed
    :param on_loop_end: called, without arguments, when the loop is about to be closed, by
        `asyncio.run` and its kin: it should close what nobody uses, but the loop may still be used
    """

    def __init__(
        self,
        on_new_loop: Callable[[], object],
        on_loop_end: Callable[[], object] | None = None,
    ) -> None: ...
    @property
    def loop(self) -> AbstractEventLoop | None:
        """The loop, None before the first operation, and in a forked child before its own."""
    @property
    def entered_at(self) -> str | None:
        """Where the client was first used in that loop."""
    def enter(self, running: AbstractEventLoop) -> int:
        """Before an operation in `running`, the loop that runs; to be called where that is not
        `loop`.

        Raises `InvalidOperation` if the loop of before runs still, in another thread.
        """
    def reset_after_fork(self) -> None:
        """In a forked child: the loop is the parent's, and must not be touched."""
