"""The attributes of open files that stand for fields of their document.

Which document that is, the classes know: they have `_field` and, where fields may be set,
`_set_field`.
"""

from __future__ import annotations

from warnings import warn

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any


def file_field(name: str, doc: str, *, deprecated: bool = False, settable: bool = False) -> Any:
    """A property for the field `name`; None (for ``length``: 0) where the document has none."""

    def getter(self: Any) -> Any:
        if deprecated:
            _warn(type(self).__name__, name)
        return self._field(name)

    def setter(self: Any, value: Any) -> None:
        if deprecated:
            _warn(type(self).__name__, name)
        self._set_field(name, value)

    if deprecated:
        doc += " DEPRECATED: put it into `metadata`."
    return property(getter, setter if settable else None, doc=doc)


def closed_field(name: str, doc: str, *, deprecated: bool = False) -> Any:
    """The same for a field that is there once the file is closed."""

    def getter(self: Any) -> Any:
        if deprecated:
            _warn(type(self).__name__, name)
        if not self.closed:
            raise AttributeError(f"can only get {name!r} on a closed file")
        return self._field(name)

    return property(getter, doc=f"{doc} Raises `AttributeError` until the file is closed.")


def _warn(owner: str, name: str) -> None:
    # Of either face, as PyMongo: warnings are filtered by how they begin.
    kind = owner.removeprefix("Async")
    warn(
        f"{kind} property {name!r} is deprecated and will be removed in PyMongo 5.0: "
        "use the file's metadata",
        DeprecationWarning,
        stacklevel=3,
    )
