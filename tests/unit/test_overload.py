"""Overload errors are tried again after a backoff (client-backpressure.md), without a socket."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from mongokey import monitoring
from mongokey._support.system import monotonic_ns
from mongokey.commands.command import Command
from mongokey.errors import AutoReconnect, NotPrimaryError, OperationFailure
from mongokey.events.publisher import Publisher
from mongokey.execution.cursors import ServerCursor
from mongokey.execution.execution import random_jitter
from mongokey.execution.operation import Namespace
from mongokey.execution.rules import backoff_ns, is_overload, should_retry_overload
from mongokey.handshake.hello import hello_command
from mongokey.transport.sleeping import sleep_until
from tests.servers.scripted import primary
from tests.unit._executions import OK, Deployment, lost

OVERLOADED = {
    "ok": 0,
    "code": 462,
    "errmsg": "Rate limiter rate exceeded",
    "errorLabels": ["SystemOverloadedError", "RetryableError"],
}
ONLY_OVERLOADED = {**OVERLOADED, "errorLabels": ["SystemOverloadedError"]}
MS = 1_000_000
RETRY = ["sleep", "check out", "exchange"]


def error_of(answer: dict[str, Any]) -> OperationFailure:
    return OperationFailure("x", answer["code"], answer)


@pytest.fixture
def replica_set() -> Deployment:
    return deployment()


def deployment(jitter: float = 1.0, **options: Any) -> Deployment:
    made = Deployment(primary(), **options)
    made.executor.jitter = lambda: jitter
    return made


# -- rules ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "retry", "jitter", "expected_ms"),
    [
        ({}, 1, 1, 200),
        ({}, 2, 1, 400),
        ({}, 2, 0.5, 200),
        ({}, 1, 0, 0),
        ({}, 6, 1, 6400),
        ({}, 7, 1, 10_000),
        ({}, 10**9, 1, 10_000),
        ({"baseBackoffMS": 50}, 1, 1, 100),
        ({"baseBackoffMS": 2.5}, 1, 1, 5),
        ({"baseBackoffMS": 10**30}, 1, 1, 10_000),
        ({"baseBackoffMS": 0}, 1, 1, 200),
        ({"baseBackoffMS": -5}, 1, 1, 200),
        ({"baseBackoffMS": "5"}, 1, 1, 200),
        ({"baseBackoffMS": True}, 1, 1, 200),
        ({"baseBackoffMS": float("nan")}, 1, 1, 200),
        ({"baseBackoffMS": float("inf")}, 1, 1, 10_000),
    ],
)
def test_backoffs(answer: dict[str, Any], retry: int, jitter: float, expected_ms: float) -> None:
    assert backoff_ns(error_of({**OVERLOADED, **answer}), retry, jitter) == expected_ms * MS


def test_an_error_without_an_answer_has_a_backoff() -> None:
    assert backoff_ns(lost(), 1, 1) == 200 * MS


@pytest.mark.parametrize(
    ("reads", "writes", "retry_reads", "retry_writes", "retried"),
    [
        (True, False, True, False, True),
        (True, False, False, True, False),
        (False, True, False, True, True),
        (False, True, True, False, False),
        # A user's command: both options have to allow it.
        (False, False, True, True, True),
        (False, False, True, False, False),
        (False, False, False, True, False),
    ],
)
def test_each_option_is_about_its_kind(
    reads: bool, writes: bool, retry_reads: bool, retry_writes: bool, retried: bool
) -> None:
    found = should_retry_overload(
        error_of(OVERLOADED),
        reads=reads,
        writes=writes,
        retry_reads=retry_reads,
        retry_writes=retry_writes,
    )
    assert found is retried


@pytest.mark.parametrize("labels", [[], ["SystemOverloadedError"], ["RetryableError"]])
def test_both_labels_are_needed(labels: list[str]) -> None:
    error = error_of({**OVERLOADED, "errorLabels": labels})
    assert is_overload(error) is ("SystemOverloadedError" in labels)
    assert not should_retry_overload(
        error, reads=True, writes=False, retry_reads=True, retry_writes=True
    )


def test_jitter_is_from_0_to_1() -> None:
    found = {random_jitter() for _ in range(100)}
    assert len(found) > 90
    assert all(0 <= each < 1 for each in found)


def test_hello_announces_it() -> None:
    assert hello_command({"driver": {}})["backpressure"] is True
    # A monitor's later hellos are no handshakes.
    assert "backpressure" not in hello_command(None)


# -- executions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [{}, {"retryable_read": True}, {"retryable_write": True}])
def test_any_command_is_tried_three_times(replica_set: Deployment, kinds: dict[str, bool]) -> None:
    replica_set.script["exchange"] += [OVERLOADED, OVERLOADED]
    assert replica_set.run({"ping": 1}, **kinds) == OK
    assert replica_set.steps == ["check out", "exchange", *RETRY, *RETRY, "done"]
    assert replica_set.slept == [200 * MS, 400 * MS]
    # One write has one number, however often it is sent.
    assert len({str(each.get("txnNumber")) for each in replica_set.commands}) == 1
    assert len({str(each["lsid"]) for each in replica_set.commands}) == 1


def test_the_error_is_raised_in_the_end(replica_set: Deployment) -> None:
    replica_set.script["exchange"] += [OVERLOADED] * 4
    with pytest.raises(OperationFailure) as caught:
        replica_set.run({"ping": 1})
    assert caught.value.code == 462
    assert len(replica_set.slept) == 2
    assert len(replica_set.script["exchange"]) == 1


@pytest.mark.parametrize("most", [0, 1, 5])
def test_the_option_says_how_often(most: int) -> None:
    given = deployment(max_adaptive_retries=most)
    given.script["exchange"] += [OVERLOADED] * (most + 1)
    with pytest.raises(OperationFailure):
        given.run({"ping": 1}, retryable_read=True)
    assert given.script["exchange"] == []
    assert len(given.slept) == most


def test_a_count_that_is_too_large_for_c_is_a_count() -> None:
    given = deployment(max_adaptive_retries=10**30)
    given.script["exchange"] += [OVERLOADED] * 20
    assert given.run({"ping": 1}) == OK
    assert given.slept[-1] == 10_000 * MS


def test_without_the_second_label_it_is_an_error_like_others(replica_set: Deployment) -> None:
    replica_set.script["exchange"].append(ONLY_OVERLOADED)
    with pytest.raises(OperationFailure):
        replica_set.run({"ping": 1})
    assert replica_set.slept == []


def test_a_retryable_error_of_an_overloaded_server_waits_too(replica_set: Deployment) -> None:
    answer = {"ok": 0, "code": 91, "errmsg": "x", "errorLabels": ["SystemOverloadedError"]}
    replica_set.script["exchange"] += [answer, answer]
    assert replica_set.run({"find": "y"}, retryable_read=True) == OK
    assert replica_set.slept == [200 * MS, 400 * MS]


def test_other_errors_do_not_wait(replica_set: Deployment) -> None:
    replica_set.script["exchange"] += [lost(), OVERLOADED]
    assert replica_set.run({"find": "y"}, retryable_read=True) == OK
    # After the second attempt, in the order of attempts.
    assert replica_set.slept == [400 * MS]


def test_once_overloaded_the_limit_holds_for_every_error(replica_set: Deployment) -> None:
    replica_set.script["exchange"] += [OVERLOADED, lost(), lost()]
    with pytest.raises(AutoReconnect):
        replica_set.run({"find": "y"}, retryable_read=True)
    assert replica_set.script["exchange"] == []


def test_without_overload_there_is_one_retry(replica_set: Deployment) -> None:
    replica_set.script["exchange"] += [lost(), lost(), OK]
    with pytest.raises(AutoReconnect):
        replica_set.run({"find": "y"}, retryable_read=True)
    assert replica_set.script["exchange"] == [OK]


@pytest.mark.parametrize("options", [{"retry_reads": False}, {"retry_writes": False}])
def test_a_users_command_needs_both_options(options: dict[str, bool]) -> None:
    given = deployment(**options)
    given.script["exchange"].append(OVERLOADED)
    with pytest.raises(OperationFailure):
        given.run({"ping": 1})
    assert given.slept == []


def test_an_error_that_wrote_nothing_does_not_hide_one_that_may_have(
    replica_set: Deployment,
) -> None:
    nothing = {**OVERLOADED, "errorLabels": [*OVERLOADED["errorLabels"], "NoWritesPerformed"]}  # type: ignore[misc]
    stepped_down = {
        "ok": 0,
        "code": 91,
        "errmsg": "x",
        "errorLabels": ["RetryableWriteError"],
    }
    replica_set.script["exchange"] += [nothing, stepped_down, nothing]
    with pytest.raises(NotPrimaryError):
        replica_set.run({"insert": "y"}, retryable_write=True)


def test_a_cursors_next_batch_is_asked_for_again_where_it_is(replica_set: Deployment) -> None:
    cursor = ServerCursor(Namespace("x", "y"), 5, None, replica_set.pool)
    replica_set.script["exchange"] += [OVERLOADED, OVERLOADED]
    command = Command(Namespace("x"), {"getMore": 5, "collection": "y"})
    assert replica_set.executor.execute_for_cursor(command, cursor) == OK
    assert replica_set.steps == ["check out", "exchange", *RETRY, *RETRY, "done"]
    replica_set.script["exchange"].append(lost())
    with pytest.raises(AutoReconnect):
        replica_set.executor.execute_for_cursor(command, cursor)


def test_each_attempt_is_told(replica_set: Deployment) -> None:
    class Notes(monitoring.CommandListener):
        def started(self, event: Any) -> None:
            events.append(event)

        succeeded = failed = started

    events: list[Any] = []
    given = deployment(publisher=Publisher((Notes(),)))
    given.script["exchange"].append(OVERLOADED)
    given.run({"ping": 1})
    assert [type(each).__name__[7:-5] for each in events] == [
        "Started",
        "Failed",
        "Started",
        "Succeeded",
    ]
    assert len({each.operation_id for each in events}) == 1


# -- sleeping -------------------------------------------------------------------------------------


def test_a_sleep_lasts_as_long_as_it_is_told() -> None:
    end = monotonic_ns() + 20 * MS
    sleep_until(end, lambda: False)
    assert monotonic_ns() >= end


def test_a_sleep_ends_when_nobody_needs_it() -> None:
    closed = threading.Event()
    thread = threading.Thread(
        target=sleep_until, args=(monotonic_ns() + 60_000 * MS, closed.is_set)
    )
    thread.start()
    time.sleep(0.05)
    assert thread.is_alive()
    closed.set()
    thread.join(20)
    assert not thread.is_alive()


def test_where_streams_wait_by_gevent_a_sleep_does_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from mongokey.transport import gevent_waits

    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        time.sleep(seconds)

    monkeypatch.setattr(gevent_waits, "installed", True)
    monkeypatch.setattr(gevent_waits, "sleep", sleep)
    sleep_until(monotonic_ns() + 10 * MS, lambda: False)
    assert slept
