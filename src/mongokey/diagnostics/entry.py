"""One row of the table of diagnoses: what a code stands for, whatever the case at hand.

Knows the columns. The text of a case (with its names, hosts and options) is the `Diagnosis`'s.
"""

from __future__ import annotations

from mongokey._support.reprs import with_safe_repr

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Iterable


@with_safe_repr
class Entry:
    """A code and its long form.

    :param code: the word that never changes
    :param means: the cause, in a sentence without an end
    :param sure: the confidences it can have, and what decides between them
    :param seen: the evidence without which it is not said
    :param fix: what to do
    :param docs: the guide's path and anchor
    """

    __slots__ = ("code", "docs", "fix", "means", "seen", "sure")

    def __init__(
        self, code: str, means: str, sure: str, seen: str, fix: str, docs: str = ""
    ) -> None:
        self.code = code
        self.means = means
        self.sure = sure
        self.seen = seen
        self.fix = fix
        self.docs = docs or f"docs/troubleshooting.md#{code.lower()}"

    def as_dict(self) -> dict[str, str]:
        """Plain values by name."""
        return {name: getattr(self, name) for name in sorted(self.__slots__)}

    def __repr__(self) -> str:
        return f"<Entry {self.code}>"


Row = tuple[str, str, str, str, str]


def rows(docs: str, *listed: Row) -> Iterable[Entry]:
    """Entries that one place in a guide is about; "" for the generated page alone."""
    return [Entry(*each, docs=docs) for each in listed]


__all__ = ["Entry", "Row", "rows"]
