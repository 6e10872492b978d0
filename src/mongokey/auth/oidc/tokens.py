"""The access token that all connections of a client share, and the calls that fetch it.

Knows threads, forks and the clock: one call at a time, its outcome for all who waited, a pause
between calls (auth.md, "Credential Caching"). Must not know where tokens come from.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import copy_context

from mongokey._support.deadline import earliest
from mongokey._support.fork import call_after_fork
from mongokey._support.reprs import with_safe_repr
from mongokey._support.single_flight import Flight, SingleFlight
from mongokey._support.system import monotonic_ns
from mongokey._support.waiting import never

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.deadline import Deadline
    from mongokey.auth.credential import MongoCredential
    from mongokey.auth_oidc import OIDCCallbackResult, OIDCIdPInfo
    from mongokey.diagnostics import Diagnosis
    from mongokey.errors import MongoError

    Ask = Callable[[], "OIDCCallbackResult | Failure"]
    Keep = Callable[["TokenStore", "OIDCCallbackResult"], None]

# auth.md, "Authentication": the least time between two calls.
PAUSE_S = 0.1

_SHARED = "the client's access token"


@with_safe_repr
class Token:
    """An access token; `text` is the JWT, `call` the number of the call that gave it (0: none).

    Two are the same token only if both are equal: a provider may give the same text again, and
    that is then its newest.
    """

    __slots__ = ("call", "text")

    def __init__(self, text: str, call: int) -> None:
        self.text = text
        self.call = call

    def is_same(self, other: Token | None) -> bool:
        """Whether `other` is this token."""
        return other is not None and (self.call, self.text) == (other.call, other.text)

    def __repr__(self) -> str:
        return f"<access token of call {self.call}>"


class Failure:
    """Why a call gave no token: the class and message of the error to raise, its cause, a hint.

    Each login that waited for the call raises an error of its own from it (`error`).
    """

    __slots__ = ("cause", "hint", "kind", "message")

    def __init__(
        self,
        kind: type[MongoError],
        message: str,
        cause: BaseException | None = None,
        hint: Diagnosis | None = None,
    ) -> None:
        self.kind = kind
        self.message = message
        self.cause = cause
        self.hint = hint

    def error(self) -> MongoError:
        """A new error."""
        made = self.kind(self.message)
        made.__cause__ = self.cause
        return made


class _Call:
    """One call; `deadline` is by when it has to be done."""

    __slots__ = ("deadline", "number")

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.number = 0  # until it is made


@with_safe_repr
class TokenStore:
    """A client's cache of tokens. `current` is the access token or None; `calls` counts the
    calls begun; `refresh_token` and `idp_info` are what human logins left, or None."""

    __slots__ = (
        "__weakref__",
        "_called_at_ns",
        "_flights",
        "_last",
        "_lock",
        "_refused",
        "calls",
        "current",
        "idp_info",
        "refresh_token",
    )

    def __init__(self) -> None:
        self.current: Token | None = None
        self.calls = 0
        self.refresh_token: Any = None
        self.idp_info: OIDCIdPInfo | None = None
        self._called_at_ns: int | None = None
        # Of the call that was begun last: its number, and its outcome, None while it lasts.
        self._last: tuple[int, Token | Failure | None] = (0, None)
        self._refused: Token | None = None
        self._flights = SingleFlight()
        self.reset_after_fork()
        call_after_fork(self)

    def reset_after_fork(self) -> None:
        """In a forked child: who held the lock was a thread of the parent."""
        # Reentrant: a signal handler may log in while its own thread holds it.
        self._lock = threading.RLock()

    def put(self, text: str) -> None:
        """Make `text` the current access token, without a call: what another client fetched."""
        with self._lock:
            self.current = Token(text, 0)

    def drop(self, token: Token, refused: bool = False) -> None:
        """Forget `token` if it is still the current one. `refused`: a server would not have it,
        so logins that were under way when it was fetched need not fetch another."""
        with self._lock:
            if token.is_same(self.current):
                self.current = None
            if refused:
                self._refused = token

    def drop_refresh(self, refresh_token: Any) -> None:
        """Forget the refresh token if it is still `refresh_token`."""
        with self._lock:
            if self.refresh_token is refresh_token:
                self.refresh_token = None

    def fetch(
        self,
        ask: Ask,
        *,
        since: int,
        whole: Deadline,
        deadline: Deadline | None,
        what: str,
        too_late: Callable[[Deadline], Failure],
        keep: Keep | None = None,
        cancelled: Callable[[], bool] = never,
    ) -> Token | Failure:
        """The current token, or what a call gives: the one under way, else a new one of `ask`.

        A call that began after call `since` did is not made again to fail again: its failure, or
        the token that a server refused meanwhile, is the answer. `ask` runs in a thread of its own
        and has until `whole`, more by the pause between two calls; one that takes longer counts as
        gone, and `too_late`, given the deadline that passed, says so. `keep` takes in what else a
        call gave, under the store's lock. `deadline` bounds this wait further; it raises
        `Cancelled` when `cancelled()` is true. `what` names the thread.
        """
        while True:
            known = self._known(since)
            if known is not None:
                return known
            now = monotonic_ns()
            pause_ns = self._pause_ns(now)
            call = _Call(whole.extended(pause_ns))
            flight, own = self._flights.join(_SHARED, call)
            if own:
                known = self._known(since)
                if known is not None:
                    flight.give_up()  # a call ended just before
                    return known
                self._begin(flight, call, ask, keep, pause_ns, what)
            else:
                call = flight.owner
                # Past its time; or this very thread is about to begin it, and a signal handler came
                # in between.
                if call.deadline.passed(now) or flight.own:
                    self._flights.abandon(_SHARED, call)
                    continue
            first = earliest(deadline, call.deadline)
            assert first is not None
            try:
                if not flight.wait(first, cancelled):
                    outcome: Token | Failure = flight.result()
                    return outcome
            except TimeoutError:
                return too_late(first)
            # Nobody makes the call, as whoever began it found that there is a token.
            flight.give_up()

    def _known(self, since: int) -> Token | Failure | None:
        """What needs no call, None when there is to be one."""
        token = self.current
        if token is not None:
            return token
        number, outcome = self._last
        refused = isinstance(outcome, Token) and outcome.is_same(self._refused)
        if number > since and (refused or isinstance(outcome, Failure)):
            return outcome
        return None

    def _pause_ns(self, now: int) -> int:
        called_at = self._called_at_ns
        return 0 if called_at is None else max(0, called_at + int(PAUSE_S * 1e9) - now)

    def _begin(
        self,
        flight: Flight,
        call: _Call,
        ask: Ask,
        keep: Keep | None,
        pause_ns: int,
        what: str,
    ) -> None:
        with self._lock:
            call.number = self.calls = self.calls + 1
            self._last = (call.number, None)
            self._called_at_ns = monotonic_ns() + pause_ns
        # The application's context variables (a trace's id) are the callback's too.
        context = copy_context()
        try:
            threading.Thread(
                target=context.run,
                args=(self._run, flight, call, ask, keep, pause_ns),
                name=f"mongokey: {what}",
                daemon=True,  # a process that wants to end does not wait for an abandoned call
            ).start()
        except BaseException:
            flight.give_up()  # the system has no thread to give
            raise
        flight.hand_over()

    def _run(self, flight: Flight, call: _Call, ask: Ask, keep: Keep | None, pause_ns: int) -> None:
        if pause_ns:
            time.sleep(pause_ns / 1e9)
        with self._lock:
            # The thread may have come late: the pause to the next call counts from here.
            self._called_at_ns = monotonic_ns()
        result = ask()
        if isinstance(result, Failure):
            self._end(call, result)
            flight.finish(result)
            return
        token = Token(result.access_token, call.number)
        with self._lock:
            if self._end(call, token):
                self.current = token
                if keep is not None:
                    keep(self, result)
        flight.finish(token)

    def _end(self, call: _Call, outcome: Token | Failure) -> bool:
        """Note what the call gave; False for one that came so late that another one followed."""
        with self._lock:
            if self.calls != call.number:
                return False
            self._last = (call.number, outcome)
            return True

    def __repr__(self) -> str:
        return f"<TokenStore after {self.calls} calls, current: {self.current}>"


def tokens_of(credential: MongoCredential) -> TokenStore:
    """The store of the client that has `credential`."""
    return credential.state.cache("MONGODB-OIDC tokens", TokenStore)
