"""The thread that tends a client's pools: `maxIdleTimeMS` and `minPoolSize`.

It knows pools only through `prune`. A client starts it when one of those options asks for it.
"""

from __future__ import annotations

import os
import threading
import weakref

from mongokey.errors import ConfigurationError, MongoError, OperationFailure

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.pool._pool import Pool
    from mongokey.topology._topology import Topology

_PERIOD_S = 1.0
# A pool whose login was refused is left alone for so many periods, twice as many each time: each
# try may count against an account that locks, or ask a person again.
_FIRST_REST, _LONGEST_REST = 4, 256


class Keeper:
    """Prunes the pools of `topology` once a second until `stop`, or until it is collected."""

    def __init__(self, topology: Topology) -> None:
        self._stopped = threading.Event()
        self._topology = weakref.ref(topology)
        self._start()
        _keepers.add(self)

    def _start(self) -> None:
        threading.Thread(
            target=_tend, args=(self._topology, self._stopped), name="mongokey-keeper", daemon=True
        ).start()

    def stop(self) -> None:
        """Have the thread end; does not wait for it."""
        self._stopped.set()

    def _after_fork(self) -> None:
        """Threads do not live on in a forked child: start the child's own."""
        if not self._stopped.is_set():
            self._stopped = threading.Event()
            self._start()


class _Rest:
    """How long a pool is left alone: periods left, and how many they were at first."""

    __slots__ = ("left", "length")

    def __init__(self, length: int) -> None:
        self.left = self.length = length


def _tend(topology: weakref.ref[Topology], stopped: threading.Event) -> None:
    rests: weakref.WeakKeyDictionary[Pool, _Rest] = weakref.WeakKeyDictionary()
    while not stopped.wait(_PERIOD_S):
        alive = topology()
        if alive is None:
            return
        for pool in alive.pools:
            rest = rests.get(pool)
            if rest is not None and rest.left:
                rest.left -= 1
                continue
            try:
                pool.prune()
                rests.pop(pool, None)
            except (OperationFailure, ConfigurationError):
                # The login was refused; the next operation will say so.
                before = _FIRST_REST // 2 if rest is None else rest.length
                rests[pool] = _Rest(min(2 * before, _LONGEST_REST))
            except (MongoError, Warning):
                # The server cannot be reached now, or warnings are errors; the next operation
                # will say so.
                continue
        del alive


_keepers: weakref.WeakSet[Keeper] = weakref.WeakSet()


def _restart() -> None:
    for keeper in list(_keepers):
        keeper._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart)
