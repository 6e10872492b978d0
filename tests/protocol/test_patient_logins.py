"""Logins that wait for a person: no deadline of the connection, the pool or the selection of a
server runs out meanwhile, and nobody is asked twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import bson
import pytest

from mongokey import MongoClient, timeout
from mongokey.auth import AuthenticationFailed
from mongokey.auth.errors import LoginTimeout
from mongokey.auth.oidc import token_source
from mongokey.auth_oidc import OIDCCallback, OIDCCallbackContext, OIDCCallbackResult
from mongokey.errors import ExecutionTimeout, ServerSelectionTimeoutError
from mongokey.pool import maintenance
from tests.deadlines import timeout_of
from tests.servers.scripted import Reply, Request, ScriptedServer, primary, secondary
from tests.threads import in_threads

FOUND = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": [{"_id": 1}]}}
IDP = bson.encode({"issuer": "https://idp.example", "clientId": "app"})


class Person(OIDCCallback):
    """Takes `seconds` to log in, or until `go` is set; counts how often it was asked."""

    def __init__(self, seconds: float = 0.0, error: Exception | None = None) -> None:
        self.seconds = seconds
        self.error = error
        self.calls = 0
        self.asked = threading.Event()

    def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
        self.calls += 1
        self.asked.set()
        time.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return OIDCCallbackResult("token")


def sasl(request: Request) -> Reply:
    """The server's side of MONGODB-OIDC: any token will do."""
    has_token = "jwt" in bson.decode(request.document["payload"])
    payload = b"" if has_token else IDP
    return Reply({"ok": 1.0, "conversationId": 1, "done": has_token, "payload": payload})


def serve(hello: Any = None) -> ScriptedServer:
    on: Any = {"saslStart": sasl, "saslContinue": sasl, "find": Reply(FOUND)}
    return ScriptedServer(hello=hello or primary(), on=on)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serve() as server:
        yield server


def connect(*servers: ScriptedServer, callback: OIDCCallback, **options: Any) -> Any:
    kind = options.pop("kind", "OIDC_HUMAN_CALLBACK")
    return MongoClient(
        [f"127.0.0.1:{server.port}" for server in servers],
        authMechanism="MONGODB-OIDC",
        authMechanismProperties={kind: callback},
        **options,
    )


@pytest.mark.parametrize("kind", ["OIDC_HUMAN_CALLBACK", "OIDC_CALLBACK"])
def test_the_connections_deadlines_stand_still(server: ScriptedServer, kind: str) -> None:
    person = Person(1.2)
    options = {"connectTimeoutMS": 800, "serverSelectionTimeoutMS": 800, "kind": kind}
    with connect(server, callback=person, **options) as client:
        assert client["x"]["y"].find_one() == {"_id": 1}
    assert person.calls == 1
    assert server.used == 1


def test_threads_that_wait_for_the_first_login_wait_on(server: ScriptedServer) -> None:
    person = Person(1.2)
    with connect(server, callback=person, serverSelectionTimeoutMS=800) as client:
        assert in_threads(20, client["x"]["y"].find_one) == [{"_id": 1}] * 20
    assert person.calls == 1


def test_a_hundred_connections_ask_once(server: ScriptedServer) -> None:
    person = Person(0.3)
    gate = threading.Barrier(30)

    def slow(request: Request) -> Reply:
        gate.wait(10)
        return Reply(FOUND)

    options = {"maxPoolSize": 30, "maxConnecting": 30}
    with connect(server, callback=person, **options) as client:
        server.on["find"] = slow
        assert in_threads(30, client["x"]["y"].find_one) == [{"_id": 1}] * 30
        assert server.used == 30
    assert person.calls == 1


def test_several_seeds_ask_once_and_wait_as_long() -> None:
    with serve(primary()) as one, serve(secondary()) as two, serve(secondary()) as three:
        person = Person(1.2)
        options = {"serverSelectionTimeoutMS": 800, "connectTimeoutMS": 800}
        with connect(three, two, one, callback=person, **options) as client:
            assert client["x"]["y"].find_one() == {"_id": 1}
        assert person.calls == 1


