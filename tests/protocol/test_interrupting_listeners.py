"""What a listener raises that is no `Exception`, such as a Ctrl-C that comes in it, reaches the
caller, and nothing is left half done: connections come back, servers are monitored, and all
listeners are told. And one that uses the client waits for nothing that waits for it."""

from __future__ import annotations

from typing import Any

import pytest

from mongokey import MongoClient, monitoring
from mongokey.errors import (
    AutoReconnect,
    MongoError,
    OperationFailure,
    ServerSelectionTimeoutError,
)
from tests.servers.scripted import Close, ScriptedServer, primary

#: In so many calls it raises.
TIMES = 2
ON: dict[str, Any] = {"bad": {"ok": 0.0, "code": 1, "errmsg": "no"}, "drop": Close()}

POOL = (
    *("pool_created", "pool_ready", "pool_cleared", "pool_closed", "connection_created"),
    *("connection_ready", "connection_closed", "connection_check_out_started"),
    *("connection_checked_out", "connection_checked_in"),
)
KINDS = {
    monitoring.CommandListener: ("started", "succeeded", "failed"),
    monitoring.ConnectionPoolListener: POOL,
    monitoring.ServerHeartbeatListener: ("started", "succeeded"),
    monitoring.ServerListener: ("opened", "description_changed", "closed"),
    monitoring.TopologyListener: ("opened", "description_changed", "closed"),
}


class Interruption(BaseException):
    """As a Ctrl-C, but nobody else's business."""


def interrupting(kind: type, method: str) -> tuple[Any, list[str]]:
    """A listener whose method raises the first times, and what it was told."""
    told: list[str] = []

    def tell(name: str) -> Any:
        def call(self: Any, event: Any) -> None:
            told.append(name)
            if name == method and told.count(name) <= TIMES:
                raise Interruption

        return call

    names = [name for name in dir(kind) if not name.startswith("_")]
    made = type("Interrupting", (kind,), {name: tell(name) for name in names})
    return made(), told


@pytest.mark.parametrize(
    ("kind", "method"),
    [(kind, method) for kind, methods in KINDS.items() for method in methods],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
def test_a_listener_that_raises_what_is_no_exception(kind: type, method: str) -> None:
    listener, told = interrupting(kind, method)
    with ScriptedServer(hello=primary(), on=ON) as server:
        uri = server.uri(maxPoolSize=2, heartbeatFrequencyMS=500, serverSelectionTimeoutMS=8000)
        client = MongoClient(uri, event_listeners=[listener])
        for name in ("ping", "bad", "drop", "ping", "bad", "drop"):
            try:
                client.admin.command(name)
            except (Interruption, AutoReconnect, OperationFailure):
                continue
        # Of a monitor's, and of what comes at the end, more may be to come.
        for _ in range(TIMES):
            try:
                client.admin.command("ping")
            except Interruption:
                continue
        assert [client.admin.command("ping")["ok"] for _ in range(3)] == [1.0] * 3
        pools = client._topology.pools
        assert [(pool.in_use, pool.connecting, pool.waiting_count) for pool in pools] == [(0, 0, 0)]
        try:
            client.close()
        except Interruption:
            assert "closed" in method
        assert server.wait_for(lambda: server.open == 0)
    assert method in told
    if kind is monitoring.TopologyListener:
        assert told[-1] == "closed"


#: A listener's method that is called by the thread of the monitors before a server is known.
BY_MONITORS = (
    (monitoring.ConnectionPoolListener, "pool_ready"),
    (monitoring.ServerHeartbeatListener, "started"),
    (monitoring.ServerHeartbeatListener, "succeeded"),
)


@pytest.mark.parametrize(("kind", "method"), BY_MONITORS)
def test_an_operation_in_the_thread_that_monitors_servers_waits_for_none(
    kind: type, method: str
) -> None:
    outcomes = in_listener(kind, method)
    assert "thread that monitors them" in str(outcomes[0])


@pytest.mark.parametrize("kind", [monitoring.ServerListener, monitoring.TopologyListener])
def test_an_operation_of_who_is_told_of_new_servers_has_them_watched(kind: type) -> None:
    assert in_listener(kind, "opened") == [1.0]


def in_listener(kind: type, method: str) -> list[Any]:
    """What becomes of an operation in a listener's first call."""
    outcomes: list[Any] = []

    def call(self: Any, event: Any) -> None:
        if not outcomes:
            outcomes.append(None)
            try:
                outcomes[0] = client.admin.command("ping")["ok"]
            except MongoError as error:
                outcomes[0] = error

    names = [name for name in dir(kind) if not name.startswith("_")]
    quiet = {name: lambda self, event: None for name in names}
    listener = type("Asking", (kind,), {**quiet, method: call})()
    with ScriptedServer(hello=primary()) as server:
        uri = server.uri(serverSelectionTimeoutMS=20_000)
        with MongoClient(uri, event_listeners=[listener]) as client:
            assert client.admin.command("ping")["ok"] == 1.0
    # Whoever waited for itself would have waited for the whole time.
    assert not isinstance(outcomes[0], ServerSelectionTimeoutError)
    return outcomes
