"""Who of a secret's logins may go on, so that a wrong password is tried once and then seldom.

Knows threads, forks and the clock: one login is in flight until the secret has been accepted, the
others wait for its outcome; a refused secret is answered from memory until its back-off has passed,
and then tried by one login. Must not know mechanisms, commands or servers.
"""

from __future__ import annotations

import threading
from os import urandom

from mongokey._support.fork import call_after_fork
from mongokey._support.reprs import with_safe_repr
from mongokey._support.shared_errors import own_copy
from mongokey._support.system import monotonic_ns
from mongokey._support.waiting import OneTimeEvent, wait_for
from mongokey.auth.conversation import OffloadedCall
from mongokey.errors import NetworkTimeout

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey._support.deadline import Deadline
    from mongokey.auth.errors import AuthenticationFailed

# So much of a back-off is left to chance: processes that were refused together do not come back
# together.
_JITTER = 0.2
# Beyond this a doubling changes nothing, whatever the limit is.
_MOST_DOUBLINGS = 62


class Backoff:
    """For how long a refused secret is not tried again: `first_ns`, doubled by each refusal that
    follows, at most `longest_ns`, less up to a fifth by chance. A `first_ns` of 0 is never."""

    __slots__ = ("first_ns", "longest_ns")

    def __init__(self, first_ns: int, longest_ns: int) -> None:
        self.first_ns = first_ns
        self.longest_ns = longest_ns

    def after(self, refusal: Refusal) -> int:
        """Nanoseconds between `refusal` and the next try."""
        doublings = min(refusal.count - 1, _MOST_DOUBLINGS)
        whole = min(self.first_ns << doublings, self.longest_ns)
        return int(whole * (1 - _JITTER * refusal.chance))


#: For logins that are no client's: who drives one decides what is tried when.
NO_BACKOFF = Backoff(0, 0)


class Refusal:
    """That a secret was refused: the error, when (monotonic), the how manieth time in a row, and
    what chance adds to its back-off (0 to 1). The error is without traceback and cause, whose
    frames would live on, and holds no credential."""

    __slots__ = ("at_ns", "chance", "count", "error")

    def __init__(self, error: AuthenticationFailed, at_ns: int, count: int) -> None:
        self.error = error
        self.at_ns = at_ns
        self.count = count
        self.chance = int.from_bytes(urandom(2), "big") / 65535


class Flight:
    """A login that others wait for. `refusal` is the error it ended with when it was refused."""

    __slots__ = ("done", "refusal", "thread")

    def __init__(self) -> None:
        # A signal handler may wait for what its own thread waits for.
        self.done = OneTimeEvent()
        self.thread = threading.get_ident()
        self.refusal: AuthenticationFailed | None = None


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
    """Who of a secret's logins may go on: all of them once one has succeeded (`proven`), else one
    at a time, and none while the back-off of its last `refusal` lasts. `refusals` counts those that
    it was told of."""

    __slots__ = ("__weakref__", "_flight", "_lock", "proven", "refusal", "refusals")

    def __init__(self, refusal: Refusal | None = None) -> None:
        self.proven = False
        self.refusal = refusal
        self.refusals = 0
        self.reset_after_fork()
        call_after_fork(self)

    def reset_after_fork(self) -> None:
        """In a forked child: whose login was in flight was a thread of the parent. What the server
        said holds there too."""
        self._lock = threading.RLock()
        self._flight: Flight | None = None

    @property
    def busy(self) -> bool:
        """Whether a login is in flight that others wait for."""
        return self._flight is not None

    def remembered(self, backoff: Backoff) -> Refusal | None:
        """The refusal that is the answer to a login that begins now; None when it may be tried."""
        refusal = self.refusal
        if refusal is None or monotonic_ns() >= refusal.at_ns + backoff.after(refusal):
            return None
        return refusal

    def begin(self, backoff: Backoff) -> tuple[Flight | Refusal | None, bool]:
        """(the login in flight, whether that is the caller's); (None, False) where all may go on,
        (a `Refusal`, False) where the caller is refused from memory.

        Who gets True ends it with `succeeded`, `refused` or `leave`.
        """
        with self._lock:
            if self.proven:
                return None, False
            if self._flight is not None:
                return self._flight, False
            refusal = self.remembered(backoff)
            if refusal is not None:
                return refusal, False
            self._flight = Flight()
            return self._flight, True

    def succeeded(self, flight: Flight | None) -> None:
        """A login succeeded; `flight` is its turn, if it had one."""
        with self._lock:
            self.proven = True
            self.refusal = None
        self.leave(flight)

    def refused(self, flight: Flight | None, error: AuthenticationFailed) -> None:
        """A login was refused, and so are those that wait for it."""
        self.proven = False
        if flight is not None:
            flight.refusal = error
        self.leave(flight)

    def remember(self, error: AuthenticationFailed, seen: int) -> Refusal:
        """The secret was refused, to a login that began when there were `seen` refusals: logins
        that begin from now on are answered with `error`. To be told before `refused`."""
        kept = own_copy(error)
        kept.__traceback__ = kept.__cause__ = kept.__context__ = None
        if kept.login is not None:
            kept.login = kept.login.without_secrets()
        with self._lock:
            before = self.refusal
            count = 0 if before is None else before.count
            # Logins that ran side by side are one try.
            if count == 0 or seen == self.refusals:
                count += 1
            self.refusals += 1
            self.refusal = refusal = Refusal(kept, monotonic_ns(), count)
        return refusal

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


__all__ = ["NO_BACKOFF", "Backoff", "Flight", "LoginTurns", "Refusal", "WaitForLogin"]
