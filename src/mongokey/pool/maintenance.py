"""A client's maintenance: pools are pruned and filled (`maxIdleTimeMS`, `minPoolSize`), and the
housekeeping is done that must not delay a call.

It knows pools only through `prune` and `fill`, housekeeping as a callable, and who has work done
beside the program (`Background`). It must not keep the client alive, nor raise anything into its
calls.
"""

from __future__ import annotations

import sys
import weakref

from mongokey._support.fork import call_after_fork
from mongokey._support.weakly import weakly

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from mongokey._support.jobs import JobSteps

    class Pools(Protocol):
        """What has the pools: a client's topology."""

        @property
        def pools(self) -> Sequence[Any]:
            """Pools: `prune`, `wants_connections`, `fill`."""

    class Cancellable(Protocol):
        """A job that is done now and then."""

        def cancel(self) -> object: ...

    class Background(Protocol):
        """Who has work done: the client's monitors."""

        def call_every(self, period_ns: int, job: Callable[[], object]) -> Cancellable:
            """Call `job`, which must not wait, again and again."""

        def run_beside(self, job: Callable[[], object]) -> bool:
            """Have `job` (see `_support.jobs`), which may wait, done soon; False where there is
            nobody to do it."""

        def restart(self) -> None:
            """In a forked child: go on with what `call_every` was given."""


_PERIOD_S = 1.0


class PoolMaintenance:
    """Prunes and fills the pools of `topology` once a second, from `maintain` on, and fills them
    soon after `fill_soon`; and calls `tidy` after each `wake`, then once a second for as long as
    that returns False: not all is done yet.

    Pruning is done in the thread of `background`, as it never waits; filling and `tidy` beside it,
    one after the other. `tidy` and the pools' `fill` may return awaitables, where `background` has
    a loop for them. `tidy` must not keep the client alive, as this object does not.
    """

    def __init__(
        self,
        topology: Pools,
        background: Background,
        tidy: Callable[[], object] | None = None,
    ) -> None:
        self._topology = weakref.ref(topology)
        self._background = background
        self._tidy = tidy
        self._stopped = False
        self._pruning: Cancellable | None = None
        self._tidying_again: Cancellable | None = None
        self.reset_after_fork()
        call_after_fork(self)

    def reset_after_fork(self) -> None:
        """In a forked child: what was under way, or waited for its turn, was the parent's."""
        self._fills = self._fill_again = False
        self._tidies = False
        again, self._tidying_again = self._tidying_again, None
        if again is not None:
            again.cancel()

    def restart_after_fork(self) -> None:
        """In a forked child, once the pools are reset: go on, where pools are pruned."""
        if self._pruning is not None and not self._stopped:
            self._background.restart()

    def maintain(self) -> None:
        """Prune and fill pools from now on."""
        if self._pruning is None and not self._stopped:
            self._pruning = self._every_period(self._prune)

    def fill_soon(self) -> None:
        """Have pools filled, such as one that has just become ready. Never waits."""
        if self._stopped:
            return
        self._fill_again = True
        if not self._fills:
            self._fills = True
            if not self._background.run_beside(self._fill):
                self._fills = False

    def wake(self, job: Callable[[], object] | None = None) -> bool:
        """Have `tidy` called soon, or `job` (see `_support.jobs`); safe in destructors.

        False where there is nobody to do it (the system has no thread to give, the loop is closed,
        the interpreter ends): then nothing is done until somebody asks again.
        """
        if self._stopped or sys.is_finalizing():
            return False
        if job is not None:
            return self._background.run_beside(job)
        if self._tidies:
            return True
        self._tidies = True
        if self._background.run_beside(self._tidy_up):
            return True
        self._tidies = False
        return False

    def stop(self) -> None:
        """Begin nothing any more; what was begun, or given to `wake`, is done."""
        self._stopped = True
        for each in (self._pruning, self._tidying_again):
            if each is not None:
                each.cancel()

    def _every_period(self, method: Callable[[], object]) -> Cancellable:
        # The thread that calls it must not keep this object alive, which holds that thread's owner.
        return self._background.call_every(round(_PERIOD_S * 1e9), weakly(method))

    # In the thread of `background`: nothing here waits.

    def _prune(self) -> None:
        topology = self._topology()
        if topology is None or self._stopped:
            return
        wanted = False
        for pool in topology.pools:
            pool.prune()
            wanted = wanted or pool.wants_connections()
        if wanted:
            self.fill_soon()

    def _tidy_again(self) -> None:
        self.wake()

    # Beside it.

    def _fill(self) -> JobSteps[None]:
        try:
            # A pool may become ready while others are filled.
            while self._fill_again and not self._stopped:
                self._fill_again = False
                topology = self._topology()
                for pool in () if topology is None else topology.pools:
                    if pool.wants_connections():
                        yield pool.fill()
        finally:
            self._fills = False

    def _tidy_up(self) -> JobSteps[None]:
        # Whoever wakes from here on has it called once more.
        self._tidies = False
        done = self._tidy is None or (yield self._tidy()) is not False
        again = self._tidying_again
        if done or self._stopped:
            self._tidying_again = None
            if again is not None:
                again.cancel()
        elif again is None:
            self._tidying_again = self._every_period(self._tidy_again)


__all__ = ["PoolMaintenance"]
