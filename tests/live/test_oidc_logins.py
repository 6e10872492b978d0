"""Logins by token in unusual company: servers that speak oddly, impatient users, large tokens.

What a callback may do wrong stands in `test_oidc_callbacks`.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from types import FrameType
from typing import Any

import bson
import pytest

from mongokey.auth.oidc import tokens
from mongokey.errors import MongoError, OperationFailure
from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.acceptor import Acceptor, Continue, Done, Exchange, Session
from tests.servers.mechanism.oidc import OIDCAcceptor
from tests.servers.oidc_deployment import MACHINE, USER_1, Driver, OIDCDeployment
from tests.servers.scripted import Delay
from tests.threads import in_threads

pytestmark = pytest.mark.live

DRIVER = Driver("mongokey")
connect = DRIVER.connect
NOTHING_FOUND = {"cursor": {"id": 0, "ns": "test.test", "firstBatch": []}, "ok": 1.0}


@pytest.fixture
def server(single: tuple[MechanismServer, OIDCAcceptor]) -> MechanismServer:
    return single[0]


# The order of things


def test_a_failed_speculation_keeps_the_token(
    stage: OIDCDeployment, single: tuple[MechanismServer, OIDCAcceptor], face: str
) -> None:
    """A proxy may have taken the speculation out: it says nothing of the token."""
    server, acceptor = single
    acceptor.speculates = False
    callback = DRIVER.callback(lambda context: stage.machine_token())
    with connect(server, callback) as client:
        for _ in range(2):
            client.test.test.find_one()
            server.close_connections()
            assert server.wait_for(lambda: server.open == 0)
            # A loop sees at once that the connection is over, and another one is made.
            blocking = face == "blocking"
            with pytest.raises(MongoError) if blocking else contextlib.suppress(MongoError):
                client.test.test.find_one()
        client.test.test.find_one()
    assert callback.count == 1
    assert len(set(acceptor.tokens)) == 1
    assert server.count("saslStart") == server.logins >= 3


def test_people_are_asked_once_for_all_connections(
    stage: OIDCDeployment, single: tuple[MechanismServer, OIDCAcceptor]
) -> None:
    server, acceptor = single

    def make(context: Any) -> str:
        time.sleep(0.2)
        return stage.person_token()

    callback = DRIVER.callback(make)
    server.on["find"] = Delay(0.4, NOTHING_FOUND)
    with connect(server, callback, human=True, maxPoolSize=10, maxConnecting=10) as client:
        in_threads(10, client.test.test.find_one)
    assert callback.count == 1
    assert len(set(acceptor.accepted)) == 1
    assert len({record.connection for record in server.records}) == 10


def test_a_retryable_write_stays_the_same_write(
    stage: OIDCDeployment, server: MechanismServer
) -> None:
    """After 391 it goes out again under its number, so that it cannot be done twice."""
    callback = DRIVER.callback(lambda context: stage.machine_token())
    with connect(server, callback, appName="again") as client:
        client.test.again.drop()
        server.fail_command(["insert"], 1, 391, app_name="again")
        client.test.again.insert_one({"_id": 1})
        assert client.test.again.count_documents({}) == 1
        client.test.again.drop()
    first, second = server.commands("insert")
    assert first["txnNumber"] == second["txnNumber"]
    assert first["lsid"] == second["lsid"]
    assert first["documents"] == second["documents"]


def test_391_in_answer_to_a_login_is_not_answered_by_another(
    stage: OIDCDeployment, server: MechanismServer
) -> None:
    callback = DRIVER.callback(lambda context: stage.machine_token())
    with connect(server, callback, appName="odd") as client:
        server.fail_command(["saslStart"], None, 391, app_name="odd")
        with pytest.raises(OperationFailure) as caught:
            client.test.test.find_one()
    assert caught.value.code == 391
    assert callback.count == 1
    assert server.count("saslStart") == 1


def test_a_token_of_a_user_with_very_many_groups(
    stage: OIDCDeployment, single: tuple[MechanismServer, OIDCAcceptor]
) -> None:
    server, acceptor = single
    groups = [f"group-{number:05}-of-the-company" for number in range(1500)]
    callback = DRIVER.callback(lambda context: stage.machine_token(claims={"groups": groups}))
    with connect(server, callback) as client:
        client.test.test.find_one()
    assert len(acceptor.accepted[0]) > 50_000


# Deadlines (auth.md, "OIDC Callback")


def test_without_timeoutms_a_callback_has_its_minute(
    stage: OIDCDeployment, server: MechanismServer
) -> None:
    """Also where the connection's own deadline is shorter."""

    def make(context: Any) -> str:
        time.sleep(0.8)
        return stage.machine_token()

    callback = DRIVER.callback(make)
    with connect(server, callback, connectTimeoutMS=500) as client:
        client.test.test.find_one()
    assert callback.contexts[0].timeout_seconds == pytest.approx(60, abs=1)


@pytest.mark.parametrize(("timeout", "connect_timeout"), [(7000, 2000), (2000, 7000)])
def test_with_timeoutms_a_callback_has_the_shorter_of_both(
    stage: OIDCDeployment, server: MechanismServer, timeout: int, connect_timeout: int
) -> None:
    callback = DRIVER.callback(lambda context: stage.machine_token())
    options: dict[str, Any] = {"timeoutMS": timeout, "connectTimeoutMS": connect_timeout}
    with connect(server, callback, **options) as client:
        client.test.test.find_one()
    assert 1 < callback.contexts[0].timeout_seconds <= 2


