"""Monitors of servers that say by themselves what changes: awaited hellos, streams of replies, and
the round trips that are measured beside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import Any

import pytest
from bson import Int64, ObjectId

from mongokey._support.deadline import Timeout
from mongokey.errors import NetworkTimeout
from mongokey.handshake.environment import in_function_service
from tests.monitors import monitor_threads, own_threads
from tests.protocol.test_gevent import need_gevent
from tests.protocol.test_monitors import (
    SHORT,
    address_of,
    monitoring,
    soon,
)
from tests.servers.scripted import (
    Answer,
    Delay,
    Error,
    Reply,
    Request,
    ScriptedServer,
    Silence,
    primary,
    secondary,
    standalone,
)

pytestmark = pytest.mark.usefixtures("monitors_face")

MORE_TO_COME = 2
EXHAUST_ALLOWED = 1 << 16
PROCESS = ObjectId()


def version(counter: int) -> dict[str, Any]:
    return {"processId": PROCESS, "counter": Int64(counter)}


def stream(request: Request, *replies: dict[str, Any], pause: float = 0.0, last: bool) -> Answer:
    """A stream of replies to `request`, each `pause` seconds after the one before; `last`: the
    server says that no more come."""
    answers: list[Answer] = []
    answered = request.request_id
    for number, document in enumerate(replies, 1):
        ends = last and number == len(replies)
        reply = Reply(
            document,
            response_to=answered,
            request_id=1_000_000 + number,
            flags=0 if ends else MORE_TO_COME,
        )
        answered = 1_000_000 + number
        answers.append(Delay(pause, reply) if pause else reply)
    return answers


def awaited(request: Request) -> bool:
    return "topologyVersion" in request.document


def test_news_of_a_stream_is_reported_as_it_comes() -> None:
    first = primary(topologyVersion=version(1), hosts=["a:1"], me="a:1")

    def answer(request: Request) -> Answer:
        if not awaited(request):
            return first
        return stream(
            request,
            secondary(topologyVersion=version(2)),
            primary(topologyVersion=version(3)),
            pause=0.1,
            last=False,
        )

    with ScriptedServer(on={"hello": answer}) as server, monitoring(mode="stream") as (m, reports):
        address = address_of(server)
        m.watch(address)
        reports.wait_for_one(address, 3)
        assert [each.server_type_name for each in reports.all] == [
            "RSPrimary",
            "RSSecondary",
            "RSPrimary",
        ]
        assert server.wait_for(lambda: server.count("hello") == 2)
        asked = [each for each in server.requests if awaited(each)]
        assert len(asked) == 1
        assert asked[0].flags == EXHAUST_ALLOWED
        assert asked[0].document["topologyVersion"] == version(1)
        assert asked[0].document["maxAwaitTimeMS"] == 3_600_000
        assert type(asked[0].document["maxAwaitTimeMS"]) is Int64
        assert "client" not in asked[0].document
        assert own_threads() == monitor_threads()
        # Both connections end with the watch.
        m.unwatch(address)
        assert server.wait_for(lambda: server.open == 0)


def test_a_stream_that_ends_is_asked_for_anew() -> None:
    def answer(request: Request) -> Answer:
        if not awaited(request):
            return standalone(topologyVersion=version(0))
        counter = request.document["topologyVersion"]["counter"]
        if counter >= 4:
            return Silence()
        replies = [standalone(topologyVersion=version(counter + n)) for n in (1, 2)]
        return stream(request, *replies, last=True)

    with ScriptedServer(on={"hello": answer}) as server, monitoring(mode="stream") as (m, reports):
        m.watch(address_of(server))
        reports.wait_for_one(address_of(server), 5)
        assert server.wait_for(
            lambda: len([each for each in server.requests if awaited(each)]) == 3
        )
        counters = [
            each.document["topologyVersion"]["counter"] for each in server.requests if awaited(each)
        ]
        assert counters == [0, 2, 4]


def test_round_trips_are_measured_while_the_server_is_awaited() -> None:
    def answer(request: Request) -> Answer:
        if not awaited(request):
            return Delay(0.02, Reply(standalone(topologyVersion=version(1))))
        return Delay(2.5, Reply(standalone(topologyVersion=version(2))))

    server = ScriptedServer(on={"hello": answer})
    with server, monitoring(mode="stream", heartbeat_ns=500_000_000) as (monitors, reports):
        address = address_of(server)
        monitors.watch(address)
        found = reports.wait_for_one(address, 2)
        measured = [each for each in server.requests if not awaited(each)]
        assert len(measured) >= 4
        assert len({each.connection for each in measured[1:]}) == 1
        assert found.round_trip_time is not None
        assert 0.02 <= found.min_round_trip_time <= found.round_trip_time < 2


def test_a_failed_measurement_changes_nothing() -> None:
    def answer(request: Request) -> Answer:
        if awaited(request):
            return Delay(1.2, Reply(standalone(topologyVersion=version(2))))
        if request.connection == 1:
            return standalone(topologyVersion=version(1))
        return Error(code=91, message="shutting down")

    server = ScriptedServer(on={"hello": answer})
    with server, monitoring(mode="stream", heartbeat_ns=500_000_000) as (monitors, reports):
        monitors.watch(address_of(server))
        reports.wait_for_one(address_of(server), 2)
        assert all(each.is_server_type_known for each in reports.all)
        assert server.accepted >= 3  # it was tried again


def test_an_awaited_server_has_the_heartbeat_longer_to_answer() -> None:
    def answer(request: Request) -> Answer:
        return Silence() if awaited(request) else standalone(topologyVersion=version(1))

    server = ScriptedServer(on={"hello": answer})
    with (
        server,
        monitoring(mode="stream", heartbeat_ns=500_000_000, connect_timeout=SHORT) as (
            monitors,
            reports,
        ),
    ):
        address = address_of(server)
        monitors.watch(address)
        found = reports.wait_for_one(address, 2)
        assert isinstance(found.error, NetworkTimeout)
        assert "connectTimeoutMS + heartbeatFrequencyMS=800" in str(found.error)
        assert found.last_update_time - reports.all[0].last_update_time >= 0.8
        # It was known: it is checked again at once.
        assert reports.wait_for_one(address, 3).is_server_type_known


def test_an_awaited_server_that_is_given_up_is_asked_anew_at_once() -> None:
    def answer(request: Request) -> Answer:
        return Silence() if awaited(request) else standalone(topologyVersion=version(1))

    with ScriptedServer(on={"hello": answer}) as server, monitoring(mode="stream") as (m, reports):
        address = address_of(server)
        m.watch(address)
        reports.wait_for_one(address)
        assert server.wait_for(lambda: server.count("hello") == 2)
        time.sleep(0.6)
        began = time.monotonic()
        m.cancel_check(address)
        reports.wait_for_one(address, 2)
        assert time.monotonic() - began < 0.45
        # The stream has a new connection, the old one is gone.
        assert server.wait_for(lambda: (server.accepted, server.open) == (2, 1))


def test_a_flood_of_news_holds_up_no_other_server() -> None:
    def answer(request: Request) -> Answer:
        if not awaited(request):
            return standalone(topologyVersion=version(0))
        news = [standalone(topologyVersion=version(n)) for n in range(1, 3001)]
        return stream(request, *news, last=False)

    with ScriptedServer(on={"hello": answer}) as loud, ScriptedServer() as calm:
        with monitoring(mode="stream", heartbeat_ns=500_000_000) as (monitors, reports):
            monitors.watch(address_of(loud))
            monitors.watch(address_of(calm))
            reports.wait_for_one(address_of(calm), 3)
            reports.wait_for_one(address_of(loud), 3001)
            counters = [each.topology_version for each in reports.of(address_of(loud))]
            assert [each["counter"] for each in counters if each] == list(range(3001))


def test_a_server_that_cannot_stream_is_polled() -> None:
    with ScriptedServer() as server:
        with monitoring(mode="stream", heartbeat_ns=500_000_000) as (monitors, reports):
            monitors.watch(address_of(server))
            reports.wait_for_one(address_of(server), 3)
            assert server.accepted == 1
            assert not any(awaited(each) for each in server.requests)


@pytest.mark.parametrize(
    ("variables", "hosted"),
    [
        ({}, False),
        ({"AWS_EXECUTION_ENV": "AWS_Lambda_python3.11"}, True),
        ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"}, True),
        ({"AWS_EXECUTION_ENV": "EC2"}, False),
        ({"FUNCTIONS_WORKER_RUNTIME": "python"}, True),
        ({"K_SERVICE": "service"}, True),
        ({"VERCEL": "1"}, True),
        ({"VERCEL": "1", "K_SERVICE": "service"}, True),
    ],
)
def test_servers_are_polled_from_function_services(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], hosted: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert in_function_service() is hosted

    def answer(request: Request) -> Answer:
        return Silence() if awaited(request) else standalone(topologyVersion=version(1))

    server = ScriptedServer(on={"hello": answer})
    with server, monitoring(mode="auto", heartbeat_ns=500_000_000) as (monitors, reports):
        monitors.watch(address_of(server))
        reports.wait_for_one(address_of(server))
        if hosted:
            assert server.wait_for(lambda: server.count("hello") >= 3)
            assert server.accepted == 1
        else:
            assert server.wait_for(lambda: any(awaited(each) for each in server.requests))


PROGRAM = """
import sys, time
from mongokey.connection.settings import ConnectionSettings
from mongokey.handshake import ClientMetadata
from mongokey.topology.monitors import Monitors
monitors = Monitors(ConnectionSettings(metadata=ClientMetadata()),
                    lambda found: print(found.server_type_name, flush=True),
                    heartbeat_ns=500_000_000, mode="stream")
