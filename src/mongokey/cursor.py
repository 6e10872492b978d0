"""Cursors, under PyMongo's names: `Cursor` of `find`, `CommandCursor` of aggregate and kin.

What they do for each document stands in `mongokey.faces.cursor_cores`; how a query may be
changed, in `mongokey.commands.find_settings`.
"""

from __future__ import annotations

from mongokey.commands.find_settings import FindSettings
from mongokey.faces.cursor_cores import BlockingCommandCursor, BlockingCursor

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeVar, overload

    from mongokey.collection import Collection

    _Document = TypeVar("_Document", bound=Mapping[str, Any])
    _Self = TypeVar("_Self", bound="Cursor[Any]")


class CursorType:
    """What kind of cursor `find` opens."""

    NON_TAILABLE = 0
    TAILABLE = 2
    TAILABLE_AWAIT = 2 | 32
    EXHAUST = 64


class Cursor(FindSettings, BlockingCursor["_Document"]):
    """An iterator over the documents that a `find` matches; made by `Collection.find`."""

    if TYPE_CHECKING:

        def __enter__(self: _Self) -> _Self: ...

    @property
    def collection(self) -> Collection[_Document]:
        """The `Collection` this cursor reads from."""
        return self._owner  # type: ignore[no-any-return]

    def rewind(self: _Self) -> _Self:
        """Start over, as if no document had been asked for."""
        self._rewind()
        return self

    def distinct(self, key: str) -> list[Any]:
        """The distinct values of `key` among the documents the query matches."""
        given = self._query.options
        options = {
            name: given[name] for name in ("comment", "collation", "maxTimeMS") if name in given
        }
        return self.collection.distinct(key, self._query.filter, **options)

    def explain(self) -> dict[str, Any]:
        """The server's plan for the query, a dict."""
        find = {"find": self.collection.name, **self._query.document()}
        return self.collection.database.command({"explain": find, "verbosity": "allPlansExecution"})

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int) -> _Document: ...
        @overload
        def __getitem__(self: _Self, index: slice) -> _Self: ...

    def __getitem__(self, index: Any) -> Any:
        """One document by its position, or, with a slice, this cursor with skip and limit."""
        self._check_not_started()
        if isinstance(index, slice):
            return self._set_slice(index)
        if isinstance(index, int):
            for document in self._at(index):
                return document
            raise IndexError("no such item for Cursor instance")
        raise TypeError(f"index {index!r} cannot be applied to Cursor instances")


class CommandCursor(BlockingCommandCursor["_Document"]):
    """An iterator over the documents of a command's cursor; made by `aggregate` and kin."""
