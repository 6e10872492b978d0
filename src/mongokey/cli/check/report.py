"""What a check comes to: its steps in order, each with what it saw, the causes found, the verdict.

Knows the names of the steps, the exit codes and the JSON form (`schema.json` beside it). Must not
know how a step is carried out, nor how a report looks in a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mongokey._support.reprs import with_safe_repr
from mongokey.diagnostics import TABLE, Diagnosis

#: The steps in their order.
STEPS = ("string", "dns", "tcp", "tls", "hello", "login", "identity", "read")

OK = "ok"
FAILED = "failed"
SKIPPED = "skipped"
WARNED = "warned"

# Characters of a text, and items of a list.
_LONGEST = 20_000
_MOST_ITEMS = 1000

EXIT_OK = 0
EXIT_STRING = 2
EXIT_TIMEOUT = 8
EXIT_NO_SERVER = 9
#: The exit code of each step that can fail, unless the time ran out in it.
EXITS: Mapping[str, int] = {
    "string": EXIT_STRING,
    "dns": 3,
    "tcp": 4,
    "tls": 5,
    "hello": EXIT_NO_SERVER,
    "login": 6,
    "identity": 7,
    "read": 7,
}


def bounded(value: Any) -> Any:
    """`value` with texts and lists cut that nobody would read: servers may send megabytes."""
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]}... ({len(value) - _LONGEST} characters more)"
    if isinstance(value, Mapping):
        return {bounded(name): bounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        more = len(value) - _MOST_ITEMS
        cut = [bounded(each) for each in value[:_MOST_ITEMS]]
        return [*cut, f"... ({more} more)"] if more > 0 else cut
    return value


@with_safe_repr
class Found:
    """A diagnosis, and the facts it was made from by name: what is tried, where and how."""

    __slots__ = ("diagnosis", "facts")

    def __init__(self, diagnosis: Diagnosis, facts: Mapping[str, Any] | None = None) -> None:
        self.diagnosis = diagnosis
        self.facts = dict(facts or {})

    @property
    def fix(self) -> str:
        """What to do: of this case, or else of its code."""
        entry = TABLE.get(self.diagnosis.code)
        return self.diagnosis.fix or ("" if entry is None else entry.fix)

    def as_json(self) -> dict[str, Any]:
        """The diagnosis with its evidence as an object: the facts, and `seen` in words."""
        plain = self.diagnosis.as_dict()
        plain["fix"] = self.fix  # a string in it is to be copied, and stays whole
        plain["summary"] = bounded(self.diagnosis.summary)
        plain["evidence"] = bounded({**self.facts, "seen": list(self.diagnosis.evidence)})
        return plain


@with_safe_repr
class Step:
    """One step: `lines` is what it saw in words, the first the most telling; `ns` how long it
    took."""

    __slots__ = ("facts", "lines", "name", "ns", "status")

    def __init__(self, name: str) -> None:
        self.name = name
        self.status = SKIPPED
        self.ns = 0
        self.facts: dict[str, Any] = {}
        self.lines: list[str] = []

    @property
    def milliseconds(self) -> float:
        """How long it took."""
        return round(self.ns / 1e6, 3)

    def as_json(self) -> dict[str, Any]:
        """The step as plain values."""
        return {
            "name": self.name,
            "status": self.status,
            "ms": self.milliseconds,
            "facts": bounded(self.facts),
        }


@with_safe_repr
class Report:
    """The whole of a check. `found` are the causes of the failure, the surest first; `warnings`
    what was seen besides; `string` the connection string with its secrets masked."""

    def __init__(self, string: str) -> None:
        self.string = string
        self.steps: list[Step] = []
        self.found: list[Found] = []
        self.warnings: list[Found] = []
        self.failed: str | None = None
        self.timed_out = False

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return self.failed is None

    @property
    def exit(self) -> int:
        """The exit code of the command."""
        if self.failed is None:
            return EXIT_OK
        return EXIT_TIMEOUT if self.timed_out else EXITS[self.failed]

    def step(self, name: str) -> Step | None:
        """The step of that name, None if it was not come to."""
        return next((each for each in self.steps if each.name == name), None)

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "ok": self.ok,
            "exit": self.exit,
            "failed": self.failed,
            "diagnoses": [each.as_json() for each in self.found],
            "steps": [each.as_json() for each in self.steps],
            "warnings": [each.as_json() for each in self.warnings],
            "string": self.string,
        }


__all__ = [
    "EXITS",
    "EXIT_OK",
    "EXIT_STRING",
    "EXIT_TIMEOUT",
    "FAILED",
    "OK",
    "SKIPPED",
    "STEPS",
    "WARNED",
    "Found",
    "Report",
    "Step",
]
