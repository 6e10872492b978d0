"""What bounds a connection, and what happens to one whose operation has given up: it goes on."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.errors import MongoError, NetworkTimeout, ServerSelectionTimeoutError
from tests.pools import drop_connections
from tests.servers.scripted import (
    Delay,
    Login,
    Reply,
    Request,
    ScriptedServer,
    Silence,
    primary,
    secondary,
)
from tests.threads import outcomes

FOUND = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": [{"_id": 1}]}}


def slowly(seconds: float) -> Any:
    def wait(request: Request) -> None:
        time.sleep(seconds)

    return wait


@pytest.mark.parametrize("members", [1, 3])
def test_a_login_longer_than_the_selection_succeeds_in_the_end(members: int) -> None:
    on = {"find": FOUND, "saslContinue": slowly(0.8)}
    others = [ScriptedServer(hello=secondary()) for _ in range(members - 1)]
    with ScriptedServer(hello=primary(), login=Login(), on=on) as server:
        for each in others:
            each.start()
        hosts = [f"127.0.0.1:{each.port}" for each in (*others, server)]
        options = {"username": "user", "password": "pencil", "serverSelectionTimeoutMS": 200}
        with MongoClient(hosts, **options) as client:
            began = time.monotonic()
            outcome: Any = None
            given_up: list[str] = []
            while outcome is None and time.monotonic() - began < 20:
                try:
                    outcome = client["x"]["y"].find_one()
                except ServerSelectionTimeoutError as error:
                    given_up.append(str(error))
            assert outcome == {"_id": 1}
            assert given_up
            assert all(f"127.0.0.1:{server.port}" in each for each in given_up)
            # One login, however many operations gave up on it.
            assert (server.accepted, server.logins) == (1, 1)
        for each in others:
            each.stop()


def test_threads_that_give_up_leave_one_login_behind() -> None:
    on = {"find": FOUND, "saslContinue": slowly(1.0)}
    with ScriptedServer(hello=primary(), login=Login(), on=on) as server:
        with MongoClient(server.uri(serverSelectionTimeoutMS=200)) as client:
            errors = outcomes(20, client["x"]["y"].find_one)
            assert {type(each) for each in errors} == {ServerSelectionTimeoutError}
            assert server.wait_for(lambda: server.logins == 1, 20)
            assert client["x"]["y"].find_one() == {"_id": 1}
            assert server.accepted == 1


def test_connect_timeout_ms_still_ends_a_login() -> None:
    on = {"saslContinue": Silence()}
    with ScriptedServer(hello=primary(), login=Login(), on=on) as server:
        options = {"connectTimeoutMS": 300, "serverSelectionTimeoutMS": 400}
        with MongoClient(server.uri(**options)) as client:
            with pytest.raises(ServerSelectionTimeoutError, match="connectTimeoutMS=300"):
                client["x"]["y"].find_one()
            assert server.wait_for(lambda: server.open == 0, 20)


@pytest.mark.parametrize("step", ["hello", "saslContinue"])
def test_timeout_ms_bounds_the_making_of_a_connection(step: str) -> None:
    """In selection; 16 s it took before."""
    with ScriptedServer(hello=primary(), login=Login(), on={step: Silence()}) as server:
        with MongoClient(server.uri(timeoutMS=500)) as client:
            began = time.monotonic()
            with pytest.raises(MongoError, match="timeoutMS=500"):
                client["x"]["y"].find_one()
            assert time.monotonic() - began < 5
            assert server.wait_for(lambda: server.open == 0, 20)


def test_timeout_ms_bounds_a_login_of_the_pool_and_of_error_391() -> None:
    with ScriptedServer(hello=primary(), login=Login(), on={"find": FOUND}) as server:
        with MongoClient(server.uri(timeoutMS=500, retryReads=False)) as client:
            client["x"]["y"].find_one()
            server.on["saslContinue"] = Silence()
            drop_connections(client)
            began = time.monotonic()
            with pytest.raises(NetworkTimeout, match="timeoutMS=500"):
                client["x"]["y"].find_one()
            assert time.monotonic() - began < 5
            server.on.pop("saslContinue")
            assert client["x"]["y"].find_one() == {"_id": 1}
            server.on["saslStart"] = Silence()
            server.on["ping"] = Reply({"ok": 0.0, "code": 391, "errmsg": "log in again"})
            began = time.monotonic()
            with pytest.raises(NetworkTimeout, match="timeoutMS=500"):
                client.admin.command("ping")
            assert time.monotonic() - began < 5


def test_a_longer_timeout_ms_leaves_connect_timeout_ms_alone() -> None:
    with ScriptedServer(hello=primary(), on={"hello": Delay(5, Silence())}) as server:
        options = {"timeoutMS": 3000, "connectTimeoutMS": 200, "serverSelectionTimeoutMS": 300}
        with MongoClient(server.uri(**options)) as client:
            with pytest.raises(ServerSelectionTimeoutError, match="connectTimeoutMS=200"):
                client["x"]["y"].find_one()
