"""How tasks of an asyncio loop wait for servers: the steps are `Topology`'s.

It knows loops and timers. It must not know how servers are judged, nor what they are wanted for.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

from mongokey._support.tasks import in_thread, wake
from mongokey.topology.selection_errors import dns_is_silent

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any, TypeVar

    from mongokey._support.address import AddressLike
    from mongokey._support.deadline import Deadline
    from mongokey.pool.pool import Pool
    from mongokey.topology.selected_servers import ServerCriteria
    from mongokey.topology.topology import Topology, WaitingFor

    _Result = TypeVar("_Result")


async def select(
    topology: Topology,
    criteria: ServerCriteria | None = None,
    deprioritized: Collection[AddressLike] = (),
    operation: str = "",
    operation_id: int | None = None,
    until: Deadline | None = None,
) -> Pool:
    """`Topology.select`, awaited."""
    deadline = topology.selection_deadline(until)
    if not topology.opened:
        await open_topology(topology, deadline)
    return await drive(
        topology, topology.selection(criteria, deprioritized, operation, operation_id, deadline)
    )


async def open_topology(topology: Topology, deadline: Deadline | None = None) -> None:
    """`Topology.open`, but DNS is asked in a thread; one question for all who wait."""
    if topology.opened:
        return
    if topology.ask_dns is not None and not topology.closed:
        if deadline is None:
            deadline = topology.selection_deadline()
        loop = asyncio.get_running_loop()
        question: Any
        asked_in, question = topology.question or (None, None)
        if asked_in is not loop or question.done():
            question = loop.create_task(_ask(topology))
            # All who wait may be cancelled, and the loop be closed before DNS has answered.
            question.add_done_callback(_note_outcome)
            if hasattr(question, "_log_destroy_pending"):
                question._log_destroy_pending = False
            topology.question = (loop, question)
        await _end_of(question, topology, deadline)
        if topology.closed:
            topology.open()  # raises
        if not question.done():
            raise dns_is_silent(deadline)
        answer = question.result()
        if not topology.opened:
            topology.open_with(answer)
    else:
        topology.open()


async def _end_of(question: asyncio.Task[Any], topology: Topology, deadline: Deadline) -> None:
    """Wait until DNS has answered, the client is closed, or the time is over."""
    loop = asyncio.get_running_loop()
    while not (question.done() or topology.closed or deadline.passed()):
        future = loop.create_future()
        watcher = partial(wake, loop, future)
        answered = partial(_call, watcher)
        question.add_done_callback(answered)
        timer = loop.call_later(deadline.left_s, watcher)
        try:
            if not topology.changed_since(topology.changes, watcher):
                await future
        finally:
            timer.cancel()
            question.remove_done_callback(answered)
            topology.forget_watcher(watcher)


def _call(watcher: Callable[[], object], _: object) -> None:
    watcher()


async def _ask(topology: Topology) -> Any:
    ask_dns = topology.ask_dns
    assert ask_dns is not None, "whoever asks has looked"
    return await in_thread(ask_dns, "mongokey-look-up")


def give_up(loop: asyncio.AbstractEventLoop, question: asyncio.Task[Any]) -> None:
    """Nobody needs the answer any more; called in any thread. The one that asks ends by itself."""
    with suppress(RuntimeError):  # the loop is closed
        if asyncio._get_running_loop() is loop:
            question.cancel()
        else:
            loop.call_soon_threadsafe(question.cancel)


def _note_outcome(question: asyncio.Task[Any]) -> None:
    """It is no error that nobody hears of."""
    if not question.cancelled():
        question.exception()


async def drive(topology: Topology, steps: WaitingFor[_Result]) -> _Result:
    """What the steps come to; the calling task awaits the changes."""
    loop = asyncio.get_running_loop()
    try:
        seen, deadline = next(steps)
        while True:
            future = loop.create_future()
            watcher = partial(wake, loop, future)
            if not topology.changed_since(seen, watcher):
                timer = loop.call_later(deadline.left_s, watcher)
                try:
                    await future
                finally:
                    timer.cancel()
                    topology.forget_watcher(watcher)
            seen, deadline = steps.send(None)
    except StopIteration as end:
        result: _Result = end.value
        return result
    finally:
        steps.close()


__all__ = ["drive", "give_up", "open_topology", "select"]
