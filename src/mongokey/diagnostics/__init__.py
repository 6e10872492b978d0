"""Diagnoses: what most likely is wrong, how sure that is, what was seen, and what to do.

Knows the one shape of a cause, from a connection string to a command, and the one table of codes
(`TABLE`, `CODES`). Must not know any cause: whoever finds one makes a `Diagnosis` of it.
"""

from __future__ import annotations

from mongokey.diagnostics.diagnosis import CERTAIN, LIKELY, POSSIBLE, Diagnosis, surest_first

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.diagnostics.table import AREAS, CODES, TABLE

__all__ = [
    "AREAS",
    "CERTAIN",
    "CODES",
    "LIKELY",
    "POSSIBLE",
    "TABLE",
    "Diagnosis",
    "surest_first",
]


def __getattr__(name: str) -> Any:
    # The table is loaded by who asks for it: making a client is not to cost its texts.
    if name in ("AREAS", "CODES", "TABLE"):
        from mongokey.diagnostics import table

        return getattr(table, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
