"""Timeouts of operations: blocks and their nesting, and what executions make of a deadline."""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
import time
from typing import Any

import pytest

import mongokey
from mongokey import bson
from mongokey._support.deadline import Deadline, Timeout
from mongokey.bson import encode
from mongokey.commands.command import Command
from mongokey.errors import (
    AutoReconnect,
    ExecutionTimeout,
    MongoError,
    NetworkTimeout,
    OperationFailure,
    ServerSelectionTimeoutError,
)
from mongokey.execution import rules
from mongokey.execution.execution import Execution
from mongokey.execution.operation import Namespace
from mongokey.execution.time_limits import (
    deadline_of,
    is_for_ever,
    one_deadline,
    refreshed_deadline,
    timeout_now,
)
from mongokey.handshake import HelloReply
from mongokey.sessions.transaction_retries import TransactionRetries
from mongokey.topology.server_description import ServerDescription
from tests.servers.scripted import primary
from tests.unit._executions import OK, SECOND, SERVER, Deployment, lost

CLIENT = Timeout.from_seconds(7, "timeoutMS")


def now_left() -> float | None:
    """The seconds that an operation of a client without timeoutMS has now."""
    found = deadline_of(None, False, None)
    return None if found is None else (found.at_ns - time.monotonic_ns()) / 1e9


# Blocks


def test_a_block_has_one_deadline_for_all_of_its_operations() -> None:
    assert deadline_of(None, False, None) is None
    with mongokey.timeout(5):
        first = deadline_of(None, False, None)
        assert first is not None
        assert str(first) == "timeoutMS=5000"
        assert 4 < first.left_s <= 5
        assert deadline_of(None, False, None) is first
        # Before the client's, even if that is shorter.
        assert deadline_of(Timeout.from_seconds(1, "timeoutMS"), True, None) is first
    assert deadline_of(None, False, None) is None


def test_a_nested_block_can_only_shorten_the_time() -> None:
    with mongokey.timeout(10):
        outer = deadline_of(None, False, None)
        with mongokey.timeout(15):
            assert deadline_of(None, False, None) is outer
        with mongokey.timeout(5):
            inner = deadline_of(None, False, None)
            assert inner is not None
            assert outer is not None
            assert inner.at_ns < outer.at_ns
        assert deadline_of(None, False, None) is outer


def test_none_leaves_the_time_to_the_client_and_0_lifts_it() -> None:
    with mongokey.timeout(5):
        outer = deadline_of(None, False, None)
        with mongokey.timeout(None):
            assert deadline_of(None, False, None) is None
            # As in PyMongo, no later than the outer block.
            assert deadline_of(CLIENT, True, None) is outer
            with mongokey.timeout(10):
                assert deadline_of(None, False, None) is outer
        with mongokey.timeout(0):
            lifted = deadline_of(CLIENT, True, None)
            assert lifted is not None
            assert is_for_ever(lifted)
            with mongokey.timeout(10):
                assert deadline_of(None, False, None) is outer
    with mongokey.timeout(None):
        assert 6 < (deadline_of(CLIENT, True, None) or pytest.fail("none")).left_s <= 7


def test_the_client_gives_each_operation_its_own_time() -> None:
    first = deadline_of(CLIENT, True, None)
    time.sleep(0.001)
    second = deadline_of(CLIENT, True, None)
    assert first is not None
    assert second is not None
    assert first.at_ns < second.at_ns
    for_ever = deadline_of(None, True, None)
    assert for_ever is not None
    assert is_for_ever(for_ever)


def test_the_rest_of_a_cursors_time_comes_before_the_clients_and_after_a_blocks() -> None:
    assert CLIENT is not None
    lifetime = CLIENT.start()
    assert deadline_of(CLIENT, True, lifetime) is lifetime
    with mongokey.timeout(20):
        assert deadline_of(CLIENT, True, lifetime) is not lifetime


@pytest.mark.parametrize("seconds", [0, 0.0, -0.0, False])
def test_0_is_no_limit(seconds: float) -> None:
    with mongokey.timeout(seconds):
        found = deadline_of(None, False, None)
        assert found is not None
        assert is_for_ever(found)
        assert timeout_now(CLIENT) is None


@pytest.mark.parametrize("seconds", [math.inf, 1e300, 10**400, 2**63])
def test_a_huge_time_is_far_away(seconds: float) -> None:
    with mongokey.timeout(seconds):
        left = now_left()
        assert left is not None
        assert left > 3e9  # about a hundred years
        found = deadline_of(None, False, None)
        assert found is not None
        assert found.left_s == 4_000_000  # what any lock can wait


@pytest.mark.parametrize("seconds", [1e-12, 5e-324])
def test_a_tiny_time_is_one_and_over_at_once(seconds: float) -> None:
    with mongokey.timeout(seconds):
        time.sleep(0.001)
        found = deadline_of(None, False, None)
        assert found is not None
        assert found.passed()


