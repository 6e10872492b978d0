"""What commands in an explicit session carry, and what becomes of its server session: driven by a
script, without a socket."""

from __future__ import annotations

import gc
import os
from types import SimpleNamespace
from typing import Any

import pytest

from mongokey.bson.int64 import Int64
from mongokey.bson.timestamp import Timestamp
from mongokey.command_cursor import CommandCursor
from mongokey.commands.command import Command, CursorCommand
from mongokey.commands.inherited_options import InheritedOptions
from mongokey.connection.connection import Connection
from mongokey.errors import ConfigurationError, InvalidOperation, OperationFailure
from mongokey.execution.operation import Namespace
from mongokey.faces.sessions import options_in, session_for
from mongokey.read_concern import ReadConcern
from mongokey.read_preferences import ReadPreference, Secondary
from mongokey.sessions.explicit_session import ExplicitSession
from mongokey.sessions.options import SessionOptions, TransactionOptions
from mongokey.write_concern import WriteConcern
from tests.unit._executions import Deployment, lost

MEMBER = {"isWritablePrimary": True, "setName": "s", "logicalSessionTimeoutMinutes": 30}
HELLO: dict[str, Any] = {**MEMBER, "ok": 1, "minWireVersion": 0, "maxWireVersion": 21}
CLIENT = SimpleNamespace(
    read_concern=ReadConcern(), write_concern=WriteConcern(), read_preference=ReadPreference.PRIMARY
)


@pytest.fixture
def deployment() -> Deployment:
    return Deployment(HELLO)


def start(deployment: Deployment, **options: Any) -> ExplicitSession:
    return ExplicitSession(CLIENT, deployment.executor, SessionOptions(**options))


def inherited(**options: Any) -> InheritedOptions:
    from mongokey.bson.codec_options import DEFAULT_CODEC_OPTIONS

    values = {
        "read_preference": ReadPreference.PRIMARY,
        "write_concern": WriteConcern(),
        "read_concern": ReadConcern(),
        **options,
    }
    return InheritedOptions(DEFAULT_CODEC_OPTIONS, **values)


def run(
    deployment: Deployment,
    session: ExplicitSession,
    document: dict[str, Any],
    reply: Any = None,
    options: InheritedOptions | None = None,
    **kinds: Any,
) -> dict[str, Any]:
    """Carry out a command in `session`; returns what was sent."""
    command = Command(Namespace("x", "y"), document, **kinds)
    if options is not None:
        command.for_reading(options)
    if reply is not None:
        deployment.script["exchange"].append(reply)
    deployment.commands.clear()
    deployment.executor.execute_in(command, session)
    return deployment.commands[-1]


def at(seconds: int) -> dict[str, Any]:
    return {"ok": 1, "operationTime": Timestamp(seconds, 1)}


# Server sessions


def test_all_commands_have_the_same_server_session(deployment: Deployment) -> None:
    session = start(deployment)
    first = run(deployment, session, {"ping": 1})["lsid"]
    deployment.run({"ping": 1})
    implicit = deployment.commands[-1]["lsid"]
    assert run(deployment, session, {"ping": 1})["lsid"] == first != implicit
    assert len(deployment.executor.sessions.idle) == 1  # the implicit one


def test_it_is_borrowed_at_the_first_use_and_given_back_at_the_end(deployment: Deployment) -> None:
    deployment.run({"ping": 1})
    (idle,) = deployment.executor.sessions.idle
    session = start(deployment)
    assert deployment.executor.sessions.idle == [idle]
    assert bytes(run(deployment, session, {"ping": 1})["lsid"]["id"]) == idle.session_id
    assert deployment.executor.sessions.idle == []
    session._end()
    assert deployment.executor.sessions.idle == [idle]
    with pytest.raises(InvalidOperation, match="ended session"):
        run(deployment, session, {"ping": 1})


def test_one_that_is_let_go_gives_it_back(deployment: Deployment) -> None:
    session = start(deployment)
    run(deployment, session, {"ping": 1})
    del session
    gc.collect()
    assert len(deployment.executor.sessions.idle) == 1


def test_one_with_an_open_transaction_does_not(deployment: Deployment) -> None:
    session = start(deployment)
    session._start_transaction(TransactionOptions())
    run(deployment, session, {"ping": 1})
    del session
    gc.collect()
    assert deployment.executor.sessions.idle == []


