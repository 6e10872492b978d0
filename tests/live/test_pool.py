"""The pool of a client of the real server: how many connections there are, and when they end."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import mongokey
from mongokey import MongoClient
from mongokey.errors import AutoReconnect, InvalidOperation, OperationFailure
from tests.pools import drop_connections
from tests.servers.relay import Relay
from tests.servers.secantus import SecantusServer
from tests.threads import in_threads

pytestmark = pytest.mark.live


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


def test_one_thread_uses_one_connection(
    secantus: SecantusServer, relay: Relay, database_name: str
) -> None:
    with MongoClient(relay.redirect(secantus.uri("both"))) as client:
        things = client[database_name]["things"]
        for i in range(20):
            things.insert_one({"_id": i})
            assert things.find_one(i) is not None
        assert len(list(things.find(batch_size=3))) == 20
        assert relay.accepted == 1


def test_many_threads_use_no_more_than_max_pool_size(
    secantus: SecantusServer, relay: Relay, database_name: str
) -> None:
    with MongoClient(relay.redirect(secantus.uri("both", maxPoolSize=4))) as client:
        things = client[database_name]["things"]
        things.insert_many([{"_id": i} for i in range(30)])

        def work() -> None:
            for i in range(20):
                assert things.find_one(i) == {"_id": i}

        in_threads(16, work)
        assert 1 < relay.accepted <= 4
        assert relay.open == relay.accepted
        assert client._pool().in_use == 0
        assert client._pool().idle_count == relay.open


def test_close_ends_sessions_and_sockets(
    secantus: SecantusServer, relay: Relay, database_name: str
) -> None:
    client: MongoClient = MongoClient(relay.redirect(secantus.uri("both")))
    things = client[database_name]["things"]
    things.insert_many([{"_id": i} for i in range(10)])
    cursors = [things.find(batch_size=2) for _ in range(3)]
    for cursor in cursors:
        next(cursor)
    for cursor in cursors:
        cursor.close()
    client.close()
    (end,) = relay.commands("endSessions")
    ended = {bytes(each["id"]) for each in end.document["endSessions"]}
    used = {bytes(s.document["lsid"]["id"]) for s in relay.seen if "lsid" in s.document}
    assert ended == used
    assert len(ended) == 3
    assert relay.wait_for(lambda: relay.open == 0)


def test_close_kills_abandoned_cursors_first(
    secantus: SecantusServer, relay: Relay, database_name: str
) -> None:
    client: MongoClient = MongoClient(relay.redirect(secantus.uri("both")))
    things = client[database_name]["things"]
    things.insert_many([{"_id": i} for i in range(10)])
    cursor = things.find(batch_size=2)
    next(cursor)
    del cursor
    gc.collect()
    client.close()
    assert relay.names()[-2:] == ["killCursors", "endSessions"]
    (kill,) = relay.commands("killCursors")
    (end,) = relay.commands("endSessions")
    assert kill.document["lsid"]["id"] in [each["id"] for each in end.document["endSessions"]]


def test_a_closed_client_cannot_be_used(secantus: SecantusServer, database_name: str) -> None:
    client: MongoClient = MongoClient(secantus.uri("both"))
    things = client[database_name]["things"]
    things.insert_many([{"_id": i} for i in range(10)])
    cursor = things.find(batch_size=2)
    next(cursor)
    client.close()
    client.close()
    for use in (
        lambda: client.admin.command("ping"),
        lambda: things.insert_one({}),
        lambda: things.find_one(),
        lambda: list(things.find()),
        lambda: list(cursor),
        lambda: client.address,
        client.server_info,
    ):
        with pytest.raises(InvalidOperation, match="after close"):
            use()
    cursor.close()


def test_a_client_that_never_connected_can_be_closed() -> None:
    client: MongoClient = MongoClient("mongodb://127.0.0.1:1/")
    client.close()
    with pytest.raises(InvalidOperation, match="after close"):
        client.admin.command("ping")


def test_clients_leave_no_sockets_behind(
    secantus: SecantusServer, database_name: str, eventually: Any
) -> None:
    before, on_server = open_files(), secantus.open_connections()
    for _ in range(10):
        with MongoClient(secantus.uri("both")) as client:
            things = client[database_name]["things"]
            things.insert_one({})
            in_threads(3, things.find_one)
    # The monitors' thread closes its own, soon after the client was closed.
    assert eventually(lambda: open_files() == before)
    assert eventually(lambda: secantus.open_connections() <= on_server)


def test_refused_logins_leave_no_sockets_behind(secantus: SecantusServer, eventually: Any) -> None:
    before, on_server = open_files(), secantus.open_connections()
    client: MongoClient = MongoClient(secantus.uri("both", password="wrong"))
    for _ in range(10):
        with pytest.raises(OperationFailure):
            client.admin.command("ping")
    client.close()
    assert eventually(lambda: open_files() == before)
    assert eventually(lambda: secantus.open_connections() <= on_server)


def test_clients_that_are_garbage_leave_no_sockets_behind(
    secantus: SecantusServer, relay: Relay, database_name: str
) -> None:
    def use() -> None:
        client: MongoClient = MongoClient(relay.redirect(secantus.uri("both")))
        things = client[database_name]["things"]
        things.insert_many([{"_id": i} for i in range(5)])
        next(things.find(batch_size=2))
        things.drop()

    for _ in range(5):
        use()
    gc.collect()
    assert relay.accepted == 5
    assert relay.wait_for(lambda: relay.open == 0)


def test_a_client_with_a_keeper_is_garbage_too(secantus: SecantusServer, relay: Relay) -> None:
    def use() -> None:
        client: MongoClient = MongoClient(
            relay.redirect(secantus.uri("both")), minPoolSize=1, maxIdleTimeMS=60_000
        )
        client.admin.command("ping")

    use()
    gc.collect()
    assert relay.wait_for(lambda: relay.open == 0)
    assert relay.wait_for(
        lambda: "mongokey-keeper" not in [each.name for each in threading.enumerate()]
    )


def test_min_pool_size_is_filled_and_kept(secantus: SecantusServer, relay: Relay) -> None:
    with MongoClient(relay.redirect(secantus.uri("both", minPoolSize=3))) as client:
        client.admin.command("ping")
        assert relay.wait_for(lambda: client._pool().idle_count == 3)
        relay.close_connections()
        drop_connections(client)

        def refilled() -> bool:
            # Those that were opened while the others were closed are found out by their use.
            with contextlib.suppress(AutoReconnect):
                client.admin.command("ping")
            return bool(client._pool().idle_count == relay.open == 3)

        assert relay.wait_for(refilled)
    assert relay.wait_for(lambda: relay.open == 0)


def test_connections_idle_for_too_long_are_closed(secantus: SecantusServer, relay: Relay) -> None:
    with MongoClient(relay.redirect(secantus.uri("both", maxIdleTimeMS=100))) as client:
        client.admin.command("ping")
        # By the keeper, without anybody using the client.
        assert relay.wait_for(lambda: relay.open == 0)
        assert client._pool().idle_count == 0
        client.admin.command("ping")
        assert relay.accepted == 2


def test_a_connection_used_in_time_stays(secantus: SecantusServer, relay: Relay) -> None:
    with MongoClient(relay.redirect(secantus.uri("both", maxIdleTimeMS=60_000))) as client:
        for _ in range(5):
            client.admin.command("ping")
        client._pool().prune()
        client.admin.command("ping")
        assert relay.accepted == 1


def test_connections_that_the_network_dropped_are_replaced(
    secantus: SecantusServer, relay: Relay, database_name: str
) -> None:
    with MongoClient(relay.redirect(secantus.uri("both"))) as client:
        things = client[database_name]["things"]
        for i in range(5):
            things.insert_one({"_id": i})
            assert things.find_one(i) == {"_id": i}
            relay.close_connections()
            assert relay.wait_for(lambda: relay.open == 0)
        assert things.count_documents({}) == 5
        assert client._pool().in_use == 0


SCRIPT = """
import sys
from mongokey import MongoClient

client = MongoClient(sys.argv[1], minPoolSize=2, maxIdleTimeMS=60000)
client.admin.command("ping")
things = client[sys.argv[2]]["things"]
things.insert_many([{} for _ in range(10)])
cursor = things.find(batch_size=2)
next(cursor)
kept = client  # never closed
"""


def test_a_program_that_closes_nothing_ends_quietly(
    secantus: SecantusServer, database_name: str
) -> None:
    path = Path(mongokey.__file__).parent.parent
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-c", SCRIPT, secantus.uri("both"), database_name],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(path)},
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
