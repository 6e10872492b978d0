"""Whole executions without a socket: a script says what each step comes to."""

from __future__ import annotations

import os
from typing import Any

import pytest

from mongokey import bson, monitoring
from mongokey.bson.binary import Binary
from mongokey.bson.timestamp import Timestamp
from mongokey.commands.command import Command
from mongokey.connection.connection import Connection
from mongokey.errors import (
    AutoReconnect,
    DocumentTooLarge,
    InvalidOperation,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ProtocolError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)
from mongokey.events.publisher import Publisher
from mongokey.execution.cursors import ServerCursor
from mongokey.execution.execution import NO_IDLE_CONNECTION, STEPS, Execution, Executor
from mongokey.execution.operation import Namespace
from tests.servers.scripted import mongos, primary, secondary, standalone
from tests.unit._executions import OK, SECOND, SERVER, Deployment, lost

WARM = ["check out", "exchange", "done"]


@pytest.fixture
def replica_set() -> Deployment:
    return Deployment(primary())


# Steps


def test_a_warm_command_takes_three_steps(replica_set: Deployment) -> None:
    replica_set.script["exchange"].append({"ok": 1, "answer": 42})
    assert replica_set.run({"ping": 1}) == {"ok": 1, "answer": 42}
    assert replica_set.steps == WARM
    assert replica_set.pool.idle_count == 2  # the connection was given back
    (session,) = replica_set.executor.sessions.idle
    assert replica_set.commands[0]["lsid"]["id"] == Binary(session.session_id, 4)


def test_without_a_selected_server_one_is_selected(replica_set: Deployment) -> None:
    replica_set.says(None)
    replica_set.run({"ping": 1})
    assert replica_set.steps == ["select server", *WARM]


def test_a_step_that_was_not_done_is_said_again(replica_set: Deployment) -> None:
    execution = Execution(replica_set.executor, Command(Namespace("x"), {"ping": 1}))
    assert [STEPS[execution.advance()] for _ in range(2)] == ["check out"] * 2
    execution.checked_out(replica_set.connect(), 1)
    assert [STEPS[execution.advance()] for _ in range(2)] == ["exchange"] * 2
    execution.end()


def test_the_names_of_commands(replica_set: Deployment) -> None:
    assert Command(Namespace("x"), {"ping": 1}).name == "ping"
    assert Command(Namespace("x"), {"aggregate": 1, "pipeline": []}).name == "aggregate"


def test_a_finished_execution_holds_nothing(replica_set: Deployment) -> None:
    replica_set.run({"ping": 1})
    execution = replica_set.execution
    held = (execution.session, execution.server, execution.connection, execution.result)
    assert held == (None, None, None, None)
    assert execution.first_error is None
    assert execution.message == b""


# Sessions


def test_a_session_is_used_again(replica_set: Deployment) -> None:
    for _ in range(3):
        replica_set.run({"ping": 1})
    assert len(replica_set.executor.sessions.idle) == 1
    assert replica_set.executor.sessions.idle[0].last_used_ns == replica_set.now


def test_a_session_that_is_about_to_end_is_not(replica_set: Deployment) -> None:
    replica_set.run({"ping": 1})
    first = replica_set.commands[0]["lsid"]
    replica_set.now += 29 * 60 * SECOND
    replica_set.run({"ping": 1})
    assert replica_set.commands[0]["lsid"] != first
    assert len(replica_set.executor.sessions.idle) == 1


def test_a_session_whose_connection_was_lost_is_not_used_again(replica_set: Deployment) -> None:
    replica_set.script["exchange"].append(lost())
    replica_set.run({"find": "y"}, retryable_read=True)
    assert replica_set.commands[0]["lsid"] == replica_set.commands[1]["lsid"]
    assert replica_set.executor.sessions.idle == []


def test_servers_without_sessions_get_none() -> None:
    deployment = Deployment(standalone(logicalSessionTimeoutMinutes=None))
    deployment.run({"ping": 1})
    assert "lsid" not in deployment.commands[0]
    assert deployment.executor.sessions.idle == []