def test_after_a_lost_connection_it_is_not_used_again(deployment: Deployment) -> None:
    session = start(deployment)
    deployment.script["exchange"] = [lost(), {"ok": 1}]
    sent = run(deployment, session, {"find": "y"}, retryable_read=True)
    assert session._server_session is not None
    assert bytes(sent["lsid"]["id"]) == session._server_session.session_id
    assert session._server_session.dirty
    session._end()
    assert deployment.executor.sessions.idle == []


def test_it_belongs_to_its_client(deployment: Deployment) -> None:
    with pytest.raises(InvalidOperation, match="another client"):
        run(Deployment(HELLO), start(deployment), {"ping": 1})


def test_only_sessions_are_sessions(deployment: Deployment) -> None:
    with pytest.raises(ValueError, match="start_session"):
        session_for("session", deployment.executor)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_cannot_use_it(deployment: Deployment) -> None:
    session = start(deployment)
    run(deployment, session, {"ping": 1})
    pid = os.fork()
    if pid == 0:
        try:
            run(deployment, session, {"ping": 1})
        except InvalidOperation as error:
            session._end()
            idle = deployment.executor.sessions.idle
            os._exit(0 if "forked" in str(error) and not idle else 1)
        os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    run(deployment, session, {"ping": 1})


def test_a_write_that_nobody_answers_cannot_be_in_one(deployment: Deployment) -> None:
    command = Command(Namespace("x", "y"), {"insert": "y"})
    command.without_answer()
    with pytest.raises(ConfigurationError, match="w=0"):
        deployment.executor.execute_in(command, start(deployment))
    assert deployment.commands == []


def test_servers_without_sessions_are_said_to_have_none() -> None:
    hello = {**HELLO}
    del hello["logicalSessionTimeoutMinutes"]
    deployment = Deployment(hello)
    with pytest.raises(ConfigurationError, match="not supported"):
        run(deployment, start(deployment), {"ping": 1})


def test_a_retryable_write_keeps_its_number_and_the_next_has_another(
    deployment: Deployment,
) -> None:
    session = start(deployment)
    refused = OperationFailure(
        "x", 91, {"ok": 0, "code": 91, "errorLabels": ["RetryableWriteError"]}
    )
    deployment.script["exchange"] = [refused, {"ok": 1}]
    run(deployment, session, {"insert": "y"}, retryable_write=True)
    assert [each["txnNumber"] for each in deployment.commands] == [1, 1]
    assert run(deployment, session, {"insert": "y"}, retryable_write=True)["txnNumber"] == 2
    assert "txnNumber" not in run(deployment, session, {"ping": 1})


# Causal consistency, snapshots


def test_reads_and_writes_come_after_what_the_session_has_seen(deployment: Deployment) -> None:
    session = start(deployment)
    assert "readConcern" not in run(deployment, session, {"find": "y"}, at(5))
    assert session.operation_time == Timestamp(5, 1)
    after = {"afterClusterTime": Timestamp(5, 1)}
    for name in ("find", "insert", "drop", "count"):
        assert run(deployment, session, {name: "y"}, at(4))["readConcern"] == after
    assert "readConcern" not in run(deployment, session, {"ping": 1})
    options = inherited(read_concern=ReadConcern("majority"))
    sent = run(deployment, session, {"find": "y"}, options=options)
    assert sent["readConcern"] == {"level": "majority", **after}


def test_a_read_concern_among_the_commands_own_fields_is_kept(deployment: Deployment) -> None:
    session = start(deployment)
    session.advance_operation_time(Timestamp(9, 2))
    sent = run(deployment, session, {"find": "y", "readConcern": {"level": "local"}})
    assert sent["readConcern"] == {"level": "local", "afterClusterTime": Timestamp(9, 2)}


def test_errors_tell_the_time_too(deployment: Deployment) -> None:
    session = start(deployment)
    with pytest.raises(OperationFailure):
        run(deployment, session, {"find": "y"}, {**at(7), "ok": 0, "code": 20, "errmsg": "no"})
    assert session.operation_time == Timestamp(7, 1)


