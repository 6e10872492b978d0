"""What a job is that is done beside the program, so that a thread or an event loop can do it.

A job is a callable. What it returns is nothing, or a generator of its waits: it yields what a call
returned, which on the asyncio face is an awaitable, and is sent what that comes to; or a
`Blocking`, and is sent what the call returns. Knows neither threads nor loops.
"""

from __future__ import annotations

from types import GeneratorType

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from typing import Any, TypeVar

    _Item = TypeVar("_Item")
    _Result = TypeVar("_Result")
    JobSteps = Generator[Any, Any, _Result]


class Blocking:
    """The step that calls `function`, which blocks: an event loop has a thread do it."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function


def call_for_each(function: Callable[[_Item], object], items: Iterable[_Item]) -> None:
    """Call `function` for each of `items`, whatever it raises; the first error is raised then."""
    first: BaseException | None = None
    for item in items:
        try:
            function(item)
        except BaseException as error:
            first = first or error
    if first is not None:
        raise first


def run_job(job: Callable[[], object]) -> None:
    """Do a job in the calling thread, which waits."""
    found = job()
    if type(found) is GeneratorType:
        run_steps(found)


def run_steps(steps: JobSteps[_Result]) -> _Result:
    """Carry out the steps of a job in the calling thread; what they return."""
    try:
        step = next(steps)
        while True:
            if type(step) is not Blocking:
                step = steps.send(step)
                continue
            try:
                answer = step.function()
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        result: _Result = end.value
        return result


__all__ = ["Blocking", "call_for_each", "run_job", "run_steps"]
