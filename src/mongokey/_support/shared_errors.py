"""One failure told to several threads: each gets an error of its own.

A thread adds its traceback to the error it raises, so one object must not be raised in two. Knows
exceptions in general only.
"""

from __future__ import annotations

from copy import copy

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import TypeVar

    E = TypeVar("E", bound=BaseException)


def own_copy(error: E) -> E:
    """An error that says what `error` says, with its cause and attributes, without its traceback;
    `error` itself where its class cannot be copied."""
    try:
        own = copy(error)
    except Exception:
        # An exception class of somebody else's: better its object with two tracebacks than none.
        return error
    own.__dict__.update(error.__dict__)
    own.__cause__ = error.__cause__
    own.__suppress_context__ = error.__suppress_context__
    return own


__all__ = ["own_copy"]
