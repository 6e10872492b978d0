"""What open files do in another way on the asyncio face than on the blocking one.

The other half is `mongokey.gridfs.synchronous.stream_base`.
"""

from __future__ import annotations

from inspect import isawaitable

from mongokey.errors import InvalidOperation

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn


async def read_from(source: Any, size: int) -> Any:
    """What the `read` of a source gives, which may be a coroutine function."""
    piece = source.read(size)
    return await piece if isawaitable(piece) else piece


async def write_to(destination: Any, data: bytes) -> None:
    """Write to a destination, whose `write` may be a coroutine function."""
    written = destination.write(data)
    if written is not None and type(written) is not int and isawaitable(written):
        await written


class AsyncFileWriter:
    """Base of `AsyncGridIn`."""

    def _store(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(
            f"{name} cannot be set by an assignment any more, as the file is closed and the "
            f"server would have to be told: await file.set({name!r}, value)"
        )


class AsyncFileReader:
    """Base of `AsyncGridOut`."""

    _file: Mapping[str, Any] | None = None

    def __init__(self) -> None:
        #: Whether `close` was called.
        self.closed = False

    def _found(self, name: str) -> Mapping[str, Any]:
        """The file's document, for one of its fields."""
        if not self._file:
            raise InvalidOperation(
                f"the file was not opened, so that {name} is not known: await file.open()"
            )
        return self._file

    def _mark_closed(self) -> None:
        self.closed = True

    def __aiter__(self) -> Any:
        return self

    async def readline(self, size: int = -1) -> bytes:
        """One line, or up to `size` bytes of it; empty at the end of the file."""
        return await self._read(size, line=True)

    async def _read(self, size: int, *, line: bool = False) -> bytes:
        raise NotImplementedError

    async def __anext__(self) -> bytes:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def to_list(self) -> list[bytes]:
        """The lines that are left, a list."""
        return [line async for line in self]

    async def readlines(self, size: int = -1) -> list[bytes]:
        """The lines that are left; with `size`, no more once they have more bytes than that."""
        lines: list[bytes] = []
        total = 0
        async for line in self:
            lines.append(line)
            total += len(line)
            if 0 < size < total:  # as io.IOBase
                break
        return lines
