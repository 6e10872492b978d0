"""Write concerns: how many members must have a write before it counts as done.

Knows the document that commands carry (read-write-concern.md) and what may not be combined;
nothing of commands or connections.
"""

from __future__ import annotations

from mongokey._support.reprs import with_safe_repr
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

__all__ = ["DEFAULT_WRITE_CONCERN", "WriteConcern", "validate_boolean"]


def validate_boolean(option: str, value: Any) -> bool:
    """`value`, which must be True or False; raises `TypeError` for another."""
    if isinstance(value, bool):
        return value
    raise TypeError(f"{option} must be True or False, not {type(value).__name__}")


@with_safe_repr
class WriteConcern:
    """A write concern; immutable.

    :param w: number of members (0 or more; 0 asks for no answer), or the name of a mode such as
        "majority"; None leaves it to the server
    :param wtimeout: milliseconds, 0 or more, to wait for the members; None sets no limit
    :param j: True waits for the journal; cannot go with w=0
    :param fsync: True waits for the data files where there is no journal; cannot go with j

    Raises TypeError or ValueError for a wrong value, ConfigurationError for a combination that
    contradicts itself.
    """

    __slots__ = ("_acknowledged", "_document")

    def __init__(
        self,
        w: int | str | None = None,
        wtimeout: int | None = None,
        j: bool | None = None,
        fsync: bool | None = None,
    ) -> None:
        document: dict[str, Any] = {}
        if wtimeout is not None:
            if not isinstance(wtimeout, int):
                raise TypeError(f"wtimeout must be an int, not {type(wtimeout).__name__}")
            if wtimeout < 0:
                raise ValueError("wtimeout must not be negative")
            document["wtimeout"] = wtimeout
        if j is not None:
            document["j"] = validate_boolean("j", j)
        if fsync is not None:
            document["fsync"] = validate_boolean("fsync", fsync)
            if j and fsync:
                raise ConfigurationError("j (journal) and fsync cannot both be True")
        if w is not None:
            if isinstance(w, int):
                if w < 0:
                    raise ValueError("w must not be negative")
            elif not isinstance(w, str):
                raise TypeError(f"w must be an int or a str, not {type(w).__name__}")
            document["w"] = w
        if w == 0 and j:
            raise ConfigurationError("w=0 asks for no answer, so j (journal) cannot be True")
        self._document = document
        self._acknowledged = w != 0

    @property
    def is_server_default(self) -> bool:
        """Whether nothing is set, so that the server's own default holds."""
        return not self._document

    @property
    def document(self) -> dict[str, Any]:
        """The document that commands carry; a copy."""
        return self._document.copy()

    @property
    def acknowledged(self) -> bool:
        """Whether the server answers a write (all but w=0)."""
        return self._acknowledged

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}={value!r}" for key, value in self._document.items())
        return f"WriteConcern({shown})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WriteConcern):
            return NotImplemented
        return self._document == other._document

    __hash__ = None  # type: ignore[assignment]


DEFAULT_WRITE_CONCERN = WriteConcern()
