"""Timestamp, the type of the oplog and of `$clusterTime`: a second and an ordinal within it.

For times of an application use `datetime.datetime`.
"""

from __future__ import annotations

import datetime

from mongokey._support.reprs import with_safe_repr
from mongokey.bson.slots import getstate_slots, setstate_slots
from mongokey.bson.tz_util import utc

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Timestamp"]

UPPERBOUND = 4294967296
_EPOCH = datetime.datetime(1970, 1, 1)
_SECOND = datetime.timedelta(seconds=1)


@with_safe_repr
class Timestamp:
    """An internal timestamp of the server.

    `time` is seconds since the epoch (UTC) or a datetime (a naive one is taken as UTC), `inc`
    the ordinal within the second. Raises `TypeError` for other types and `ValueError` for
    values outside 0..2**32 - 1. Ordered by time, then ordinal.
    """

    __slots__ = ("__inc", "__time")

    __getstate__ = getstate_slots
    __setstate__ = setstate_slots

    _type_marker = 17

    def __init__(self, time: datetime.datetime | int, inc: int) -> None:
        if isinstance(time, datetime.datetime):
            offset = time.utcoffset()
            if offset is not None:
                time = time - offset
            time = (time.replace(tzinfo=None) - _EPOCH) // _SECOND
        for name, value in (("time", time), ("inc", inc)):
            if not isinstance(value, int):
                raise TypeError(f"{name} must be an instance of int, not {type(value)}")
            if not 0 <= value < UPPERBOUND:
                raise ValueError(f"{name} must be contained in [0, 2**32)")
        self.__time = time
        self.__inc = inc

    @property
    def time(self) -> int:
        """Seconds since the epoch."""
        return self.__time

    @property
    def inc(self) -> int:
        """The ordinal within the second."""
        return self.__inc

    def as_datetime(self) -> datetime.datetime:
        """The time as an aware datetime in UTC."""
        return datetime.datetime.fromtimestamp(self.__time, utc)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Timestamp):
            return self.__time == other.time and self.__inc == other.inc
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.__time) ^ hash(self.__inc)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: Any) -> bool:
        if isinstance(other, Timestamp):
            return (self.__time, self.__inc) < (other.time, other.inc)
        return NotImplemented

    def __le__(self, other: Any) -> bool:
        if isinstance(other, Timestamp):
            return (self.__time, self.__inc) <= (other.time, other.inc)
        return NotImplemented

    def __gt__(self, other: Any) -> bool:
        if isinstance(other, Timestamp):
            return (self.__time, self.__inc) > (other.time, other.inc)
        return NotImplemented

    def __ge__(self, other: Any) -> bool:
        if isinstance(other, Timestamp):
            return (self.__time, self.__inc) >= (other.time, other.inc)
        return NotImplemented

    def __repr__(self) -> str:
        return f"Timestamp({self.__time}, {self.__inc})"
