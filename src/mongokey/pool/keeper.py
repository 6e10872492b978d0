"""The thread that tends a client's pools: `maxIdleTimeMS` and `minPoolSize`.

It knows pools only through `prune`. A client starts it when one of those options asks for it.
"""

from __future__ import annotations

import os
import threading
import weakref

from mongokey.errors import MongoError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.topology._topology import Topology

_PERIOD_S = 1.0


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


def _tend(topology: weakref.ref[Topology], stopped: threading.Event) -> None:
    while not stopped.wait(_PERIOD_S):
        alive = topology()
        if alive is None:
            return
        for pool in alive.pools:
            try:
                pool.prune()
            except MongoError:
                # The server cannot be reached now; the next operation will say so.
                continue
        del alive


_keepers: weakref.WeakSet[Keeper] = weakref.WeakSet()


def _restart() -> None:
    for keeper in list(_keepers):
        keeper._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart)