def test_a_session_is_given_back_after_an_error(replica_set: Deployment) -> None:
    replica_set.script["exchange"].append({"ok": 0, "code": 13, "errmsg": "no"})
    with pytest.raises(OperationFailure, match="no"):
        replica_set.run({"ping": 1})
    assert replica_set.steps == ["check out", "exchange"]
    assert len(replica_set.executor.sessions.idle) == 1


def test_a_ctrl_c_gives_everything_back(replica_set: Deployment) -> None:
    replica_set.script["exchange"].append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        replica_set.run({"ping": 1})
    # The reply may still come: neither connection nor session is used again.
    assert replica_set.executor.sessions.idle == []
    assert replica_set.pool.idle_count == 1
    assert replica_set.execution.connection is None


# Transaction numbers


def test_each_retryable_write_has_a_number_of_its_own(replica_set: Deployment) -> None:
    numbers = []
    for _ in range(3):
        replica_set.run({"insert": "y"}, retryable_write=True)
        numbers.append(replica_set.commands[0]["txnNumber"])
    assert numbers == [1, 2, 3]


def test_the_second_attempt_has_the_number_and_session_of_the_first(
    replica_set: Deployment,
) -> None:
    replica_set.script["exchange"].append(lost())
    replica_set.run({"insert": "y"}, retryable_write=True)
    assert replica_set.steps == ["check out", "exchange", "select server", *WARM]
    first, second = replica_set.commands
    assert (first["lsid"], first["txnNumber"]) == (second["lsid"], second["txnNumber"])
    assert replica_set.execution.attempt == 2


@pytest.mark.parametrize(
    ("hello", "options", "numbered"),
    [
        (primary(), {}, True),
        (mongos(), {}, True),
        (standalone(), {}, False),
        (primary(), {"retry_writes": False}, False),
        (primary(logicalSessionTimeoutMinutes=None), {}, False),
    ],
)
def test_who_gets_transaction_numbers(hello: Any, options: Any, numbered: bool) -> None:
    deployment = Deployment(hello, **options)
    deployment.run({"insert": "y"}, retryable_write=True)
    assert ("txnNumber" in deployment.commands[0]) == numbered


# Cluster time


def clock(seconds: int) -> dict[str, Any]:
    return {"clusterTime": Timestamp(seconds, 1)}


def test_the_highest_cluster_time_is_passed_on(replica_set: Deployment) -> None:
    replica_set.run({"ping": 1})
    assert "$clusterTime" not in replica_set.commands[0]
    for seen, sent in ((5, None), (4, 5), (9, 5), (9, 9)):
        replica_set.script["exchange"].append({"ok": 1, "$clusterTime": clock(seen)})
        replica_set.run({"ping": 1})
        if sent is not None:
            assert replica_set.commands[0]["$clusterTime"] == clock(sent)
    encoded = replica_set.executor.cluster_time.encoded
    assert encoded is not None
    assert bson.decode(encoded) == clock(9)


def test_the_cluster_time_of_an_error_is_taken_too(replica_set: Deployment) -> None:
    replica_set.script["exchange"].append({"ok": 0, "code": 1, "$clusterTime": clock(7)})
    with pytest.raises(OperationFailure):
        replica_set.run({"ping": 1})
    replica_set.run({"ping": 1})
    assert replica_set.commands[0]["$clusterTime"] == clock(7)


def test_a_standalone_server_gets_no_cluster_time() -> None:
    deployment = Deployment(standalone())
    deployment.script["exchange"].append({"ok": 1, "$clusterTime": clock(7)})
    deployment.run({"ping": 1})
    deployment.run({"ping": 1})
    assert "$clusterTime" not in deployment.commands[0]


# What else is written


def test_a_direct_connection_may_read_from_a_secondary() -> None:
    deployment = Deployment(secondary(), direct=True)
    deployment.run({"find": "y"})
    assert deployment.commands[0]["$readPreference"] == {"mode": "primaryPreferred"}
    alone = Deployment(standalone(), direct=True)
    alone.run({"find": "y"})
    assert "$readPreference" not in alone.commands[0]


def test_the_stable_api_is_declared_unless_the_command_does() -> None:
    deployment = Deployment(primary(), server_api=bson.encode({"apiVersion": "1"})[4:-1])
    deployment.run({"ping": 1})
    assert deployment.commands[0]["apiVersion"] == "1"
    deployment.run({"ping": 1, "apiVersion": "2"})
    assert deployment.commands[0]["apiVersion"] == "2"


