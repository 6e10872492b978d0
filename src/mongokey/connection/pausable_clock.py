"""The time that a client's logins spend waiting for a person or a provider, which is nobody's
server being slow.

Knows a clock and forks only. It must not know what is waited for; topology reads it as its clock,
so that selection does not give up on a server while its user logs in by browser.
"""

from __future__ import annotations

import threading

from mongokey._support.clock import monotonic
from mongokey._support.fork import call_after_fork


class PausableClock:
    """A clock that stands still while it is entered (``with``), by however many threads."""

    __slots__ = ("__weakref__", "_began_s", "_inside", "_lock", "_total_s")

    def __init__(self) -> None:
        self._total_s = 0.0
        self.reset_after_fork()
        call_after_fork(self)

    def reset_after_fork(self) -> None:
        """In a forked child: who waited was a thread of the parent."""
        self._lock = threading.RLock()
        self._inside = 0
        self._began_s = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._began_s = monotonic()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._inside > 0:
                self._inside -= 1
                if self._inside == 0:
                    self._total_s += monotonic() - self._began_s

    @property
    def waiting(self) -> bool:
        """Whether the clock stands still now."""
        with self._lock:
            return self._inside > 0

    def clock(self) -> float:
        """The monotonic clock in seconds, less the time it stood still."""
        with self._lock:
            now = self._began_s if self._inside else monotonic()
            return now - self._total_s
