"""Callbacks: what they may return, what each mistake is told as, and that no text shows a token."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
import re
import threading
import time
import traceback
from typing import Any

import pytest

from mongokey import auth_oidc
from mongokey._support.secret_texts import hide_tokens
from mongokey.auth import AuthenticationFailed, MongoCredential
from mongokey.auth.errors import LoginTimeout
from mongokey.auth.oidc import token_source
from mongokey.auth.oidc import tokens as tokens_module
from mongokey.auth.oidc.claims import read_claims
from mongokey.auth.oidc.tokens import tokens_of
from mongokey.auth.registry import find_mechanism
from mongokey.auth.whole_login import login
from mongokey.auth_oidc import (
    OIDCCallback,
    OIDCCallbackContext,
    OIDCCallbackResult,
    OIDCIdPInfo,
)
from mongokey.errors import ConfigurationError, MongoError
from tests.deadlines import timeout_of, within
from tests.unit._oidc import (
    ADDRESS,
    Callback,
    Server,
    _credential,
    drive,
    human,
    log_in,
    log_in_again,
    machine,
)

SECRET = "s3cret-token-value"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "PAUSE_S", 0.0)


def failure(
    credential: MongoCredential, kind: type[MongoError] = AuthenticationFailed, server: Any = None
) -> Any:
    """The error of a login, which shows no secret."""
    with pytest.raises(kind) as caught:
        log_in(credential, server or Server("good"))
    error = caught.value
    assert type(error) is kind
    shown = "".join(traceback.format_exception_only(error)) + repr(vars(error))
    shown += repr(getattr(error, "facts", None))
    assert SECRET not in shown
    return error


def jwt(**claims: Any) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}.c2lnbmF0dXJlLW9mLXRva2Vu"


class TestNames:
    def test_the_classes_are_pymongos(self) -> None:
        theirs = pytest.importorskip("pymongo.auth_oidc")
        for name in auth_oidc.__all__:
            ours, other = getattr(auth_oidc, name), getattr(theirs, name)
            assert list(getattr(ours, "__dataclass_fields__", ())) == list(
                getattr(other, "__dataclass_fields__", ())
            )

    def test_reprs_show_no_token(self) -> None:
        texts = [
            repr(OIDCCallbackResult(SECRET, 5, SECRET)),
            repr(OIDCCallbackContext(1.0, "me", 1, SECRET, OIDCIdPInfo("https://idp"))),
            repr(machine(Callback(SECRET))),
            repr(human(Callback(SECRET))),
        ]
        assert SECRET not in "".join(texts)
        assert "expires_in_seconds=5" in texts[0]
        assert "https://idp" in texts[1]

    def test_a_callbacks_repr_is_not_shown(self) -> None:
        class Revealing(Callback):
            def __repr__(self) -> str:
                return SECRET

        assert SECRET not in repr(machine(Revealing("a")))

    def test_fetch_is_abstract(self) -> None:
        with pytest.raises(TypeError):
            OIDCCallback()  # type: ignore[abstract]

    def test_a_login_exposes_the_access_token(self) -> None:
        assert find_mechanism("MONGODB-OIDC").shown_in_plaintext == "the access token"

    @pytest.mark.parametrize(
        "hosts", ["localhost", {"a": 1}, 5, ["a", 1], None], ids=lambda v: type(v).__name__
    )
    def test_allowed_hosts_is_a_list_of_names(self, hosts: Any) -> None:
        with pytest.raises(ConfigurationError, match="ALLOWED_HOSTS"):
            human(Callback("a"), ALLOWED_HOSTS=hosts)

    def test_a_class_is_no_callback(self) -> None:
        with pytest.raises(ConfigurationError, match="OIDC_CALLBACK"):
            machine(Callback)


class Theirs:
    """What PyMongo's result looks like from outside."""

    def __init__(self, access_token: Any) -> None:
        self.access_token = access_token