def test_the_database_is_named(replica_set: Deployment) -> None:
    replica_set.run({"ping": 1})
    assert replica_set.commands[0]["$db"] == "x"


def test_a_command_that_is_too_large_is_not_sent() -> None:
    deployment = Deployment(primary(maxBsonObjectSize=1024))
    with pytest.raises(DocumentTooLarge, match="at most 17408"):
        deployment.run({"ping": "x" * 20_000})
    assert deployment.steps == ["check out"]
    assert deployment.pool.idle_count == 2


# Retrying


def test_a_read_is_tried_once_more(replica_set: Deployment) -> None:
    replica_set.script["exchange"].append(lost())
    assert replica_set.run({"find": "y"}, retryable_read=True) == OK
    assert replica_set.steps == ["check out", "exchange", "select server", *WARM]


def test_a_read_that_the_server_refuses_for_now_is_tried_once_more(
    replica_set: Deployment,
) -> None:
    replica_set.script["exchange"].append({"ok": 0, "code": 189, "errmsg": "stepped down"})
    assert replica_set.run({"find": "y"}, retryable_read=True) == OK
    # No longer primary: another one is looked for, but its connections are still good.
    assert replica_set.steps == ["check out", "exchange", "select server", *WARM]
    assert replica_set.pool.generation == 0


def test_a_timeout_of_the_server_is_tried_again_at_the_same_server(
    replica_set: Deployment,
) -> None:
    replica_set.script["exchange"].append({"ok": 0, "code": 262, "errmsg": "slow"})
    assert replica_set.run({"find": "y"}, retryable_read=True) == OK
    assert replica_set.steps == ["check out", "exchange", *WARM]


@pytest.mark.parametrize(
    ("kinds", "options"),
    [
        ({}, {}),
        ({"retryable_read": True}, {"retry_reads": False}),
        ({"retryable_write": True}, {"retry_writes": False}),
    ],
)
def test_what_is_not_tried_again(kinds: Any, options: Any) -> None:
    deployment = Deployment(primary(), **options)
    deployment.script["exchange"].append(lost())
    with pytest.raises(AutoReconnect) as caught:
        deployment.run({"find": "y"}, **kinds)
    assert deployment.steps == ["check out", "exchange"]
    assert not caught.value.has_error_label("RetryableWriteError")


def test_a_closed_client_tries_nothing_again(replica_set: Deployment) -> None:
    execution = Execution(
        replica_set.executor, Command(Namespace("x"), {"find": "y"}, retryable_read=True)
    )
    execution.advance()
    execution.checked_out(replica_set.connect(), 1)
    execution.advance()
    replica_set.executor.close()
    error = lost()
    assert execution.failed(error) is error
    execution.end()
    assert replica_set.executor.sessions.idle == []


def test_there_is_no_third_attempt(replica_set: Deployment) -> None:
    first, second = lost(), lost()
    replica_set.script["exchange"].extend([first, second, OK])
    with pytest.raises(AutoReconnect) as caught:
        replica_set.run({"find": "y"}, retryable_read=True)
    assert caught.value is second
    assert replica_set.steps.count("exchange") == 2


def test_a_write_that_could_not_be_sent_again_raises_its_first_error(
    replica_set: Deployment,
) -> None:
    first = lost()
    replica_set.script["exchange"].append(first)
    replica_set.script["check out"].extend([OK, WaitQueueTimeoutError("all in use")])
    with pytest.raises(AutoReconnect) as caught:
        replica_set.run({"insert": "y"}, retryable_write=True)
    assert caught.value is first
    assert first.has_error_label("RetryableWriteError")


def test_no_server_for_the_second_attempt_raises_the_first_error(replica_set: Deployment) -> None:
    first = lost()
    replica_set.script["exchange"].append(first)
    replica_set.script["select server"].append(ServerSelectionTimeoutError("none"))
    with pytest.raises(AutoReconnect) as caught:
        replica_set.run({"find": "y"}, retryable_read=True)
    assert caught.value is first


