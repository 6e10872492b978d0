"""What the clients of a process know together about a secret, and with whom nobody shares it."""

from __future__ import annotations

import gc
import os
import pickle
import threading
import weakref
from typing import Any

import pytest

from mongokey._support import keyed_digest
from mongokey.auth import AuthenticationFailed, build_credential, shared_login, turns
from mongokey.auth.credential import MongoCredential
from mongokey.auth.login_context import LoginContext
from mongokey.auth.refusals import refuses_secret
from mongokey.auth.shared_login import LoginScope, SharedLogin
from mongokey.auth.turns import Backoff, LoginTurns, Refusal
from mongokey.auth.whole_login import login
from mongokey.auth_oidc import OIDCCallback
from mongokey.client_options import ClientOptions
from mongokey.diagnostics import LIKELY, Diagnosis
from mongokey.pool_options import TLSOptions
from tests.servers.login_server import LoginServer

SECOND_NS = 1_000_000_000
BACKOFF = Backoff(SECOND_NS, 60 * SECOND_NS)
HERE = ("one:27017", "two:27017")
NO = {"ok": 0.0, "code": 18, "codeName": "AuthenticationFailed", "errmsg": "Authentication failed."}
DONE = {"ok": 1.0, "conversationId": 1, "done": True, "payload": b""}


