"""The access token that all connections of a client share, and the calls that fetch it.

Knows threads, forks and the clock: one call at a time, its outcome for all who waited, a pause
between calls (auth.md, "Credential Caching"). Must not know where tokens come from.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import copy_context

from mongokey._support.clock import monotonic
from mongokey._support.fork import call_after_fork
from mongokey._support.reprs import with_safe_repr
from mongokey._support.waiting import never, wait_for

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.credential import MongoCredential
    from mongokey.auth.hints import Hint
    from mongokey.auth_oidc import OIDCCallbackResult, OIDCIdPInfo
    from mongokey.errors import MongoError

    Ask = Callable[[], "OIDCCallbackResult | Failure"]
    Keep = Callable[["TokenStore", "OIDCCallbackResult"], None]

# auth.md, "Authentication": the least time between two calls.
PAUSE_S = 0.1


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
        hint: Hint | None = None,
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
    """One call; `ends_s` is the moment by which it has to be done."""

    __slots__ = ("done", "ends_s", "number", "outcome")

    def __init__(self, number: int, ends_s: float) -> None:
        self.number = number
        self.ends_s = ends_s
        self.done = threading.Event()
        self.outcome: Token | Failure | None = None


@with_safe_repr
class TokenStore:
    """A client's cache of tokens. `current` is the access token or None; `calls` counts the
    calls begun; `refresh_token` and `idp_info` are what human logins left, or None."""

    __slots__ = (
        "__weakref__",
        "_called_at_s",
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
        self._called_at_s: float | None = None
        self._last: _Call | None = None
        self._refused: Token | None = None
        self._lock = threading.Lock()
        call_after_fork(self)

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
        timeout_s: float,
        within_s: float | None,
        what: str,
        too_late: Callable[[float], Failure],
        keep: Keep | None = None,
        cancelled: Callable[[], bool] = never,
    ) -> Token | Failure:
        """The current token, or what a call gives: the one under way, else a new one of `ask`.

        A call that began after call `since` did is not made again to fail again: its failure, or
        the token that a server refused meanwhile, is the answer. `ask` runs in a thread of its own
        and has `timeout_s`; a call that takes longer counts as gone, and `too_late` (given the
        seconds waited) says so. `keep` takes in what else a call gave, under the store's lock.
        `within_s` bounds this wait further; it raises `Cancelled` when `cancelled()` is true.
        `what` names the thread.
        """
        with self._lock:
            if self.current is not None:
                return self.current
            call = self._last
            if call is not None and call.outcome is not None and call.number > since:
                outcome = call.outcome
                if isinstance(outcome, Failure) or outcome.is_same(self._refused):
                    return outcome
            now = monotonic()
            if call is None or call.outcome is not None or call.ends_s <= now:
                call = self._begin(ask, keep, now, timeout_s, what)
        began = monotonic()
        left = call.ends_s - began
        if within_s is not None and within_s < left:
            left = within_s
        wait_for(call.done, max(0.0, left), cancelled)
        return call.outcome or too_late(monotonic() - began)

    def _begin(self, ask: Ask, keep: Keep | None, now: float, timeout_s: float, what: str) -> _Call:
        pause = 0.0 if self._called_at_s is None else self._called_at_s + PAUSE_S - now
        pause = max(0.0, pause)
        call = _Call(self.calls + 1, now + pause + timeout_s)
        # The application's context variables (a trace's id) are the callback's too.
        context = copy_context()
        threading.Thread(
            target=context.run,
            args=(self._run, call, ask, keep, pause),
            name=f"mongokey: {what}",
            daemon=True,  # a process that wants to end does not wait for an abandoned call
        ).start()
        self.calls += 1
        self._last = call
        self._called_at_s = now + pause
        return call

    def _run(self, call: _Call, ask: Ask, keep: Keep | None, pause: float) -> None:
        if pause:
            time.sleep(pause)
        with self._lock:
            # The thread may have come late: the pause to the next call counts from here.
            self._called_at_s = monotonic()
        result = ask()
        with self._lock:
            if isinstance(result, Failure):
                call.outcome = result
            else:
                call.outcome = Token(result.access_token, call.number)
                # A call that came too late, so that another one followed, changes nothing.
                if self._last is call:
                    self.current = call.outcome
                    if keep is not None:
                        keep(self, result)
        call.done.set()

    def reset_after_fork(self) -> None:
        """In a forked child: the thread of a call under way, or one in the lock, is no more."""
        self._lock = threading.Lock()
        if self._last is not None and self._last.outcome is None:
            self._last = None

    def __repr__(self) -> str:
        return f"<TokenStore after {self.calls} calls, current: {self.current}>"


def tokens_of(credential: MongoCredential) -> TokenStore:
    """The store of the client that has `credential`."""
    return credential.state.cache("MONGODB-OIDC tokens", TokenStore)