def test_a_write_is_labelled_only_with_a_transaction_number() -> None:
    for hello, labelled in ((primary(), True), (standalone(), False)):
        deployment = Deployment(hello)
        deployment.script["exchange"].extend([lost(), lost()])
        with pytest.raises(AutoReconnect) as caught:
            deployment.run({"insert": "y"}, retryable_write=True)
        assert caught.value.has_error_label("RetryableWriteError") == labelled
        assert deployment.steps.count("exchange") == (2 if labelled else 1)


def test_old_servers_errors_are_labelled_and_so_tried_again() -> None:
    deployment = Deployment(primary(maxWireVersion=8))
    deployment.script["exchange"].append({"ok": 0, "code": 91, "errmsg": "shutting down"})
    assert deployment.run({"insert": "y"}, retryable_write=True) == OK
    newer = Deployment(primary(maxWireVersion=9))
    newer.script["exchange"].append({"ok": 0, "code": 91, "errmsg": "shutting down"})
    with pytest.raises(NotPrimaryError):
        newer.run({"insert": "y"}, retryable_write=True)


# What errors say of the server


def test_a_lost_connection_clears_the_pool_and_marks_the_server_unknown(
    replica_set: Deployment,
) -> None:
    replica_set.script["exchange"].append(lost())
    with pytest.raises(AutoReconnect):
        replica_set.run({"ping": 1})
    assert replica_set.topology.selected.writable is None
    assert replica_set.pool.generation == 1
    assert replica_set.pool.idle_count == 0


def test_a_slow_command_keeps_the_pool(replica_set: Deployment) -> None:
    replica_set.script["exchange"].append(NetworkTimeout("slow"))
    with pytest.raises(NetworkTimeout):
        replica_set.run({"ping": 1})
    assert replica_set.topology.selected.writable is replica_set.pool
    assert replica_set.pool.generation == 0


def test_a_connection_that_cannot_be_made_is_the_pool_s_to_tell(
    replica_set: Deployment,
) -> None:
    replica_set.script["check out"].append(NetworkTimeout("no connection"))
    with pytest.raises(NetworkTimeout):
        replica_set.run({"ping": 1})
    assert replica_set.topology.selected.writable is replica_set.pool
    assert replica_set.pool.generation == 0


def test_an_error_of_an_older_generation_says_nothing(replica_set: Deployment) -> None:
    execution = Execution(replica_set.executor, Command(Namespace("x"), {"ping": 1}))
    execution.advance()
    execution.checked_out(replica_set.connect(), 1)
    execution.advance()
    replica_set.pool.clear()  # another execution has noted the failure
    error = lost()
    assert execution.failed(error) is error
    execution.end()
    assert replica_set.topology.selected.writable is replica_set.pool
    assert replica_set.pool.generation == 1


def test_waiting_in_vain_says_nothing_about_the_server(replica_set: Deployment) -> None:
    replica_set.script["check out"].append(WaitQueueTimeoutError("all in use"))
    with pytest.raises(WaitQueueTimeoutError):
        replica_set.run({"find": "y"}, retryable_read=True)
    assert replica_set.steps == ["check out"]
    assert replica_set.topology.selected.writable is replica_set.pool


def test_a_selection_that_fails_says_nothing_about_the_server_before(
    replica_set: Deployment,
) -> None:
    replica_set.script["exchange"].append({"ok": 0, "code": 10107, "errmsg": "not primary"})
    replica_set.script["select server"].append(lost())
    with pytest.raises(AutoReconnect):
        replica_set.run({"find": "y"}, retryable_read=True)
    assert replica_set.pool.generation == 0


# Error replies


def test_allowed_errors_are_results(replica_set: Deployment) -> None:
    for allowed, code, returned in (
        (None, 5, True),
        ([5], 5, True),
        ([5], 6, False),
        (["gone"], None, True),
    ):
        answer = {"ok": 0, "errmsg": "gone", **({} if code is None else {"code": code})}
        replica_set.script["exchange"].append(answer)
        operation = Command(Namespace("x"), {"ping": 1})
        operation.allow_errors(allowed)
        if returned:
            assert replica_set.run(operation) == answer
        else:
            with pytest.raises(OperationFailure, match="gone"):
                replica_set.run(operation)