def test_without_causal_consistency_nothing_is_added(deployment: Deployment) -> None:
    session = start(deployment, causal_consistency=False)
    run(deployment, session, {"find": "y"}, at(5))
    assert "readConcern" not in run(deployment, session, {"find": "y"})


@pytest.mark.parametrize("in_cursor", [True, False])
def test_a_snapshot_is_of_the_first_reads_time(deployment: Deployment, in_cursor: bool) -> None:
    session = start(deployment, snapshot=True)
    time = {"atClusterTime": Timestamp(5, 3)}
    reply = (
        {"cursor": {"id": Int64(0), "ns": "x.y", "firstBatch": [], **time}} if in_cursor else time
    )
    sent = run(deployment, session, {"find": "y"}, {**at(9), **reply})
    assert sent["readConcern"] == {"level": "snapshot"}
    later = {"ok": 1, "atClusterTime": Timestamp(8, 1)}
    for name in ("aggregate", "insert", "ping"):
        sent = run(deployment, session, {name: "y"}, later)
        assert sent["readConcern"] == {"level": "snapshot", **time}
    assert "readConcern" not in run(deployment, session, {"getMore": Int64(1)})
    with pytest.raises(InvalidOperation, match="snapshot"):
        session._start_transaction(TransactionOptions())


def test_servers_before_5_0_read_no_snapshots() -> None:
    deployment = Deployment({**HELLO, "maxWireVersion": 12})
    with pytest.raises(ConfigurationError, match=r"require MongoDB 5\.0"):
        run(deployment, start(deployment, snapshot=True), {"find": "y"})


def test_the_higher_cluster_time_is_sent(deployment: Deployment) -> None:
    def cluster(seconds: int) -> dict[str, Any]:
        return {"clusterTime": Timestamp(seconds, 1)}

    session = start(deployment)
    run(deployment, session, {"ping": 1}, {"ok": 1, "$clusterTime": cluster(5)})
    assert session.cluster_time == cluster(5)
    session.advance_cluster_time(cluster(8))
    session.advance_cluster_time(cluster(7))
    assert run(deployment, session, {"ping": 1})["$clusterTime"] == cluster(8)
    deployment.script["exchange"].append({"ok": 1, "$clusterTime": cluster(9)})
    deployment.run({"ping": 1})
    assert run(deployment, session, {"ping": 1})["$clusterTime"] == cluster(9)
    assert session.cluster_time == cluster(8)


@pytest.mark.parametrize(
    ("call", "value", "error"),
    [
        ("advance_cluster_time", 5, TypeError),
        ("advance_cluster_time", {}, TypeError),
        ("advance_cluster_time", {"clusterTime": 5}, TypeError),
        ("advance_operation_time", 5, TypeError),
    ],
)
def test_times_are_of_their_types(
    deployment: Deployment, call: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="another session"):
        getattr(start(deployment), call)(value)


# Cursors


def test_a_cursor_stays_in_its_session(deployment: Deployment) -> None:
    session = start(deployment)
    command = CursorCommand(Namespace("x", "y"), {"aggregate": "y"})
    reply = {"id": Int64(5), "ns": "x.y"}
    deployment.script["exchange"] += [
        {"ok": 1, "cursor": {**reply, "firstBatch": []}},
        {"ok": 1, "cursor": {**reply, "nextBatch": [{"_id": 1}]}},
    ]
    batch = deployment.executor.execute_in(command, session)
    cursor: Any = CommandCursor._opened(None, deployment.executor, command, batch, session)
    assert cursor.session is session
    assert cursor.next() == {"_id": 1}
    lsids = [each["lsid"] for each in deployment.commands]
    assert len(lsids) == 2
    assert lsids[0] == lsids[1]
    session._end()
    with pytest.raises(InvalidOperation, match="ended"):
        cursor.next()


# Transactions


def test_a_transaction_has_its_own_options(deployment: Deployment) -> None:
    session = start(deployment)
    options = inherited(
        read_preference=Secondary(),
        write_concern=WriteConcern(w=0),
        read_concern=ReadConcern("local"),
    )
    assert options_in(session, options) is options
    session._start_transaction(TransactionOptions())
    found = options_in(session, options)
    assert found is options_in(session, options)
    assert found.read_preference == ReadPreference.PRIMARY
    assert not found.unacknowledged
    assert (found.write_concern, found.read_concern) == (WriteConcern(), ReadConcern())


