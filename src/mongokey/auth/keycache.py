"""A small cache of derived keys in which each key is derived by one thread only.

Knows how many keys are kept. Must not know what a key is or how it is derived, nor how threads wait
for one another (`mongokey._support.single_flight`).
"""

from __future__ import annotations

from functools import partial

from mongokey._support.reprs import with_safe_repr
from mongokey._support.single_flight import SingleFlight

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any

    from mongokey._support.deadline import Deadline

__all__ = ["MAX_ENTRIES", "KeyCache"]

# One credential sees one salt per mechanism and deployment, and a new one after each change of
# the password; more than this is a server making salts up.
MAX_ENTRIES = 8


@with_safe_repr
class KeyCache:
    """Maps what identifies a derivation to what it gave; at most `limit` entries, oldest out.

    Of threads that ask for one missing key one computes, the others wait for it; if it fails, the
    next one tries. A forked child may use it at once.
    """

    __slots__ = ("_entries", "_flights", "_limit")

    def __init__(self, limit: int = MAX_ENTRIES) -> None:
        self._entries: dict[Hashable, Any] = {}
        self._flights = SingleFlight()
        self._limit = limit

    def get(self, key: Hashable) -> Any:
        """The cached value, or None."""
        return self._entries.get(key)

    def derive(
        self,
        key: Hashable,
        compute: Callable[[], Any],
        deadline: Deadline | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Any:
        """The cached value, or what `compute` gives; waits while another thread computes it.

        Raises TimeoutError when `deadline` passes while it waits, `Cancelled` soon after
        `cancelled()` has become true, and whatever `compute` raises; then nothing is kept. A thread
        that computes the key and is interrupted by a handler which needs it too does not wait for
        itself.
        """
        value = self._entries.get(key)
        if value is not None:
            return value
        return self._flights.run(key, partial(self._make, key, compute), deadline, cancelled)

    def _make(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        value = self._entries.get(key)
        if value is None:
            value = compute()
            while len(self._entries) >= self._limit:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = value
        return value

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle 'KeyCache' object")

    def __repr__(self) -> str:
        return f"<KeyCache of {len(self._entries)}>"
