"""Many threads share one client of the real server."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from mongokey import MongoClient
from tests.servers.secantus import SecantusServer
from tests.threads import in_threads

pytestmark = pytest.mark.live
THREADS = 64
#: So often each of them writes and reads, at least: all that they do in turn is done.
ROUNDS = 8
#: A test that takes longer has threads that starve.
PATIENCE = 120.0


@pytest.mark.slow
def test_64_threads_share_a_client_until_all_have_had_their_turn(
    secantus: SecantusServer, database_name: str, eventually: Any
) -> None:
    errors: list[BaseException] = []
    done = [0] * THREADS
    stop = threading.Event()

    def work(things: Any, number: int) -> None:
        try:
            written = 0
            while not stop.is_set():
                identifier = f"{number}-{written}"
                things.insert_one({"_id": identifier, "thread": number, "n": written})
                written += 1
                found = things.find_one({"_id": identifier})
                assert found == {"_id": identifier, "thread": number, "n": written - 1}
                if written % 4 == 0:
                    changed = things.update_one({"_id": identifier}, {"$set": {"seen": True}})
                    assert changed.modified_count == 1
                    cursor = things.find({"thread": number}, batch_size=2).limit(5)
                    assert {each["thread"] for each in cursor} == {number}
                if written % 8 == 0:
                    next(things.find({"thread": number}, batch_size=2))  # abandoned
                done[number] = written
        except BaseException as error:
            errors.append(error)
            stop.set()

    with MongoClient(secantus.uri("both", maxPoolSize=20)) as client:
        things = client[database_name]["things"]
        things.create_index("thread")
        threads = [threading.Thread(target=work, args=(things, n)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        # How long that takes differs by what else the machine does.
        everybody = eventually(lambda: stop.is_set() or min(done) >= ROUNDS, PATIENCE)
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        assert errors == []
        # Nobody starves: the queue for a connection is fair.
        assert everybody, f"in {PATIENCE:g} s some came to {min(done)} rounds, others {max(done)}"
        assert things.count_documents({}) == sum(done)
        pool = client._pool()
        # The last of the abandoned cursors may still be killed.
        assert eventually(lambda: (pool.in_use, pool.connecting) == (0, 0), 20)
        assert eventually(lambda: not client._executor.has_pending_cursors, 20)
        assert pool.idle_count <= 20


def test_the_first_operations_of_many_threads_find_the_server_once(
    secantus: SecantusServer,
) -> None:
    logins: list[Any] = []
    with MongoClient(secantus.uri("both", maxPoolSize=5)) as client:
        client._on_login(lambda address, result: logins.append(result))
        in_threads(16, lambda: client.admin.command("ping"))
        assert 1 <= len(logins) <= 5


def test_clients_may_be_closed_while_others_use_them(
    secantus: SecantusServer, database_name: str
) -> None:
    from mongokey.errors import AutoReconnect, InvalidOperation

    errors: list[BaseException] = []

    def work(client: Any) -> None:
        things = client[database_name]["things"]
        try:
            while True:
                things.find_one()
                list(things.find(batch_size=2))
        except (InvalidOperation, AutoReconnect):
            return
        except BaseException as error:
            errors.append(error)

    for _ in range(10):
        client: Any = MongoClient(secantus.uri("both"))
        client[database_name]["things"].insert_many([{} for _ in range(6)])
        threads = [threading.Thread(target=work, args=(client,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        client.close()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
    assert errors == []
