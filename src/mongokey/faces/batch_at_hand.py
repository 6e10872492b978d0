"""The batch of a blocking cursor, as PyMongo's `_data` shows it: for Motor, which builds upon it.

It knows how many documents are at hand and takes them one by one; it fetches nothing.
"""

from __future__ import annotations

from mongokey._support.reprs import with_safe_repr

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.faces.cursor_cores import BlockingCursorCore

__all__ = ["BatchAtHand"]


@with_safe_repr
class BatchAtHand:
    """What a cursor has still to hand out before it asks its server again."""

    __slots__ = ("_cursor",)

    def __init__(self, cursor: BlockingCursorCore[Any]) -> None:
        self._cursor = cursor

    def __len__(self) -> int:
        return self._cursor._buffered

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} documents>"

    def popleft(self) -> Any:
        """The next document. Raises IndexError where none is at hand."""
        if not self:
            raise IndexError("no document is at hand")
        return next(self._cursor)
