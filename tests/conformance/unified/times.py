"""Times that a slow machine keeps too: those of a file of tests, all multiplied by one number.

The files of client-side-operations-timeout tell apart what takes, say, 60 of 100 ms and what takes
120 of them. On a loaded machine a command that nobody blocks may take as long. Whatever is compared
with whatever, a limit with a limit, a limit with a fail point's block or with the sum of two, or
with what a command is expected to say, is the same when all of them are longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Everything in a file that is a time, and counted by the driver under test or by the server.
TIMES = frozenset(
    {"blockTimeMS", "defaultTimeoutMS", "maxAwaitTimeMS", "maxCommitTimeMS", "maxTimeMS"}
    | {"socketTimeoutMS", "timeoutMS", "wTimeoutMS", "waitQueueTimeoutMS", "wtimeout"}
)
#: By file, the number: the shortest limit that something is to be done in becomes 400 ms at least.
FACTORS: Mapping[str, int] = {
    f"client-side-operations-timeout/{name}": factor
    for factor, names in {
        2: "error-transformations global-timeoutMS",
        # socketTimeoutMS, which waits twice in each test, for a server that is there: 300 ms.
        3: "retryability-legacy-timeouts",
        # Two blocks, of which only one fits in, or each in a time of its own.
        4: (
            "bulkWrite change-streams close-cursors non-tailable-cursors retryability-timeoutMS"
            " runCursorCommand tailable-awaitData tailable-non-awaitData"
        ),
        6: (
            "command-execution gridfs-advanced gridfs-delete gridfs-download gridfs-find"
            " gridfs-upload"
        ),
    }.items()
    for name in names.split()
}


def lengthened(value: Any, factor: int) -> Any:
    """A value of a file, at any depth, with all of its times multiplied."""
    if isinstance(value, list):
        return [lengthened(each, factor) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _longer(each, factor) if name in TIMES else lengthened(each, factor)
        for name, each in value.items()
    }


def _longer(value: Any, factor: int) -> Any:
    """A time, or what the format says of one: `{"$$lte": 450}`."""
    if isinstance(value, dict):
        return {name: _longer(each, factor) for name, each in value.items()}
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value * factor if is_number else value
