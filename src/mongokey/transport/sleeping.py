"""How the blocking face lets time pass: Ctrl-C ends it, and gevent's other greenlets go on.

Knows a clock and whether streams wait by gevent. Must not know what is waited for.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from mongokey._support.system import monotonic_ns

# Nobody wakes who sleeps, so that who must not sleep on looks so often.
_LOOK_EVERY_S = 0.25


def sleep_until(end_ns: int, cancelled: Callable[[], bool]) -> None:
    """Sleep until the monotonic clock says `end_ns`, or until soon after `cancelled()` is true.

    Signal handlers of Python run meanwhile, and what they raise ends the sleep.
    """
    waits = sys.modules.get("mongokey.transport.gevent_waits")
    sleep = waits.sleep if waits is not None and waits.installed else time.sleep
    while not cancelled():
        left_s = (end_ns - monotonic_ns()) / 1e9
        if left_s <= 0:
            return
        sleep(min(left_s, _LOOK_EVERY_S))


__all__ = ["sleep_until"]
