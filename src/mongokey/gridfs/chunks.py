"""How a file is laid out in chunks: which there must be, and how long each must be.

It takes the documents of the server as they are, trusts none of them, and does no I/O.
"""

from __future__ import annotations

from mongokey.bson.decimal128 import Decimal128
from mongokey.gridfs.errors import CorruptGridFile
from mongokey.gridfs.grid_file_shared import batch_of

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: BSON has no larger integer.
_MOST = 2**63 - 1


class FileLayout:
    """The length of a stored file and of its chunks, in bytes, and the number of its chunks.

    Raises `CorruptGridFile` for a document of the files collection that cannot be right. Other
    drivers have stored both numbers in all of BSON's numeric types.
    """

    __slots__ = ("chunk_count", "chunk_size", "length")

    def __init__(self, file: Mapping[str, Any]) -> None:
        # Some versions of PHP's driver have stored empty files without it.
        self.length = _whole_number(file, "length", file.get("length", 0), 0)
        self.chunk_size = 1
        if self.length or "chunkSize" in file:
            self.chunk_size = _whole_number(file, "chunkSize", file.get("chunkSize"), 1)
        self.chunk_count = -(-self.length // self.chunk_size)

    def size_of(self, number: int) -> int:
        """How many bytes the chunk of that number has; 0 behind the last one."""
        return max(0, min(self.chunk_size, self.length - number * self.chunk_size))

    def batch_from(self, number: int) -> int:
        """How many chunks to ask for at a time when reading from the chunk of that number on: one
        more than there should be, so that the server says at once that there is none."""
        return min(batch_of(self.chunk_size), self.chunk_count - number + 1)

    def data_of(self, chunk: Mapping[str, Any], number: int) -> bytes:
        """The data of a chunk's document, which must be the one of that number.

        Empty for an empty chunk behind the last one, which is allowed. Raises `CorruptGridFile`.
        """
        found = chunk.get("n")
        # None is unlike every number.
        if _number(found) != number:
            raise CorruptGridFile(
                f"Missing chunk: expected chunk #{number} but found chunk with n={found!r}"
            )
        data = chunk.get("data")
        if not isinstance(data, bytes):
            raise CorruptGridFile(
                f"chunk #{number} has no binary data but {type(data).__name__} in its field data"
            )
        expected = self.size_of(number)
        if len(data) != expected:
            if number >= self.chunk_count:
                raise CorruptGridFile(
                    f"Extra chunk found: expected {self.chunk_count} chunks but found chunk with "
                    f"n={number}"
                )
            raise CorruptGridFile(
                f"truncated chunk #{number}: expected chunk length to be {expected} but found "
                f"chunk with length {len(data)}"
            )
        return data if type(data) is bytes else bytes(data)

    def missing(self, number: int) -> CorruptGridFile:
        """The error where the chunks end before the one of that number."""
        return CorruptGridFile(f"no chunk #{number}: the file should have {self.chunk_count}")


def _whole_number(file: Mapping[str, Any], name: str, value: Any, least: int) -> int:
    number = _number(value)
    if number is None or not least <= number <= _MOST or number != int(number):
        raise CorruptGridFile(
            f"the file with _id {file.get('_id')!r} has {name} {value!r} in the files collection, "
            f"which should be a whole number of at least {least}"
        )
    return int(number)


def _number(value: Any) -> Any:
    """A number that can be compared, or None if it is none."""
    if isinstance(value, Decimal128):
        decimal = value.to_decimal()
        return decimal if decimal.is_finite() else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
