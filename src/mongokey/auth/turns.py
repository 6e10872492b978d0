"""Lets the first login of a credential go alone, so that a wrong password is tried once.

Knows threads and forks: one login is in flight until the credential has logged in, the others wait
for its outcome, and a refusal is theirs too. Must not know mechanisms, commands or servers.
"""

from __future__ import annotations

import threading

from mongokey._support.fork import call_after_fork
from mongokey._support.reprs import with_safe_repr
from mongokey._support.waiting import wait_for
from mongokey.auth.conversation import OffloadedCall
from mongokey.errors import NetworkTimeout

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.auth.errors import AuthenticationFailed


class Flight:
    """A login that others wait for. `refusal` is the error it ended with when it was refused."""

    __slots__ = ("done", "refusal", "thread")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.thread = threading.get_ident()
        self.refusal: AuthenticationFailed | None = None


class WaitForLogin(OffloadedCall):
    """Waits until the login in flight has ended, however it ended. `own` says afterwards that it is
    a login of this very thread, which a signal handler interrupted and so must not wait for."""

    what = "waiting for the first login of the same user"

    def __init__(self, flight: Flight) -> None:
        self.flight = flight
        self.own = False
        self._within_s: float | None = None

    def run(self, within_s: float | None = None) -> None:
        self._within_s = within_s
        super().run(within_s)

    def _work(self) -> None:
        self.own = self.flight.thread == threading.get_ident()
        if not self.own and not wait_for(self.flight.done, self._within_s, self.cancelled):
            raise NetworkTimeout(
                "the first login of the same user had no answer from its server for "
                f"{self._within_s:.1f} s, and later logins wait for what it comes to"
            )


@with_safe_repr
class LoginTurns:
    """Who of a credential's logins may go on: all of them once one has succeeded (`proven`), else
    one at a time. A refusal ends that again."""

    __slots__ = ("__weakref__", "_flight", "_lock", "proven")

    def __init__(self) -> None:
        self.proven = False
        self.reset_after_fork()
        call_after_fork(self)

    def reset_after_fork(self) -> None:
        """In a forked child: whose login was in flight was a thread of the parent."""
        self._lock = threading.RLock()
        self._flight: Flight | None = None

    @property
    def busy(self) -> bool:
        """Whether a login is in flight that others wait for."""
        return self._flight is not None

    def begin(self) -> tuple[Flight | None, bool]:
        """(the login in flight, whether that is the caller's); (None, False) where all may go on.

        Who gets True ends it with `succeeded`, `refused` or `leave`.
        """
        with self._lock:
            if self.proven:
                return None, False
            if self._flight is not None:
                return self._flight, False
            self._flight = Flight()
            return self._flight, True

    def succeeded(self, flight: Flight | None) -> None:
        """A login succeeded; `flight` is its turn, if it had one."""
        self.proven = True
        self.leave(flight)

    def refused(self, flight: Flight | None, error: AuthenticationFailed) -> None:
        """A login was refused, and so are those that wait for it."""
        self.proven = False
        if flight is not None:
            flight.refusal = error
        self.leave(flight)

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