def test_an_error_is_explained_where_somebody_can() -> None:
    asked = []

    def explain(answer: Any, address: Any, database: str) -> str:
        asked.append((answer["code"], address, database))
        return "log in first"

    deployment = Deployment(primary(), explain=explain)
    deployment.script["exchange"].append({"ok": 0, "code": 13, "errmsg": "unauthorized"})
    with pytest.raises(OperationFailure, match="unauthorized; log in first"):
        deployment.run({"ping": 1})
    assert asked == [(13, SERVER, "x")]


def test_a_reply_that_is_no_document_is_an_error(replica_set: Deployment) -> None:
    execution = Execution(replica_set.executor, Command(Namespace("x"), {"ping": 1}))
    execution.advance()
    execution.checked_out(replica_set.connect(), 1)
    execution.advance()
    with pytest.raises(bson.InvalidBSON):
        execution.received_reply(b"\x05\0\0\0\x01")
    execution.end()


def test_a_reply_that_cannot_be_parsed_names_its_command(replica_set: Deployment) -> None:
    operation = Command(Namespace("x"), {"count": "y"}, parse=lambda reply: reply["n"])
    with pytest.raises(ProtocolError, match="'count'"):
        replica_set.run(operation)


# Reauthentication

AGAIN = {"ok": 0, "code": 391, "errmsg": "reauthenticate"}


class LoggedIn(Deployment):
    """Its connections are logged in."""

    def connect(self, opening: object = None) -> Connection:
        connection = super().connect()
        connection.login = object()
        return connection


def test_error_391_has_the_connection_logged_in_again_and_the_command_repeated() -> None:
    deployment = LoggedIn(primary())
    deployment.script["exchange"].append(AGAIN)
    assert deployment.run({"insert": "y"}, retryable_write=True) == OK
    assert deployment.steps == ["check out", "exchange", "authenticate", "exchange", "done"]
    first, second = deployment.commands
    assert first == second  # one write, one number
    assert deployment.execution.attempt == 1


def test_that_is_done_once() -> None:
    deployment = LoggedIn(primary())
    deployment.script["exchange"].extend([AGAIN, AGAIN])
    with pytest.raises(OperationFailure, match="reauthenticate"):
        deployment.run({"find": "y"}, retryable_read=True)
    assert deployment.steps == ["check out", "exchange", "authenticate", "exchange"]


def test_a_login_that_fails_is_the_commands_error() -> None:
    deployment = LoggedIn(primary())
    deployment.script["exchange"].append(AGAIN)
    deployment.script["authenticate"].append(OperationFailure("wrong password", 18))
    with pytest.raises(OperationFailure, match="wrong password"):
        deployment.run({"find": "y"}, retryable_read=True)
    assert deployment.steps == ["check out", "exchange", "authenticate"]


def test_a_second_attempt_may_log_in_too() -> None:
    deployment = LoggedIn(primary())
    deployment.script["exchange"].extend([AGAIN, lost(), AGAIN])
    assert deployment.run({"find": "y"}, retryable_read=True) == OK
    login = ["exchange", "authenticate", "exchange"]
    assert deployment.steps == [
        *("check out", *login, "select server", "check out", *login, "done")
    ]


def test_without_a_login_391_is_an_error_like_others(replica_set: Deployment) -> None:
    replica_set.script["exchange"].append(AGAIN)
    with pytest.raises(OperationFailure, match="reauthenticate"):
        replica_set.run({"ping": 1})
    assert replica_set.steps == ["check out", "exchange"]


# In the background: what is said for good order, on idle connections


def background(deployment: Deployment, document: Any = None) -> Any:
    operation = Command(Namespace("admin"), document or {"endSessions": []})
    deployment.steps.clear()
    execution = Execution(deployment.executor, operation, background=True)
    return deployment.carry_out(execution)


def test_without_an_idle_connection_nothing_is_sent(replica_set: Deployment) -> None:
    replica_set.script["check out"].append(None)
    assert background(replica_set) is NO_IDLE_CONNECTION
    assert replica_set.steps == ["check out", "done"]


