"""JSONOptions, how Extended JSON is written and read, and the four that have names.

Plain values, as CodecOptions are; what they mean for a value stands in `_json_write` and
`_json_read`.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, cast

from mongokey.bson.codec_options import CodecOptions
from mongokey.bson.tz_util import utc

__all__ = [
    "CANONICAL_JSON_OPTIONS",
    "DEFAULT_JSON_OPTIONS",
    "LEGACY_JSON_OPTIONS",
    "RELAXED_JSON_OPTIONS",
    "DatetimeRepresentation",
    "JSONMode",
    "JSONOptions",
]


class DatetimeRepresentation:
    """How dates are written."""

    LEGACY = 0
    """`{"$date": milliseconds}`."""
    NUMBERLONG = 1
    """`{"$date": {"$numberLong": "milliseconds"}}`: canonical."""
    ISO8601 = 2
    """`{"$date": "2024-02-29T12:00:00Z"}` for the years 1970 to 9999, others as NUMBERLONG:
    relaxed."""


class JSONMode:
    """The format that is written. Reading takes all of them."""

    LEGACY = 0
    """What PyMongo wrote before version 4."""
    RELAXED = 1
    """Numbers as JSON has them, dates to be read by people: the default."""
    CANONICAL = 2
    """Every value with its type. Reading in this mode refuses the legacy forms of `$date` and
    `$numberLong`, a bare number, as the specification asks."""


#: What each mode fixes: (strict_number_long, datetime_representation, strict_uuid).
_FIXED = {
    JSONMode.RELAXED: (False, DatetimeRepresentation.ISO8601, True),
    JSONMode.CANONICAL: (True, DatetimeRepresentation.NUMBERLONG, True),
}
_OWN = ("strict_number_long", "datetime_representation", "strict_uuid", "json_mode")


if TYPE_CHECKING:
    _Base = CodecOptions[MutableMapping[str, Any]]
else:
    _Base = CodecOptions


class JSONOptions(_Base):
    """How Extended JSON is written and read; immutable.

    strict_number_long: whether `Int64` is written as `$numberLong`; legacy mode only, where it
        is False by default.
    datetime_representation: of `DatetimeRepresentation`; legacy mode only, where it is LEGACY
        by default.
    strict_uuid: whether a `uuid.UUID` is written as `$binary` and not as `$uuid`; legacy mode
        only, where it is False by default.
    json_mode: of `JSONMode`; RELAXED by default.

    All further arguments are those of `CodecOptions`: `document_class`, `tz_aware`, `tzinfo`,
    `uuid_representation` and `datetime_conversion` say what is read. Raises `ValueError` for
    values that are not known or that contradict the mode.
    """

    strict_number_long: bool = False
    datetime_representation: int = DatetimeRepresentation.ISO8601
    strict_uuid: bool = True
    json_mode: int = JSONMode.RELAXED

    def __new__(
        cls,
        strict_number_long: bool | None = None,
        datetime_representation: int | None = None,
        strict_uuid: bool | None = None,
        json_mode: int = JSONMode.RELAXED,
        *args: Any,
        **kwargs: Any,
    ) -> JSONOptions:
        if kwargs.get("tz_aware"):
            kwargs.setdefault("tzinfo", utc)
        if datetime_representation not in (
            DatetimeRepresentation.LEGACY,
            DatetimeRepresentation.NUMBERLONG,
            DatetimeRepresentation.ISO8601,
            None,
        ):
            raise ValueError(
                "JSONOptions.datetime_representation must be one of LEGACY, NUMBERLONG, or"
                " ISO8601 from DatetimeRepresentation."
            )
        if json_mode not in (JSONMode.LEGACY, JSONMode.RELAXED, JSONMode.CANONICAL):
            raise ValueError(
                "JSONOptions.json_mode must be one of LEGACY, RELAXED, or CANONICAL from JSONMode."
            )
        given = (strict_number_long, datetime_representation, strict_uuid)
        values = _FIXED.get(json_mode)
        if values is None:
            legacy = (False, DatetimeRepresentation.LEGACY, False)
            values = tuple(  # type: ignore[assignment]
                usual if mine is None else mine for mine, usual in zip(given, legacy, strict=True)
            )
        else:
            for name, mine, fixed in zip(_OWN, given, values, strict=False):
                if mine is not None and mine != fixed:
                    mode = "RELAXED" if json_mode == JSONMode.RELAXED else "CANONICAL"
                    raise ValueError(
                        f"Cannot specify {name}={mine!r} with JSONMode.{mode}: it is {fixed!r}"
                    )
        self = cast("JSONOptions", super().__new__(cls, *args, **kwargs))
        assert values is not None
        self.strict_number_long, self.datetime_representation, self.strict_uuid = values
        self.json_mode = json_mode
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        own = tuple(getattr(self, name) for name in _OWN)
        return type(self), (*own, *self)

    def _arguments_repr(self) -> str:
        own = ", ".join(f"{name}={getattr(self, name)!r}" for name in _OWN)
        return f"{own}, {super()._arguments_repr()}"

    def with_options(self, **kwargs: Any) -> JSONOptions:
        """A copy with the options given by keyword replaced.

        A change of `json_mode` brings the new mode's other three along, unless they are given.
        """
        kept = () if kwargs.get("json_mode", self.json_mode) != self.json_mode else _OWN
        own = {name: getattr(self, name) for name in kept}
        return JSONOptions(**{**own, **self._asdict(), **kwargs})


LEGACY_JSON_OPTIONS = JSONOptions(json_mode=JSONMode.LEGACY)
"""Legacy Extended JSON."""
CANONICAL_JSON_OPTIONS = JSONOptions(json_mode=JSONMode.CANONICAL)
"""Canonical Extended JSON."""
RELAXED_JSON_OPTIONS = JSONOptions(json_mode=JSONMode.RELAXED)
"""Relaxed Extended JSON."""
DEFAULT_JSON_OPTIONS = RELAXED_JSON_OPTIONS
"""What `dumps` and `loads` use when no `json_options` are given."""
