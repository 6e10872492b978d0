"""A small cache of derived keys in which each key is derived by one thread only.

Knows threads and forks; must not know what a key is or how it is derived.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

from mongokey._reprs import with_safe_repr
from mongokey.auth.forks import renew_in_children

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

# One credential sees one salt per mechanism and deployment, and a new one after each change of
# the password; more than this is a server making salts up.
MAX_ENTRIES = 8


@with_safe_repr
class KeyCache:
    """Maps what identifies a derivation to what it gave; at most `limit` entries, oldest out.

    `derive` is single-flight: of threads that ask for one missing key one computes, the others
    wait for it; if it fails, the next one tries. A forked child may use it at once.
    """

    __slots__ = ("__weakref__", "_entries", "_flights", "_limit", "_lock")

    def __init__(self, limit: int = MAX_ENTRIES) -> None:
        self._limit = limit
        self._entries: dict[Hashable, Any] = {}
        self.after_fork()
        renew_in_children(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable) -> Any:
        """The cached value, or None."""
        return self._entries.get(key)

    def derive(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The cached value, or what `compute` gives; waits while another thread computes it."""
        with self._lock:
            value = self._entries.get(key)
            if value is not None:
                return value
            flight = self._flights.setdefault(key, threading.Lock())
        with flight:
            value = self._entries.get(key)
            if value is not None:
                return value
            value = compute()
            with self._lock:
                while len(self._entries) >= self._limit:
                    del self._entries[next(iter(self._entries))]
                self._entries[key] = value
                self._flights.pop(key, None)
            return value

    def __repr__(self) -> str:
        return f"<KeyCache of {len(self._entries)}>"
