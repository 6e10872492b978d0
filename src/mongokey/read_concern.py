"""Read concerns: how settled the data of a read must be.

Knows the document that commands carry (read-write-concern.md); nothing of commands or
connections. Levels are not checked, the server knows which it has.
"""

from __future__ import annotations

from mongokey._support.reprs import with_safe_repr

__all__ = ["DEFAULT_READ_CONCERN", "ReadConcern"]


@with_safe_repr
class ReadConcern:
    """A read concern; immutable.

    :param level: "local", "majority", "linearizable", "available", "snapshot" or another level
        the server knows; None leaves it to the server

    Raises TypeError when `level` is not a str or None.
    """

    __slots__ = ("_document", "_level")

    def __init__(self, level: str | None = None) -> None:
        if level is not None and not isinstance(level, str):
            raise TypeError(f"level must be a str or None, not {type(level).__name__}")
        self._level = level
        self._document = {"level": level} if level else {}

    @property
    def level(self) -> str | None:
        """The level, or None."""
        return self._level

    @property
    def ok_for_legacy(self) -> bool:
        """Whether servers that know no read concerns do what is asked."""
        return self._level is None or self._level == "local"

    @property
    def document(self) -> dict[str, str]:
        """The document that commands carry; a copy."""
        return self._document.copy()

    def __repr__(self) -> str:
        return f"ReadConcern({self._level!r})" if self._level else "ReadConcern()"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ReadConcern):
            return NotImplemented
        return self._document == other._document

    __hash__ = None  # type: ignore[assignment]


DEFAULT_READ_CONCERN = ReadConcern()
