"""Decimal128, IEEE 754-2008's decimal floating point of 34 digits, in its BID encoding.

Values go to and from Python's `decimal.Decimal` exactly or not at all. The decimal module is
loaded when a value is first converted, not by decoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mongokey._support.reprs import with_safe_repr
from mongokey.bson.codec_options import TypeDecoder, TypeEncoder

if TYPE_CHECKING:
    import decimal

    _VALUE_OPTIONS = decimal.Decimal | str | tuple[int, int] | Sequence[int]

__all__ = ["Decimal128", "DecimalDecoder", "DecimalEncoder", "create_decimal128_context"]

_MAX_DIGITS = 34
_MAX_COEFFICIENT = 10**_MAX_DIGITS - 1
_EXPONENT_MAX = 6144
_EXPONENT_MIN = -6143
_EXPONENT_BIAS = 6176

# Of the high 64 bits: sign, special values, and the two bits that mark the long form, whose
# coefficients all exceed 34 digits and so mean zero.
_SIGN = 1 << 63
_INFINITY = 0x78 << 56
_NAN = 0x7C << 56
_SNAN = 0x7E << 56
_LONG_FORM = 3 << 61
_LOW_MASK = (1 << 64) - 1
_COEFFICIENT_HIGH_MASK = (1 << 49) - 1


def _context(strict: bool) -> decimal.Context:
    import decimal

    traps = [decimal.InvalidOperation, decimal.Overflow, decimal.Inexact] if strict else []
    return decimal.Context(
        prec=_MAX_DIGITS,
        rounding=decimal.ROUND_HALF_EVEN,
        Emin=_EXPONENT_MIN,
        Emax=_EXPONENT_MAX,
        capitals=1,
        clamp=1,
        flags=[],
        traps=traps,
    )


def create_decimal128_context() -> decimal.Context:
    """A `decimal.Context` whose results always fit a Decimal128 (rounded if need be)."""
    return _context(strict=False)


def _to_bid(value: Any) -> tuple[int, int]:
    """The high and low 64 bits for a Decimal or its string."""
    value = _context(strict=True).create_decimal(value)
    sign, digits, exponent = value.as_tuple()
    high = _SIGN if sign else 0
    if exponent == "F":
        return high | _INFINITY, 0
    if exponent in ("n", "N"):
        if digits:
            raise ValueError("NaN with debug payload is not supported")
        return high | (_NAN if exponent == "n" else _SNAN), 0
    coefficient = int("".join(map(str, digits)))
    high |= (exponent + _EXPONENT_BIAS) << 49 | coefficient >> 64
    return high, coefficient & _LOW_MASK


@with_safe_repr
class Decimal128:
    """A decimal number as BSON stores it.

    `value` is a `decimal.Decimal` or its string, or the pair (high 64 bits, low 64 bits) of the
    BID encoding. Raises `decimal.Inexact`, `decimal.Overflow` or `decimal.InvalidOperation`
    when the number cannot be kept exactly, `ValueError` for a NaN with payload, and `TypeError`
    for other types. Two are equal when their encodings are; not hashable.
    """

    __slots__ = ("__high", "__low")
    __high: int
    __low: int

    _type_marker = 19

    def __init__(self, value: _VALUE_OPTIONS) -> None:
        if isinstance(value, (list, tuple)):
            if len(value) != 2:
                raise ValueError("a list or tuple for Decimal128 must have exactly 2 elements")
            self.__high, self.__low = value
            return
        from decimal import Decimal

        if not isinstance(value, (str, Decimal)):
            raise TypeError(f"Cannot convert {value!r} to Decimal128")
        self.__high, self.__low = _to_bid(value)

    def to_decimal(self) -> decimal.Decimal:
        """The same number as a `decimal.Decimal`."""
        from decimal import Decimal

        high, low = self.__high, self.__low
        sign = 1 if high & _SIGN else 0
        for mask, letter in ((_SNAN, "N"), (_NAN, "n"), (_INFINITY, "F")):
            if high & mask == mask:
                return Decimal((sign, (), letter))  # type: ignore[arg-type]
        if high & _LONG_FORM == _LONG_FORM:
            return Decimal((sign, (0,), ((high >> 47) & 0x3FFF) - _EXPONENT_BIAS))
        exponent = ((high >> 49) & 0x3FFF) - _EXPONENT_BIAS
        coefficient = (high & _COEFFICIENT_HIGH_MASK) << 64 | low
        if coefficient > _MAX_COEFFICIENT:
            coefficient = 0
        return Decimal((sign, tuple(map(int, str(coefficient))), exponent))

    @classmethod
    def from_bid(cls, value: bytes) -> Decimal128:
        """A Decimal128 of its 16-byte BID encoding, little-endian as in BSON."""
        if not isinstance(value, bytes):
            raise TypeError(f"value must be an instance of bytes, not {type(value)}")
        if len(value) != 16:
            raise ValueError("value must be exactly 16 bytes")
        return cls((int.from_bytes(value[8:], "little"), int.from_bytes(value[:8], "little")))

    @property
    def bid(self) -> bytes:
        """The 16-byte BID encoding, little-endian."""
        return self.__low.to_bytes(8, "little") + self.__high.to_bytes(8, "little")

    def __str__(self) -> str:
        dec = self.to_decimal()
        # The specification wants all NaNs to look the same.
        return "NaN" if dec.is_nan() else str(dec)

    def __repr__(self) -> str:
        return f"Decimal128('{self}')"

    def __getstate__(self) -> tuple[int, int]:
        return self.__high, self.__low

    def __setstate__(self, state: tuple[int, int]) -> None:
        self.__high, self.__low = state

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Decimal128):
            return self.bid == other.bid
        return NotImplemented

    __hash__: Any = None

    def __ne__(self, other: object) -> bool:
        return not self == other


class DecimalEncoder(TypeEncoder):
    """A type codec that encodes `decimal.Decimal` as Decimal128."""

    @property
    def python_type(self) -> type[decimal.Decimal]:
        from decimal import Decimal

        return Decimal

    def transform_python(self, value: Any) -> Decimal128:
        """`value` as Decimal128."""
        return Decimal128(value)


class DecimalDecoder(TypeDecoder):
    """A type codec that decodes Decimal128 to `decimal.Decimal`."""

    @property
    def bson_type(self) -> type[Decimal128]:
        return Decimal128

    def transform_bson(self, value: Any) -> decimal.Decimal:
        """`value` as Decimal."""
        result: decimal.Decimal = value.to_decimal()
        return result