class Clock:
    """Stands still but for `pass_s`; no back-off is shortened by chance."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 10**12
        for module in (turns, shared_login):
            monkeypatch.setattr(module, "monotonic_ns", lambda: self.now_ns)
        monkeypatch.setattr("mongokey.auth.refusals.monotonic_ns", lambda: self.now_ns)
        monkeypatch.setattr("mongokey.auth.turns.urandom", bytes)

    def pass_s(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def plain(password: str = "pw", user: str = "ann", mechanism: str = "PLAIN") -> MongoCredential:
    credential = build_credential(mechanism, user, password)
    assert credential is not None
    return credential


def begin(credential: MongoCredential) -> Any:
    """(a login whose hello is answered, its first step after that)."""
    steps = login(credential, None, ("h", 1))
    next(steps)
    return steps, steps.send(LoginServer({}).hello)


def try_once(credential: MongoCredential, answer: dict[str, Any]) -> AuthenticationFailed | None:
    """One login whose secret the server is asked about."""
    steps, command = begin(credential)
    assert "saslStart" in command.document
    try:
        steps.send(answer)
    except StopIteration:
        return None
    except AuthenticationFailed as error:
        return error
    raise AssertionError("the login goes on")


def told(credential: MongoCredential) -> AuthenticationFailed:
    """The answer from memory."""
    with pytest.raises(AuthenticationFailed) as caught:
        begin(credential)
    assert caught.value.answered_from_memory
    return caught.value


# -- with whom -------------------------------------------------------------------------------------


def shared_by(one: Any, other: Any, *, certificates: tuple[Any, Any] = (None, None)) -> bool:
    """Whether two clients, each a (scope, credential), know what the other knows."""
    first = one[0].share(one[1], certificates[0])
    second = other[0].share(other[1], certificates[1])
    assert one[1].state.shared is first
    return first is second


def test_clients_with_the_same_secret_and_servers_share() -> None:
    one, other = LoginScope(HERE), LoginScope(list(HERE))
    assert shared_by((one, plain()), (other, plain()))
    assert shared_by((one, plain()), (one, plain()))


@pytest.mark.parametrize(
    "different",
    [
        plain("other"),
        plain(user="bob"),
        plain(mechanism="SCRAM-SHA-256"),
        build_credential("PLAIN", "ann", "pw", auth_source="elsewhere"),
        build_credential(None, "ann", "pw", auth_source="$external2"),
        # Parts that would be the same if they were joined.
        plain("npw", user="an"),
    ],
    ids=["secret", "user", "mechanism", "source", "negotiated", "joined"],
)
def test_what_tells_logins_apart(different: MongoCredential) -> None:
    scope = LoginScope(HERE)
    assert not shared_by((scope, plain()), (LoginScope(HERE), different))


def test_mechanism_properties_tell_apart() -> None:
    def gssapi(**properties: Any) -> Any:
        return LoginScope(HERE), build_credential("GSSAPI", "ann@X", "pw", properties=properties)

    assert shared_by(gssapi(SERVICE_NAME="a"), gssapi(SERVICE_NAME="a"))
    assert not shared_by(gssapi(SERVICE_NAME="a"), gssapi(SERVICE_NAME="b"))
    assert not shared_by(gssapi(SERVICE_NAME="a"), gssapi(SERVICE_NAME="a", SERVICE_REALM="R"))

    def aws(**properties: Any) -> Any:
        return LoginScope(HERE), build_credential(
            "MONGODB-AWS", "AKIA", "pw", properties=properties
        )

    assert not shared_by(aws(AWS_SESSION_TOKEN="a"), aws(AWS_SESSION_TOKEN="b"))


def test_objects_count_as_themselves_and_not_as_what_they_equal() -> None:
    class Provider:
        def __call__(self) -> None: ...

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

    def client(provider: Any) -> Any:
        properties = {"AWS_CREDENTIAL_PROVIDER": provider}
        return LoginScope(HERE), build_credential("MONGODB-AWS", None, None, properties=properties)

    same = Provider()
    assert shared_by(client(same), client(same))
    assert not shared_by(client(same), client(Provider()))


def test_an_id_that_is_given_again_is_another_object() -> None:
    class Thing:
        pass

    numbers = set()
    for _ in range(100):  # CPython gives most of them one address
        thing = Thing()
        numbers.add(shared_login._number_of(thing))
        del thing
    assert len(numbers) == 100
    assert len(shared_login._numbers) < 50


def test_an_object_that_cannot_be_known_again_shares_with_nobody() -> None:
    class Slotted:
        __slots__ = ()

    thing = Slotted()
    one, other = LoginScope(HERE, [thing]), LoginScope(HERE, [thing])
    assert not shared_by((one, plain()), (other, plain()))


@pytest.mark.parametrize(
    "other",
    [
        LoginScope(("one:27017",)),
        LoginScope(HERE, ()),
        LoginScope(HERE, ("/ca.pem",)),
    ],
    ids=["deployment", "tls", "tls-settings"],
)
def test_scopes_that_share_nothing(other: LoginScope) -> None:
    one = LoginScope(HERE)
    assert not shared_by((one, plain()), (other, plain()))


@pytest.mark.parametrize(
    "option", [name for name in TLSOptions.__slots__ if name not in ("implied_by", "ssl_context")]
)
def test_every_setting_of_tls_tells_apart(option: str) -> None:
    names = {
        "ca_file": ("tlsCAFile", "/a", "/b"),
        "certificate_key_file": ("tlsCertificateKeyFile", "/a", "/b"),
        "certificate_key_file_password": ("tlsCertificateKeyFilePassword", "a", "b"),
        "crl_file": ("tlsCRLFile", "/a", "/b"),
        "allow_invalid_certificates": ("tlsAllowInvalidCertificates", False, True),
        "allow_invalid_hostnames": ("tlsAllowInvalidHostnames", False, True),
        "disable_ocsp_endpoint_check": ("tlsDisableOCSPEndpointCheck", False, True),
        "disable_certificate_revocation_check": (
            "tlsDisableCertificateRevocationCheck",
            False,
            True,
        ),
    }
    name, first, second = names[option]

    def client(value: Any) -> Any:
        return LoginScope(HERE, TLSOptions({name: value}, None).identity()), plain()

    assert shared_by(client(first), client(first))
    assert not shared_by(client(first), client(second))


def test_a_context_of_ssl_counts_as_itself() -> None:
    import ssl

    def client(context: Any) -> Any:
        return LoginScope(HERE, TLSOptions({"ssl_context": context}, None).identity()), plain()

    one = ssl.create_default_context()
    assert shared_by(client(one), client(one))
    assert not shared_by(client(one), client(ssl.create_default_context()))


def test_a_certificate_that_was_read_anew_is_another_secret() -> None:
    def client() -> Any:
        return LoginScope(HERE, ("/client.pem",)), build_credential("MONGODB-X509", None, None)

    assert shared_by(client(), client(), certificates=(b"a", b"a"))
    assert not shared_by(client(), client(), certificates=(b"a", b"b"))


def test_the_order_of_seeds_is_nothing_and_the_set_s_name_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mongokey.faces.client_context import ClientContext

    def client(uri: str, **options: Any) -> Any:
        context = ClientContext(ClientOptions.build(uri, **options))
        return context.login_scope(), context.options.credential

    both = client("mongodb://ann:pw@one,two/")
    assert shared_by(both, client("mongodb://ann:pw@two,one:27017/"))
    assert not shared_by(both, client("mongodb://ann:pw@one/"))
    assert not shared_by(both, client("mongodb://ann:pw@one,two:27018/"))
    assert not shared_by(both, client("mongodb://ann:pw@one,two/?replicaSet=rs0"))
    assert not shared_by(both, client("mongodb://ann:pw@one,two/?tls=true"))


# -- what is shown and kept ------------------------------------------------------------------------


def test_no_secret_is_kept_in_what_it_is_known_by() -> None:
    scope = LoginScope(HERE, TLSOptions({"tlsCertificateKeyFilePassword": "kf"}, None).identity())
    credential = plain("s3cret")
    shared = scope.share(credential)
    shown = f"{shared!r} {scope!r} {shared.key!r} {shared_login._logins!r} {scope._where!r}"
    assert "s3cret" not in shown
    assert "kf" not in shown
    assert "ann" not in shown
    assert shared.key is not None
    assert len(shared.key) == 32


def test_the_digest_is_keyed() -> None:
    before = LoginScope(HERE).share(plain()).key
    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patched:
        patched.setattr(keyed_digest, "_made", {"key": os.urandom(32)})
        assert LoginScope(HERE).share(plain()).key != before


def test_an_error_of_the_digest_takes_no_secret_along(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise RuntimeError("no digest")

    monkeypatch.setattr(keyed_digest, "_blake2b", fail)
    monkeypatch.setattr(shared_login, "_lock", threading.RLock())
    scope = LoginScope.__new__(LoginScope)
    scope._where, scope._closed, scope._digests = b"", False, None
    with pytest.raises(RuntimeError) as caught:
        scope.share(plain("s3cret"))
    traceback = caught.value.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals["__name__"].startswith("mongokey"):
            assert "s3cret" not in repr(traceback.tb_frame.f_locals)
        traceback = traceback.tb_next


def test_keys_are_wiped_with_the_last_client() -> None:
    one, other = LoginScope(HERE), LoginScope(HERE)
    shared = one.share(plain())
    assert other.share(plain()) is shared

    class Keys:
        pass

    keys = weakref.ref(shared.cache("keys", Keys))
    one.close()
    assert keys() is not None
    other.close()
    gc.collect()
    assert keys() is None


def test_a_client_that_is_only_dropped_leaves_nothing() -> None:
    def client() -> Any:
        scope, credential = LoginScope(HERE), plain("dropped")
        return weakref.ref(scope.share(credential))

    shared = client()
    gc.collect()
    assert shared() is None


def test_forget_all_wipes_what_is_in_use() -> None:
    scope, credential = LoginScope(HERE), plain()
    shared = scope.share(credential)
    shared.cache("keys", object)
    shared_login.forget_all()
    assert not shared._caches
    assert not shared_login._logins
    assert LoginScope(HERE).share(plain()) is not shared


# -- refused ---------------------------------------------------------------------------------------


def refused_client(password: str = "wrong", backoff: Backoff = BACKOFF) -> MongoCredential:
    credential = plain(password)
    LoginScope(HERE, None, backoff).share(credential)
    return credential


def test_a_refused_secret_is_answered_from_memory_until_its_back_off_has_passed(
    clock: Clock,
) -> None:
    one, other = refused_client(), refused_client()
    first = try_once(one, NO)
    assert first is not None
    assert not first.answered_from_memory
    assert first.refused_ago_s is first.retry_in_s is None
    clock.pass_s(0.25)
    for each in (one, other):
        error = told(each)
        assert type(error) is type(first)
        assert (error.code, error.details, error.diagnoses) == (
            first.code,
            first.details,
            first.diagnoses,
        )
        assert str(error) == (
            f"{first}; answered from memory: the server refused this secret 0.2 s ago; tried again "
            "in 0.8 s"
        )
        assert (error.refused_ago_s, error.retry_in_s) == (0.25, 0.75)
        assert error.login is not None
        assert error.login.credential is each
        assert error.login.describe() == first.login.describe()  # type: ignore[union-attr]
        again = pickle.loads(pickle.dumps(error))
        assert again.answered_from_memory
        assert again.retry_in_s == 0.75
    clock.pass_s(0.75)
    assert try_once(other, NO) is not None


def test_the_back_off_doubles_up_to_its_limit(clock: Clock) -> None:
    credential = refused_client()
    waits = []
    for _ in range(9):
        assert try_once(credential, NO) is not None
        error = told(credential)
        assert error.retry_in_s is not None
        waits.append(error.retry_in_s)
        clock.pass_s(error.retry_in_s)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_chance_shortens_a_back_off_by_a_fifth_at_most() -> None:
    refusals = [Refusal(AuthenticationFailed("no"), 0, 1) for _ in range(200)]
    found = [BACKOFF.after(each) for each in refusals]
    assert min(found) >= 0.8 * SECOND_NS
    assert max(found) <= SECOND_NS
    assert max(found) - min(found) > 0.1 * SECOND_NS
    assert BACKOFF.after(Refusal(AuthenticationFailed("no"), 0, 10**9)) <= 60 * SECOND_NS


def test_each_client_waits_as_long_as_it_was_told(clock: Clock) -> None:
    patient, hasty = refused_client(), refused_client(backoff=Backoff(0, 0))
    assert try_once(patient, NO) is not None
    assert told(patient).retry_in_s == 1
    assert try_once(hasty, NO) is not None


def test_a_changed_secret_is_tried_at_once(clock: Clock) -> None:
    assert try_once(refused_client("old"), NO) is not None
    assert try_once(refused_client("new"), DONE) is None


def test_after_a_success_it_begins_anew(clock: Clock) -> None:
    credential = refused_client()
    for wait in (1, 2):
        assert try_once(credential, NO) is not None
        clock.pass_s(wait)
    assert try_once(credential, DONE) is None
    assert not shared_login._refusals
    assert try_once(credential, NO) is not None
    assert told(credential).retry_in_s == 1


def test_logins_side_by_side_are_one_try(clock: Clock) -> None:
    credential = refused_client("was right")
    assert try_once(credential, DONE) is None
    clock.pass_s(1)
    logins = [begin(credential)[0] for _ in range(5)]
    for each in logins:
        clock.pass_s(0.01)
        with pytest.raises(AuthenticationFailed):
            each.send(NO)
    assert told(credential).retry_in_s == 1


def test_the_clients_that_were_refused_may_be_gone(clock: Clock) -> None:
    """As of a program that makes a client for each try."""
    tries = 0
    answers = set()
    for _ in range(300):
        credential = refused_client()
        scope = LoginScope(HERE, None, BACKOFF)
        scope.share(credential)
        try:
            tries += try_once(credential, NO) is not None
        except AuthenticationFailed as error:
            answers.add(error.answered_from_memory)
        scope.close()
        del credential
        gc.collect(0)
        clock.pass_s(0.1)
    assert tries == 5  # 0, 1, 3, 7, 15 s
    assert answers == {True}


def test_a_refusal_that_was_not_repeated_for_long_is_forgotten(clock: Clock) -> None:
    for _ in range(3):
        assert try_once(refused_client(), NO) is not None
        clock.pass_s(601)
    gc.collect()
    credential = refused_client()
    assert try_once(credential, NO) is not None
    assert told(credential).retry_in_s == 1


def test_so_many_refusals_are_kept_and_the_oldest_go(clock: Clock) -> None:
    for number in range(300):
        assert try_once(refused_client(f"wrong {number}"), NO) is not None
    assert len(shared_login._refusals) == 256
    gc.collect()
    assert told(refused_client("wrong 299"))
    assert try_once(refused_client("wrong 0"), NO) is not None


def test_a_kept_refusal_keeps_no_secret_and_no_frames(clock: Clock) -> None:
    def fail() -> Any:
        credential = refused_client("s3cret")
        error = try_once(credential, NO)
        assert error is not None
        return weakref.ref(credential.state.shared)

    shared = fail()
    gc.collect()
    assert shared() is None
    (kept,) = shared_login._refusals.values()
    assert kept.error.__traceback__ is None
    assert kept.error.login is not None
    assert "s3cret" not in repr(vars(kept.error)) + str(kept.error.login.credential.password)


@pytest.mark.parametrize(
    "answer",
    [
        {"code": 18, "errmsg": "LDAP bind failed: Can't contact LDAP server"},
        {
            "code": 18,
            "errmsg": "Failed to authenticate: LDAP operation <ldap_sasl_bind_s>, timed out",
        },
        {"code": 18, "errmsg": "LDAP error: (51/Server is busy)"},
        {"code": 18, "errmsg": "Unsupported mechanism PLAIN"},
        {"code": 334, "errmsg": "mechanism unavailable"},
        {"code": 2, "errmsg": "bad"},
        {"code": 6, "errmsg": "HostUnreachable"},
        {"code": 89, "errmsg": "NetworkTimeout"},
        {"code": 202, "errmsg": "too busy"},
        {"code": 462, "errmsg": "IngressRequestRateLimitExceeded"},
    ],
    ids=lambda answer: answer["errmsg"][:24],
)
def test_what_says_nothing_about_the_secret_is_tried_again_at_once(
    clock: Clock, answer: dict[str, Any]
) -> None:
    credential = refused_client()
    assert try_once(credential, {"ok": 0.0, **answer}) is not None
    assert try_once(credential, NO) is not None


@pytest.mark.parametrize("code", [18, 11, 8000])
def test_what_says_so(clock: Clock, code: int) -> None:
    credential = refused_client()
    assert try_once(credential, {**NO, "code": code}) is not None
    assert told(credential).code == code


def test_a_login_that_is_given_up_in_its_turn_leaves_it_to_the_next(clock: Clock) -> None:
    credential = refused_client()
    assert try_once(credential, NO) is not None
    clock.pass_s(1)
    steps, _ = begin(credential)
    steps.close()
    assert try_once(credential, DONE) is None


def test_a_signal_handler_in_a_login_is_answered_too(clock: Clock) -> None:
    """Its own thread's login is in flight: it does not wait for that."""
    credential = refused_client()
    outer, _ = begin(credential)
    inner, waiting = begin(credential)
    waiting.run(None)
    assert waiting.own
    assert "saslStart" in inner.send(None).document
    for each in (inner, outer):
        with pytest.raises(AuthenticationFailed):
            each.send(NO)
    assert told(credential).retry_in_s == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
