"""Lets the first login of a credential go alone, so that a wrong password is tried once.

Knows threads and forks: one login is in flight until the credential has logged in, the others wait
for its outcome, and a refusal is theirs too, also that of threads which come a moment later. Must
not know mechanisms, commands or servers.
"""

from __future__ import annotations

import threading

from mongokey._support.callers import caller_number
from mongokey._support.clock import monotonic_ns
from mongokey._support.fork import call_after_fork
from mongokey._support.reprs import with_safe_repr
from mongokey._support.shared_errors import own_copy
from mongokey._support.waiting import OneTimeEvent, wait_for
from mongokey.auth.conversation import OffloadedCall
from mongokey.errors import NetworkTimeout

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey._support.deadline import Deadline
    from mongokey.auth.errors import AuthenticationFailed

# Threads that start together come one after another. Who begins so soon after a refusal, or after
# it was last told, is one of them; and nobody is who begins later than the second time.
_RUSH_NS = 100_000_000
_LONGEST_RUSH_NS = 1_000_000_000


class Flight:
    """A login that others wait for. `refusal` is the error it ended with when it was refused: then
    it answers also logins that begin until `answers_until_ns`, in threads not yet `told`."""

    __slots__ = ("answers_until_ns", "done", "ends_ns", "refusal", "thread", "told")

    def __init__(self) -> None:
        # A signal handler may wait for what its own thread waits for.
        self.done = OneTimeEvent()
        self.thread = threading.get_ident()
        self.refusal: AuthenticationFailed | None = None
        self.answers_until_ns = self.ends_ns = 0
        self.told: set[int] = set()


class WaitForLogin(OffloadedCall):
    """Waits until the login in flight has ended, however it ended. `own` says afterwards that it is
    a login of this very thread, which a signal handler interrupted and so must not wait for."""

    what = "waiting for the first login of the same user"

    def __init__(self, flight: Flight) -> None:
        self.flight = flight
        self.own = False
        self._deadline: Deadline | None = None

    def run(self, deadline: Deadline | None = None) -> None:
        self._deadline = deadline
        super().run(deadline)

    def _work(self) -> None:
        self.own = self.flight.thread == threading.get_ident()
        deadline = self._deadline
        if self.own or wait_for(self.flight.done, deadline, self.cancelled):
            return
        assert deadline is not None, "a wait without a limit ends when the login does"
        raise NetworkTimeout(
            f"{deadline.timed_out(self.what)}: it had no answer from its server, and later logins "
            "wait for what it comes to"
        )


@with_safe_repr
class LoginTurns:
    """Who of a credential's logins may go on: all of them once one has succeeded (`proven`), else
    one at a time. A refusal ends that again.

    A refusal is kept for a moment, for threads that began together with the one that was refused
    but later. It is not for a thread that was told of it already, nor for the one that made the
    credential: these try again on purpose.
    """

    __slots__ = ("__weakref__", "_flight", "_lock", "_maker", "_refused", "proven")

    def __init__(self) -> None:
        self.proven = False
        self._maker = caller_number()
        self.reset_after_fork()
        call_after_fork(self)

    def reset_after_fork(self) -> None:
        """In a forked child: whose login was in flight was a thread of the parent."""
        self._lock = threading.RLock()
        self._flight: Flight | None = None
        self._refused: Flight | None = None

    @property
    def busy(self) -> bool:
        """Whether a login is in flight that others wait for."""
        return self._flight is not None

    def begin(self, began_ns: int) -> tuple[Flight | None, bool]:
        """(the login in flight, whether that is the caller's); (None, False) where all may go on.

        Who gets True ends it with `succeeded`, `refused` or `leave`. A flight that has a `refusal`
        already is over: it is the answer to the caller's login too, which began at `began_ns`
        (monotonic nanoseconds).
        """
        with self._lock:
            if self.proven:
                return None, False
            if self._flight is not None:
                return self._flight, False
            refused = self._refused
            if refused is not None:
                if began_ns > refused.answers_until_ns:
                    self._refused = None
                elif caller_number() not in refused.told:
                    return refused, False
            self._flight = Flight()
            return self._flight, True

    def succeeded(self, flight: Flight | None) -> None:
        """A login succeeded; `flight` is its turn, if it had one."""
        self.proven = True
        self._refused = None
        self.leave(flight)

    def refused(
        self, flight: Flight | None, error: AuthenticationFailed, *, keep: bool = False
    ) -> None:
        """A login was refused, and so are those that wait for it; with `keep`, those that come a
        moment later too, which suits a secret that does not change by itself."""
        self.proven = False
        if flight is not None:
            flight.refusal = error
        kept: Flight | None = None
        if keep:
            kept = Flight()
            # Without the traceback, whose frames would live on.
            kept.refusal = own_copy(error)
            now = monotonic_ns()
            kept.answers_until_ns, kept.ends_ns = now + _RUSH_NS, now + _LONGEST_RUSH_NS
            kept.told = {self._maker, caller_number()}
        self._refused = kept
        self.leave(flight)

    def tell(self) -> None:
        """The calling thread is told of the last refusal now; what it begins later is a new try."""
        refused = self._refused
        if refused is not None:
            refused.told.add(caller_number())
            refused.answers_until_ns = min(monotonic_ns() + _RUSH_NS, refused.ends_ns)

    def leave(self, flight: Flight | None) -> None:
        """A login ended without an answer, or gives its turn up: the next one may try."""
        if flight is None:
            return
        with self._lock:
            if self._flight is flight:
                self._flight = None
        flight.done.set()

    def __repr__(self) -> str:
        return f"<LoginTurns proven={self.proven} busy={self.busy}>"


__all__ = ["Flight", "LoginTurns", "WaitForLogin"]
