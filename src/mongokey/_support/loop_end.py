"""Learns that an event loop is about to end, while it still runs.

`asyncio.run` and its kin end a loop by `loop.shutdown_asyncgens()`, which closes all asynchronous
generators of that loop: here one waits for that. Knows nothing of who is told, nor how else a loop
may come to its end.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


class LoopEnd:
    """Has `function` called, once, when the loop that runs now is about to end; not after
    `forget`, nor when this object is gone. `function` must not wait."""

    # Until `__init__` is through.
    _function: list[Callable[[], object]] | None = None

    def __init__(self, function: Callable[[], object]) -> None:
        kept = self._function = [function]
        generator = _until_the_end(kept)
        # Without its finalizer, which the loop would have make a task when this object is gone.
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=hooks.firstiter, finalizer=None)
        try:
            generator.__anext__().send(None)
        except StopIteration:
            self._generator = generator  # it waits at its `yield`
        finally:
            sys.set_asyncgen_hooks(*hooks)

    def forget(self) -> None:
        """Call nothing."""
        if self._function is not None:
            self._function.clear()

    def __del__(self) -> None:
        self.forget()


async def _until_the_end(function: list[Callable[[], object]]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        if function:
            function.pop()()


__all__ = ["LoopEnd"]
