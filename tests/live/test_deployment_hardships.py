"""A client of a deployment in the hardships of a process: forks, signals, exits, forgotten clients,
names that do not resolve, handshakes that never end."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.live._fleet import DRIVERS, Deployment, addresses, counts, discovered, sockets
from tests.live.test_fork import in_child
from tests.monitors import thread_count
from tests.servers.certificates import Authority
from tests.threads import outcomes

pytestmark = pytest.mark.live
ROOT = Path(__file__).resolve().parents[2]


def settles(made: Deployment, before: tuple[int, int]) -> bool:
    """Whether threads and sockets go back to their number."""
    fleet = made.opened[0]
    return bool(fleet.wait_for(lambda: (thread_count(), sockets()) <= before))


# The end of clients


@DRIVERS
def test_a_closed_client_leaves_nothing(made: Deployment) -> None:
    fleet = made.fleet("primary", *["secondary"] * 6)
    before = thread_count(), sockets()
    client = made.connect(fleet)
    discovered(fleet, client, 0, *range(1, 7))
    assert (thread_count(), sockets()) > before
    client.close()
    assert settles(made, before)
    assert fleet.wait_for(lambda: all(m["connections"] == 0 for m in fleet.status()["members"]))


@DRIVERS
def test_a_closed_client_leaves_nothing_where_nobody_answers(made: Deployment) -> None:
    fleet = made.fleet()
    before = thread_count(), sockets()
    fleet.silence(1)
    fleet.black_hole(2)
    client = made.connect(fleet, connectTimeoutMS=60_000)
    client.fleet.silent.insert_one({})
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 3
    # What waits for an attempt to connect may not be interrupted everywhere.
    fleet.resume(1)
    fleet.resume(2)
    assert settles(made, before)


@DRIVERS
def test_a_forgotten_client_leaves_nothing(made: Deployment, driver: str) -> None:
    if driver == "pymongo":
        pytest.skip("PyMongo warns of a client that was not closed")
    fleet = made.fleet()
    before = thread_count(), sockets()
    client = made.module.MongoClient(fleet.uri(), replicaSet="fleet")
    discovered(fleet, client, 0, 1, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del client
        gc.collect()
        assert settles(made, before)


@DRIVERS
def test_who_waits_for_a_server_is_told_that_the_client_is_closed(made: Deployment) -> None:
    fleet = made.fleet()
    client = made.connect(fleet, serverSelectionTimeoutMS=60_000)
    discovered(fleet, client, 0, 1, 2)
    fleet.step_down()
    assert fleet.wait_for(lambda: client.primary is None)
    threading.Timer(0.5, client.close).start()
    started = time.monotonic()
    results = outcomes(4, lambda: client.fleet.closed.insert_one({}))
    assert time.monotonic() - started < 20
    assert all(isinstance(each, made.errors.PyMongoError) for each in results), results


@DRIVERS
@pytest.mark.parametrize("state", ["well", "silent", "stepped down"])
def test_a_program_ends_though_its_client_is_open(
    made: Deployment, driver: str, state: str
) -> None:
    fleet = made.fleet()
    program = (
        f"import {driver}, sys\n"
        f"client = {driver}.MongoClient(sys.argv[1], replicaSet='fleet')\n"
        "client.admin.command('ping')\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, fleet.uri()],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if state == "silent":
            for member in range(3):
                fleet.silence(member)
        elif state == "stepped down":
            fleet.step_down()
        _, said = process.communicate("go\n", timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, said) == (0, "")


# Signals and forks


@DRIVERS
def test_ctrl_c_ends_the_wait_for_a_primary(made: Deployment) -> None:
    fleet = made.fleet()
    client = made.connect(fleet, serverSelectionTimeoutMS=60_000)
    discovered(fleet, client, 0, 1, 2)
    fleet.step_down()
    timer = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
    started = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        client.fleet.interrupted.insert_one({})
    assert time.monotonic() - started < 10
    timer.join()
    fleet.elect(1)
    client.fleet.interrupted.insert_one({})


@DRIVERS
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_discovers_the_deployment_anew(made: Deployment, driver: str) -> None:
    if driver == "pymongo":
        pytest.skip("PyMongo warns of a client that is used after a fork")
    fleet = made.fleet(election_ms=100)
    client = made.connect(fleet)
    client.fleet.forked.drop()
    client.fleet.forked.insert_one({"_id": "parent"})
    discovered(fleet, client, 0, 1, 2)

    def child() -> None:
        client.fleet.forked.insert_one({"_id": "child"})
        secondary = made.preferences.Secondary()
        reader = client.get_database("fleet", read_preference=secondary)
        assert reader.forked.find_one({"_id": "child"}) is not None
        # Monitors are at work here too.
        fleet.do("step_down")
        client.fleet.forked.insert_one({"_id": "child after a step-down"})
        client.close()

    in_child(child)
    client.fleet.forked.insert_one({"_id": "parent again"})
    assert client.fleet.forked.count_documents({}) == 4
    assert client.secondaries | {client.primary} == addresses(fleet, 0, 1, 2)


# Members that hold things up


@DRIVERS
def test_a_name_that_does_not_resolve_holds_nobody_up(made: Deployment) -> None:
    fleet = made.fleet()
    client = made.connect(fleet)
    discovered(fleet, client, 0, 1, 2)
    fleet.reconfigure(1, host="nowhere.invalid")
    name = ("nowhere.invalid", fleet.ports[1])
    assert fleet.wait_for(lambda: name in client.topology_description.server_descriptions())
    for chosen in (2, 0):
        fleet.elect(chosen)
        started = time.monotonic()
        client.fleet.names.insert_one({})
        assert time.monotonic() - started < 5
        assert client.primary == ("127.0.0.1", fleet.ports[chosen])


@DRIVERS
def test_a_tls_handshake_that_does_not_end_holds_nobody_up(
    made: Deployment, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("member", "127.0.0.1")
    members = ["primary", *["secondary"] * 4]
    fleet = made.fleet(*members, tls=(pair.certificate_file, pair.key_file))
    for member in (2, 3, 4):
        fleet.silence(member)
    client = made.connect(fleet, tlsCAFile=authority.certificate_file, connectTimeoutMS=60_000)
    started = time.monotonic()
    client.fleet.handshakes.insert_one({})
    fleet.elect(1)
    client.fleet.handshakes.insert_one({})
    assert time.monotonic() - started < 10
    fleet.resume(3)
    reader = client.get_database("fleet", read_preference=made.preferences.Secondary())
    assert fleet.wait_for(lambda: addresses(fleet, 0, 3) == client.secondaries)
    reader.handshakes.find_one()
    for member in (2, 4):
        fleet.resume(member)
    assert fleet.wait_for(lambda: len(client.secondaries) == 4)


@DRIVERS
def test_a_slow_member_is_a_member(made: Deployment) -> None:
    fleet = made.fleet()
    fleet.slow(0, 700)
    client = made.connect(fleet, heartbeatFrequencyMS=500)
    discovered(fleet, client, 0, 1, 2)
    for _ in range(3):
        client.fleet.slow.insert_one({})
    assert counts(fleet, "insert") == [3, 0, 0]
    time.sleep(1.5)
    assert client.primary == ("127.0.0.1", fleet.ports[0])


@DRIVERS
def test_large_deployments_are_discovered(made: Deployment) -> None:
    fleet = made.fleet("primary", *["secondary"] * 49)
    fleet.black_hole(20)
    fleet.kill(30)
    client = made.connect(fleet, fleet.uri(seeds=[0]), connectTimeoutMS=60_000)
    expected = addresses(fleet, *(n for n in range(1, 50) if n not in (20, 30)))
    client.admin.command("ping")
    assert fleet.wait_for(lambda: client.secondaries == expected, 30)
    fleet.elect(49)
    started = time.monotonic()
    client.fleet.large.insert_one({})
    assert time.monotonic() - started < 10
    fleet.resume(20)


@DRIVERS
def test_pools_are_filled_again_after_a_failover(made: Deployment) -> None:
    fleet = made.fleet()
    client = made.connect(fleet, minPoolSize=3, heartbeatFrequencyMS=500)
    discovered(fleet, client, 0, 1, 2)

    def open_to(member: int) -> int:
        return int(fleet.member(member)["connections"])

    monitors = 2
    assert fleet.wait_for(lambda: all(open_to(member) >= 3 + monitors for member in range(3)), 20)
    fleet.kill(0)
    fleet.elect(1)
    client.fleet.filled.insert_one({})
    fleet.restart(0)
    assert fleet.wait_for(lambda: open_to(0) >= 3 + monitors, 20)


# Many at once


@DRIVERS
def test_many_threads_find_a_new_primary_together(made: Deployment) -> None:
    fleet = made.fleet()
    client = made.connect(fleet, maxPoolSize=50)
    client.fleet.together.drop()
    discovered(fleet, client, 0, 1, 2)
    fleet.step_down()
    assert fleet.wait_for(lambda: client.primary is None)
    timer = threading.Timer(0.3, fleet.elect, (2,))
    timer.start()
    results: list[Any] = outcomes(64, lambda: client.fleet.together.insert_one({}))
    timer.join()
    assert [each for each in results if isinstance(each, BaseException)] == []
    assert client.fleet.together.count_documents({}) == 64
    assert fleet.member(2)["accepted"] <= 50 + 4


@DRIVERS
def test_clients_come_and_go_while_primaries_do(made: Deployment, driver: str) -> None:
    if driver == "pymongo":
        pytest.skip("PyMongo sends writes in a step-down that it cannot send again")
    fleet = made.fleet(election_ms=100)
    before = thread_count(), sockets()
    ends = time.monotonic() + 3

    def work() -> int:
        clients = 0
        while time.monotonic() < ends:
            with made.module.MongoClient(fleet.uri(), replicaSet="fleet") as client:
                client.fleet.churn.insert_one({})
                secondary = made.preferences.SecondaryPreferred()
                client.get_database("fleet", read_preference=secondary).churn.find_one()
            clients += 1
        return clients

    def change() -> None:
        while time.monotonic() < ends:
            time.sleep(0.4)
            assert fleet.wait_for(lambda: fleet.primary is not None)
            fleet.step_down()

    changer = threading.Thread(target=change)
    changer.start()
    results = outcomes(8, work)
    changer.join()
    assert all(isinstance(each, int) and each > 0 for each in results), results
    assert settles(made, before)
