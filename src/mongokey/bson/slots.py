"""Pickling for the BSON types that keep their fields in `__slots__`.

The state is a dict from attribute name (mangled where private) to value, as PyMongo's is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any


def _attributes(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            private = name.startswith("__") and not name.endswith("__")
            yield f"_{base.__name__.lstrip('_')}{name}" if private else name


def getstate_slots(self: Any) -> Mapping[str, Any]:
    """The fields that are set, of the class and its bases, with the instance's dict if any."""
    state = {name: getattr(self, name) for name in _attributes(type(self)) if hasattr(self, name)}
    state.pop("__dict__", None)
    state.pop("__weakref__", None)
    state.update(getattr(self, "__dict__", {}))
    return state


def setstate_slots(self: Any, state: Mapping[str, Any]) -> None:
    """Set each field of `state`."""
    for name, value in state.items():
        setattr(self, name, value)
