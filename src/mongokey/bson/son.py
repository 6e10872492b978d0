"""SON, an ordered document: a dict that compares with other SONs in order.

Plain dicts keep their order as well and are what to use today; SON is for code that has it.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

__all__ = ["RE_TYPE", "SON"]

RE_TYPE: type[re.Pattern[Any]] = re.Pattern

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class SON(dict[_Key, _Value]):
    """An ordered document; `data` is a mapping or pairs, keyword arguments are added."""

    def __init__(
        self,
        data: Mapping[_Key, _Value] | Iterable[tuple[_Key, _Value]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if data is not None:
            self.update(data)
        if kwargs:
            self.update(cast("dict[_Key, _Value]", kwargs))

    def __repr__(self) -> str:
        pairs = ", ".join(f"({key!r}, {value!r})" for key, value in self.items())
        return f"SON([{pairs}])"

    def copy(self) -> SON[_Key, _Value]:
        """A shallow copy."""
        return SON(self)

    def has_key(self, key: _Key) -> bool:
        """Deprecated: use ``key in son``."""
        warnings.warn(
            "SON.has_key() is deprecated, use the in operator instead",
            DeprecationWarning,
            stacklevel=2,
        )
        return key in self

    def iterkeys(self) -> Iterator[_Key]:
        """Deprecated: use ``keys()``."""
        warnings.warn(
            "SON.iterkeys() is deprecated, use the keys() method instead",
            DeprecationWarning,
            stacklevel=2,
        )
        return iter(self)

    def itervalues(self) -> Iterator[_Value]:
        """Deprecated: use ``values()``."""
        warnings.warn(
            "SON.itervalues() is deprecated, use the values() method instead",
            DeprecationWarning,
            stacklevel=2,
        )
        return iter(self.values())

    def values(self) -> list[_Value]:  # type: ignore[override]
        """The values, as a list."""
        return list(super().values())

    def popitem(self) -> tuple[_Key, _Value]:
        """Remove and return the first pair; `KeyError` when there is none."""
        for key in self:
            return key, self.pop(key)
        raise KeyError("container is empty")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SON):
            return len(self) == len(other) and list(self.items()) == list(other.items())
        return self.to_dict() == other

    __hash__ = None

    def __ne__(self, other: object) -> bool:
        return not self == other

    def to_dict(self) -> dict[_Key, _Value]:
        """A plain dict, with the mappings inside it made plain too."""

        def plain(value: Any) -> Any:
            if isinstance(value, list):
                return [plain(item) for item in value]
            if isinstance(value, Mapping):
                return {key: plain(item) for key, item in value.items()}
            return value

        return {key: plain(value) for key, value in self.items()}

    def __deepcopy__(self, memo: dict[int, Any]) -> SON[_Key, _Value]:
        if id(self) in memo:
            return cast("SON[_Key, _Value]", memo[id(self)])
        out: SON[_Key, _Value] = SON()
        memo[id(self)] = out
        for key, value in self.items():
            out[key] = copy.deepcopy(value, memo)
        return out
