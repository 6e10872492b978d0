"""Vectors of numbers in Binary of subtype 9 (bson-binary-vector specification).

The data starts with a byte for the element type and one for the padding: how many of the last
byte's low bits are not part of a packed-bit vector. numpy is used only when it is asked for.
"""

from __future__ import annotations

import enum
import struct
import warnings
from collections.abc import Sequence
from typing import Any

from mongokey._support.reprs import with_safe_repr

__all__ = ["BinaryVector", "BinaryVectorDtype", "pack_vector", "unpack_vector"]


class BinaryVectorDtype(enum.Enum):
    """The element type of a vector, by the byte that says it."""

    INT8 = b"\x03"
    """Integers in [-128, 127]."""
    FLOAT32 = b"\x27"
    """Floats of single precision."""
    PACKED_BIT = b"\x10"
    """Bits, eight to a byte; in Python the bytes, as integers in [0, 255]."""


_STRUCT_FORMAT = {
    BinaryVectorDtype.INT8: "b",
    BinaryVectorDtype.FLOAT32: "f",
    BinaryVectorDtype.PACKED_BIT: "B",
}
_NUMPY_NAME = {
    BinaryVectorDtype.INT8: "int8",
    BinaryVectorDtype.FLOAT32: "<f4",
    BinaryVectorDtype.PACKED_BIT: "uint8",
}


@with_safe_repr
class BinaryVector:
    """A vector and what is needed to store it.

    `data` is a sequence of numbers (or a one-dimensional numpy array), `dtype` their type,
    `padding` the number of low bits of the last byte to ignore (packed bits only).
    """

    __slots__ = ("data", "dtype", "padding")

    def __init__(self, data: Sequence[float] | Any, dtype: BinaryVectorDtype, padding: int = 0):
        self.data = data
        self.dtype = dtype
        self.padding = padding

    def __repr__(self) -> str:
        return f"BinaryVector(dtype={self.dtype}, padding={self.padding}, data={self.data})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BinaryVector):
            return False
        mine = (self.dtype, self.padding, self.data)
        return bool(mine == (other.dtype, other.padding, other.data))

    __hash__: Any = None

    def __len__(self) -> int:
        return len(self.data)


def _check_padding(dtype: BinaryVectorDtype, padding: int, size: int) -> None:
    """Raise ValueError unless a vector of `size` data bytes may have that padding."""
    if padding and dtype is not BinaryVectorDtype.PACKED_BIT:
        raise ValueError(f"padding does not apply to {dtype=}: it must be 0, not {padding}")
    if not 0 <= padding <= 7:
        raise ValueError(f"{padding=}. It must be in [0,1, ..7].")
    if padding and not size:
        raise ValueError("Empty vector with non-zero padding.")


def _numpy_bytes(vector: Any, dtype: BinaryVectorDtype) -> bytes:
    try:
        import numpy as np
    except ImportError as err:
        raise ImportError(
            "Failed to create binary from vector. Check type. If numpy array, numpy must be"
            " installed."
        ) from err
    if not isinstance(vector, np.ndarray):
        raise TypeError(
            "Could not create Binary. Vector must be a BinaryVector, list[int], list[float] or"
            " numpy ndarray."
        )
    if vector.ndim != 1:
        raise ValueError("a vector must be a one-dimensional array")
    if dtype is not BinaryVectorDtype.FLOAT32 and vector.size:
        low, high = (-128, 127) if dtype is BinaryVectorDtype.INT8 else (0, 255)
        if vector.min() < low or vector.max() > high:
            raise ValueError(f"Values found outside {low}..{high}, the range of {dtype.name}.")
    result: bytes = vector.astype(np.dtype(_NUMPY_NAME[dtype]), copy=False).tobytes()
    return result


def pack_vector(vector: Any, dtype: BinaryVectorDtype | None, padding: int | None) -> bytes:
    """The bytes of `Binary.from_vector`, with the errors that it documents."""
    if isinstance(vector, BinaryVector):
        if dtype or padding:
            raise ValueError("dtype and padding are the BinaryVector's and cannot be given too")
        vector, dtype, padding = vector.data, vector.dtype, vector.padding
    padding = padding or 0
    if not isinstance(dtype, BinaryVectorDtype):
        raise TypeError("dtype must be a BinaryVectorDtype: INT8, PACKED_BIT or FLOAT32")
    if isinstance(vector, list):
        data = struct.pack(f"<{len(vector)}{_STRUCT_FORMAT[dtype]}", *vector)
    else:
        data = _numpy_bytes(vector, dtype)
    _check_padding(dtype, padding, len(data))
    if padding and data[-1] & ((1 << padding) - 1):
        raise ValueError(
            f"the last byte's low {padding} bits are padding and must be zero: {data[-1]:#010b}"
        )
    return dtype.value + bytes([padding]) + data


def unpack_vector(data: bytes, return_numpy: bool) -> BinaryVector:
    """The vector of `Binary.as_vector`, with the errors that it documents."""
    if len(data) < 2:
        raise ValueError("Corrupt data. A vector has at least two bytes.")
    dtype, padding, body = BinaryVectorDtype(data[:1]), data[1], data[2:]
    _check_padding(dtype, padding, len(body))
    if dtype is BinaryVectorDtype.FLOAT32 and len(body) % 4:
        raise ValueError("Corrupt data. N bytes for a float32 vector must be a multiple of 4.")
    if padding and body[-1] & ((1 << padding) - 1):
        warnings.warn(
            f"the vector's last {padding} bits are padding but not zero; a later version will"
            " refuse such data",
            DeprecationWarning,
            stacklevel=3,
        )
    if return_numpy:
        try:
            import numpy as np
        except ImportError as err:
            raise ImportError(
                "Converting binary to numpy.ndarray requires numpy to be installed."
            ) from err
        return BinaryVector(np.frombuffer(body, dtype=_NUMPY_NAME[dtype]), dtype, padding)
    letter = _STRUCT_FORMAT[dtype]
    count = len(body) // struct.calcsize(f"<{letter}")
    return BinaryVector(list(struct.unpack(f"<{count}{letter}", body)), dtype, padding)
