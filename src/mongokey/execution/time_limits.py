"""How long operations may take: the blocks of `mongokey.timeout`, the client's `timeoutMS`, and
those of databases, collections, sessions and calls, which executors hand down
(client-side-operations-timeout specification).

It knows which of them holds in a context, and when that is over. It must not know operations,
nor who waits for what: `execution.execution` asks for a deadline, and hands it on.
"""

from __future__ import annotations

from contextvars import ContextVar
from math import isnan

from mongokey._support.deadline import Deadline, Timeout, earliest
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token
    from typing import Any, TypeVar

    from mongokey.execution.execution import Executor

    _Executor = TypeVar("_Executor", bound=Executor)

_OPTION = "timeoutMS"
# A time of 0 is no limit: for ever, as far as deadlines go.
_LONGEST_S = 1e10
_FOR_EVER = Timeout(round(_LONGEST_S * 1e9), _OPTION)


class _Scope:
    """What holds within a block.

    `timeout` is the block's, None where it leaves the time to the client's option; `deadline` is
    that of operations; `cap` the earliest of the block and those around it, which may be lifted
    for the operations in it, but holds for blocks that are nested deeper.
    """

    __slots__ = ("cap", "deadline", "timeout")

    def __init__(self, timeout: Timeout | None, cap: Deadline | None) -> None:
        self.timeout = timeout
        if timeout is None:
            self.deadline, self.cap = None, cap
            return
        made = timeout.start()
        if timeout is _FOR_EVER:
            self.deadline, self.cap = made, cap
        else:
            self.deadline = self.cap = earliest(cap, made)


_SCOPE: ContextVar[_Scope | None] = ContextVar("mongokey_timeout", default=None)


def deadline_of(timeout: Timeout | None, given: bool, lifetime: Deadline | None) -> Deadline | None:
    """The deadline of an operation that begins now; None where nothing limits it.

    `given` says whether its client has a timeoutMS, which is `timeout` (None: 0, no limit);
    `lifetime` is what a cursor has left of its first command's, where the operation is about one.
    """
    scope = _SCOPE.get()
    if scope is not None and scope.deadline is not None:
        return scope.deadline
    if lifetime is not None:
        return lifetime
    if not given:
        return None
    made = (timeout or _FOR_EVER).start()
    return made if scope is None else earliest(made, scope.cap)


def timeout_now(timeout: Timeout | None) -> Timeout | None:
    """The time that is given here to what begins anew: a block's, or `timeout`, the client's;
    None: no limit."""
    scope = _SCOPE.get()
    if scope is not None and scope.timeout is not None:
        timeout = scope.timeout
    return None if timeout is _FOR_EVER else timeout


def is_limited(executor: Executor) -> bool:
    """Whether what is begun here has a time: the executor's, or that of a block; 0 is one too."""
    scope = _SCOPE.get()
    return executor.timed or (scope is not None and scope.deadline is not None)


def is_for_ever(deadline: Deadline) -> bool:
    """Whether it is that of a timeout of 0."""
    return deadline.timeout is _FOR_EVER


class TimeoutContext:
    """A block whose operations have one deadline; `mongokey.timeout` makes it."""

    __slots__ = ("_fresh", "_timeout", "_tokens")

    def __init__(self, timeout: Timeout | None, fresh: bool = False) -> None:
        be_asked()
        self._timeout = timeout
        self._fresh = fresh
        self._tokens: list[Token[_Scope | None]] = []

    def __enter__(self) -> None:
        around = None if self._fresh else _SCOPE.get()
        cap = None if around is None else around.cap
        self._tokens.append(_SCOPE.set(_Scope(self._timeout, cap)))

    def __exit__(self, *exc_info: object) -> None:
        try:
            _SCOPE.reset(self._tokens.pop())
        except ValueError:
            # A coroutine that nobody went on with is closed in another context, which never had
            # this block.
            return


