"""What a listener raises that is no `Exception`, such as a Ctrl-C that comes in it, reaches the
caller, and nothing is left half done: connections come back, servers are monitored, and all
listeners are told."""

from __future__ import annotations

from typing import Any

import pytest

from mongokey import MongoClient, monitoring
from mongokey.errors import AutoReconnect, OperationFailure
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
