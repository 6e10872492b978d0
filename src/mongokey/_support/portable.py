"""Exceptions that pickle and copy with all their attributes, whatever their constructors take.

A `multiprocessing.Pool` waits for ever for a result whose exception cannot be read on the other
side, so what an exception holds and cannot be pickled travels as its `repr`. Knows no exception
class of the package.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _Error = TypeVar("_Error", bound="Portable")

_PLAIN = frozenset([type(None), bool, int, float, str, bytes])


class Portable(BaseException):
    """The base of such exceptions; `__cause__` goes along, traceback and `__context__` do not."""

    def __reduce__(self) -> tuple[Any, ...]:
        args = tuple(portable(each) for each in self.args)
        state = {name: portable(value) for name, value in self._attributes().items()}
        return _restore, (type(self), args, state)

    def _attributes(self) -> dict[str, Any]:
        """All that a pickle takes along besides `args`, by name."""
        cause = self.__cause__
        if cause is not None and not _travels(cause):
            # What is raised from has to be an exception.
            cause = Exception(f"{type(cause).__name__}: {cause}")
        return {
            **self.__dict__,
            "__cause__": cause,
            # After the cause, which sets it.
            "__suppress_context__": self.__suppress_context__,
        }

    def __copy__(self: _Error) -> _Error:
        made: _Error = type(self).__new__(type(self), *self.args)
        made.args = self.args
        made.__dict__.update(self.__dict__)
        made.__cause__, made.__context__ = self.__cause__, self.__context__
        made.__suppress_context__ = self.__suppress_context__
        return made


def _restore(cls: type[_Error], args: tuple[Any, ...], state: dict[str, Any]) -> _Error:
    """The exception again, without its constructor."""
    made: _Error = cls.__new__(cls, *args)
    made.args = args
    for name, value in state.items():
        setattr(made, name, value)
    return made


def portable(value: Any) -> Any:
    """`value`, or of what in it cannot be pickled the `repr`."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        return {portable(key): portable(part) for key, part in value.items()}
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return kind(portable(part) for part in value)
    if _travels(value):
        return value
    from reprlib import repr as short_repr

    return short_repr(value)


def _travels(value: Any) -> bool:
    """Whether `value` can be pickled and read again."""
    import pickle

    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301 - it was ours a moment ago
    # A class of anybody's may raise anything here.
    except Exception:
        return False
    return True
