"""A client's maintenance thread: it prunes pools (`maxIdleTimeMS`, `minPoolSize`) and does the
housekeeping that must not delay a call.

It knows pools only through `prune` and `fill`, and housekeeping as a callable. It must not keep the
client alive, nor raise anything into its calls.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue

from mongokey._support.fork import call_after_fork
from mongokey.transport.stream import monotonic_ns

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.topology.topology import Topology

_PERIOD_S = 1.0


class PoolMaintenance:
    """Prunes the pools of `topology` once a second, if `prunes`; and calls `tidy` after each
    `wake`, then once a second for as long as that returns False: not all is done yet.

    Its thread starts with the first reason for it, and ends with `stop`, or when `topology` is
    collected; `tidy` must not keep the client alive either.
    """

    def __init__(
        self,
        topology: Topology,
        tidy: Callable[[], bool | None] | None = None,
        *,
        prunes: bool = True,
    ) -> None:
        self._tidy = tidy
        self._prunes = False
        self._stopped = False
        self._prepare()
        self._topology = weakref.ref(topology, self._topology_is_gone)
        call_after_fork(self)
        if prunes:
            self.maintain()

    def _prepare(self) -> None:
        # What `wake` does may happen in a destructor, in whatever code that interrupts, even in
        # this class: the queue allows it, and taking the only item from a list is one step.
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._unstarted = [True]

    def maintain(self) -> None:
        """Prune pools from now on."""
        self._prunes = True
        self.wake()

    def wake(self, job: Callable[[], object] | None = None) -> bool:
        """Have `tidy` called soon in the thread, or `job`; safe in destructors.

        False without a thread (the system has none to give, the interpreter ends): then nothing is
        done until somebody asks again.
        """
        self._calls.put(job)
        if self._stopped or sys.is_finalizing():
            return False
        if self._unstarted:
            try:
                self._unstarted.pop()
            except IndexError:
                return True  # another thread was faster
            try:
                threading.Thread(target=self._run, name="mongokey-keeper", daemon=True).start()
            except RuntimeError:
                self._unstarted.append(True)
                return False
        return True

    def stop(self) -> None:
        """Have the thread end, once it has done the jobs given before; does not wait for it."""
        self._stopped = True
        self._calls.put(_end)

    def _topology_is_gone(self, _: object) -> None:
        self.stop()

    def _run(self) -> None:
        unstarted = self._unstarted
        try:
            self._run_until_stopped(self._calls)
        finally:
            # After an error that nobody foresaw the next call starts another.
            unstarted.append(True)

    def _run_until_stopped(self, calls: SimpleQueue[Callable[[], object] | None]) -> None:
        tidied = True
        due = monotonic_ns() + _PERIOD_S * 1e9
        while True:
            left = None if tidied and not self._prunes else (due - monotonic_ns()) / 1e9
            try:
                job = calls.get(timeout=left if left is None else max(left, 0))
            except Empty:
                due = monotonic_ns() + _PERIOD_S * 1e9
                if not tidied:
                    tidied = self._tidied()
                if self._prunes:
                    self._prune()
                continue
            if job is _end:
                return
            if job is not None:
                job()
                del job  # or what it holds would live until the next one
            else:
                tidied = self._tidied()

    def _tidied(self) -> bool:
        return self._tidy is None or self._tidy() is not False

    def _prune(self) -> None:
        topology = self._topology()
        if topology is None:
            return
        for pool in topology.pools:
            pool.prune()
            if pool.wants_connections():
                pool.fill()

    def reset_after_fork(self) -> None:
        """In a forked child: the thread does not live on there."""
        if not self._stopped:
            self._prepare()

    def restart_after_fork(self) -> None:
        """In a forked child, once the pools are reset: start a thread, where pools are pruned."""
        if self._prunes and not self._stopped:
            self.wake()


def _end() -> None:
    """The job after which the thread ends."""