def test_a_dead_connection_says_nothing_about_the_others(replica_set: Deployment) -> None:
    replica_set.script["exchange"].extend([lost(), lost()])
    assert background(replica_set) == OK
    assert replica_set.steps == ["check out", "exchange"] * 2 + WARM
    assert replica_set.topology.selected.writable is replica_set.pool
    assert replica_set.pool.generation == 0


def test_when_all_idle_connections_are_dead_the_last_ones_error_is_told(
    replica_set: Deployment,
) -> None:
    error = lost()
    replica_set.script["exchange"].extend([lost(), error])
    replica_set.script["check out"].extend([OK, OK, None])
    assert background(replica_set) is error


@pytest.mark.parametrize("error", [NetworkTimeout("silent"), OperationFailure("no", 91)])
def test_other_failures_end_it_and_say_nothing_about_the_server(
    replica_set: Deployment, error: Exception
) -> None:
    replica_set.script["exchange"].append(error)
    with pytest.raises(type(error)):
        background(replica_set)
    assert replica_set.topology.selected.writable is replica_set.pool
    assert replica_set.pool.generation == 0


def test_a_login_that_has_expired_is_not_renewed_for_it() -> None:
    deployment = LoggedIn(primary())
    deployment.script["exchange"].append(AGAIN)
    with pytest.raises(OperationFailure, match="reauthenticate"):
        background(deployment)
    assert deployment.steps == ["check out", "exchange"]


# Out of turn


def test_what_does_not_belong_to_the_step_is_refused(replica_set: Deployment) -> None:
    replica_set.says(None)
    execution = Execution(replica_set.executor, Command(Namespace("x"), {"ping": 1}))
    events: dict[str, Any] = {
        "selected": lambda: execution.selected(replica_set.pool),
        "check out": lambda: execution.checked_out(replica_set.connect(), 1),
        "exchange": lambda: execution.received_reply(bson.encode(OK)),
        "send only": execution.sent_only,
        "authenticate": execution.authenticated,
    }

    def refused(*but: str) -> None:
        for name, event in events.items():
            if name not in but:
                with pytest.raises(InvalidOperation, match="does not belong"):
                    event()

    refused("selected")
    events["selected"]()
    refused("check out")
    with pytest.raises(InvalidOperation):
        execution.checked_out(None, 1)
    with pytest.raises(InvalidOperation):
        Execution.__init__(execution, replica_set.executor, Command(Namespace("x"), {"a": 1}))
    events["check out"]()
    refused()
    execution.advance()
    refused("exchange", "send only")
    events["exchange"]()
    refused()
    execution.end()
    execution.end()
    refused()
    for over in (execution.advance, lambda: execution.failed(lost())):
        with pytest.raises(InvalidOperation):
            over()


def test_objects_that_were_never_initialized_are_refused(replica_set: Deployment) -> None:
    operation = Command(Namespace("x"), {"ping": 1})
    bare = Execution.__new__(Execution)
    with pytest.raises(InvalidOperation):
        bare.advance()
    bare.end()
    for executor, request in (
        (Executor.__new__(Executor), operation),
        (replica_set.executor, Command.__new__(Command)),
    ):
        with pytest.raises(TypeError):
            Execution(executor, request)
    with pytest.raises(TypeError):
        Execution(replica_set.executor, operation, ServerCursor.__new__(ServerCursor))
    with pytest.raises(TypeError):
        replica_set.executor.sessions.give_back(None)  # type: ignore[arg-type]


# The executor