def test_a_forked_child_knows_what_was_refused(clock: Clock) -> None:
    credential = refused_client()
    assert try_once(credential, NO) is not None
    shared_login._lock.acquire()
    credential.state.turns._lock.acquire()
    child = os.fork()
    if child == 0:
        right = False
        try:
            right = told(credential).answered_from_memory and told(refused_client()) is not None
        finally:
            os._exit(0 if right else 1)
    shared_login._lock.release()
    credential.state.turns._lock.release()
    assert os.waitpid(child, 0) == (child, 0)


def test_who_is_no_client_is_not_answered_from_memory(clock: Clock) -> None:
    """`mongokey check`, and conversations driven by hand: each login is one on purpose."""
    credential = plain("wrong")
    for _ in range(3):
        assert try_once(credential, NO) is not None
    assert not shared_login._refusals


def test_turns_alone() -> None:
    found = LoginTurns()
    flight, own = found.begin(BACKOFF)
    assert own
    found.refused(flight, AuthenticationFailed("no"))  # not remembered: not for the secret
    _, own = found.begin(BACKOFF)
    assert own
    assert isinstance(SharedLogin().turns, LoginTurns)


def failed(credential: MongoCredential, codes: list[str], details: Any) -> AuthenticationFailed:
    error = AuthenticationFailed("no", 18 if details else None, details)
    mechanism = credential.mechanism or "SCRAM-SHA-1"
    error.login = LoginContext(credential, ("h", 1), mechanism, None)
    error.diagnoses = tuple(Diagnosis(code, LIKELY, "because") for code in codes)
    return error


