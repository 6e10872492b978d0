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
def test_a_login_longer_than_the_selection_succeeds(members: int) -> None:
    on = {"find": FOUND, "saslContinue": slowly(1.6)}
    others = [ScriptedServer(hello=secondary()) for _ in range(members - 1)]
    with ScriptedServer(hello=primary(), login=Login(), on=on) as server:
        for each in others:
            each.start()
        hosts = [f"127.0.0.1:{each.port}" for each in (*others, server)]
        server.hello = primary(hosts=hosts)
        for each in others:
            each.hello = secondary(hosts=hosts)
        options = {"username": "user", "password": "pencil", "serverSelectionTimeoutMS": 1000}
        with MongoClient(hosts, **options) as client:
            assert client["x"]["y"].find_one() == {"_id": 1}
            assert (server.used, server.logins) == (1, 1)
        for each in others:
            each.stop()


def test_threads_that_wait_for_a_long_login_wait_for_one() -> None:
    on = {"find": FOUND, "saslContinue": slowly(1.6)}
    with ScriptedServer(hello=primary(), login=Login(), on=on) as server:
        with MongoClient(server.uri(serverSelectionTimeoutMS=1000)) as client:
            found = outcomes(20, client["x"]["y"].find_one)
            assert all(each == {"_id": 1} for each in found)
            assert server.logins <= 6  # maxConnecting, and the next two perhaps


def test_connect_timeout_ms_still_ends_a_login() -> None:
    on = {"saslContinue": Silence()}
    with ScriptedServer(hello=primary(), login=Login(), on=on) as server:
        options = {"connectTimeoutMS": 300, "serverSelectionTimeoutMS": 1000}
        with MongoClient(server.uri(**options)) as client:
            with pytest.raises(NetworkTimeout, match=r"connectTimeoutMS=300.*in the login of user"):
                client["x"]["y"].find_one()
            assert client._topology.pools[0].in_use == 0


@pytest.mark.parametrize("step", ["hello", "hello with login", "saslContinue"])
def test_timeout_ms_bounds_the_making_of_a_connection(step: str) -> None:
    """In selection; 16 s it took before."""
    with ScriptedServer(hello=primary(), login=Login(), on={step: Silence()}) as server:
        with MongoClient(server.uri(timeoutMS=500)) as client:
            began = time.monotonic()
            with pytest.raises(MongoError, match="timeoutMS=500"):
                client["x"]["y"].find_one()
            assert time.monotonic() - began < 5
            assert not any(pool.in_use or pool.connecting for pool in client._topology.pools)


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
