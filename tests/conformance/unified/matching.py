"""Whether an actual value is the expected one, by "Evaluating Matches" of the unified test format.

It knows the rules and the special operators; entities it only asks for by their names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from tests.conformance.unified.drivers import NUMBERS, TYPES, Driver, RunnerError


class Unset:
    """What stands for a key that the actual document does not have."""

    def __repr__(self) -> str:
        return "nothing"


UNSET = Unset()


class Mismatch(AssertionError):
    """The actual value is not the expected one."""


class Matcher:
    """Matches values of a driver; `entity` gives what is saved under a name.

    `session_id` gives the logical session id of a session's name.
    """

    def __init__(
        self,
        driver: Driver,
        entity: Callable[[str], Any],
        session_id: Callable[[str], Any],
    ) -> None:
        self.driver = driver
        self.entity = entity
        self.session_id = session_id

    def match(self, expected: Any, actual: Any, *, root: bool = False, path: str = "$") -> None:
        """Raise `Mismatch` unless `actual` matches; `root` allows it further keys."""
        if isinstance(expected, Mapping):
            operator = self._operator(expected)
            if operator is not None:
                getattr(self, operator)(next(iter(expected.values())), actual, root, path)
                return
            self._match_document(expected, actual, root, path)
        elif isinstance(expected, list):
            if not isinstance(actual, list | tuple):
                _fail(path, expected, actual)
            if len(actual) != len(expected):
                _fail(path, expected, actual, f"{len(expected)} elements expected")
            for index, each in enumerate(expected):
                self.match(each, actual[index], path=f"{path}[{index}]")
        elif not self._same(expected, actual):
            _fail(path, expected, actual)

    def match_roots(self, expected: Any, actual: Any, path: str = "$") -> None:
        """Match what an iterable gave: each document of the list may have further keys."""
        if not isinstance(expected, list) or not isinstance(actual, list):
            self.match(expected, actual, path=path)
            return
        if len(expected) != len(actual):
            _fail(path, expected, actual, f"{len(expected)} documents expected")
        for index, each in enumerate(expected):
            self.match(each, actual[index], root=True, path=f"{path}[{index}]")

    def matches(self, expected: Any, actual: Any, *, root: bool = False) -> bool:
        """Whether `actual` matches."""
        try:
            self.match(expected, actual, root=root)
        except Mismatch:
            return False
        return True

    def _match_document(self, expected: Any, actual: Any, root: bool, path: str) -> None:
        if not isinstance(actual, Mapping):
            _fail(path, expected, actual)
        for key, value in expected.items():
            self.match(value, actual.get(key, UNSET), path=f"{path}.{key}")
        if not root:
            further = set(actual) - set(expected)
            if further:
                _fail(path, expected, actual, f"unexpected: {', '.join(sorted(further))}")

    def _same(self, expected: Any, actual: Any) -> bool:
        if actual is UNSET or isinstance(actual, Mapping | list | tuple):
            return False
        if _is_number(expected) and _is_number(actual):
            # Also a NaN is what was expected where one was.
            return bool(expected == actual) or (_is_nan(expected) and _is_nan(actual))
        return self.driver.element(expected) == self.driver.element(actual)

    # -- special operators ----------------------------------------------------------------------

    def _operator(self, expected: Mapping[str, Any]) -> str | None:
        first = next(iter(expected), "")
        if len(expected) != 1 or not first.startswith("$$"):
            return None
        method = OPERATORS.get(first)
        if method is None:
            raise RunnerError(f"{first}: there is no such operator")
        return method

    def _exists(self, expected: Any, actual: Any, root: bool, path: str) -> None:
        if (actual is not UNSET) is not expected:
            _fail(path, f"{'a' if expected else 'no'} value", actual)

    def _type(self, expected: Any, actual: Any, root: bool, path: str) -> None:
        names = [expected] if isinstance(expected, str) else expected
        if actual is UNSET:
            _fail(path, f"a value of type {names}", actual)
        types: set[int] = set()
        for name in names:
            if name != "number" and name not in TYPES:
                raise RunnerError(f"{name}: there is no such BSON type")
            types |= NUMBERS if name == "number" else {TYPES[name]}
        if self.driver.type_of(actual) not in types:
            _fail(path, f"a value of type {names}", actual)

    def _matches_entity(self, expected: Any, actual: Any, root: bool, path: str) -> None:
        self.match(self.entity(expected), actual, root=root, path=path)

    def _matches_hex_bytes(self, expected: Any, actual: Any, root: bool, path: str) -> None:
        try:
            data = bytes.fromhex(expected)
        except ValueError as error:
            raise RunnerError(f"$$matchesHexBytes: {error}") from None
        if data != actual:
            _fail(path, data, actual)

    def _unset_or_matches(self, expected: Any, actual: Any, root: bool, path: str) -> None:
        if actual is not UNSET:
            self.match(expected, actual, root=root, path=path)

    def _session_lsid(self, expected: Any, actual: Any, root: bool, path: str) -> None:
        self.match(self.session_id(expected), actual, path=path)

    def _lte(self, expected: Any, actual: Any, root: bool, path: str) -> None:
        if not _is_number(actual) or not actual <= expected:
            _fail(path, f"at most {expected}", actual)

    def _match_as_document(self, expected: Any, actual: Any, root: bool, path: str) -> None:
        if not isinstance(actual, str):
            _fail(path, expected, actual)
        try:
            document = self.driver.load(actual)
        except ValueError as error:
            _fail(path, expected, actual, f"no JSON: {error}")
        if not isinstance(document, Mapping):
            _fail(path, expected, actual)
        self.match(expected, document, path=path)

    def _match_as_root(self, expected: Any, actual: Any, root: bool, path: str) -> None:
        self.match(expected, actual, root=True, path=path)


OPERATORS = {
    "$$exists": "_exists",
    "$$type": "_type",
    "$$matchesEntity": "_matches_entity",
    "$$matchesHexBytes": "_matches_hex_bytes",
    "$$unsetOrMatches": "_unset_or_matches",
    "$$sessionLsid": "_session_lsid",
    "$$lte": "_lte",
    "$$matchAsDocument": "_match_as_document",
    "$$matchAsRoot": "_match_as_root",
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _fail(path: str, expected: Any, actual: Any, more: str = "") -> NoReturn:
    raise Mismatch(f"at {path}: expected {expected!r}, was {actual!r}" + (more and f" ({more})"))
