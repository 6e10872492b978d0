"""`repr` that works on any object, also on one whose `__init__` did not finish.

Debuggers, `unittest --locals` and crash reporters print the objects of a failing constructor too,
and an error of theirs there would hide the one that matters. Knows nothing of the classes.
"""

from __future__ import annotations

from collections.abc import Callable

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _Class = TypeVar("_Class", bound=type[Any])


def with_safe_repr(cls: _Class) -> _Class:
    """A class decorator: the class's `repr` and `str` say so when attributes are missing."""
    for name in ("__repr__", "__str__"):
        if name in vars(cls):
            setattr(cls, name, _made_safe(vars(cls)[name]))
    return cls


def _made_safe(shown: Callable[[Any], str]) -> Callable[[Any], str]:
    def show(self: Any) -> str:
        try:
            return shown(self)
        except AttributeError:
            return f"<{type(self).__name__}, not initialized>"

    show.__name__ = shown.__name__
    show.__qualname__ = shown.__qualname__
    show.__doc__ = shown.__doc__
    return show
