"""One command on a warm client: ping, find_one, insert_one. Client CPU, beside PyMongo."""

from __future__ import annotations

import time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.case import Api
from bench.cases import BY_NAME
from bench.runner import check_counts
from bench.server import CannedServer


def run(name: str, benchmark: BenchmarkFixture, api: Api, server: CannedServer) -> None:
    """Benchmark a case; the server must have seen what was asked, and nothing else."""
    case = BY_NAME[name]
    assert case.seen is not None
    server.require_login(case.login)
    done = 0
    with case.setup(api, server.uri(login=case.login)) as operation:
        for _ in range(100):
            operation.run(1)
        server.reset()

        def once() -> None:
            nonlocal done
            operation.run(1)
            done += 1

        if operation.prepare is None:
            benchmark(once)
        else:
            benchmark.pedantic(once, setup=operation.prepare, rounds=300)
        counts = server.counts()
    assert check_counts(counts, case.seen, done) == []


@pytest.mark.benchmark(group="ping", timer=time.process_time)
def test_ping(benchmark: BenchmarkFixture, api: Api, canned_server: CannedServer) -> None:
    run("ping", benchmark, api, canned_server)


@pytest.mark.benchmark(group="find_one", timer=time.process_time)
def test_find_one(benchmark: BenchmarkFixture, api: Api, canned_server: CannedServer) -> None:
    run("find_one", benchmark, api, canned_server)


@pytest.mark.benchmark(group="insert_one", timer=time.process_time)
def test_insert_one(benchmark: BenchmarkFixture, api: Api, canned_server: CannedServer) -> None:
    run("insert_one", benchmark, api, canned_server)


@pytest.mark.benchmark(group="new connection, warm login, ping", timer=time.process_time)
def test_warm_login(benchmark: BenchmarkFixture, api: Api, canned_server: CannedServer) -> None:
    run("new_connection", benchmark, api, canned_server)
