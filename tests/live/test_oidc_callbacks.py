"""Callbacks of applications: what goes wrong in one, how often it is called, what nobody sees.

Knows the server's side through `tests.servers.oidc_deployment`; the specification's own prose tests
stand in `test_oidc_machine_prose` and `test_oidc_human_prose`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.auth.errors import LoginTimeout
from mongokey.auth.oidc import token_source, tokens
from mongokey.auth_oidc import OIDCCallback, OIDCCallbackContext, OIDCCallbackResult
from mongokey.errors import ConfigurationError, MongoError, OperationFailure
from tests.deadlines import timeout_of
from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.oidc import OIDCAcceptor
from tests.servers.oidc_deployment import SHELL, USER_1, Driver, OIDCDeployment, Recorder, post
from tests.servers.oidc_issuer import DEVICE_GRANT, ES256
from tests.servers.scripted import Delay
from tests.threads import in_threads

pytestmark = pytest.mark.live

DRIVER = Driver("mongokey")
connect = DRIVER.connect
NOTHING_FOUND = {"cursor": {"id": 0, "ns": "test.test", "firstBatch": []}, "ok": 1.0}


@pytest.fixture
def server(single: tuple[MechanismServer, OIDCAcceptor]) -> MechanismServer:
    return single[0]


def failure(client: Any, kind: type[MongoError] = MongoError) -> MongoError:
    with pytest.raises(kind) as caught:
        client.test.test.find_one()
    return caught.value


# What goes wrong in a callback: each has its own error, and the client stays usable


class Boom(Exception):
    """An application's error."""


