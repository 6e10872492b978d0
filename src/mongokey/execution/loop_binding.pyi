from asyncio import AbstractEventLoop
from collections.abc import Callable

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
