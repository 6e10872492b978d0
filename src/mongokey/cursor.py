# Made from aio/cursor.py by tools/blocking_face.py: change that, then run ./dev format.
"""Cursors, under PyMongo's names: `Cursor` of `find`, `CommandCursor` of commands.

What they do for each document stands in `mongokey.faces.cursor_cores`; how a query may be
changed, in `mongokey.commands.find_settings`.
"""

from __future__ import annotations

from mongokey.commands.choices import CursorType
from mongokey.errors import InvalidOperation
from mongokey.faces.cursor_cores import BlockingCursorCore, BlockingCursorSteps
from mongokey.faces.find_cursor import FindCursor

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar, NoReturn, TypeVar

    from mongokey.collection import Collection

    _Document = TypeVar("_Document", bound=Mapping[str, Any])
    _Self = TypeVar("_Self", bound="Cursor[Any]")
    _CommandSelf = TypeVar("_CommandSelf", bound="CommandCursor[Any]")

__all__ = ["CommandCursor", "Cursor", "CursorType"]
__all__ += ["RawBatchCursor"]


class Cursor(FindCursor["_Document"], BlockingCursorSteps["_Document"]):
    """An iterator over the documents that a `find` matches; made by `Collection.find`."""

    _core_class = BlockingCursorCore

    def next(self) -> _Document:
        """The next document. Raises StopIteration when there is none."""
        return self.__next__()

    def to_list(self, length: int | None = None) -> list[_Document]:
        """The remaining documents (at most `length` of them) as a list; of a cursor whose server
        waits for more, what is there."""
        return self._core.to_list(length)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the cursor. The server is told at once, and waited for 2 seconds at most; where no
        connection is free at the moment, it is told later, beside the program."""
        self._core.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def collection(self) -> Collection[_Document]:
        """The `Collection` this cursor reads from."""
        return self._owner  # type: ignore[no-any-return]

    def add_option(self: _Self, mask: int) -> _Self:
        """Set flags by their numbers: 2 tailable, 8 oplog replay, 16 no timeout, 32 waits for data,
        64 exhaust, 128 partial results; others are passed over."""
        return self._set_flags(mask, True)

    def rewind(self: _Self) -> _Self:
        """Start over, as if no document had been asked for."""
        self._core._rewind()
        return self

    def distinct(self, key: str) -> list[Any]:
        """The distinct values of `key` among the documents the query matches."""
        given = self._query.options
        options = {
            name: given[name] for name in ("comment", "collation", "maxTimeMS") if name in given
        }
        collection = self.collection.with_options()._carried_out_by(self._executor)
        return collection.distinct(key, self._query.filter, session=self.session, **options)

    def explain(self) -> dict[str, Any]:
        """The server's plan for the query, a dict."""
        find = {"find": self.collection.name, **self._query.document()}
        database = self.collection.database.with_options()._carried_out_by(self._executor)
        return database.command("explain", find, session=self.session)

    def _document_at(self, index: int) -> Any:
        return self._core._document_at(self, index)


class CommandCursor(BlockingCursorCore["_Document"]):
    """An iterator over the documents of a command's cursor; made by `aggregate` and kin."""

    # What a command makes whose batches are to be left as they are.
    _raw_class: ClassVar[type[RawBatchCommandCursor[Any]]]

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise TypeError(
            f"a {type(self).__name__} is made by `aggregate` and other commands, not by itself"
        )

    def batch_size(self: _CommandSelf, batch_size: int) -> _CommandSelf:
        """Have the server send `batch_size` documents at a time from now on."""
        self._set_batch_size(batch_size)
        return self

    def try_next(self) -> _Document | None:
        """The next document, or None if there is none after one more look."""
        return self._try_next()

    # PyMongo's name: Motor calls `close` with an object of its own that has no more of a cursor.
    _die_lock = BlockingCursorCore.close

    def close(self) -> None:
        """Close the cursor. The server is told at once, and waited for 2 seconds at most; where no
        connection is free at the moment, it is told later, beside the program."""
        self._die_lock()


class RawBatchCursor(Cursor["_Document"]):
    """An iterator over the batches that a `find` brings, each a `bytes` object of BSON documents
    one after another; made by `Collection.find_raw_batches`."""

    def __init__(self, collection: Collection[_Document], *args: Any, **kwargs: Any) -> None:
        super().__init__(collection, *args, **kwargs)
        self._core._in_raw_batches()

    def __getitem__(self, index: Any) -> NoReturn:
        raise InvalidOperation("Cannot call __getitem__ on RawBatchCursor")


class RawBatchCommandCursor(CommandCursor["_Document"]):
    """An iterator over the batches of a command's cursor, each a `bytes` object of BSON documents
    one after another; made by `Collection.aggregate_raw_batches`."""

    def __getitem__(self, index: Any) -> NoReturn:
        raise InvalidOperation("Cannot call __getitem__ on RawBatchCommandCursor")


CommandCursor._raw_class = RawBatchCommandCursor
