"""A diagnosis: one possible cause of a failure.

Knows what is said of a cause, and how it is written in a message. Must not know any cause.
"""

from __future__ import annotations

from collections.abc import Iterable

from mongokey._support.lazy import late_imports
from mongokey._support.reprs import with_safe_repr

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any, NoReturn

CERTAIN = "certain"
LIKELY = "likely"
POSSIBLE = "possible"

_ORDER = (CERTAIN, LIKELY, POSSIBLE)


@with_safe_repr
class Diagnosis:
    """One possible cause of a failure, and what to do about it. Immutable; holds no secret.

    :param code: a word such as "AUTH-PASSWORD-WRONG", one of `mongokey.diagnostics.CODES`; it never
        changes, the texts may
    :param confidence: "certain" (nothing else explains what was seen), "likely" or "possible"
    :param summary: the cause, in a sentence without an end
    :param evidence: what was seen that speaks for it, each a clause of its own
    :param fix: one thing to do, "" where the summary says all there is
    :param docs: where a guide explains it, a file's path and anchor; by default the code's
    :param option: the canonical name of the option that it is about, or None
    """

    __slots__ = ("code", "confidence", "docs", "evidence", "fix", "option", "summary")

    code: str
    confidence: str
    summary: str
    evidence: tuple[str, ...]
    fix: str
    docs: str
    option: str | None

    def __init__(
        self,
        code: str,
        confidence: str,
        summary: str,
        evidence: Iterable[str] = (),
        fix: str = "",
        docs: str | None = None,
        *,
        option: str | None = None,
    ) -> None:
        if confidence not in _ORDER:
            raise ValueError(f"confidence is one of {', '.join(_ORDER)}, not {confidence!r}")
        fill = object.__setattr__
        fill(self, "code", code)
        fill(self, "confidence", confidence)
        fill(self, "summary", summary)
        fill(self, "evidence", tuple(evidence))
        fill(self, "fix", fix)
        if docs is None:
            # Late: a table with all texts, for who has something to diagnose.
            with late_imports:
                from mongokey.diagnostics.table import CODES

            docs = CODES.get(code, "")
        fill(self, "docs", docs)
        fill(self, "option", option)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Diagnosis is immutable: {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Diagnosis is immutable: {name} cannot be deleted")

    @property
    def text(self) -> str:
        """Cause and remedy in one sentence."""
        return f"{self.summary}: {self.fix}" if self.fix else self.summary

    def replace(self, **changes: Any) -> Diagnosis:
        """The same with other values of the parameters named."""
        made = object.__new__(Diagnosis)
        for name in self.__slots__:
            object.__setattr__(made, name, changes.pop(name, getattr(self, name)))
        if changes:
            raise TypeError(f"a Diagnosis has no {', '.join(changes)}")
        return made

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name, for JSON and for logs."""
        return {
            "code": self.code,
            "confidence": self.confidence,
            "summary": self.summary,
            "evidence": list(self.evidence),
            "fix": self.fix,
            "docs": self.docs,
        }

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Diagnosis):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, ({name: getattr(self, name) for name in self.__slots__},)

    def __str__(self) -> str:
        return f"[{self.code}, {self.confidence}] {self.text}"

    def __repr__(self) -> str:
        return f"<Diagnosis {self.code}, {self.confidence}: {self.text}>"


def _restore(values: dict[str, Any]) -> Diagnosis:
    made = object.__new__(Diagnosis)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def surest_first(diagnoses: Iterable[Diagnosis]) -> tuple[Diagnosis, ...]:
    """The diagnoses with the surest first; those as sure as another keep their order."""
    return tuple(sorted(diagnoses, key=lambda each: _ORDER.index(each.confidence)))
