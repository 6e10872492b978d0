"""Time zones for BSON's datetimes: UTC, and offsets that do not change.

The codec gives aware datetimes `utc` of this module. Nothing here knows of BSON itself.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from mongokey._support.reprs import with_safe_repr

__all__ = ["FixedOffset", "utc"]

ZERO: timedelta = timedelta(0)


@with_safe_repr
class FixedOffset(tzinfo):
    """A time zone at a fixed offset, in minutes east of UTC or as a timedelta."""

    def __init__(self, offset: float | timedelta, name: str) -> None:
        self.__offset = offset if isinstance(offset, timedelta) else timedelta(minutes=offset)
        self.__name = name

    def __getinitargs__(self) -> tuple[timedelta, str]:
        return self.__offset, self.__name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.__offset!r}, {self.__name!r})"

    def utcoffset(self, dt: datetime | None) -> timedelta:
        return self.__offset

    def tzname(self, dt: datetime | None) -> str:
        return self.__name

    def dst(self, dt: datetime | None) -> timedelta:
        return ZERO


utc: FixedOffset = FixedOffset(0, "UTC")
"""UTC, as the codec gives it to aware datetimes."""
