"""Read preferences: which members of a deployment a read may go to.

Values only, under PyMongo's names: mode, tag sets, the greatest staleness, and the document that
commands carry (server-selection.md). Choosing a server by them is the topology's work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mongokey._support.reprs import with_safe_repr
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

TagSets = Sequence[Mapping[str, "Any"]]

__all__ = [
    "Nearest",
    "Primary",
    "PrimaryPreferred",
    "ReadPreference",
    "Secondary",
    "SecondaryPreferred",
    "make_read_preference",
    "read_pref_mode_from_name",
]


PRIMARY = 0
PRIMARY_PREFERRED = 1
SECONDARY = 2
SECONDARY_PREFERRED = 3
NEAREST = 4

_MODE_NAMES = ("primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest")


def _check_tag_sets(tag_sets: TagSets | None) -> list[Mapping[str, Any]] | None:
    if tag_sets is None:
        return None
    if not isinstance(tag_sets, (list, tuple)):
        raise TypeError(f"tag_sets must be a list, not {type(tag_sets).__name__}")
    if not tag_sets:
        raise ValueError("tag_sets must be None or have at least one set of tags")
    for tags in tag_sets:
        if not isinstance(tags, Mapping):
            raise TypeError(f"each tag set must be a dict, not {type(tags).__name__}")
    return list(tag_sets)


def _check_max_staleness(max_staleness: int) -> int:
    if not isinstance(max_staleness, int):
        raise TypeError(
            f"max_staleness must be a whole number of seconds, not {type(max_staleness).__name__}"
        )
    if max_staleness != -1 and max_staleness <= 0:
        raise ValueError("max_staleness must be -1 (no limit) or a positive number of seconds")
    return max_staleness


def _warn_hedge(stacklevel: int) -> None:
    import warnings

    warnings.warn(
        "hedge is deprecated: MongoDB 8.0 and later have no hedged reads",
        DeprecationWarning,
        stacklevel + 1,
    )


@with_safe_repr
class _ServerMode:
    """What all read preferences have; immutable."""

    __slots__ = ("_document", "_hedge", "_max_staleness", "_mode", "_tag_sets")

    def __init__(
        self,
        mode: int,
        tag_sets: TagSets | None = None,
        max_staleness: int = -1,
        hedge: Mapping[str, Any] | None = None,
    ) -> None:
        self._fill(mode, tag_sets, max_staleness, hedge)
        if hedge is not None:
            _warn_hedge(3)

    def _fill(
        self,
        mode: int,
        tag_sets: TagSets | None,
        max_staleness: int,
        hedge: Mapping[str, Any] | None,
    ) -> None:
        self._mode = mode
        self._tag_sets = _check_tag_sets(tag_sets)
        self._max_staleness = _check_max_staleness(max_staleness)
        if hedge is not None and not isinstance(hedge, dict):
            raise TypeError(f"hedge must be a dict, not {type(hedge).__name__}")
        self._hedge = hedge
        document: dict[str, Any] = {"mode": _MODE_NAMES[mode]}
        if self._tag_sets not in (None, [{}]):
            document["tags"] = self._tag_sets
        if max_staleness != -1:
            document["maxStalenessSeconds"] = max_staleness
        if hedge:
            document["hedge"] = hedge
        self._document = document

    @property
    def name(self) -> str:
        """The class's name."""
        return type(self).__name__

    @property
    def mode(self) -> int:
        """0 primary, 1 primaryPreferred, 2 secondary, 3 secondaryPreferred, 4 nearest."""
        return self._mode

    @property
    def mongos_mode(self) -> str:
        """The mode's name in commands and connection strings."""
        return _MODE_NAMES[self._mode]

    @property
    def document(self) -> dict[str, Any]:
        """The `$readPreference` document; a copy."""
        return self._document.copy()

    @property
    def tag_sets(self) -> TagSets:
        """The tag sets, tried in this order; `[{}]` when there are none."""
        return list(self._tag_sets) if self._tag_sets else [{}]

    @property
    def max_staleness(self) -> int:
        """How many seconds a secondary may lag behind, or -1 for no limit."""
        return self._max_staleness

    @property
    def hedge(self) -> Mapping[str, Any] | None:
        """Deprecated: the hedged read options; MongoDB 8.0 no longer has them."""
        if self._hedge is not None:
            _warn_hedge(2)
        return self._hedge

    @property
    def min_wire_version(self) -> int:
        """The wire version all servers must have."""
        return 0 if self._max_staleness == -1 else 5

    def __repr__(self) -> str:
        return (
            f"{self.name}(tag_sets={self._tag_sets!r}, max_staleness={self._max_staleness!r}, "
            f"hedge={self._hedge!r})"
        )

    def _facts(self) -> tuple[Any, ...]:
        return self._mode, self._tag_sets or [{}], self._max_staleness, self._hedge

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _ServerMode):
            return NotImplemented
        return self._facts() == other._facts()

    __hash__ = None  # type: ignore[assignment]

    def __getstate__(self) -> dict[str, Any]:
        return {
            "mode": self._mode,
            "tag_sets": self._tag_sets,
            "max_staleness": self._max_staleness,
            "hedge": self._hedge,
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self._fill(state["mode"], state["tag_sets"], state["max_staleness"], state["hedge"])


class Primary(_ServerMode):
    """Read from the primary only."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(PRIMARY)

    def __repr__(self) -> str:
        return "Primary()"


class _MemberPreference(_ServerMode):
    """A read preference that takes tag sets.

    :param tag_sets: tag sets to try in this order, such as `[{"dc": "ny"}, {}]`; None for any
    :param max_staleness: seconds a secondary may lag behind the primary, at least 90; -1 for no
        limit
    :param hedge: deprecated, the hedged read options

    Raises TypeError or ValueError for a wrong value.
    """

    __slots__ = ()
    _MODE = NEAREST

    def __init__(
        self,
        tag_sets: TagSets | None = None,
        max_staleness: int = -1,
        hedge: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(self._MODE, tag_sets, max_staleness, hedge)


class PrimaryPreferred(_MemberPreference):
    """Read from the primary, or from a secondary while there is no primary."""

    __slots__ = ()
    _MODE = PRIMARY_PREFERRED


class Secondary(_MemberPreference):
    """Read from a secondary only."""

    __slots__ = ()
    _MODE = SECONDARY


class SecondaryPreferred(_MemberPreference):
    """Read from a secondary, or from the primary when no secondary fits."""

    __slots__ = ()
    _MODE = SECONDARY_PREFERRED


class Nearest(_MemberPreference):
    """Read from any member, the nearest ones first."""

    __slots__ = ()
    _MODE = NEAREST


class ReadPreference:
    """The read preferences that have neither tags nor a greatest staleness."""

    PRIMARY = Primary()
    PRIMARY_PREFERRED = PrimaryPreferred()
    SECONDARY = Secondary()
    SECONDARY_PREFERRED = SecondaryPreferred()
    NEAREST = Nearest()


_CLASSES: tuple[type[_MemberPreference], ...] = (
    PrimaryPreferred,
    Secondary,
    SecondaryPreferred,
    Nearest,
)


def make_read_preference(
    mode: int, tag_sets: TagSets | None, max_staleness: int = -1
) -> _ServerMode:
    """The read preference of a mode's number.

    Raises ConfigurationError when mode primary is combined with tags or a greatest staleness.
    """
    if mode == PRIMARY:
        if tag_sets not in (None, [{}]):
            raise ConfigurationError(
                "readPreferenceTags cannot be combined with readPreference=primary: choose another "
                "readPreference"
            )
        if max_staleness != -1:
            raise ConfigurationError(
                "maxStalenessSeconds cannot be combined with readPreference=primary: choose "
                "another readPreference"
            )
        return Primary()
    return _CLASSES[mode - 1](tag_sets, max_staleness)


def read_pref_mode_from_name(name: str) -> int:
    """The number of a mode from its name in connection strings; raises ValueError."""
    return _MODE_NAMES.index(name)
