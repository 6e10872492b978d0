"""Cursors, under PyMongo's names: `AsyncCursor` of `find`, `AsyncCommandCursor` of commands.

What they do for each document stands in `mongokey.faces.cursor_cores`; how a query may be
changed, in `mongokey.commands.find_settings`.
"""

from __future__ import annotations

from mongokey.aio.cores import AsyncCursorCore, AsyncCursorSteps
from mongokey.commands.choices import CursorType
from mongokey.errors import InvalidOperation
from mongokey.faces.find_cursor import FindCursor

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar, NoReturn, TypeVar

    from mongokey.aio.collection import AsyncCollection

    _Document = TypeVar("_Document", bound=Mapping[str, Any])
    _Self = TypeVar("_Self", bound="AsyncCursor[Any]")
    _CommandSelf = TypeVar("_CommandSelf", bound="AsyncCommandCursor[Any]")

__all__ = ["AsyncCommandCursor", "AsyncCursor", "CursorType"]
__all__ += ["AsyncRawBatchCursor"]


class AsyncCursor(FindCursor["_Document"], AsyncCursorSteps["_Document"]):
    """An iterator over the documents that a `find` matches; made by `AsyncCollection.find`."""

    _core_class = AsyncCursorCore

    async def next(self) -> _Document:
        """The next document. Raises StopAsyncIteration when there is none."""
        return await self.__anext__()

    async def to_list(self, length: int | None = None) -> list[_Document]:
        """The remaining documents (at most `length` of them) as a list; of a cursor whose server
        waits for more, what is there."""
        return await self._core.to_list(length)  # type: ignore[no-any-return]

    async def close(self) -> None:
        """Close the cursor. The server is told at once, and waited for 2 seconds at most; where no
        connection is free at the moment, it is told later, beside the program."""
        await self._core.close()

    async def __aenter__(self: _Self) -> _Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    @property
    def collection(self) -> AsyncCollection[_Document]:
        """The `AsyncCollection` this cursor reads from."""
        return self._owner  # type: ignore[no-any-return]

    async def add_option(self: _Self, mask: int) -> _Self:
        """Set flags by their numbers: 2 tailable, 8 oplog replay, 16 no timeout, 32 waits for data,
        64 exhaust, 128 partial results; others are passed over."""
        return self._set_flags(mask, True)

    async def rewind(self: _Self) -> _Self:
        """Start over, as if no document had been asked for."""
        await self._core._rewind()
        return self

    async def distinct(self, key: str) -> list[Any]:
        """The distinct values of `key` among the documents the query matches."""
        given = self._query.options
        options = {
            name: given[name] for name in ("comment", "collation", "maxTimeMS") if name in given
        }
        collection = self.collection.with_options()._carried_out_by(self._executor)
        return await collection.distinct(key, self._query.filter, session=self.session, **options)

    async def explain(self) -> dict[str, Any]:
        """The server's plan for the query, a dict."""
        find = {"find": self.collection.name, **self._query.document()}
        database = self.collection.database.with_options()._carried_out_by(self._executor)
        return await database.command("explain", find, session=self.session)

    def _document_at(self, index: int) -> Any:
        return self._core._document_at(self, index)


class AsyncCommandCursor(AsyncCursorCore["_Document"]):
    """An iterator over the documents of a command's cursor; made by `aggregate` and kin."""

    # What a command makes whose batches are to be left as they are.
    _raw_class: ClassVar[type[AsyncRawBatchCommandCursor[Any]]]

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise TypeError(
            f"a {type(self).__name__} is made by `aggregate` and other commands, not by itself"
        )

    def batch_size(self: _CommandSelf, batch_size: int) -> _CommandSelf:
        """Have the server send `batch_size` documents at a time from now on."""
        self._set_batch_size(batch_size)
        return self

    async def try_next(self) -> _Document | None:
        """The next document, or None if there is none after one more look."""
        return await self._try_next()

    # PyMongo's name: Motor calls `close` with an object of its own that has no more of a cursor.
    _die_lock = AsyncCursorCore.close

    async def close(self) -> None:
        """Close the cursor. The server is told at once, and waited for 2 seconds at most; where no
        connection is free at the moment, it is told later, beside the program."""
        await self._die_lock()


class AsyncRawBatchCursor(AsyncCursor["_Document"]):
    """An iterator over the batches that a `find` brings, each a `bytes` object of BSON documents
    one after another; made by `AsyncCollection.find_raw_batches`."""

    def __init__(self, collection: AsyncCollection[_Document], *args: Any, **kwargs: Any) -> None:
        super().__init__(collection, *args, **kwargs)
        self._core._in_raw_batches()

    def __getitem__(self, index: Any) -> NoReturn:
        raise InvalidOperation("Cannot call __getitem__ on AsyncRawBatchCursor")


class AsyncRawBatchCommandCursor(AsyncCommandCursor["_Document"]):
    """An iterator over the batches of a command's cursor, each a `bytes` object of BSON documents
    one after another; made by `AsyncCollection.aggregate_raw_batches`."""

    def __getitem__(self, index: Any) -> NoReturn:
        raise InvalidOperation("Cannot call __getitem__ on AsyncRawBatchCommandCursor")


AsyncCommandCursor._raw_class = AsyncRawBatchCommandCursor