def test_it_reads_the_primary_only(deployment: Deployment) -> None:
    session = start(deployment)
    session._start_transaction(TransactionOptions(read_preference=Secondary()))
    options = options_in(session, inherited())
    with pytest.raises(InvalidOperation, match="read preference in a transaction must be primary"):
        run(deployment, session, {"find": "y"}, options=options)


def test_nothing_of_it_is_sent_twice(deployment: Deployment) -> None:
    session = start(deployment)
    session._start_transaction(TransactionOptions())
    for kinds in ({"retryable_read": True}, {"retryable_write": True}):
        deployment.script["exchange"].append(lost())
        with pytest.raises(Exception, match="lost") as raised:
            run(deployment, session, {"find": "y"}, **kinds)
        assert len(deployment.commands) == 1
        assert raised.value.has_error_label("TransientTransactionError")  # type: ignore[attr-defined]
        assert not raised.value.has_error_label("RetryableWriteError")  # type: ignore[attr-defined]


@pytest.mark.parametrize("retry_writes", [True, False])
def test_a_commit_is_sent_twice_at_most(retry_writes: bool) -> None:
    deployment = Deployment(HELLO, retry_writes=retry_writes)
    session = start(deployment)
    session._start_transaction(TransactionOptions())
    run(deployment, session, {"ping": 1})
    assert session._transaction.begin_commit()
    deployment.script["exchange"] = [lost(), lost()]
    with pytest.raises(Exception, match="lost"):
        run(deployment, session, session._commit_document(), retryable_write=True)
    assert [each.get("writeConcern") for each in deployment.commands] == [
        None,
        {"w": "majority", "wtimeout": 10_000},
    ]
    assert len({each["txnNumber"] for each in deployment.commands}) == 1


def test_its_read_concern_comes_after_what_the_session_has_seen(deployment: Deployment) -> None:
    session = start(deployment)
    run(deployment, session, {"find": "y"}, at(5))
    session._start_transaction(TransactionOptions(read_concern=ReadConcern("majority")))
    sent = run(deployment, session, {"insert": "y"}, at(6))
    assert sent["readConcern"] == {"level": "majority", "afterClusterTime": Timestamp(5, 1)}
    assert "readConcern" not in run(deployment, session, {"find": "y"})


def test_what_comes_after_it_is_not_part_of_it(deployment: Deployment) -> None:
    session = start(deployment)
    session._start_transaction(TransactionOptions())
    run(deployment, session, {"ping": 1})
    session._transaction.begin_commit()
    run(deployment, session, session._commit_document(), retryable_write=True)
    session._transaction.ended()
    sent = run(deployment, session, {"insert": "y"}, retryable_write=True)
    assert sent["txnNumber"] == 2
    assert "autocommit" not in sent
    with pytest.raises(InvalidOperation, match="No transaction started"):
        session._transaction.begin_commit()


def test_a_recovery_token_is_only_a_mongoses() -> None:
    hello = {**HELLO, "msg": "isdbgrid"}
    del hello["setName"]
    for given, expected in ((hello, {"shard": "a"}), (HELLO, None)):
        deployment = Deployment(given)
        session = start(deployment)
        session._start_transaction(TransactionOptions())
        token = {"ok": 1, "recoveryToken": {"shard": "a"}}
        run(deployment, session, {"ping": 1}, token)
        assert (session._transaction.server is not None) is (expected is not None)
        session._transaction.begin_commit()
        sent = run(deployment, session, session._commit_document(), retryable_write=True)
        assert sent.get("recoveryToken") == expected
        session._transaction.ended()
        session._end()


class LoggedIn(Deployment):
    """Its connections can log in once more."""

    def connect(self, *given: Any) -> Connection:
        connection = super().connect(*given)
        connection.login = object()  # type: ignore[assignment]
        return connection


def test_a_first_command_that_wants_a_new_login_still_starts_it() -> None:
    deployment = LoggedIn(HELLO)
    session = start(deployment)
    session._start_transaction(TransactionOptions())
    run(deployment, session, {"insert": "y"}, {"ok": 0, "code": 391, "errmsg": "log in"})
    assert [each.get("startTransaction") for each in deployment.commands] == [True, True]
    assert "startTransaction" not in run(deployment, session, {"insert": "y"})
