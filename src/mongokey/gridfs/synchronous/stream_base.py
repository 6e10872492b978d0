"""What open files do in another way on the blocking face than on the asyncio one.

The other half is `mongokey.gridfs.asynchronous.stream_base`.
"""

from __future__ import annotations

from io import IOBase

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def read_from(source: Any, size: int) -> Any:
    """What the `read` of a source gives."""
    return source.read(size)


def write_to(destination: Any, data: bytes) -> None:
    """Write to a destination."""
    destination.write(data)


class FileWriter:
    """Base of `GridIn`."""

    def _store(self, name: str, value: Any) -> None:
        self.set(name, value)

    def set(self, name: str, value: Any) -> None:
        """`GridIn` has it."""
        raise NotImplementedError


class FileReader(IOBase):
    """Base of `GridOut`: a file as Python's own are, which `zipfile` and others read from."""

    _file: Mapping[str, Any] | None = None

    def open(self) -> None:
        """`GridOut` has it."""
        raise NotImplementedError

    def _read(self, size: int, *, line: bool = False) -> bytes:
        raise NotImplementedError

    def _found(self, name: str) -> Mapping[str, Any]:
        """The file's document, which is fetched when it is first needed."""
        self.open()
        assert self._file is not None, "open() raises where there is none"
        return self._file

    def _mark_closed(self) -> None:
        super().close()

    def __iter__(self) -> Any:
        return self

    def readline(self, size: int | None = -1) -> bytes:
        """One line, or up to `size` bytes of it; empty at the end of the file."""
        return self._read(-1 if size is None else size, line=True)

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """The lines that are left; with `hint`, no more once they have more bytes than that."""
        lines: list[bytes] = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint < total:  # as io.IOBase
                break
        return lines
