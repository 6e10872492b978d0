"""Secrets in memory: held where a `repr` does not show them, and gone from frames that failed.

Crash reporters and `unittest --locals` print the variables of each frame that an exception came
through, so a function that is given a secret must not be left by one with the secret in them.
Knows nothing of what the secrets are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from sys import exc_info

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

    _T = TypeVar("_T")
    _P = ParamSpec("_P")

    class _Held(Generic[_T]):
        __slots__ = ()

else:

    class _Held:
        __slots__ = ()

        def __class_getitem__(cls, item: object) -> type:
            return cls


# What is shown in the place of a secret.
HIDDEN = "<hidden>"


class Secret(_Held["_T"]):
    """Holds a value, which `reveal` gives and no `repr` shows. Equal where the values are."""

    __slots__ = ("_value",)

    def __init__(self, value: _T) -> None:
        self._value = value

    def reveal(self) -> _T:
        """The value; it is not to be kept in a variable of a function that can fail."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return HIDDEN

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")


def keeps_secrets(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """A decorator of functions that are given secrets or make them: an exception that leaves them
    takes none along in the variables of the frames it came through."""

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        # What is being handled already is not below, and may be the caller's own.
        outer = exc_info()[1]
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            del args, kwargs  # this frame is one of the exception's, too
            _forget(error, outer)
            raise
        finally:
            del outer

    return call


def unguarded(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """What `keeps_secrets` decorated, for callers that are decorated themselves: one layer empties
    the frames of all that is below it."""
    bare: Callable[_P, _T] = function.__wrapped__  # type: ignore[attr-defined]
    return bare


def _forget(error: BaseException, outer: BaseException | None) -> None:
    seen: set[int] = set() if outer is None else {id(outer)}
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        traceback = each.__traceback__
        while traceback is not None:
            _empty(traceback.tb_frame)
            traceback = traceback.tb_next
        waiting += [each.__cause__, each.__context__]


def _empty(frame: Any) -> None:
    import sys

    # The frames of a callback are the user's, who may want to see them.
    package = str(frame.f_globals.get("__name__")).partition(".")[0]
    if package != "mongokey" and package not in sys.stdlib_module_names:
        return
    try:
        frame.clear()
    except RuntimeError:  # it runs still, so it is above, or of another thread
        return


__all__ = ["HIDDEN", "Secret", "keeps_secrets", "unguarded"]