class TestResults:
    def test_results_that_look_right_are_taken(self) -> None:
        for result in (OIDCCallbackResult("good"), Theirs("good"), OIDCCallbackResult("good", 0.5)):
            log_in(machine(Callback(result)), Server("good"))

    @pytest.mark.parametrize(
        ("result", "says"),
        [
            (lambda _: None, "returned None: return an OIDCCallbackResult"),
            (lambda _: {"access_token": SECRET}, "returned a dict"),
            (lambda _: object(), "returned a object"),
            (OIDCCallbackResult(None), "access_token is NoneType"),  # type: ignore[arg-type]
            (OIDCCallbackResult(SECRET.encode()), "access_token is bytes"),  # type: ignore[arg-type]
            (OIDCCallbackResult(SECRET + "\ud800"), "lone surrogate"),
            (OIDCCallbackResult("good", "60"), "expires_in_seconds is str"),  # type: ignore[arg-type]
            (OIDCCallbackResult("good", True), "expires_in_seconds is bool"),
        ],
    )
    def test_wrong_types_are_the_programs_mistake(self, result: Any, says: str) -> None:
        error = failure(machine(Callback(result)), ConfigurationError)
        assert says in str(error)
        assert "OIDC_CALLBACK (Callback)" in str(error)
        assert "login to localhost:27017 failed" in str(error)

    def test_a_plain_string_is_told_how_to_be_returned(self) -> None:
        class Plain:
            def fetch(self, context: Any) -> str:
                return SECRET

        error = failure(machine(Plain()), ConfigurationError)
        assert "returned a str: return an OIDCCallbackResult(access_token=...)" in str(error)

    @pytest.mark.parametrize(
        ("result", "says"),
        [
            (OIDCCallbackResult(""), "an empty access token"),
            (OIDCCallbackResult(" \n"), "an empty access token"),
            (OIDCCallbackResult("good", 0), "expired already: expires_in_seconds=0"),
            (OIDCCallbackResult("good", -1.5), "expires_in_seconds=-1.5"),
            (OIDCCallbackResult("good", float("nan")), "expires_in_seconds=nan"),
        ],
    )
    def test_empty_and_expired_tokens_are_refused(self, result: Any, says: str) -> None:
        error = failure(machine(Callback(result)))
        assert says in str(error)
        assert error.code is None
        assert error.details is None
        assert not error.timeout

    def test_after_each_mistake_the_next_login_works(self) -> None:
        callback = Callback(
            lambda _: None, OIDCCallbackResult(""), ValueError("x"), SystemExit(3), "good"
        )
        credential, server = machine(callback), Server("good")
        failure(credential, ConfigurationError, server)
        for _ in range(3):
            failure(credential, AuthenticationFailed, server)
        log_in(credential, server)
        assert tokens_of(credential).calls == 5


