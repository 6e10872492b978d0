"""The one registry of what a forked child has to make anew.

A thread that held a lock, or was making something that others wait for, does not exist in the child
to end it; sockets, server sessions and TLS sessions belong to the parent. Knows objects by a weak
reference and functions by their names; must not know what they are.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from collections import deque
from weakref import ref

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeVar

    class Resettable(Protocol):
        """An object with locks, with somebody's work under way, or with what is the parent's.

        It may also have `restart_after_fork()`, which is called once all objects are reset: for
        what begins again by itself in the child, such as a thread.
        """

        def reset_after_fork(self) -> object:
            """Make new locks, and forget what is the parent's. Must not wait."""

    _Function = TypeVar("_Function", bound=Callable[[], object])

_functions: list[Callable[[], object]] = []
_objects: deque[ref[Resettable]] = deque()

# Dead references are dropped when so many are there; at most one thread at a time does that.
_FEWEST = 64
_most = _FEWEST
_dropping = allocate_lock()


def call_after_fork(target: Resettable) -> None:
    """Call `target.reset_after_fork()` in every forked child, for as long as `target` lives.

    `target` is not kept alive; a C class needs `cdef object __weakref__`.
    """
    _objects.append(ref(target))
    if len(_objects) > _most:
        _drop_dead()


def run_after_fork(function: _Function) -> _Function:
    """A decorator: the function, one of a module, is called in every forked child before the
    objects are reset."""
    _functions.append(function)
    return function


def _drop_dead() -> None:
    # No lock that others wait for, and each step leaves all living objects in the deque: a signal
    # handler may register one, or another thread fork, between any two.
    global _most
    if not _dropping.acquire(blocking=False):
        return
    try:
        for _ in range(len(_objects)):
            if _objects[0]() is None:
                _objects.popleft()
            else:
                _objects.rotate(-1)
        _most = max(_FEWEST, 2 * len(_objects))
    finally:
        _dropping.release()


def _after_fork() -> None:
    global _dropping
    _dropping = allocate_lock()
    living = [target for each in list(_objects) if (target := each()) is not None]
    failed: Exception | None = None
    for call in [*_functions, *(target.reset_after_fork for target in living), *_restarts(living)]:
        try:
            call()
        except Exception as error:
            failed = error  # the others are reset all the same
    if failed is not None:
        raise failed  # Python reports it and goes on


def _restarts(living: list[Any]) -> list[Callable[[], object]]:
    found = (getattr(target, "restart_after_fork", None) for target in living)
    return [restart for restart in found if restart is not None]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

__all__ = ["call_after_fork", "run_after_fork"]
