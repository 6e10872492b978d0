"""Code, JavaScript source with an optional scope of variables."""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self

__all__ = ["Code"]


class Code(str):
    """JavaScript code.

    `code` is the source, or another Code whose scope is then taken over; `scope` a mapping of
    variables, and keyword arguments more of them, later ones winning. Raises `TypeError` for
    other types. Not hashable.
    """

    _type_marker = 13
    __scope: Mapping[str, Any] | None

    def __new__(
        cls, code: str | Code, scope: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Self:
        if not isinstance(code, str):
            raise TypeError(f"code must be an instance of str, not {type(code)}")
        if scope is not None and not isinstance(scope, Mapping):
            raise TypeError(f"scope must be an instance of dict, not {type(scope)}")
        self = str.__new__(cls, code)
        inherited = getattr(code, "scope", None)
        if inherited is not None and (scope or kwargs):
            # A copy: the other Code keeps its own variables.
            scope = {**inherited, **(scope or {})}
        elif inherited is not None:
            scope = inherited
        if kwargs:
            scope = {**(scope or {}), **kwargs}
        self.__scope = scope
        return self

    @property
    def scope(self) -> Mapping[str, Any] | None:
        """The variables, or None when the code has no scope."""
        return self.__scope

    def __getnewargs__(self) -> tuple[Any, ...]:
        return str(self), self.__scope

    def __repr__(self) -> str:
        return f"Code({str.__repr__(self)}, {self.__scope!r})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Code):
            return (self.__scope, str(self)) == (other.scope, str(other))
        return False

    __hash__: Any = None

    def __ne__(self, other: object) -> bool:
        return not self == other
