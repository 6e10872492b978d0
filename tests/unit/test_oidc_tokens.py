"""The token store: one call at a time, its outcome for all who waited, and what is forgotten."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from itertools import pairwise
from typing import Any

import pytest

from mongokey._support.deadline import Deadline
from mongokey.auth.errors import AuthenticationFailed
from mongokey.auth.oidc import tokens as tokens_module
from mongokey.auth.oidc.tokens import Failure, Token, TokenStore
from mongokey.auth_oidc import OIDCCallbackResult
from tests.deadlines import within
from tests.threads import in_threads

FAILED = Failure(AuthenticationFailed, "no")
LATE = Failure(AuthenticationFailed, "late")


def fetch(
    store: TokenStore,
    ask: Callable[[], Any],
    *,
    since: int = 0,
    timeout_s: float = 10.0,
    deadline: Deadline | None = None,
) -> Any:
    return store.fetch(
        ask,
        since=since,
        whole=within(timeout_s * 1000),
        deadline=deadline,
        what="a test",
        too_late=lambda passed: LATE,
    )


def gives(text: str) -> Callable[[], OIDCCallbackResult]:
    return lambda: OIDCCallbackResult(text)


class Held:
    """A callback that gives its token once it is let go."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.release = threading.Event()

    def __call__(self) -> OIDCCallbackResult:
        self.release.wait(10)
        return OIDCCallbackResult(self.text)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "PAUSE_S", 0.0)


def test_a_hundred_threads_make_one_call() -> None:
    store = TokenStore()
    asked: list[str] = []

    def ask() -> OIDCCallbackResult:
        asked.append(threading.current_thread().name)
        time.sleep(0.05)
        return OIDCCallbackResult("a")

    found = in_threads(100, lambda: fetch(store, ask))
    assert {token.text for token in found} == {"a"}
    assert asked == ["mongokey: a test"]
    assert store.calls == 1


def test_calls_never_overlap(quick: None) -> None:
    store = TokenStore()
    inside = threading.Semaphore(1)
    calls = 0

    def ask() -> OIDCCallbackResult:
        nonlocal calls
        assert inside.acquire(blocking=False), "two calls at a time"
        time.sleep(0.002)
        inside.release()
        calls += 1
        return OIDCCallbackResult(f"token {calls}")

    def work() -> bool:
        for _ in range(20):
            token = fetch(store, ask, since=store.calls)
            assert isinstance(token, Token)
            store.drop(token)
        return True

    assert all(in_threads(8, work))
    assert calls == store.calls > 1


def test_between_two_calls_there_is_a_pause() -> None:
    store = TokenStore()
    moments: list[float] = []

    def ask() -> OIDCCallbackResult:
        moments.append(time.monotonic())
        return OIDCCallbackResult("a")

    for _ in range(3):
        store.drop(fetch(store, ask, since=store.calls))
    assert all(
        later - earlier >= tokens_module.PAUSE_S - 0.005 for earlier, later in pairwise(moments)
    )


def test_the_pause_also_follows_a_call_that_failed() -> None:
    store = TokenStore()
    fetch(store, lambda: FAILED)
    began = time.monotonic()
    fetch(store, gives("a"), since=1)
    assert time.monotonic() - began >= tokens_module.PAUSE_S - 0.02


def test_those_who_waited_share_a_failure(quick: None) -> None:
    store = TokenStore()
    calls = []

    def ask() -> Failure:
        calls.append(1)
        time.sleep(0.05)
        return FAILED

    assert in_threads(10, lambda: fetch(store, ask)) == [FAILED] * 10
    # One that began before the call and comes late gets the same answer; a new one asks anew.
    assert fetch(store, gives("a"), since=0) is FAILED
    assert len(calls) == 1
    assert fetch(store, gives("a"), since=1).text == "a"


def test_each_login_gets_an_error_of_its_own() -> None:
    cause = ValueError("why")
    failure = Failure(AuthenticationFailed, "no", cause)
    one, two = failure.error(), failure.error()
    assert one is not two
    assert one.__cause__ is two.__cause__ is cause


