"""A client in a forked child: it works without a word, and leaves the parent's things alone."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.bson import ObjectId
from mongokey.errors import InvalidOperation
from tests.live._forks import CHILD_SECONDS, in_child
from tests.servers.relay import Relay
from tests.servers.scripted import Reply, ScriptedServer, mongos
from tests.servers.secantus import SecantusServer

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"),
]


@pytest.fixture
def used(relay: Relay, secantus: SecantusServer, database_name: str) -> Any:
    """A client that has a connection, a session and documents, seen through `relay`."""
    client: MongoClient = MongoClient(relay.redirect(secantus.uri("both")))
    client[database_name]["things"].insert_many([{"_id": i} for i in range(20)])
    yield client
    client.close()


def test_a_child_uses_the_client_with_its_own_socket(
    used: Any, relay: Relay, database_name: str
) -> None:
    things = used[database_name]["things"]

    def child() -> None:
        assert things.find_one(3) == {"_id": 3}
        things.insert_one({"_id": "child"})
        assert len(list(things.find(batch_size=3))) == 21

    in_child(child)
    assert relay.accepted == 2
    assert things.find_one("child") is not None
    assert relay.accepted == 2
    # Each connection carried whole conversations: nothing of one is in the other.
    assert relay.names(1).count("hello") == relay.names(2).count("hello") == 1


def test_the_child_has_its_own_sessions(used: Any, relay: Relay, database_name: str) -> None:
    things = used[database_name]["things"]
    in_child(lambda: things.find_one())
    things.find_one()

    def sessions(connection: int) -> set[bytes]:
        return {
            bytes(s.document["lsid"]["id"])
            for s in relay.seen
            if s.connection == connection and "lsid" in s.document
        }

    assert sessions(1)
    assert sessions(2)
    assert sessions(1).isdisjoint(sessions(2))


def test_closing_in_the_child_leaves_the_parent_s_connection(
    used: Any, relay: Relay, database_name: str
) -> None:
    def child() -> None:
        used.close()

    in_child(child)
    assert relay.names(1).count("endSessions") == 0
    assert used[database_name]["things"].find_one(1) == {"_id": 1}
    assert relay.accepted == 1


def test_the_parent_s_cursor_survives_the_child(
    used: Any, relay: Relay, database_name: str
) -> None:
    things = used[database_name]["things"]
    cursor = things.find(batch_size=2)
    next(cursor)
    holder = [cursor]

    def child() -> None:
        holder.clear()
        gc.collect()
        used.admin.command("ping")
        used.close()

    in_child(child)
    in_child(cursor.close)
    assert "killCursors" not in relay.names()
    assert len(list(cursor)) == 19


def test_a_cursor_that_is_pinned_to_the_parent_s_connection_is_the_parent_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 56: what the child read from that socket, the parent would miss."""
    batches = {
        "find": Reply({"ok": 1, "cursor": {"id": 5, "ns": "x.y", "firstBatch": [{"n": 1}]}}),
        "getMore": Reply({"ok": 1, "cursor": {"id": 5, "ns": "x.y", "nextBatch": [{"n": 2}]}}),
    }
    monkeypatch.setitem(sys.modules, "celery", ModuleType("celery"))
    with ScriptedServer(hello=mongos(serviceId=ObjectId()), on=batches) as server:
        client: Any = MongoClient(f"mongodb://127.0.0.1:{server.port}/?loadBalanced=true")
        cursor = client.x.y.find()
        assert next(cursor) == {"n": 1}

        def child() -> None:
            with pytest.raises(InvalidOperation) as caught:
                next(cursor)
            (cause,) = caught.value.diagnoses
            assert (cause.code, cause.confidence) == ("ENV-FORK", "certain")
            assert "worker_process_init" in cause.fix
            assert "[ENV-FORK]" in str(caught.value)
            cursor.close()
            assert client.admin.command("ping")["ok"]

        in_child(child)
        assert next(cursor) == {"n": 2}
        assert server.count("killCursors") == 0
        client.close()


def test_a_child_and_its_child_and_the_parent_go_on(used: Any, database_name: str) -> None:
    things = used[database_name]["things"]

    def grandchild() -> None:
        things.insert_one({"_id": "grandchild"})

    def child() -> None:
        things.insert_one({"_id": "child"})
        in_child(grandchild)
        assert things.find_one("grandchild") is not None

    for _ in range(3):
        in_child(child)
        assert things.delete_many({"_id": {"$in": ["child", "grandchild"]}}).deleted_count == 2


def test_ids_made_in_parent_and_child_differ(used: Any, database_name: str) -> None:
    made = used[database_name]["made"]

    def child() -> None:
        made.insert_many([{} for _ in range(500)])

    in_child(child)
    made.insert_many([{} for _ in range(500)])
    in_child(child)
    assert len({each["_id"] for each in made.find()}) == 1500


@pytest.mark.parametrize("threads", [1, 8])
def test_forks_while_threads_are_at_work(
    secantus: SecantusServer, database_name: str, threads: int
) -> None:
    stop = threading.Event()
    errors: list[BaseException] = []
    with MongoClient(secantus.uri("both", maxPoolSize=3, minPoolSize=1)) as client:
        things = client[database_name]["things"]
        things.insert_many([{"_id": i} for i in range(20)])

        def work() -> None:
            try:
                while not stop.is_set():
                    assert things.find_one(1) == {"_id": 1}
                    assert len(list(things.find(batch_size=5))) == 20
            except BaseException as error:
                errors.append(error)

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        try:
            for _ in range(10):
                time.sleep(0.01)
                in_child(work_once(things))
        finally:
            stop.set()
            for worker in workers:
                worker.join(20)
        assert errors == []


def work_once(things: Any) -> Callable[[], None]:
    def run() -> None:
        assert things.find_one(2) == {"_id": 2}
        assert len(list(things.find(batch_size=5))) == 20

    return run


def test_a_fork_during_a_login_leaves_a_usable_client(secantus: SecantusServer) -> None:
    """Threads hold the locks of key derivation and server selection when the fork comes."""
    for _ in range(5):
        client: MongoClient = MongoClient(secantus.uri("both"))
        workers = [threading.Thread(target=client.admin.command, args=("ping",)) for _ in range(4)]
        for worker in workers:
            worker.start()

        def child(client: Any = client) -> None:
            assert client.admin.command("ping")["ok"] == 1

        in_child(child)
        for worker in workers:
            worker.join(20)
            assert not worker.is_alive()
        client.close()


def _ask(client: Any, answers: Any) -> None:
    answers.put(client.admin.command("ping")["ok"])


def test_multiprocessing_s_fork_works_as_well(used: Any) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = context.Process(target=_ask, args=(used, answers))
        child.start()
    child.join(CHILD_SECONDS)
    assert child.exitcode == 0
    assert answers.get() == 1
    answers.close()