@pytest.mark.parametrize("seconds", [-1, -0.001, -math.inf, -(10**400)])
def test_a_negative_time_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="timeout cannot be negative"):
        mongokey.timeout(seconds)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not NaN"):
        mongokey.timeout(math.nan)
    for each in ("5", b"5", [5], 5j, object()):
        with pytest.raises(TypeError, match="timeout must be None, an int, or a float"):
            mongokey.timeout(each)  # type: ignore[arg-type]


def test_true_is_a_second_as_in_pymongo() -> None:
    with mongokey.timeout(True):
        assert 0 < (now_left() or 0) <= 1


def test_a_block_begins_when_it_is_entered_and_can_be_entered_again() -> None:
    block = mongokey.timeout(5)
    time.sleep(0.002)
    with block:
        first = deadline_of(None, False, None)
        with block:
            assert deadline_of(None, False, None) is first
    with block:
        second = deadline_of(None, False, None)
    assert first is not None
    assert second is not None
    assert second.at_ns > first.at_ns
    assert deadline_of(None, False, None) is None


def test_a_block_ends_with_an_error_too() -> None:
    with pytest.raises(KeyboardInterrupt), mongokey.timeout(5):
        raise KeyboardInterrupt
    assert deadline_of(None, False, None) is None


def test_threads_do_not_share_a_block_and_copied_contexts_do() -> None:
    found: list[Any] = []
    with mongokey.timeout(5):
        mine = deadline_of(None, False, None)
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=contextvars.Context().run,
            args=(lambda: found.append(deadline_of(None, False, None)),),
        )
        thread.start()
        thread.join()
    assert found == [None]
    # Also when the block is over here.
    assert context.run(deadline_of, None, False, None) is mine


def test_tasks_begun_in_a_block_keep_its_deadline() -> None:
    async def main() -> None:
        async def ask() -> Deadline | None:
            await asyncio.sleep(0)
            return deadline_of(None, False, None)

        with mongokey.timeout(5):
            mine = deadline_of(None, False, None)
            task = asyncio.ensure_future(ask())
        assert deadline_of(None, False, None) is None
        assert await task is mine

        async def in_a_block() -> None:
            with mongokey.timeout(1):
                await asyncio.sleep(0)

        await asyncio.gather(in_a_block(), in_a_block())
        assert deadline_of(None, False, None) is None

    asyncio.run(main())


def test_a_coroutine_that_is_closed_in_another_context_closes_its_block_quietly() -> None:
    async def in_a_block() -> None:
        with mongokey.timeout(1):
            await asyncio.sleep(0)

    coroutine = in_a_block()
    contextvars.copy_context().run(coroutine.send, None)
    coroutine.close()
    assert deadline_of(None, False, None) is None


# Calls of several operations, and what follows a timeout


class TimedExecutor:
    timed = True
    timeout = CLIENT


def test_a_call_of_several_operations_has_one_deadline() -> None:
    executor: Any = TimedExecutor()
    with one_deadline(executor):
        mine = deadline_of(CLIENT, True, None)
        assert mine is not None
        assert mine.timeout is CLIENT
        with one_deadline(executor):
            assert deadline_of(CLIENT, True, None) is mine
    with mongokey.timeout(3):
        block = deadline_of(CLIENT, True, None)
        with one_deadline(executor):
            assert deadline_of(CLIENT, True, None) is block
    executor.timed = False
    with one_deadline(executor):
        assert deadline_of(None, False, None) is None


def test_what_puts_things_in_order_has_the_whole_time_once_more() -> None:
    executor: Any = TimedExecutor()
    executor.timed, executor.timeout = False, None
    with refreshed_deadline(executor):
        assert deadline_of(None, False, None) is None
    with mongokey.timeout(0.01), mongokey.timeout(0.005):
        time.sleep(0.02)
        assert (now_left() or 0) < 0
        with refreshed_deadline(executor):
            assert (now_left() or 0) > 0
        assert (now_left() or 0) < 0
    executor.timed, executor.timeout = True, CLIENT
    with refreshed_deadline(executor):
        assert 6 < (now_left() or 0) <= 7


def test_no_later_deadline_for_a_cursor_that_is_closed() -> None:
    assert timeout_now(None) is None
    assert timeout_now(CLIENT) is CLIENT
    with mongokey.timeout(3):
        found = timeout_now(CLIENT)
        assert found is not None
        assert found.ns == 3 * SECOND
        with mongokey.timeout(None):
            assert timeout_now(CLIENT) is CLIENT


# Executions


@pytest.fixture
def replica_set() -> Deployment:
    return Deployment(primary())


