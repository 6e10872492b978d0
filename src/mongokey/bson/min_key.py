"""MinKey, the BSON value that sorts before every other."""

from __future__ import annotations

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any


__all__ = ["MinKey"]


class MinKey:
    """The BSON value that is less than all others; all instances are equal."""

    __slots__ = ()

    _type_marker = 255

    def __getstate__(self) -> Any:
        return {}

    def __setstate__(self, state: Any) -> None:
        """There is no state."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MinKey)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._type_marker)

    def __le__(self, other: object) -> bool:
        return True

    def __lt__(self, other: object) -> bool:
        return not isinstance(other, MinKey)

    def __ge__(self, other: object) -> bool:
        return isinstance(other, MinKey)

    def __gt__(self, other: object) -> bool:
        return False

    def __repr__(self) -> str:
        return "MinKey()"