class _DeadlineContext(TimeoutContext):
    """A block whose operations have a deadline that began before it."""

    __slots__ = ("_deadline",)

    def __init__(self, deadline: Deadline) -> None:
        super().__init__(deadline.timeout)
        self._deadline = deadline

    def __enter__(self) -> None:
        scope = _Scope(None, self._deadline)
        scope.timeout, scope.deadline = self._deadline.timeout, self._deadline
        self._tokens.append(_SCOPE.set(scope))


class _NoBlock:
    """A block that changes nothing."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc_info: object) -> None:
        return None


_NO_BLOCK = _NoBlock()


def timeout(seconds: float | None) -> TimeoutContext:
    """A block in which every operation, of whatever client, has to end within so many seconds.

    Use it in a plain ``with``, on both faces::

        with mongokey.timeout(5):
            orders.insert_one({})
            stock.update_one({}, {"$inc": {"n": -1}})

    All operations of the block share the deadline, which begins when the block is entered. It takes
    the place of the client's `timeoutMS`, and of socketTimeoutMS, waitQueueTimeoutMS, wTimeoutMS
    and maxTimeMS. A nested block can only shorten it. The error of an operation that runs out of
    time has ``timeout`` True.

    :param seconds: a number of seconds; 0 means no limit, None leaves the time to the client's
        timeoutMS

    Raises `TypeError` for what is no number, `ValueError` for a negative number or NaN.
    """
    if seconds is None:
        return TimeoutContext(None)
    if not isinstance(seconds, int | float):
        raise TypeError(
            f"timeout must be None, an int, or a float, not {type(seconds).__name__}: give seconds"
        )
    if seconds < 0:
        raise ValueError(f"timeout cannot be negative, as {seconds} is: give 0 for no limit")
    # Also whole numbers that no float holds.
    known = min(seconds, _LONGEST_S)
    if isnan(known):
        raise ValueError("timeout must be a number of seconds, not NaN")
    return TimeoutContext(Timeout.from_seconds(known, _OPTION) or _FOR_EVER)


def one_deadline(executor: Executor) -> TimeoutContext | _NoBlock:
    """A block for a call of several operations: they share one deadline, where the client has a
    timeoutMS and no block of `timeout` holds already."""
    if not executor.timed:
        return _NO_BLOCK
    scope = _SCOPE.get()
    if scope is not None and scope.deadline is not None:
        return _NO_BLOCK
    return TimeoutContext(executor.timeout or _FOR_EVER)


def limited(
    executor: _Executor, timeout_ms: Any, *, option: str = "timeout_ms", of_call: bool = False
) -> _Executor:
    """`executor` with another timeoutMS, `timeout_ms` in milliseconds; 0: no limit. None leaves the
    time to `executor`, which is returned itself.

    `of_call`: it is for a single call. Raises `TypeError` for what is no number, `ValueError` for a
    negative number or NaN, both with the name of the `option`.
    """
    if timeout_ms is None:
        return executor
    if isinstance(timeout_ms, bool) or not isinstance(timeout_ms, int | float):
        raise TypeError(
            f"{option} must be a number of milliseconds, or None for the time that is inherited, "
            f"not {type(timeout_ms).__name__}"
        )
    if timeout_ms < 0:
        raise ValueError(f"{option} must not be negative, as {timeout_ms} is: give 0 for no limit")
    # Also whole numbers that no float holds.
    known = min(timeout_ms, _LONGEST_S * 1000)
    if isnan(known):
        raise ValueError(f"{option} must be a number of milliseconds, not NaN")
    return executor.limited_to(Timeout.from_seconds(known / 1000, _OPTION), of_call=of_call)


#: The values of `timeout_mode`.
CURSOR_LIFETIME, ITERATION = "cursorLifetime", "iteration"


def is_by_iteration(executor: Executor, mode: Any, *, endless: bool, writes: bool = False) -> bool:
    """Whether each fetch of a cursor has the whole time, and not all of them together ("Cursors").

    `mode` is the user's `timeout_mode` or None, `endless` says that the cursor is a tailable one,
    `writes` that its aggregation ends in $out or $merge. Raises `ValueError` for another mode, and
    `ConfigurationError` for one that such a cursor cannot have.
    """
    if mode is None:
        return endless
    if mode not in (CURSOR_LIFETIME, ITERATION):
        raise ValueError(
            f"timeout_mode must be {CURSOR_LIFETIME!r}, {ITERATION!r} or None, not {mode!r}"
        )
    if not executor.timed:
        raise ConfigurationError(
            f"timeout_mode={mode!r} says what a timeoutMS is for, and there is none: give "
            "timeout_ms, or leave out timeout_mode"
        )
    if mode == ITERATION:
        if writes:
            raise ConfigurationError(
                f"timeout_mode={mode!r} is for cursors with documents, which an aggregation with "
                "$out or $merge does not have: leave out timeout_mode"
            )
        return True
    if endless:
        raise ConfigurationError(
            f"timeout_mode={mode!r} is not for tailable cursors, which have no end: give "
            f"{ITERATION!r}, or leave out timeout_mode"
        )
    return False


def check_await_time(executor: Executor, max_await_time_ms: int | None) -> None:
    """Raise `ConfigurationError` where the server would wait for documents as long as the timeoutMS
    that a cursor was given ("Tailable awaitData Cursors"), or longer.

    With the client's timeoutMS, and in a block of `timeout`, the wait is shortened: programs of
    PyMongo's may have both.
    """
    limit = executor.timeout
    if limit is None or not executor.has_own_limit or max_await_time_ms is None:
        return
    if max_await_time_ms * 1_000_000 >= limit.ns:
        raise await_time_too_long(max_await_time_ms, limit)


def await_time_too_long(max_await_time_ms: int, limit: Timeout) -> ConfigurationError:
    """What is raised for such a wait."""
    return ConfigurationError(
        f"max_await_time_ms ({max_await_time_ms}) must be less than timeoutMS "
        f"({limit.ns // 1_000_000}): a wait that the server ends would be a timeout"
    )


def lifetime_of(executor: Executor) -> Deadline | None:
    """The deadline of an object whose calls have one together, from now on, such as a stream of
    GridFS: None where the client has no timeoutMS, or a block of `timeout` holds."""
    scope = _SCOPE.get()
    if executor.timeout is None or (scope is not None and scope.deadline is not None):
        return None
    return executor.timeout.start()


def within(deadline: Deadline | None) -> TimeoutContext | _NoBlock:
    """A block for a call of such an object: `deadline` is its lifetime. A block of `timeout` that
    holds already takes its place."""
    scope = _SCOPE.get()
    if deadline is None or (scope is not None and scope.deadline is not None):
        return _NO_BLOCK
    return _DeadlineContext(deadline)


def refreshed_deadline(executor: Executor) -> TimeoutContext | _NoBlock:
    """A block for what puts things in order after a timeout, such as the abort of a transaction:
    it has the whole time once more, whatever is left of the blocks around it."""
    scope = _SCOPE.get()
    if scope is not None and scope.timeout is not None:
        return TimeoutContext(scope.timeout, fresh=True)
    if executor.timed:
        return TimeoutContext(executor.timeout or _FOR_EVER, fresh=True)
    return _NO_BLOCK


# Who is told by `be_asked`, and whether they were.
_TOLD: list[Callable[[Any], object]] = []
_used = False


def when_used(tell: Callable[[Any], object]) -> None:
    """Call ``tell(deadline_of)`` once timeouts are used in this process: until then nobody has to
    ask."""
    _TOLD.append(tell)
    if _used:
        tell(deadline_of)


def be_asked() -> None:
    """From now on, operations ask for their deadlines."""
    global _used
    if _used:
        return
    _used = True
    for tell in _TOLD:
        tell(deadline_of)


__all__ = [
    "CURSOR_LIFETIME",
    "ITERATION",
    "TimeoutContext",
    "await_time_too_long",
    "be_asked",
    "check_await_time",
    "deadline_of",
    "is_by_iteration",
    "is_for_ever",
    "is_limited",
    "lifetime_of",
    "limited",
    "one_deadline",
    "refreshed_deadline",
    "timeout",
    "timeout_now",
    "when_used",
    "within",
]
