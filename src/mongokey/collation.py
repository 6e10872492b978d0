"""Collations, under PyMongo's import path: how a server compares strings.

Each method that takes a `collation` takes a `Collation` or the document that it stands for.
"""

from __future__ import annotations

from mongokey._support.reprs import with_safe_repr

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar

__all__ = [
    "Collation",
    "CollationAlternate",
    "CollationCaseFirst",
    "CollationMaxVariable",
    "CollationStrength",
    "validate_collation_or_none",
]


class CollationStrength:
    """What is compared: each value adds to the one before."""

    PRIMARY = 1  # letters
    SECONDARY = 2  # accents
    TERTIARY = 3  # case, and kinds of one letter
    QUATERNARY = 4  # punctuation, where it is not ignored
    IDENTICAL = 5  # code points


class CollationAlternate:
    """Whether spaces and punctuation count as letters."""

    NON_IGNORABLE = "non-ignorable"
    SHIFTED = "shifted"


class CollationMaxVariable:
    """What `CollationAlternate.SHIFTED` leaves out."""

    PUNCT = "punct"
    SPACE = "space"


class CollationCaseFirst:
    """Which case comes first."""

    UPPER = "upper"
    LOWER = "lower"
    OFF = "off"


# Of each parameter, the type of its values.
_TYPES: dict[str, type] = {
    "locale": str,
    "caseLevel": bool,
    "caseFirst": str,
    "strength": int,
    "numericOrdering": bool,
    "alternate": str,
    "maxVariable": str,
    "normalization": bool,
    "backwards": bool,
}
_WORDS = {str: "a string", bool: "True or False", int: "an integer"}


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} of a collation must be a number, not {text[:40]!r}") from None


@with_safe_repr
class Collation:
    """How strings are compared: for a language, and how finely. It cannot be changed.

    :param locale: the ICU locale, such as ``"fr_CA"``; ``"simple"`` compares bytes
    :param caseLevel: True tells cases apart at strengths 1 and 2 too; the server's default is False
    :param caseFirst: one of `CollationCaseFirst`; the server's default is ``"off"``
    :param strength: one of `CollationStrength`; the server's default is 3
    :param numericOrdering: True orders digits as numbers; the server's default is False
    :param alternate: one of `CollationAlternate`; the server's default is ``"non-ignorable"``
    :param maxVariable: one of `CollationMaxVariable`; the server's default is ``"punct"``
    :param normalization: True has text normalized (NFD) first; the server's default is False
    :param backwards: True compares accents from the end, as French does; the server's default is
        False
    :param kwargs: further fields of the document

    Raises `TypeError` for a value of the wrong type.
    """

    __slots__ = ("__document",)

    def __init__(
        self,
        locale: str,
        caseLevel: bool | None = None,  # noqa: N803 - PyMongo's names, which are the server's
        caseFirst: str | None = None,  # noqa: N803
        strength: int | None = None,
        numericOrdering: bool | None = None,  # noqa: N803
        alternate: str | None = None,
        maxVariable: str | None = None,  # noqa: N803
        normalization: bool | None = None,
        backwards: bool | None = None,
        **kwargs: Any,
    ) -> None:
        given = {
            "locale": locale,
            "caseLevel": caseLevel,
            "caseFirst": caseFirst,
            "strength": strength,
            "numericOrdering": numericOrdering,
            "alternate": alternate,
            "maxVariable": maxVariable,
            "normalization": normalization,
            "backwards": backwards,
        }
        document = {}
        for name, value in given.items():
            if value is None and name != "locale":
                continue
            expected = _TYPES[name]
            if expected is int and isinstance(value, str):
                value = _number(name, value)  # as PyMongo, whose options may come from a string
            if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
                raise TypeError(
                    f"{name} of a collation must be {_WORDS[expected]}, not {type(value).__name__}"
                )
            document[name] = value
        self.__document: dict[str, Any] = {**document, **kwargs}

    @property
    def document(self) -> dict[str, Any]:
        """The collation as commands have it, a new dict."""
        return self.__document.copy()

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__document.items())
        return f"Collation({shown})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Collation):
            return self.__document == other.__document
        return NotImplemented

    __hash__: ClassVar[None] = None  # type: ignore[assignment]


def validate_collation_or_none(
    value: Mapping[str, Any] | Collation | None,
) -> dict[str, Any] | None:
    """The document of a `Collation`; a dict and None are left as they are.

    Raises `TypeError` for anything else.
    """
    if value is None or isinstance(value, dict):
        return value
    if isinstance(value, Collation):
        return value.document
    raise TypeError(f"collation must be a dict, a Collation or None, not {type(value).__name__}")
