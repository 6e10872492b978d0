"""What to say of a client that is used in more than one event loop at the same time.

Knows the cause and what to do. Must not know loops.
"""

from __future__ import annotations

from mongokey.diagnostics import CERTAIN, Diagnosis
from mongokey.errors import InvalidOperation


def used_in_two_loops(place: str) -> InvalidOperation:
    """The error for a client whose loop, which it was first used in at `place`, still runs."""
    summary = (
        "this client is used in two event loops that run at the same time. Its connections belong "
        f"to the loop in which it was first used, at {place}, and that one is still running"
    )
    fix = (
        "Make a client for each loop, or have the work done in that loop by "
        "asyncio.run_coroutine_threadsafe(coroutine, loop)"
    )
    error = InvalidOperation(f"{summary}. {fix} [ENV-LOOP]")
    error.diagnoses = (Diagnosis("ENV-LOOP", CERTAIN, summary, [f"first used at {place}"], fix),)
    return error


__all__ = ["used_in_two_loops"]
