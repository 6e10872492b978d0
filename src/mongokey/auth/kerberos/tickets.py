"""The ticket that a password got, kept for a client's other connections.

Knows that one login at a time asks the KDC, and that those that come meanwhile share its outcome.
Must not know what a ticket is to a library.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock

from mongokey._support.fork import call_after_fork
from mongokey._support.reprs import with_safe_repr

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any


class _Request:
    """One question to the KDC, and what came of it once `done` is set."""

    __slots__ = ("credential", "done", "error")

    def __init__(self) -> None:
        self.done = Event()
        self.credential: Any = None
        self.error: Exception | None = None


@with_safe_repr
class PasswordTickets:
    """Holds one library's credential of one user; thread-safe, and a forked child may use it."""

    def __init__(self) -> None:
        self._request: _Request | None = None
        self.reset_after_fork()
        call_after_fork(self)

    def reset_after_fork(self) -> None:
        """In a forked child: a thread that held the lock or asked the KDC is no more."""
        self._lock = Lock()
        if self._request is not None and not self._request.done.is_set():
            self._request = None

    def get(self, make: Callable[[], Any], lives: Callable[[Any], bool]) -> Any:
        """The credential held, if `lives` says that it can be used, else what `make` gives.

        While another thread makes one, this waits for it, without end: logins that were given
        up meanwhile end with it. Raises what `make` raised, in whichever thread, and then holds
        none.
        """
        with self._lock:
            request = self._request
            mine = request is None or (request.done.is_set() and not lives(request.credential))
            if mine:
                request = self._request = _Request()
        assert request is not None
        if mine:
            try:
                request.credential = make()
            except Exception as error:
                request.error = error
                self._forget(request)
            finally:
                request.done.set()
        request.done.wait()
        if request.error is not None:
            raise request.error
        return request.credential

    def drop(self, credential: Any) -> None:
        """Forget this one: a login with it failed, and it may be why (keys changed since)."""
        with self._lock:
            held = self._request
            if held is not None and held.credential is credential:
                self._request = None

    def _forget(self, request: _Request) -> None:
        with self._lock:
            if self._request is request:
                self._request = None

    def __repr__(self) -> str:
        return f"<PasswordTickets: {'none' if self._request is None else 'one'} held>"
