"""Type aliases of BSON, for annotations only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, Union

if TYPE_CHECKING:
    from array import array
    from mmap import mmap

_DocumentType = TypeVar("_DocumentType", bound=Mapping[str, Any])
_ReadableBuffer = Union[bytes, memoryview, bytearray, "mmap", "array[Any]"]
