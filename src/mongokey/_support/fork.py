"""What a forked child has to make anew in the stores that a client's logins share.

Knows that a thread which held a lock or was fetching something at the fork does not exist in the
child to end it. Must not know what is stored.
"""

from __future__ import annotations

import os
from weakref import WeakSet

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Protocol

    class Store(Protocol):
        """A store with locks, or with somebody's work under way."""

        def reset_after_fork(self) -> None:
            """Make new locks, and forget the work under way."""


_stores: WeakSet[Store] = WeakSet()


def call_after_fork(store: Store) -> None:
    """Call `store.reset_after_fork()` in every forked child, for as long as the store lives."""
    _stores.add(store)


def _after_fork() -> None:
    for store in list(_stores):
        store.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