class TestErrors:
    def test_what_a_callback_raises_is_the_cause(self) -> None:
        ours = LookupError("no such identity")
        error = failure(machine(Callback(ours)))
        assert error.__cause__ is ours
        assert "OIDC_CALLBACK (Callback) raised LookupError: no such identity" in str(error)
        assert error.login is not None
        copy = pickle.loads(pickle.dumps(error))
        assert str(copy) == str(error)

    def test_no_variable_of_ours_shows_the_refresh_token(self) -> None:
        """Tools that report errors print the variables of a traceback's frames."""
        callback = Callback(OIDCCallbackResult("good", None, SECRET), ValueError("no"))
        credential = human(callback)
        memory = log_in(credential, Server("good")).saved_state
        with pytest.raises(AuthenticationFailed) as caught:
            log_in_again(credential, Server("good"), memory)
        assert callback.contexts[1].refresh_token == SECRET
        seen = 0
        for error in (caught.value, caught.value.__cause__):
            assert error is not None
            for frame, _ in traceback.walk_tb(error.__traceback__):
                if "/mongokey/" in frame.f_code.co_filename:
                    seen += 1
                    assert SECRET not in repr(frame.f_locals)
        assert seen >= 4

    def test_texts_of_others_are_masked(self) -> None:
        error = failure(machine(Callback(ValueError(f"bad access_token={SECRET} {jwt(sub='x')}"))))
        assert "access_token=<hidden> <token>" in str(error)

    def test_an_error_without_words(self) -> None:
        assert "raised KeyError" in str(failure(machine(Callback(KeyError()))))

    @pytest.mark.parametrize("person", [False, True])
    def test_one_that_hangs(self, monkeypatch: pytest.MonkeyPatch, person: bool) -> None:
        name = "HUMAN_TIMEOUT" if person else "MACHINE_TIMEOUT"
        monkeypatch.setattr(token_source, name, timeout_of(50))
        release = threading.Event()

        def hang(context: OIDCCallbackContext) -> str:
            assert context.timeout_seconds == 0.05
            release.wait(10)
            return "late"

        callback = Callback(hang, "good")
        credential = (human if person else machine)(callback)
        error = failure(credential, LoginTimeout)
        assert error.timeout
        assert "OIDC_HUMAN_CALLBACK" in str(error) or not person
        assert re.search(r"gave no access token within 0\.\d s", str(error))
        log_in(credential, Server("good"))
        release.set()

    def test_timeoutms_bounds_machines_and_not_people(self) -> None:
        for person, expected in ((False, 0.2), (True, 300.0)):
            callback = Callback("good")
            credential = (human if person else machine)(callback)
            steps = login(credential, None, ADDRESS)
            server = Server("good")
            step: Any = next(steps)
            while not hasattr(step, "run"):
                step = steps.send(server.answer(step.database, step.document))
            assert step.timed is not person
            assert step.interactive
            step.run(within(200, "timeoutMS"))
            assert callback.contexts[0].timeout_seconds == pytest.approx(expected, abs=0.15)


class TestCoroutines:
    def test_a_coroutine_is_run_to_its_end(self) -> None:
        class Async(OIDCCallback):
            async def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
                await asyncio.sleep(0)
                return OIDCCallbackResult("good")

        log_in(machine(Async()), Server("good"))

    def test_also_from_within_a_running_loop(self) -> None:
        class Async(OIDCCallback):
            async def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
                return OIDCCallbackResult("good")

        async def main() -> None:
            log_in(machine(Async()), Server("good"))

        asyncio.run(main())

    def test_its_time_limit_cancels_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(token_source, "MACHINE_TIMEOUT", timeout_of(50))
        cancelled = threading.Event()

        class Async(OIDCCallback):
            async def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
                try:
                    await asyncio.sleep(30)
                finally:
                    cancelled.set()
                return OIDCCallbackResult("good")

        failure(machine(Async()), LoginTimeout)
        assert cancelled.wait(10)

    def test_what_it_raises_and_returns_is_checked_alike(self) -> None:
        class Async:
            def __init__(self, result: Any) -> None:
                self.result = result

            async def fetch(self, context: Any) -> Any:
                if isinstance(self.result, Exception):
                    raise self.result
                return self.result

        assert "ValueError" in str(failure(machine(Async(ValueError("x")))))
        failure(machine(Async(None)), ConfigurationError)