@pytest.mark.parametrize(
    ("mechanism", "codes", "details", "counts"),
    [
        ("GSSAPI", ["KRB-PASSWORD-WRONG"], None, True),
        ("GSSAPI", ["KRB-CLIENT-LOCKED"], None, True),
        ("GSSAPI", ["KRB-KDC-UNREACHABLE"], None, False),
        # The KDC took the password; the server has another key.
        ("GSSAPI", ["KRB-KEY-MISMATCH"], NO, False),
        ("MONGODB-AWS", ["AWS-STS-REFUSED"], NO, True),
        ("MONGODB-AWS", ["AWS-STS-THROTTLED"], NO, False),
        ("MONGODB-AWS", ["AWS-CLOCK-SKEW", "AWS-STS-REFUSED"], NO, False),
        ("MONGODB-AWS", ["AWS-IDENTITY-UNKNOWN"], NO, False),
        ("SCRAM-SHA-256", [], NO, True),
        ("SCRAM-SHA-256", [], None, False),
        ("MONGODB-X509", [], NO, True),
        ("MONGODB-OIDC", [], NO, False),
    ],
)
def test_who_has_the_last_word(
    mechanism: str, codes: list[str], details: Any, counts: bool
) -> None:
    properties = {"OIDC_CALLBACK": Callback()} if mechanism == "MONGODB-OIDC" else None
    own = mechanism in ("MONGODB-X509", "MONGODB-OIDC")
    user = None if own else "ann@X" if mechanism == "GSSAPI" else "AKIAIOSFODNN7EXAMPLE"
    credential = build_credential(mechanism, user, None if own else "pw", properties=properties)
    assert credential is not None
    assert refuses_secret(failed(credential, codes, details)) is counts


def test_keys_that_are_fetched_are_no_secret_that_stays() -> None:
    credential = build_credential("MONGODB-AWS", None, None)
    assert credential is not None
    assert not refuses_secret(failed(credential, ["AWS-STS-REFUSED"], NO))


class Callback(OIDCCallback):
    def fetch(self, context: Any) -> Any:
        raise AssertionError("nobody asks")