def test_a_callback_that_raises(stage: OIDCDeployment, server: MechanismServer) -> None:
    raised = Boom("no network in the lift")
    outcomes: list[Any] = [raised, stage.machine_token()]

    def make(context: Any) -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with connect(server, DRIVER.callback(make)) as client:
        error = failure(client)
        assert "Boom" in str(error)
        assert "no network in the lift" in str(error)
        assert "OIDC_CALLBACK" in str(error)
        assert error.__cause__ is raised
        client.test.test.find_one()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (None, "None"),
        ("a string", "str"),
        ({"access_token": "x"}, "dict"),
        (OIDCCallbackResult(access_token=None), "access_token"),  # type: ignore[arg-type]
        (OIDCCallbackResult(access_token=b"x.y.z"), "access_token"),  # type: ignore[arg-type]
        (OIDCCallbackResult(access_token=7), "access_token"),  # type: ignore[arg-type]
        (OIDCCallbackResult(access_token=""), "empty"),
        (OIDCCallbackResult("x.y.z", expires_in_seconds=-1), "expires_in_seconds"),
        (OIDCCallbackResult("x.y.z", expires_in_seconds=float("nan")), "expires_in_seconds"),
        (OIDCCallbackResult("x.y.z", expires_in_seconds="soon"), "expires_in_seconds"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("human", [False, True], ids=["machine", "human"])
def test_a_result_that_is_none(
    stage: OIDCDeployment,
    server: MechanismServer,
    monkeypatch: pytest.MonkeyPatch,
    made: Any,
    said: str,
    human: bool,
) -> None:
    monkeypatch.setattr(tokens, "PAUSE_S", 0.0)
    outcomes = [made, OIDCCallbackResult(stage.machine_token())]

    class Callback(OIDCCallback):
        def fetch(self, context: OIDCCallbackContext) -> Any:
            return outcomes.pop(0)

    with connect(server, Callback(), human=human, username="test_machine") as client:
        message = str(failure(client))
        assert said in message
        assert "Callback" in message
        assert "x.y.z" not in message
        client.test.test.find_one()
    # Nothing of it was sent.
    assert server.refusals == []


def test_an_expired_token(stage: OIDCDeployment, server: MechanismServer) -> None:
    expired = stage.machine_token(lifetime=-3600)
    given = [expired, stage.machine_token()]
    with connect(server, DRIVER.callback(lambda context: given.pop(0))) as client:
        error = failure(client, OperationFailure)
        assert error.code == 18  # type: ignore[attr-defined]
        assert "expired" in str(error)
        assert expired not in str(error)
        client.test.test.find_one()


def test_a_result_that_says_it_has_expired(stage: OIDCDeployment, server: MechanismServer) -> None:
    def make(context: Any) -> Any:
        return OIDCCallbackResult(stage.machine_token(), expires_in_seconds=0)

    with connect(server, DRIVER.callback(make)) as client:
        assert "expire" in str(failure(client))


@pytest.mark.parametrize("human", [False, True], ids=["machine", "human"])
def test_a_callback_that_hangs(
    stage: OIDCDeployment, server: MechanismServer, monkeypatch: pytest.MonkeyPatch, human: bool
) -> None:
    monkeypatch.setattr(
        token_source, "HUMAN_TIMEOUT" if human else "MACHINE_TIMEOUT", timeout_of(300)
    )
    release = threading.Event()
    calls: list[float] = []

    def make(context: Any) -> Any:
        calls.append(context.timeout_seconds)
        if len(calls) == 1:
            release.wait(20)
            return "too late to matter"
        return stage.machine_token()

    with connect(server, DRIVER.callback(make), human=human, username="test_machine") as client:
        began = time.monotonic()
        error = failure(client, LoginTimeout)
        assert 0.2 < time.monotonic() - began < 5.0
        assert "Callback" in str(error)
        # The call that hangs does not hang the next login, and its token is not used later.
        client.test.test.find_one()
        release.set()
        time.sleep(0.1)
        current = tokens.tokens_of(client.options.credential).current
        assert current is not None
        assert current.text != "too late to matter"
        client.test.test.find_one()
        assert len(calls) == 2
    assert calls[0] == pytest.approx(0.3, abs=0.1)
    assert server.refusals == []


def test_a_person_may_take_longer_than_the_connections_deadline(
    stage: OIDCDeployment, server: MechanismServer
) -> None:
    def make(context: Any) -> str:
        time.sleep(0.8)
        return stage.person_token()

    callback = DRIVER.callback(make)
    options: dict[str, Any] = {"connectTimeoutMS": 500, "socketTimeoutMS": 500}
    with connect(server, callback, human=True, **options) as client:
        client.test.test.find_one()
    assert callback.count == 1


def test_a_machines_callback_is_told_what_timeoutms_leaves(
    stage: OIDCDeployment, server: MechanismServer
) -> None:
    callback = DRIVER.callback(lambda context: stage.machine_token())
    with connect(server, callback, timeoutMS=7000) as client:
        client.test.test.find_one()
    assert 0 < callback.contexts[0].timeout_seconds <= 7


def test_a_callback_may_be_a_coroutine(stage: OIDCDeployment, server: MechanismServer) -> None:
    class Callback(OIDCCallback):
        async def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
            await asyncio.sleep(0.01)
            return OIDCCallbackResult(stage.machine_token())

    with connect(server, Callback()) as client:
        client.test.test.find_one()


def test_a_coroutine_is_cancelled_at_its_deadline(
    server: MechanismServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_source, "MACHINE_TIMEOUT", timeout_of(200))
    cancelled = threading.Event()

    class Callback(OIDCCallback):
        async def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                cancelled.set()
                raise
            raise AssertionError("the deadline did not hold")

    with connect(server, Callback()) as client:
        failure(client, LoginTimeout)
    assert cancelled.wait(5)


@pytest.mark.parametrize("callback", [OIDCCallback, object(), "fetch", lambda context: None])
def test_what_is_no_callback_is_refused_at_construction(callback: Any) -> None:
    for name in ("OIDC_CALLBACK", "OIDC_HUMAN_CALLBACK"):
        with pytest.raises((ConfigurationError, TypeError), match=name):
            MongoClient(
                "mongodb://127.0.0.1/",
                authMechanism="MONGODB-OIDC",
                authMechanismProperties={name: callback},
            )


def test_pymongos_own_callback_works(stage: OIDCDeployment, server: MechanismServer) -> None:
    """A program that still has the classes of pymongo.auth_oidc in some corner."""
    pymongo = Driver("pymongo")
    callback = pymongo.callback(lambda context: stage.machine_token())
    with connect(server, callback) as client:
        client.test.test.find_one()


# How often a callback is called


def test_a_hundred_connections_at_start_call_it_once(
    stage: OIDCDeployment, server: MechanismServer
) -> None:
    def make(context: Any) -> str:
        time.sleep(0.2)
        return stage.machine_token(algorithm=ES256)

    callback = DRIVER.callback(make)
    # Every find takes so long that each thread needs a connection of its own.
    server.on["find"] = Delay(1.0, NOTHING_FOUND)
    options: dict[str, Any] = {
        "maxPoolSize": 100,
        "maxConnecting": 100,
        "serverSelectionTimeoutMS": 30_000,
    }
    with connect(server, callback, **options) as client:
        results = in_threads(100, client.test.test.find_one)
    assert results == [None] * 100
    assert callback.count == 1
    assert len({record.connection for record in server.records}) == 100


def test_calls_are_at_least_100_ms_apart_and_never_two_at_once(
    server: MechanismServer,
) -> None:
    def make(context: Any) -> str:
        time.sleep(0.03)
        return "refused"

    callback = DRIVER.callback(make)
    with connect(server, callback) as client:

        def work() -> None:
            # Threads that wait for a login that is refused share its refusal.
            for _ in range(3):
                failure(client, OperationFailure)

        assert in_threads(4, work) == [None] * 4
    assert callback.count >= 3
    gaps = [after - before for before, after in pairwise(callback.begun)]
    assert min(gaps) >= 0.095  # the clocks' grain
    later = callback.begun[1:]
    assert all(end <= begin for end, begin in zip(callback.ended[:-1], later, strict=True))


def test_the_pause_counts_from_when_a_call_really_began(
    server: MechanismServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine a call begins later than planned; here the second one does."""
    late = [0.06]

    def sleep(seconds: float) -> None:
        time.sleep(seconds + (late.pop() if late else 0))

    monkeypatch.setattr(tokens, "time", SimpleNamespace(sleep=sleep))
    callback = DRIVER.callback(lambda context: "refused")
    with connect(server, callback) as client:
        address = client._pool().address
        checked = client.topology_description.get(address)
        assert checked is not None
        assert checked.is_server_type_known
        for _ in range(3):
            failure(client, OperationFailure)
            client._topology.on_check(checked)  # at once, so that a login is what waits
    assert callback.count == 3
    assert not late
    gaps = [after - before for before, after in pairwise(callback.begun)]
    assert min(gaps) >= 0.095


def test_two_clients_do_not_share_tokens(stage: OIDCDeployment, server: MechanismServer) -> None:
    callback = DRIVER.callback(lambda context: stage.machine_token())
    for _ in range(2):
        with connect(server, callback) as client:
            client.test.test.find_one()
    assert callback.count == 2


def test_many_reauthentications_call_it_once(
    stage: OIDCDeployment, single: tuple[MechanismServer, OIDCAcceptor]
) -> None:
    """Each connection drops the token that it used itself, and not the next one."""
    server, acceptor = single
    callback = DRIVER.callback(lambda context: stage.machine_token())
    options: dict[str, Any] = {"maxPoolSize": 20, "maxConnecting": 20}
    with connect(server, callback, **options) as client:
        server.on["find"] = Delay(0.3, NOTHING_FOUND)
        assert in_threads(20, client.test.nothing_here.find_one) == [None] * 20
        del server.on["find"]
        opened = server.accepted
        for round_ in range(1, 3):
            acceptor.revoke()
            server.require_reauthentication()
            assert in_threads(20, client.test.nothing_here.find_one) == [None] * 20
            # Those connections that were not used in this round log in again in the next.
            assert callback.count == 1 + round_
        assert server.accepted == opened


def test_reauthentication_does_not_wait_for_retryable_commands(
    stage: OIDCDeployment, server: MechanismServer
) -> None:
    """Error 391 is answered by a login and one retry for any command, also with retries off."""
    callback = DRIVER.callback(lambda context: stage.machine_token())
    with connect(server, callback, retryWrites=False, appName="any") as client:
        collection = client.test.any
        collection.drop()
        operations: list[tuple[str, Callable[[], Any]]] = [
            ("insert", lambda: collection.insert_many([{"_id": n} for n in range(300)])),
            ("update", lambda: collection.update_many({}, {"$set": {"x": 1}})),
            ("aggregate", lambda: list(collection.aggregate([{"$match": {"_id": 1}}]))),
            ("findAndModify", lambda: collection.find_one_and_delete({"_id": 0})),
            ("getMore", lambda: len(list(collection.find({}, batch_size=50)))),
            ("delete", lambda: collection.delete_many({})),
            ("connectionStatus", lambda: client.admin.command("connectionStatus")),
        ]
        for number, (name, operate) in enumerate(operations):
            server.fail_command([name], 1, 391, app_name="any")
            operate()
            assert not any(point.times for point in server.fail_points), name
            assert callback.count == number + 2, name
        collection.drop()


def test_a_second_391_in_a_row_is_the_callers(
    stage: OIDCDeployment, server: MechanismServer
) -> None:
    callback = DRIVER.callback(lambda context: stage.machine_token())
    with connect(server, callback, appName="twice") as client:
        server.fail_command(["find"], 2, 391, app_name="twice")
        assert failure(client, OperationFailure).code == 391  # type: ignore[attr-defined]
        client.test.test.find_one()
    assert callback.count == 2


# People: refresh tokens, allowed hosts


class DeviceFlow(OIDCCallback):
    """What an application does: a device flow, by HTTP, and refresh tokens afterwards. The
    person's part is done here too: posting the code at the provider's page."""

    def __init__(self) -> None:
        self.grants: list[str] = []

    def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
        info = context.idp_info
        assert info is not None
        assert info.clientId is not None
        answer: dict[str, Any] = {}
        if context.refresh_token is not None:
            answer = post(
                f"{info.issuer}/token",
                grant_type="refresh_token",
                client_id=info.clientId,
                refresh_token=context.refresh_token,
            )
            self.grants.append("refresh_token" if "access_token" in answer else answer["error"])
        if "access_token" not in answer:
            scope = " ".join(info.requestScopes or ())
            asked = post(f"{info.issuer}/device", client_id=info.clientId, scope=scope)
            post(asked["verification_uri"], user_code=asked["user_code"], username=USER_1)
            answer = post(
                f"{info.issuer}/token",
                grant_type=DEVICE_GRANT,
                client_id=info.clientId,
                device_code=asked["device_code"],
            )
            self.grants.append("device")
        return OIDCCallbackResult(
            answer["access_token"], answer["expires_in"], answer.get("refresh_token")
        )


def test_a_person_logs_in_once_and_refresh_tokens_do_the_rest(
    stage: OIDCDeployment, single: tuple[MechanismServer, OIDCAcceptor]
) -> None:
    server, acceptor = single
    callback = DeviceFlow()
    assert stage.issuer.clients[SHELL].secret is None
    with connect(server, callback, human=True) as client:
        client.test.test.find_one()
        for _ in range(2):
            # An hour later the token has expired, and the server says so.
            stage.advance(3600)
            server.require_reauthentication()
            client.test.test.find_one()
        assert callback.grants == ["device", "refresh_token", "refresh_token"]
        stage.issuer.revoke_refresh_tokens()
        stage.advance(3600)
        server.require_reauthentication()
        client.test.test.find_one()
        assert callback.grants[3:] == ["invalid_grant", "device"]
    # The deployment serves the other face's tests too.
    stage.advance(-3 * 3600)
    assert len(acceptor.accepted) == 4
    assert {record.identity for record in server.records} == {f"people/{USER_1}"}
    # The principal was named once; all later logins were in one step.
    assert acceptor.principals == [None]


@pytest.mark.parametrize(
    "hosts",
    [[], ["example.com"], ["localhost"], ["*.0.0.1.example.com"], ["127.0.0.11"], ["*"], ["*.*"]],
)
def test_a_host_that_is_not_allowed_gets_nothing(
    stage: OIDCDeployment, server: MechanismServer, hosts: list[str]
) -> None:
    callback = DRIVER.callback(lambda context: stage.person_token())
    properties = {"ALLOWED_HOSTS": hosts}
    with connect(server, callback, human=True, properties=properties) as client:
        message = str(failure(client, ConfigurationError))
    assert "127.0.0.1" in message
    assert "ALLOWED_HOSTS" in message
    assert callback.count == 0
    assert server.count("saslStart") == 0


@pytest.mark.parametrize("hosts", [None, ["127.0.0.1"], ["x.example.com", "127.0.0.1"]])
def test_a_host_that_is_allowed(
    stage: OIDCDeployment, server: MechanismServer, hosts: list[str] | None
) -> None:
    callback = DRIVER.callback(lambda context: stage.person_token())
    properties = {} if hosts is None else {"ALLOWED_HOSTS": hosts}
    with connect(server, callback, human=True, properties=properties) as client:
        client.test.test.find_one()
    assert callback.count == 1


def test_machines_need_no_allowed_hosts(stage: OIDCDeployment) -> None:
    """The check is for people's tokens only; the host here is no default one."""
    callback = DRIVER.callback(lambda context: stage.machine_token())
    with stage.single(host="127.0.0.2") as (server, _):
        with connect(server, callback) as client:
            client.test.test.find_one()
        person = DRIVER.callback(lambda context: stage.person_token())
        with connect(server, person, human=True) as client:
            failure(client, ConfigurationError)
        assert person.count == 0


def test_a_cached_token_does_not_open_other_hosts(stage: OIDCDeployment) -> None:
    """The host is checked at each login, also one that needs no call and speculates."""
    callback = DRIVER.callback(lambda context: stage.person_token())
    with stage.single(host="127.0.0.2") as (server, _):
        properties = {"OIDC_HUMAN_CALLBACK": callback, "ALLOWED_HOSTS": ["127.0.0.1"]}
        with DRIVER.client(server.uri(), authMechanismProperties=properties) as client:
            tokens.tokens_of(client.options.credential).put(stage.person_token())
            failure(client, ConfigurationError)
        hellos = server.commands("hello")
        assert all("speculativeAuthenticate" not in hello for hello in hellos)
        assert server.count("saslStart") == 0
    assert callback.count == 0


def test_a_password_is_refused() -> None:
    properties = {"ENVIRONMENT": "k8s"}
    with pytest.raises(ConfigurationError, match="password"):
        MongoClient(
            "mongodb://user:hush@127.0.0.1/?authMechanism=MONGODB-OIDC",
            authMechanismProperties=properties,
        )


# What nobody sees


def test_tokens_show_nowhere(
    stage: OIDCDeployment,
    single: tuple[MechanismServer, OIDCAcceptor],
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not in a repr, a log, a warning, an error or a traceback, whether the login works or not."""
    caplog.set_level(logging.DEBUG)
    server, acceptor = single
    good, bad, refresh = stage.person_token(), stage.person_token(), "refresh-" + "s" * 20
    acceptor.revoke(bad)
    plan: list[Any] = [
        OIDCCallbackResult(good, refresh_token=refresh),
        OIDCCallbackResult(bad, refresh_token=refresh),
        OIDCCallbackResult(bad, refresh_token=refresh),
        RuntimeError(f"the provider said: access_token={bad}"),
    ]
    seen: list[str] = []

    class Callback(OIDCCallback):
        def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
            outcome = plan.pop(0)
            seen.extend((repr(context), str(context), repr(outcome)))
            if isinstance(outcome, Exception):
                # An application's own error is its own; what we say of it is ours.
                seen.pop()
                raise outcome
            return outcome  # type: ignore[no-any-return]

    with connect(server, Callback(), human=True) as client:
        client.test.test.find_one()
        seen += [repr(client), repr(client.options), repr(client.options.credential)]
        seen += [repr(client.options.credential.state), repr(client.options.pool_options)]
        seen += [repr(vars(type(client))), repr(client.test.test)]
        acceptor.revoke(good)
        server.require_reauthentication()
        with pytest.raises(MongoError) as refused:
            client.test.test.find_one()
        with pytest.raises(MongoError) as raised:
            client.test.test.find_one()
        assert not plan
        for caught in (refused, raised):
            seen += [str(caught.value), repr(caught.value), repr(caught.value.args)]
            seen += [repr(getattr(caught.value, "details", None))]
        seen.append("".join(traceback.format_exception(refused.value)))
    seen += [record.getMessage() for record in caplog.records]
    seen += [str(warning.message) for warning in recwarn.list]
    seen += capfd.readouterr()
    # Nor in part: a message may be cut in the middle of a token.
    signatures = [token.split(".")[2][:30] for token in (good, bad)]
    for secret in (good[:30], *signatures, refresh[:20]):
        assert not [text for text in seen if secret in text]


def test_a_recorder_is_a_callback() -> None:
    """The tests' own helper is what applications write: a subclass."""
    assert issubclass(type(DRIVER.callback(str)), OIDCCallback)
    assert isinstance(DRIVER.callback(str), Recorder)