def test_only_the_token_one_used_is_dropped(quick: None) -> None:
    store = TokenStore()
    first = fetch(store, gives("a"))
    store.drop(first)
    second = fetch(store, gives("b"), since=1)
    store.drop(first)
    assert store.current is second
    store.drop(second)
    assert store.current is None


def test_the_same_text_fetched_again_is_another_token(quick: None) -> None:
    store = TokenStore()
    first = fetch(store, gives("a"))
    store.drop(first)
    fetch(store, gives("a"), since=1)
    store.drop(first)
    assert store.current is not None


def test_a_put_token_is_told_from_another_by_its_text() -> None:
    store = TokenStore()
    store.put("a")
    old = store.current
    assert old is not None
    store.put("b")
    store.drop(old)
    assert store.current is not None
    assert store.current.text == "b"


def test_a_current_token_is_handed_out_without_a_call() -> None:
    store = TokenStore()
    store.put("a")
    assert fetch(store, gives("b")).text == "a"
    assert store.calls == 0


def test_a_refused_token_answers_those_who_were_under_way(quick: None) -> None:
    store = TokenStore()
    token = fetch(store, gives("bad"))
    store.drop(token, refused=True)
    assert fetch(store, gives("b"), since=0) is token
    assert fetch(store, gives("b"), since=1).text == "b"


def test_a_token_that_was_merely_dropped_does_not_come_back(quick: None) -> None:
    """One connection was asked to log in again; another, still logging in, fetches anew."""
    store = TokenStore()
    store.drop(fetch(store, gives("a")))
    assert fetch(store, gives("b"), since=0).text == "b"


def test_a_call_past_its_time_is_given_up_and_another_may_follow(quick: None) -> None:
    store = TokenStore()
    late = Held("late")
    assert fetch(store, late, timeout_s=0.05) is LATE
    token = fetch(store, gives("b"), since=1)
    assert token.text == "b"
    late.release.set()
    time.sleep(0.05)
    assert store.current is token


def test_a_late_token_is_taken_where_no_other_call_followed(quick: None) -> None:
    """A person who was slow need not log in twice."""
    store = TokenStore()
    late = Held("late")
    assert fetch(store, late, timeout_s=0.05) is LATE
    late.release.set()
    deadline = time.monotonic() + 5
    while store.current is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert fetch(store, gives("never")).text == "late"


def test_a_waiters_own_limit_does_not_end_the_call(quick: None) -> None:
    store = TokenStore()
    held = Held("a")
    assert fetch(store, held, deadline=within(30)) is LATE
    threading.Timer(0.05, held.release.set).start()
    assert fetch(store, gives("never")).text == "a"
    assert store.calls == 1


def test_a_refresh_token_is_dropped_only_if_it_is_still_the_one() -> None:
    store = TokenStore()
    store.refresh_token = newer = "r2"
    store.drop_refresh("r1")
    assert store.refresh_token is newer
    store.drop_refresh(newer)
    assert store.refresh_token is None


def test_the_callback_has_the_callers_context_variables() -> None:
    trace: ContextVar[str] = ContextVar("trace", default="none")
    seen = []

    def ask() -> OIDCCallbackResult:
        seen.append(trace.get())
        return OIDCCallbackResult("a")

    trace.set("request 7")
    fetch(TokenStore(), ask)
    assert seen == ["request 7"]


def test_nothing_shows_a_token() -> None:
    store = TokenStore()
    store.put("secret-token")
    for text in (repr(store), str(store), repr(store.current), f"{store.current}"):
        assert "secret-token" not in text
    assert "access token of call 0" in repr(store)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_wait_for_its_parents_call(quick: None) -> None:
    store = TokenStore()
    parents = Held("parent")
    waiting = threading.Thread(target=fetch, args=(store, parents))
    waiting.start()
    while store.calls == 0:
        time.sleep(0.001)
    with warnings.catch_warnings():
        # Python 3.12 warns of forks in processes with threads: that is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        token = fetch(store, gives("child"), timeout_s=3.0)
        os._exit(0 if isinstance(token, Token) and token.text == "child" else 1)
    parents.release.set()
    waiting.join(10)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