def test_without_a_timeout_nothing_is_said_of_time(replica_set: Deployment) -> None:
    replica_set.run({"ping": 1, "maxTimeMS": 5})
    assert replica_set.commands[0]["maxTimeMS"] == 5
    assert replica_set.execution.deadline is None


def test_max_time_ms_is_what_is_left(replica_set: Deployment) -> None:
    with mongokey.timeout(5):
        replica_set.run({"ping": 1, "maxTimeMS": 17, "z": 1})
    (command,) = replica_set.commands
    assert 4000 < command["maxTimeMS"] < 5000
    assert type(command["maxTimeMS"]) is int
    assert (command["ping"], command["z"]) == (1, 1)


@pytest.mark.parametrize("own", [None, 2**40, 3.0, "x", {"a": 1}, [1]])
def test_any_max_time_ms_of_the_command_itself_is_replaced(
    replica_set: Deployment, own: Any
) -> None:
    with mongokey.timeout(5):
        replica_set.run({"ping": 1, "maxTimeMS": own, "z": {"maxTimeMS": 1}})
    (command,) = replica_set.commands
    assert 4000 < command["maxTimeMS"] < 5000
    assert command["z"] == {"maxTimeMS": 1}


def test_a_round_trip_is_taken_off(replica_set: Deployment) -> None:
    replica_set.topology.on_check(
        ServerDescription(
            SERVER,
            HelloReply({"hosts": ["server:27017"], **primary()}),
            3.0,
            min_round_trip_time=2.0,
        )
    )
    with mongokey.timeout(5):
        replica_set.run({"ping": 1})
    assert 2000 < replica_set.commands[0]["maxTimeMS"] < 3000
    before = replica_set.pool.idle_count
    with (
        mongokey.timeout(1.5),
        pytest.raises(ExecutionTimeout, match=r"not sent: .* \(timeoutMS=1500\)") as caught,
    ):
        replica_set.run({"ping": 1})
    assert replica_set.commands == []
    assert (caught.value.timeout, caught.value.code) == (True, 50)
    assert caught.value.details["errmsg"] == str(caught.value)  # type: ignore[index]
    # The connection is as good as before.
    assert replica_set.pool.idle_count == before + 1


def test_when_nothing_is_left_nothing_is_sent(replica_set: Deployment) -> None:
    with mongokey.timeout(1e-9), pytest.raises(ExecutionTimeout, match=r"\(timeoutMS=1e-06\)"):
        replica_set.run({"ping": 1})
    assert replica_set.commands == []


def test_less_than_a_millisecond_is_not_no_limit(replica_set: Deployment) -> None:
    # 0 means that to a server.
    for _ in range(50):
        try:
            with mongokey.timeout(0.0009):
                replica_set.run({"ping": 1})
        except ExecutionTimeout:
            continue
        assert replica_set.commands[0]["maxTimeMS"] == 1
        return
    pytest.skip("this machine is too slow for it")


@pytest.mark.parametrize("seconds", [0, 1e7, math.inf])
def test_a_time_beyond_what_servers_take_is_not_sent(
    replica_set: Deployment, seconds: float
) -> None:
    with mongokey.timeout(seconds):
        replica_set.run({"ping": 1, "maxTimeMS": 5})
    assert "maxTimeMS" not in replica_set.commands[0]


def test_the_clients_time_holds_without_a_block() -> None:
    deployment = Deployment(primary(), timeout=5.0)
    deployment.run({"ping": 1})
    assert 4000 < deployment.commands[0]["maxTimeMS"] < 5000
    with mongokey.timeout(50):
        deployment.run({"ping": 1})
    assert 40000 < deployment.commands[0]["maxTimeMS"] < 50000


def test_an_operation_is_tried_again_as_often_as_there_is_time_for(replica_set: Deployment) -> None:
    replica_set.script["exchange"] += [lost() for _ in range(7)]
    with mongokey.timeout(5):
        replica_set.run({"ping": 1}, retryable_read=True)
    assert replica_set.execution.attempt == 8
    replica_set.script["exchange"] += [lost(), lost()]
    with pytest.raises(AutoReconnect):
        replica_set.run({"ping": 1}, retryable_read=True)


def test_with_a_time_of_0_too(replica_set: Deployment) -> None:
    replica_set.script["exchange"] += [lost() for _ in range(7)]
    with mongokey.timeout(0):
        replica_set.run({"ping": 1}, retryable_write=True)
    numbers = {each["txnNumber"] for each in replica_set.commands}
    assert (len(replica_set.commands), len(numbers)) == (8, 1)


def test_what_may_not_be_repeated_is_not(replica_set: Deployment) -> None:
    replica_set.script["exchange"].append(lost())
    with mongokey.timeout(5), pytest.raises(AutoReconnect) as caught:
        replica_set.run({"ping": 1})
    assert not caught.value.timeout


