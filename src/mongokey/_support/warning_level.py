"""Where the driver's warnings point.

Knows frames only.
"""

from __future__ import annotations

import sys


def outside_level() -> int:
    """The `stacklevel` for a `warnings.warn` of the function that calls this: the first caller
    outside of the driver. Compiled code has no frames."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("mongokey."):
        frame = frame.f_back
        level += 1
    return level


__all__ = ["outside_level"]