class TestHints:
    def hints(self, token: str, *, kind: str = "callback", code: int = 18) -> dict[str, Any]:
        callback = Callback(token)
        credential = machine(callback)
        if kind == "azure":
            credential = _credential(None, {"ENVIRONMENT": "azure", "TOKEN_RESOURCE": "api://x"})
            tokens_of(credential).put(token)
            token_source.provider_of(credential).source = callback
        server = Server()
        server.fail.update(dict.fromkeys(range(1, 9), code))
        with pytest.raises(AuthenticationFailed) as caught:
            drive(login(credential, None, ADDRESS), server.answer)
        assert token not in str(caught.value)
        facts = caught.value.login
        assert facts is not None
        assert token not in repr(facts.diagnostic_context.claims)
        return {each.code: each for each in caught.value.diagnoses}

    def test_the_token_says_what_to_compare(self) -> None:
        token = jwt(
            iss="https://idp.example",
            aud=["api://db", "other"],
            sub="me",
            groups=[f"g{n}" for n in range(9)],
            exp=4102444800,
            nbf=1700000000,
            email="hidden@example.com",
        )
        text = self.hints(token)["OIDC-CLAIMS"].text
        for said in (
            "the token says iss 'https://idp.example'",
            "aud ['api://db', 'other']",
            "sub 'me'",
            "groups ['g0', 'g1', 'g2', 'g3', 'g4' and 4 more]",
            "exp 2100-01-01T00:00:00Z",
            "nbf 2023-11-14T22:13:20Z",
            "ask the admin to compare",
        ):
            assert said in text
        assert "hidden@example.com" not in text

    @pytest.mark.parametrize(("ago", "grade"), [(3600.0, "certain"), (60.0, "likely")])
    def test_an_expired_token(self, ago: float, grade: str) -> None:
        hint = self.hints(jwt(exp=time.time() - ago))["OIDC-EXPIRED"]
        assert hint.confidence == grade

    def test_one_that_is_not_valid_yet(self) -> None:
        hint = self.hints(jwt(nbf=time.time() + 7200.5))["OIDC-NOT-YET-VALID"]
        assert "in 2 hours" in hint.text

    def test_an_opaque_token(self) -> None:
        hints = self.hints("opaque-access-token")
        assert "OIDC-NOT-A-JWT" in hints
        assert "OIDC-CLAIMS" not in hints

    def test_white_space_at_an_end(self) -> None:
        hints = self.hints(jwt(sub="me") + "\n")
        assert "OIDC-TOKEN-EDGE" in hints
        assert "OIDC-CLAIMS" in hints

    def test_another_audience_than_the_resource(self) -> None:
        hint = self.hints(jwt(aud="x-id"), kind="azure")["OIDC-AUDIENCE"]
        assert "TOKEN_RESOURCE='api://x'" in hint.text
        assert "'x-id'" in hint.text
        assert "OIDC-AUDIENCE" not in self.hints(jwt(aud=["api://x"]), kind="azure")

    def test_other_errors_are_not_the_tokens_fault(self) -> None:
        assert not [word for word in self.hints(jwt(sub="me"), code=20) if word.startswith("OIDC")]

    def test_no_password_is_spoken_of(self) -> None:
        credential = machine(Callback(jwt(sub="me")))
        credential.state.shared.logged_in = True
        with pytest.raises(AuthenticationFailed) as caught:
            log_in(credential, Server(), ("cluster.abc.mongodb.net", 27017))
        codes = [each.code for each in caught.value.diagnoses]
        assert codes == ["OIDC-CLAIMS", "OIDC-ATLAS", "AUTH-EXTERNAL-USER"]
        assert "password is" not in str(caught.value)

    @pytest.mark.parametrize(
        "claims", [{"exp": "soon"}, {"exp": -5}, {"exp": 1e300}, {"exp": True}, {"iss": None}, {}]
    )
    def test_odd_claims(self, claims: dict[str, Any]) -> None:
        assert "OIDC-CLAIMS" in self.hints(jwt(**claims))

    @pytest.mark.parametrize(
        "token",
        [
            "",
            "a.b",
            "a.b.c.d",
            "a.!!!.c",
            "a.e30.c" + "." * 3,
            "a." + base64.urlsafe_b64encode(b"[1]").decode() + ".c",
            "a." + base64.urlsafe_b64encode(b"[" * 100_000).decode() + ".c",
            "a." + base64.urlsafe_b64encode(b"\xff").decode() + ".c",
            "a.\u00e9.c",
            "a.e30.c" * 100_000,
        ],
        ids=range(10),
    )
    def test_what_is_no_jwt_has_no_claims(self, token: str) -> None:
        assert read_claims(token) is None


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("nothing here", "nothing here"),
        (f"got {jwt(sub='x')}!", "got <token>!"),
        ('{"access_token": "abc", "x": 1}', '{"access_token": "<hidden>", "x": 1}'),
        ("client_secret=abc&x=1", "client_secret=<hidden>&x=1"),
        ("refresh_token: abc", "refresh_token: <hidden>"),
    ],
)
def test_mask(text: str, masked: str) -> None:
    assert hide_tokens(text) == masked
