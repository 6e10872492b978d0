"""DatetimeMS, BSON's date as it is stored: milliseconds since the epoch, of any 64-bit value.

Also the conversions between that number and `datetime.datetime`, whose years end at 9999.
The codec has its own fast conversion for the plain cases and comes here for the others.
"""

from __future__ import annotations

import datetime

from mongokey._support.reprs import with_safe_repr
from mongokey.bson.codec_options import DEFAULT_CODEC_OPTIONS, CodecOptions, DatetimeConversion
from mongokey.bson.errors import InvalidBSON
from mongokey.bson.tz_util import utc

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

__all__ = ["DatetimeMS"]

EPOCH_AWARE = datetime.datetime(1970, 1, 1, tzinfo=utc)
EPOCH_NAIVE = datetime.datetime(1970, 1, 1)
_MILLISECOND = datetime.timedelta(milliseconds=1)
_DATETIME_ERROR_SUGGESTION = (
    "(use CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO), or"
    " MongoClient(datetime_conversion='DATETIME_AUTO'), to get such dates as DatetimeMS)"
)


@with_safe_repr
class DatetimeMS:
    """Milliseconds since the epoch (UTC), for dates that `datetime.datetime` cannot hold.

    `value` is an int, or a datetime (a naive one is taken as UTC). Raises `OverflowError` for
    an int of more than 64 bits and `TypeError` for other types.
    """

    __slots__ = ("_value",)

    _type_marker = 9

    def __init__(self, value: int | datetime.datetime) -> None:
        if isinstance(value, int):
            if not -(2**63) <= value < 2**63:
                raise OverflowError("Must be a 64-bit integer of milliseconds")
            self._value = value
        elif isinstance(value, datetime.datetime):
            self._value = _datetime_to_millis(value)
        else:
            raise TypeError(f"{type(value)} is not a valid type for DatetimeMS")

    def __getstate__(self) -> Any:
        return None, {"_value": self._value}

    def as_datetime(
        self, codec_options: CodecOptions[Any] = DEFAULT_CODEC_OPTIONS
    ) -> datetime.datetime:
        """The datetime that decoding with `codec_options` would give.

        Raises `InvalidBSON` when it is out of a datetime's range and the options do not clamp.
        """
        found: datetime.datetime = _millis_to_datetime(self._value, codec_options)
        return found

    def __int__(self) -> int:
        return self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._value})"

    def __lt__(self, other: DatetimeMS | int) -> bool:
        return self._value < other

    def __le__(self, other: DatetimeMS | int) -> bool:
        return self._value <= other

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatetimeMS) and self._value == other._value

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __gt__(self, other: DatetimeMS | int) -> bool:
        return self._value > other

    def __ge__(self, other: DatetimeMS | int) -> bool:
        return self._value >= other


def _datetime_to_millis(dtm: datetime.datetime) -> int:
    offset = dtm.utcoffset()
    if offset is not None:
        dtm = dtm - offset
    return (dtm.replace(tzinfo=None) - EPOCH_NAIVE) // _MILLISECOND


_MIN_UTC = datetime.datetime.min.replace(tzinfo=utc)
_MAX_UTC = datetime.datetime.max.replace(tzinfo=utc)
_MIN_UTC_MS = _datetime_to_millis(_MIN_UTC)
_MAX_UTC_MS = _datetime_to_millis(_MAX_UTC)


def _offset_ms(tz: datetime.tzinfo, at: datetime.datetime) -> int:
    delta = tz.utcoffset(at)
    return 0 if delta is None else delta // _MILLISECOND


def _min_datetime_ms(tz: datetime.tzinfo = utc) -> int:
    """The least milliseconds that a datetime in `tz` can hold."""
    return max(_MIN_UTC_MS, _MIN_UTC_MS - _offset_ms(tz, _MIN_UTC))


def _max_datetime_ms(tz: datetime.tzinfo = utc) -> int:
    """The most milliseconds that a datetime in `tz` can hold."""
    return min(_MAX_UTC_MS, _MAX_UTC_MS - _offset_ms(tz, _MAX_UTC))


def _millis_to_datetime(millis: int, opts: CodecOptions[Any]) -> Any:
    """What `millis` decodes to: a datetime, or a DatetimeMS where `opts` say so.

    Raises `InvalidBSON` when a datetime is wanted and cannot hold the value.
    """
    conversion = opts.datetime_conversion
    if conversion == DatetimeConversion.DATETIME_MS:
        return DatetimeMS(millis)
    if conversion not in (
        DatetimeConversion.DATETIME,
        DatetimeConversion.DATETIME_CLAMP,
        DatetimeConversion.DATETIME_AUTO,
    ):
        raise ValueError("datetime_conversion must be an element of DatetimeConversion")
    if conversion != DatetimeConversion.DATETIME:
        tz = opts.tzinfo or utc
        low, high = _min_datetime_ms(tz), _max_datetime_ms(tz)
        if conversion == DatetimeConversion.DATETIME_CLAMP:
            millis = max(low, min(millis, high))
        elif not low <= millis <= high:
            return DatetimeMS(millis)
    try:
        since_epoch = datetime.timedelta(milliseconds=millis)
        if not opts.tz_aware:
            return EPOCH_NAIVE + since_epoch
        dt = EPOCH_AWARE + since_epoch
        return dt.astimezone(opts.tzinfo) if opts.tzinfo else dt
    except (ArithmeticError, ValueError) as err:
        raise InvalidBSON(
            f"a date of {millis} milliseconds is out of datetime's range"
            f" {_DATETIME_ERROR_SUGGESTION}"
        ) from err
