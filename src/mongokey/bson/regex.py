"""Regex, a regular expression as the server has it: a pattern and flags, not compiled.

The server's dialect is PCRE, which differs from Python's; so decoding never compiles.
"""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar

from mongokey._support.reprs import with_safe_repr
from mongokey.bson.slots import getstate_slots, setstate_slots

__all__ = ["Regex", "str_flags_to_int"]

_T = TypeVar("_T", str, bytes)

_FLAGS = {
    "i": re.IGNORECASE,
    "l": re.LOCALE,
    "m": re.MULTILINE,
    "s": re.DOTALL,
    "u": re.UNICODE,
    "x": re.VERBOSE,
}


def str_flags_to_int(str_flags: str) -> int:
    """The `re` flags that the letters of a BSON regular expression mean; others are ignored."""
    flags = 0
    for letter, flag in _FLAGS.items():
        if letter in str_flags:
            flags |= flag
    return flags


@with_safe_repr
class Regex(Generic[_T]):
    """A BSON regular expression.

    `pattern` is str or bytes; `flags` a bitmask of `re` flags or a string of letters such as
    "im". Raises `TypeError` for other types. Not hashable, since its fields may be changed.
    """

    __slots__ = ("flags", "pattern")

    __getstate__ = getstate_slots
    __setstate__ = setstate_slots

    _type_marker = 11

    def __init__(self, pattern: _T, flags: str | int = 0) -> None:
        if not isinstance(pattern, (str, bytes)):
            raise TypeError(f"pattern must be a string, not {type(pattern)}")
        self.pattern: _T = pattern
        if isinstance(flags, str):
            self.flags = str_flags_to_int(flags)
        elif isinstance(flags, int):
            self.flags = flags
        else:
            raise TypeError(f"flags must be a string or int, not {type(flags)}")

    @classmethod
    def from_native(cls, regex: re.Pattern[_T]) -> Regex[_T]:
        """A `Regex` of a pattern compiled by Python.

        A pattern compiled from str has `re.UNICODE` set; clear it from `flags` if it is not
        meant to be stored. Raises `TypeError` for anything but a compiled pattern.
        """
        if not isinstance(regex, re.Pattern):
            raise TypeError(f"regex must be a compiled regular expression, not {type(regex)}")
        return Regex(regex.pattern, regex.flags)

    def try_compile(self) -> re.Pattern[_T]:
        """Compile with Python's `re`; raises `re.error` where its dialect cannot say it."""
        return re.compile(self.pattern, self.flags)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Regex):
            return bool(self.pattern == other.pattern and self.flags == other.flags)
        return NotImplemented

    __hash__: Any = None

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __repr__(self) -> str:
        return f"Regex({self.pattern!r}, {self.flags!r})"
