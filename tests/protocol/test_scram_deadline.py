"""A server that asks for more SCRAM iterations than the login has time for (issue 15, B12)."""

from __future__ import annotations

import threading
import time

import pytest

from mongokey import MongoClient
from mongokey.auth.errors import LoginTimeout, ServerProofError
from mongokey.auth.scram import MAX_ITERATIONS
from mongokey.errors import MongoError
from tests.servers.scripted import Login, ScriptedServer

# What a deadline may be missed by, on a machine that is busy.
LATE_S = 1.5


def fail(uri: str, **options: int) -> tuple[MongoError, float, float]:
    """The error of a ping that must fail, and the seconds and CPU seconds that it took."""
    with MongoClient(uri, **options) as client:
        began, cpu = time.monotonic(), time.process_time()
        with pytest.raises(MongoError) as caught:
            client.admin.command("ping")
        return caught.value, time.monotonic() - began, time.process_time() - cpu


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_the_work_ends_with_the_deadline_and_the_error_says_what_to_do(mechanism: str) -> None:
    login = Login(mechanisms=(mechanism,), claimed_iterations=MAX_ITERATIONS)
    with ScriptedServer(login=login) as server:
        uri = server.uri(connectTimeoutMS=100)
        error, seconds, cpu_s = fail(uri)
        assert isinstance(error, LoginTimeout)
        assert "10000000 iterations" in str(error)
        assert "connectTimeoutMS" in str(error)
        assert error.timeout
        assert seconds < 0.1 + LATE_S
        assert cpu_s < 0.7
        assert server.count("saslContinue") == 0


def test_more_than_the_ceiling_is_refused_before_any_work() -> None:
    login = Login(claimed_iterations=MAX_ITERATIONS + 1)
    with ScriptedServer(login=login) as server:
        error, _, cpu_s = fail(server.uri())
        assert isinstance(error, ServerProofError)
        assert "more than the 10000000" in str(error)
        assert cpu_s < 0.5


def test_the_right_count_logs_in_afterwards() -> None:
    """Nothing of the failed derivation is left behind."""
    with ScriptedServer(login=Login(claimed_iterations=MAX_ITERATIONS)) as server:
        with MongoClient(
            server.uri(connectTimeoutMS=1000, maxPoolSize=2, loginBackoffMS=0)
        ) as client:
            with pytest.raises(MongoError):
                # Whoever is fast enough for a second of it gets a proof for another key.
                client.admin.command("ping")
            server.login = Login()
            assert client.admin.command("ping")["ok"] == 1


def test_other_threads_run_on_during_the_work() -> None:
    with ScriptedServer(login=Login(claimed_iterations=MAX_ITERATIONS)) as server:
        uri = server.uri(connectTimeoutMS=1000)
        done = threading.Event()

        def log_in() -> None:
            try:
                fail(uri)
            finally:
                done.set()

        thread = threading.Thread(target=log_in)
        thread.start()
        longest, last = 0.0, time.monotonic()
        while not done.wait(0.001):
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        thread.join(60)
        # Held to the end it would be a second or several.
        assert longest < 0.5