# Impatient users


class Impatient(Exception):
    """What a signal handler raises."""


@pytest.mark.parametrize("human", [False, True], ids=["machine", "human"])
def test_a_signal_ends_the_waiting_for_a_callback(
    stage: OIDCDeployment, server: MechanismServer, human: bool
) -> None:
    release = threading.Event()

    def make(context: Any) -> str:
        release.wait(20)
        return stage.machine_token()

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Impatient

    callback = DRIVER.callback(make)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with connect(server, callback, human=human, username=MACHINE) as client:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            began = time.monotonic()
            with pytest.raises(Impatient):
                client.test.test.find_one()
            assert time.monotonic() - began < 5
            release.set()
            client.test.test.find_one()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        release.set()


def test_closing_does_not_wait_for_a_callback(
    stage: OIDCDeployment, server: MechanismServer
) -> None:
    release, asked = threading.Event(), threading.Event()

    def make(context: Any) -> str:
        asked.set()
        release.wait(20)
        return stage.person_token()

    outcome: list[BaseException | None] = []

    def work() -> None:
        try:
            client.test.test.find_one()
            outcome.append(None)
        except Exception as error:
            outcome.append(error)

    client = connect(server, DRIVER.callback(make), human=True)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert asked.wait(10)
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < 5
    finally:
        release.set()
        thread.join(20)
    assert not thread.is_alive()
    assert len(outcome) == 1


# Servers that speak oddly


class OddAcceptor(Acceptor):
    """Answers each step as told, whatever it says; the last answer is for all further ones."""

    mechanism = "MONGODB-OIDC"

    def __init__(self, *answers: Continue | Done) -> None:
        self.answers = list(answers)
        self.steps: list[dict[str, Any]] = []

    def begin(self, session: Session) -> Exchange:
        acceptor = self

        class Odd(Exchange):
            def step(self, payload: bytes) -> Continue | Done:
                acceptor.steps.append(bson.decode(payload))
                answers = acceptor.answers
                return answers[min(len(acceptor.steps), len(answers)) - 1]

        return Odd()


GOOD_INFO = {"issuer": "http://127.0.0.1:1", "clientId": "x"}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x05",
        b"not BSON at all",
        bson.encode(GOOD_INFO)[:-1],
        bson.encode({}),
        bson.encode({"clientId": "x"}),
        bson.encode({"issuer": 5}),
        bson.encode({"issuer": None}),
        bson.encode({**GOOD_INFO, "clientId": 5}),
        bson.encode({**GOOD_INFO, "requestScopes": "openid"}),
        bson.encode({**GOOD_INFO, "requestScopes": [1]}),
    ],
)
def test_a_providers_facts_that_are_none(payload: bytes) -> None:
    """A person is not sent to log in where nobody says where."""
    acceptor = OddAcceptor(Continue(payload), Done("nobody"))
    callback = DRIVER.callback(lambda context: "a.b.c")
    server = MechanismServer(acceptor, backend=None)
    with server, connect(server, callback, human=True) as client:
        with pytest.raises(MongoError) as caught:
            client.test.test.find_one()
        assert "127.0.0.1" in str(caught.value)
    assert callback.count == 0
    assert all("jwt" not in step for step in acceptor.steps)


def test_unknown_facts_of_a_provider_are_passed_over(stage: OIDCDeployment) -> None:
    """A newer server may say more."""
    info = {**GOOD_INFO, "requestScopes": None, "tokenEndpoint": "http://x", "n": 1}
    acceptor = OddAcceptor(Continue(bson.encode(info)), Done("somebody"))
    callback = DRIVER.callback(lambda context: "a.b.c")
    server = MechanismServer(acceptor, backend=None)
    with server, connect(server, callback, human=True, username=USER_1) as client:
        client.test.test.find_one()
    assert callback.contexts[0].idp_info.issuer == GOOD_INFO["issuer"]
    assert acceptor.steps == [{"n": USER_1}, {"jwt": "a.b.c"}]


@pytest.mark.parametrize("human", [False, True], ids=["machine", "human"])
def test_a_server_that_never_has_enough(human: bool) -> None:
    acceptor = OddAcceptor(Continue(bson.encode(GOOD_INFO)))
    callback = DRIVER.callback(lambda context: "a.b.c")
    server = MechanismServer(acceptor, backend=None)
    with server, connect(server, callback, human=human) as client:
        with pytest.raises(MongoError):
            client.test.test.find_one()
    assert callback.count == 1
    assert sum("jwt" in step for step in acceptor.steps) == 1


def test_nothing_is_kept_of_a_provider_that_was_not_believed(stage: OIDCDeployment) -> None:
    """The store of a client that never logged in is empty after a refusal."""
    callback = DRIVER.callback(lambda context: "refused")
    with stage.single() as (server, _):
        with connect(server, callback) as client:
            with pytest.raises(OperationFailure):
                client.test.test.find_one()
            store = tokens.tokens_of(client.options.credential)
            assert store.current is None
            assert "refused" not in repr(store)