class Late(list[Any]):
    """A script whose steps take longer than the operation has."""

    def __init__(self, outcomes: list[Any], seconds: float) -> None:
        super().__init__(outcomes)
        self.seconds = seconds

    def pop(self, *args: Any) -> Any:
        time.sleep(self.seconds)
        return super().pop(*args)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (lost(), NetworkTimeout),
        (OperationFailure("stepped down", 11602, {"code": 11602}), ExecutionTimeout),
    ],
)
def test_the_error_says_that_the_time_is_over(
    replica_set: Deployment, error: MongoError, kind: type[MongoError]
) -> None:
    error._add_error_label("TransientTransactionError")
    replica_set.script["exchange"] = Late([error], 0.06)
    with mongokey.timeout(0.05), pytest.raises(kind, match=r"timeoutMS=50.*last error was") as e:
        replica_set.run({"ping": 1}, retryable_read=True)
    assert e.value.timeout
    assert str(error) in str(e.value)
    assert e.value.has_error_label("TransientTransactionError")


def test_an_error_that_ends_it_anyway_stays_as_it_is(replica_set: Deployment) -> None:
    replica_set.script["exchange"] = Late([OperationFailure("no such thing", 26)], 0.06)
    with mongokey.timeout(0.05), pytest.raises(OperationFailure, match="no such thing") as caught:
        replica_set.run({"ping": 1}, retryable_read=True)
    assert not caught.value.timeout


@pytest.mark.parametrize("kind", ["retryable_read", "retryable_write"])
def test_a_second_attempt_that_finds_no_server_is_a_timeout(
    replica_set: Deployment, kind: str
) -> None:
    replica_set.script["exchange"].append(lost())
    replica_set.script["check out"] = [OK, ServerSelectionTimeoutError("none found")]
    with mongokey.timeout(5), pytest.raises(NetworkTimeout, match="connection lost") as caught:
        replica_set.run({"ping": 1}, **{kind: True})
    assert caught.value.timeout


def test_a_backoff_that_would_take_too_long_is_not_begun(replica_set: Deployment) -> None:
    overloaded = {
        "ok": 0,
        "code": 462,
        "errmsg": "busy",
        "baseBackoffMS": 10_000,
        "errorLabels": ["SystemOverloadedError", "RetryableError"],
    }
    replica_set.executor.jitter = lambda: 0.9
    replica_set.script["exchange"].append(overloaded)
    with mongokey.timeout(5), pytest.raises(OperationFailure, match="busy"):
        replica_set.run({"ping": 1}, retryable_read=True)
    assert replica_set.slept == []
    replica_set.script["exchange"].append(overloaded)
    with mongokey.timeout(50):
        replica_set.run({"ping": 1}, retryable_read=True)
    assert len(replica_set.slept) == 1


def test_a_background_message_has_its_own_time(replica_set: Deployment) -> None:
    command = Command(Namespace("x"), {"killCursors": "y", "cursors": [1]})
    with mongokey.timeout(1e-9):
        execution = Execution(replica_set.executor, command, background=True)
        replica_set.carry_out(execution)
    assert "maxTimeMS" not in replica_set.commands[0]


# Deprecated options


def elements(document: dict[str, Any]) -> bytes:
    return encode(document)[4:-1]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"writeConcern": {"w": 2, "wtimeout": 5}}, {"writeConcern": {"w": 2}}),
        ({"writeConcern": {"wtimeout": 5}}, {}),
        ({"writeConcern": {"w": "wtimeout"}}, {"writeConcern": {"w": "wtimeout"}}),
        ({"a": {"wtimeout": 1}}, {"a": {"wtimeout": 1}}),
        (
            {"lsid": {"id": 1}, "writeConcern": {"wtimeout": 5, "j": True}, "z": 1},
            {"lsid": {"id": 1}, "writeConcern": {"j": True}, "z": 1},
        ),
    ],
)
def test_wtimeout_does_not_count(given: dict[str, Any], left: dict[str, Any]) -> None:
    assert rules.without_wtimeout(elements(given)) == elements(left)
    assert bson.decode(encode(left)) == left


# Transactions


def test_with_transaction_ends_by_the_deadline() -> None:
    timeout = Timeout.from_seconds(1, "timeoutMS")
    assert timeout is not None
    deadline = timeout.start(5 * SECOND)
    retries = TransactionRetries(5 * SECOND, lambda: 0.0, deadline)
    retries.begin(5 * SECOND)
    error = OperationFailure("conflict", 112, {}, None)
    error._add_error_label("TransientTransactionError")
    assert retries.repeats_transaction(error, 5 * SECOND + 1)
    with pytest.raises(ExecutionTimeout, match=r"timeoutMS=1000.*conflict") as caught:
        retries.repeats_transaction(error, 6 * SECOND)
    assert caught.value.__cause__ is error
    assert caught.value.timeout
    assert caught.value.has_error_label("TransientTransactionError")
