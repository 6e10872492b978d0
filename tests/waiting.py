"""Waits for what other threads, or servers, bring about. Knows nothing of what that is."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 30.0


def soon(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> bool:
    """Whether `condition` holds within that time, in seconds; a slow machine has enough of it."""
    ends = time.monotonic() + within_s
    while not condition():  # asked once more, it might be another moment's
        if time.monotonic() >= ends:
            return False
        time.sleep(0.005)
    return True
