"""What a client keeps of a provider's secrets: one call at a time, the newest answer, the same
object for the same value, and a forked child of its own. No server is asked."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from typing import Any

import pytest

from mongokey._support.waiting import Cancelled
from mongokey.auth.errors import AuthenticationFailed, LoginTimeout, ProviderFailed
from mongokey.auth.provided import ProvidedCredential, ProvidedSecrets, with_provider_fact
from mongokey.credentials import Request, Secret, X509Secret
from tests.deadlines import within
from tests.threads import in_threads, outcomes

ADDRESS = ("db.example.com", 27017)
FAR_S = 30.0


def secrets_of(provider: Any, mechanism: str | None = None, on_new: Any = None) -> ProvidedSecrets:
    template = ProvidedCredential(provider, mechanism, None, None, None, None)
    return ProvidedSecrets(template, on_new)


class Counting:
    """A provider of what `given` is now, which holds each call up until `go`."""

    def __init__(self) -> None:
        self.given: Any = Secret("ada", "first")
        self.requests: list[Request] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, request: Request) -> Any:
        given = self.given
        self.requests.append(request)
        assert self.go.wait(FAR_S)
        return given

    @property
    def reasons(self) -> list[str]:
        return [each.reason for each in self.requests]


def test_all_who_come_meanwhile_get_the_answer_of_one_call() -> None:
    provider = Counting()
    provider.go.clear()
    secrets = secrets_of(provider)
    threading.Timer(0.2, provider.go.set).start()
    found = in_threads(20, lambda: secrets.fetch(ADDRESS, None, within(20_000)))
    assert len(set(map(id, found))) == 1
    assert provider.reasons == ["new"]
    assert secrets.calls == 1


def test_all_who_are_refused_get_the_answer_of_one_call() -> None:
    provider = Counting()
    secrets = secrets_of(provider)
    first = secrets.fetch(ADDRESS, None, None)
    provider.given = Secret("ada", "second")
    found = in_threads(20, lambda: secrets.fetch(ADDRESS, first, within(20_000)))
    assert {each.credential.password for each in found} == {"second"}
    assert provider.reasons == ["new", "refused"]


def test_the_same_value_is_the_same_object_and_may_last_longer() -> None:
    provider = Counting()
    new: list[Any] = []
    secrets = secrets_of(provider, on_new=lambda *given: new.append(given))
    provider.given = Secret("ada", "first", expires_in_s=0)
    first = secrets.fetch(ADDRESS, None, None)
    assert secrets.held is None
    provider.given = Secret("ada", "first", expires_in_s=3600)
    assert secrets.fetch(ADDRESS, None, None) is first
    assert secrets.held is first
    provider.given = Secret("ada", "second")
    assert secrets.fetch(ADDRESS, first, None) is not first
    assert provider.reasons == ["new", "expired", "refused"]
    assert [(each.password, digest) for each, digest in new] == [("first", None), ("second", None)]


def test_certificates_are_told_apart_by_a_digest_that_says_nothing() -> None:
    provider = Counting()
    new: list[Any] = []
    secrets = secrets_of(provider, "MONGODB-X509", lambda *given: new.append(given))
    provider.given = X509Secret("CERT", "KEY")
    first = secrets.fetch(ADDRESS, None, None)
    provider.given = X509Secret("CERTKEY", "")
    secrets.fetch(ADDRESS, first, None)
    digests = [digest for _, digest in new]
    assert len(set(digests)) == 2
    assert all("CERT" not in each and len(each) == 64 for each in digests)


def test_a_call_that_is_given_up_does_not_undo_a_later_one() -> None:
    slow, ended = threading.Event(), threading.Event()
    calls: list[int] = []

    def provider(request: Request) -> Secret:
        calls.append(len(calls))
        if len(calls) == 1:
            slow.wait(FAR_S)
            ended.set()
            return Secret("ada", "late")
        return Secret("ada", "in time")

    secrets = secrets_of(provider)
    with pytest.raises(LoginTimeout, match=r"db\.example\.com:27017 .*gave nothing"):
        secrets.fetch(ADDRESS, None, within(50))
    held = secrets.fetch(ADDRESS, None, within(20_000))
    slow.set()
    assert ended.wait(FAR_S)
    for _ in range(1000):
        if threading.active_count() == 1:
            break
        threading.Event().wait(0.01)
    assert held.credential.password == "in time"
    assert secrets.held is held


def test_who_gives_up_leaves_the_call_to_the_others() -> None:
    provider = Counting()
    provider.go.clear()
    secrets = secrets_of(provider)
    given_up = threading.Event()
    given_up.set()
    with pytest.raises(Cancelled):
        secrets.fetch(ADDRESS, None, within(20_000), given_up.is_set)
    threading.Timer(0.1, provider.go.set).start()
    assert secrets.fetch(ADDRESS, None, within(20_000)).credential.password == "first"
    assert provider.reasons == ["new"]


def test_each_who_waits_gets_an_error_of_its_own_with_the_same_cause() -> None:
    raised = RuntimeError("sealed")

    def provider(request: Request) -> Secret:
        raise raised

    secrets = secrets_of(provider)

    errors = outcomes(4, lambda: secrets.fetch(ADDRESS, None, within(20_000)))
    assert {type(each) for each in errors} == {ProviderFailed}
    assert len(set(map(id, errors))) == 4
    assert {id(each.__cause__) for each in errors} == {id(raised)}


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt])
def test_a_provider_that_wants_to_end_the_thread_ends_the_call(ending: type[BaseException]) -> None:
    def provider(request: Request) -> Secret:
        raise ending

    with pytest.raises(ProviderFailed, match=f"raised {ending.__name__}"):
        secrets_of(provider).fetch(ADDRESS, None, within(20_000))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_asks_for_itself_what_its_parent_was_asking() -> None:
    provider = Counting()
    provider.go.clear()
    secrets = secrets_of(provider)
    thread = threading.Thread(target=lambda: secrets.fetch(ADDRESS, None, within(20_000)))
    thread.start()
    while not provider.requests:
        threading.Event().wait(0.001)
    pid = os.fork()
    if pid == 0:
        try:
            provider.go = threading.Event()
            provider.go.set()
            held = secrets.fetch(ADDRESS, None, within(20_000))
            os._exit(0 if held.credential.password == "first" else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    provider.go.set()
    thread.join(FAR_S)
    assert provider.reasons == ["new"]


def test_what_a_refusal_says_of_the_provider() -> None:
    error = AuthenticationFailed("refused", 18, {"ok": 0, "code": 18})
    error.answered_from_memory = True
    for changed, cause, said in (
        (True, None, "gave another secret than before, which is refused too"),
        (False, None, "gave the same secret as before"),
        (False, ProviderFailed("it is sealed"), "and failed: it is sealed"),
    ):
        told = with_provider_fact(error, "from_vault(app)", changed=changed, cause=cause)
        assert told is not error
        assert said in str(told)
        assert str(error) == "refused"
        assert (told.code, told.details) == (18, {"ok": 0, "code": 18})
        assert told.answered_from_memory
        assert [each.code for each in told.diagnoses] == ["AUTH-PROVIDER-REFUSED"]


def test_nothing_of_it_is_left_behind() -> None:
    provider = Counting()
    secrets = secrets_of(provider)
    secrets.fetch(ADDRESS, None, None)
    gone = weakref.ref(secrets)
    del secrets
    gc.collect()
    assert gone() is None