monitors.watch(("127.0.0.1", int(sys.argv[1])))
"""


@pytest.mark.parametrize("monitors_face", ["thread"], indirect=True)
def test_an_interrupt_reaches_the_program() -> None:
    # The first report may come before `watch` returns.
    steps = textwrap.indent(PROGRAM + "time.sleep(60)\n", "    ")
    program = f"try:\n{steps}except KeyboardInterrupt:\n    print('stopped')\n"
    with ScriptedServer() as server:
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(server.port)], stdout=subprocess.PIPE, text=True
        )
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == "Standalone\n"
            child.send_signal(signal.SIGINT)
            out, _ = child.communicate(timeout=30)
        assert child.returncode == 0
        assert out.endswith("stopped\n")


GEVENT = (
    "from gevent import monkey; monkey.patch_all()\nimport gevent\n"
    + PROGRAM
    + """
monitors.watch(("localhost", int(sys.argv[1])))
beats = 0
for _ in range(30):
    gevent.sleep(0.05)
    beats += 1
import threading
jobs = []
monitors.call_every(10_000_000, lambda: jobs.append(1))
monitors.run_beside(lambda: gevent.sleep(0.01) or jobs.append(2))
gevent.sleep(0.2)
print(beats, 1 in jobs, 2 in jobs, len(gevent.get_hub().threadpool) <= 1)
monitors.close()
"""
)


@pytest.mark.parametrize("monitors_face", ["thread"], indirect=True)
def test_greenlets_run_while_servers_are_monitored() -> None:
    need_gevent()

    def answer(request: Request) -> Answer:
        return Silence() if awaited(request) else standalone(topologyVersion=version(1))

    with ScriptedServer(on={"hello": answer}) as server:
        began = time.monotonic()
        run = subprocess.run(
            [sys.executable, "-c", GEVENT, str(server.port)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert run.returncode == 0, run.stderr
        lines = run.stdout.splitlines()
        assert lines[-1] == "30 True True True"
        assert lines.count("Standalone") == 2
        assert time.monotonic() - began < 30
        assert server.wait_for(lambda: server.open == 0)


def test_idle_monitors_use_next_to_no_cpu() -> None:
    def answer(request: Request) -> Answer:
        return Silence() if awaited(request) else standalone(topologyVersion=version(1))

    with ScriptedServer(on={"hello": answer}) as server:
        long = Timeout(3600 * 1_000_000_000, "connectTimeoutMS")
        with monitoring(mode="stream", connect_timeout=long) as (monitors, reports):
            monitors.watch(address_of(server))
            reports.wait_for_one(address_of(server))
            assert server.wait_for(lambda: server.count("hello") == 2)
            assert soon(lambda: server.open == 1)
            before = os.times()
            time.sleep(1)
            after = os.times()
            assert (after.user + after.system) - (before.user + before.system) < 0.3