def test_several_seeds_ask_once_when_it_fails() -> None:
    with serve(primary()) as one, serve(secondary()) as two, serve(secondary()) as three:
        person = Person(0.2, ValueError("the person said no"))
        with connect(one, two, three, callback=person) as client:
            with pytest.raises(AuthenticationFailed, match="the person said no"):
                client["x"]["y"].find_one()
            time.sleep(0.2)
        assert person.calls == 1


@pytest.mark.parametrize("kind", ["OIDC_HUMAN_CALLBACK", "OIDC_CALLBACK"])
def test_one_that_hangs_is_told_at_once_and_not_asked_again(
    server: ScriptedServer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_source, "HUMAN_TIMEOUT", timeout_of(200))
    monkeypatch.setattr(token_source, "MACHINE_TIMEOUT", timeout_of(200))
    person = Person(1.0)
    with connect(server, callback=person, kind=kind) as client:
        began = time.monotonic()
        with pytest.raises(LoginTimeout):
            client["x"]["y"].find_one()
        assert time.monotonic() - began < 0.9
        assert person.calls == 1
        person.seconds = 0.0
        assert client["x"]["y"].find_one() == {"_id": 1}


def test_timeout_ms_bounds_a_machine_and_not_a_person(server: ScriptedServer) -> None:
    person = Person(0.6)
    with connect(server, callback=person, timeoutMS=150) as client:
        # The operation ends in time; the login was not for nothing.
        with pytest.raises(ExecutionTimeout, match="timeoutMS=150"):
            client["x"]["y"].find_one()
        with timeout(30):
            assert client["x"]["y"].find_one() == {"_id": 1}
        assert person.calls == 1
    machine = Person(0.6)
    with connect(server, callback=machine, kind="OIDC_CALLBACK", timeoutMS=150) as client:
        with pytest.raises(LoginTimeout):
            client["x"]["y"].find_one()


def test_a_server_that_is_not_there_is_still_given_up(server: ScriptedServer) -> None:
    person = Person()
    server.stop()
    with connect(server, callback=person, serverSelectionTimeoutMS=200) as client:
        with pytest.raises(ServerSelectionTimeoutError):
            client["x"]["y"].find_one()
    assert person.calls == 0


def test_the_pool_is_usable_after_a_login_that_failed(server: ScriptedServer) -> None:
    person = Person(0.0, ValueError("no"))
    with connect(server, callback=person, maxPoolSize=1, waitQueueTimeoutMS=2000) as client:
        for _ in range(3):
            with pytest.raises(AuthenticationFailed):
                client["x"]["y"].find_one()
        person.error = None
        assert client["x"]["y"].find_one() == {"_id": 1}
        # Now one that fails while the pool, not the selection, opens the connection.
        server.on["find"] = Reply({"ok": 0.0, "code": 391, "errmsg": "again"})
        person.error = ValueError("no")
        with pytest.raises(AuthenticationFailed):
            client["x"]["y"].find_one()
        server.on["find"] = Reply(FOUND)
        with pytest.raises(AuthenticationFailed):
            client["x"]["y"].find_one()
        person.error = None
        assert client["x"]["y"].find_one() == {"_id": 1}


def test_a_pool_that_is_kept_full_does_not_ask_again_and_again(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_PERIOD_S", 0.01)
    person = Person()
    with connect(server, callback=person, minPoolSize=2) as client:
        client["x"]["y"].find_one()
        assert server.wait_for(lambda: server.used == 2)
        person.error = ValueError("no")
        server.on["find"] = Reply({"ok": 0.0, "code": 391, "errmsg": "again"})
        with pytest.raises(AuthenticationFailed):
            client["x"]["y"].find_one()
        calls = person.calls
        time.sleep(0.5)
        # In 50 periods, with rests of 4, 8, 16 and 32 of them between.
        assert person.calls - calls <= 4
        person.error = None
        server.on["find"] = Reply(FOUND)
        assert client["x"]["y"].find_one() == {"_id": 1}


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to oneself there")
def test_ctrl_c_ends_the_waiting_and_not_the_call(server: ScriptedServer) -> None:
    person = Person(0.6)
    with connect(server, callback=person) as client:
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            client["x"]["y"].find_one()
        assert time.monotonic() - began < 0.55
        timer.join(5)
        assert client["x"]["y"].find_one() == {"_id": 1}
    assert person.calls == 1