def test_how_to_wait_is_a_subclasss_matter(replica_set: Deployment) -> None:
    executor = Executor(replica_set.topology, retry_reads=True, retry_writes=True)
    with pytest.raises(NotImplementedError):
        executor.execute(Command(Namespace("x"), {"ping": 1}))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_child_uses_none_of_the_parents_sessions(replica_set: Deployment) -> None:
    replica_set.run({"ping": 1})
    sessions = replica_set.executor.sessions
    child = os.fork()
    if child == 0:
        os._exit(0 if (sessions.forks, sessions.idle) == (1, []) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert (sessions.forks, len(sessions.idle)) == (0, 1)


def test_a_closed_executor_has_closed_its_topology(replica_set: Deployment) -> None:
    replica_set.run({"ping": 1})
    replica_set.executor.close()
    replica_set.executor.close()
    assert replica_set.executor.closed
    assert replica_set.executor.sessions.idle == []
    assert replica_set.topology.selected.writable is None
    with pytest.raises(InvalidOperation):
        replica_set.topology.select()


# Events


class CommandNotes(monitoring.CommandListener):
    def __init__(self) -> None:
        self.events: list[Any] = []

    def started(self, event: Any) -> None:
        self.events.append(event)

    succeeded = failed = started

    @property
    def shown(self) -> list[tuple[str, str]]:
        return [(type(each).__name__[7:-5], each.command_name) for each in self.events]


def observed(hello: dict[str, Any]) -> tuple[Deployment, CommandNotes]:
    notes = CommandNotes()
    return Deployment(hello, publisher=Publisher((notes,))), notes


def test_a_command_is_told_before_and_after() -> None:
    deployment, notes = observed(primary(connectionId=42))
    deployment.run({"ping": 1})
    started, succeeded = notes.events
    assert notes.shown == [("Started", "ping"), ("Succeeded", "ping")]
    assert started.command["lsid"] == deployment.commands[0]["lsid"]
    assert (started.database_name, started.connection_id) == ("x", SERVER)
    assert started.server_connection_id == succeeded.server_connection_id == 42
    assert succeeded.reply == OK


def test_attempts_share_the_operations_id() -> None:
    deployment, notes = observed(primary())
    deployment.script["exchange"] += [lost(), {"ok": 0, "code": 11600, "errmsg": "x"}]
    with pytest.raises(NotPrimaryError):
        deployment.run({"ping": 1}, retryable_read=True)
    assert [kind for kind, _ in notes.shown] == ["Started", "Failed", "Started", "Failed"]
    assert len({each.operation_id for each in notes.events}) == 1
    assert len({each.request_id for each in notes.events}) == 2
    assert notes.events[1].failure == {
        "errmsg": "server: connection lost",
        "errtype": "AutoReconnect",
    }
    assert notes.events[3].failure["code"] == 11600


def test_a_command_that_reauthenticates_is_told_twice() -> None:
    deployment, notes = observed(primary())
    connection = deployment.connect()
    connection.login = object()  # type: ignore[assignment]
    deployment.script["check out"].append(connection)
    deployment.script["exchange"].append(AGAIN)
    deployment.run({"ping": 1})
    assert [kind for kind, _ in notes.shown] == ["Started", "Failed", "Started", "Succeeded"]


def test_what_is_not_sent_is_not_told() -> None:
    deployment, notes = observed(primary())
    with pytest.raises(DocumentTooLarge):
        deployment.run({"ping": 1, "x": bytes(17 * 1024 * 1024)})
    assert notes.events == []


def test_who_is_told_of_a_failure_may_use_the_connection_again() -> None:
    class Looks(CommandNotes):
        def failed(self, event: Any) -> None:
            idle.append(deployment.pool.idle_count)

    idle: list[int] = []
    deployment = Deployment(primary(), publisher=Publisher((Looks(),)))
    deployment.script["exchange"].append(
        OperationFailure("told by the runner", 1, {"ok": 0, "code": 1})
    )
    before = deployment.pool.idle_count
    with pytest.raises(OperationFailure):
        deployment.run({"ping": 1})
    assert idle == [before + 1]


def test_an_interrupted_command_fails() -> None:
    deployment, notes = observed(primary())
    deployment.script["exchange"].append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        deployment.run({"ping": 1})
    assert notes.shown == [("Started", "ping"), ("Failed", "ping")]
    assert notes.events[1].failure["errtype"] == "KeyboardInterrupt"


def test_a_reply_that_is_none_is_a_failure() -> None:
    deployment, notes = observed(primary())
    execution = Execution(deployment.executor, Command(Namespace("x"), {"ping": 1}))
    execution.advance()
    execution.checked_out(deployment.connect(), SECOND)
    execution.advance()

    def run() -> None:
        try:
            execution.received_reply(b"\5\0\0\0")
        finally:
            execution.end()

    with pytest.raises(bson.errors.InvalidBSON):
        run()
    assert [kind for kind, _ in notes.shown] == ["Started", "Failed"]
    assert notes.events[1].failure["errtype"] == "InvalidBSON"
