"""The state machine of transactions, their options, and when they are tried again: without a
server, a clock or chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mongokey.client_session import SessionOptions, TransactionOptions
from mongokey.errors import (
    AutoReconnect,
    ConfigurationError,
    ExecutionTimeout,
    InvalidOperation,
    MongoError,
    NetworkTimeout,
    OperationFailure,
    WTimeoutError,
)
from mongokey.read_concern import ReadConcern
from mongokey.read_preferences import ReadPreference
from mongokey.sessions import transaction as states
from mongokey.sessions.transaction import Transaction, label_commit_error
from mongokey.sessions.transaction_retries import TIME_LIMIT_NS, TransactionRetries
from mongokey.write_concern import WriteConcern

TRANSIENT, UNKNOWN = "TransientTransactionError", "UnknownTransactionCommitResult"


def started(**options: Any) -> Transaction:
    transaction = Transaction()
    transaction.start(TransactionOptions(**options))
    transaction.number = 7
    return transaction


def in_progress(**options: Any) -> Transaction:
    transaction = started(**options)
    transaction.fields({})
    return transaction


# Commands


def test_the_first_command_starts_it_and_has_its_read_concern() -> None:
    transaction = started(read_concern=ReadConcern("snapshot"))
    assert transaction.fields({"afterClusterTime": 5}) == {
        "startTransaction": True,
        "readConcern": {"afterClusterTime": 5, "level": "snapshot"},
        "txnNumber": 7,
        "autocommit": False,
    }
    assert transaction.state is states.IN_PROGRESS
    assert transaction.fields({}) == {"txnNumber": 7, "autocommit": False}


def test_a_commit_that_is_repeated_waits_for_a_majority() -> None:
    transaction = in_progress(write_concern=WriteConcern(w=1, j=True))
    assert transaction.begin_commit()
    assert transaction.fields({})["writeConcern"] == {"w": 1, "j": True}
    repeated = {"w": "majority", "j": True, "wtimeout": 10_000}
    assert transaction.fields({})["writeConcern"] == repeated
    transaction.ended()
    # By the user, too.
    assert transaction.begin_commit()
    assert transaction.fields({})["writeConcern"] == repeated


def test_a_wtimeout_that_was_given_is_kept() -> None:
    transaction = in_progress(write_concern=WriteConcern(w=3, wtimeout=50))
    transaction.begin_commit()
    transaction.fields({})
    assert transaction.fields({})["writeConcern"] == {"w": "majority", "wtimeout": 50}


def test_an_abort_has_the_write_concern_each_time() -> None:
    transaction = in_progress(write_concern=WriteConcern(w=2))
    transaction.begin_abort()
    for _ in range(2):
        assert transaction.fields({})["writeConcern"] == {"w": 2}


def test_a_commit_that_an_overloaded_server_did_not_look_at_is_no_attempt() -> None:
    transaction = in_progress()
    transaction.completed = True
    transaction.begin_commit()
    transaction.fields({})
    transaction.not_looked_at()
    assert "writeConcern" not in transaction.fields({})
    assert transaction.state is states.IN_PROGRESS
    # After one that it may have carried out, the next one is a repetition all the same.
    transaction.fields({})
    transaction.not_looked_at()
    assert transaction.fields({})["writeConcern"]["w"] == "majority"


@pytest.mark.parametrize("completed", [False, True])
def test_an_overloaded_server_may_not_know_the_transaction_yet(completed: bool) -> None:
    transaction = in_progress()
    transaction.completed = completed
    transaction.not_looked_at()
    assert ("startTransaction" in transaction.fields({})) is not completed


# States


def committed() -> Transaction:
    transaction = in_progress()
    transaction.begin_commit()
    transaction.ended()
    return transaction


def committed_empty() -> Transaction:
    transaction = started()
    assert not transaction.begin_commit()
    return transaction


def aborted() -> Transaction:
    transaction = in_progress()
    assert transaction.begin_abort()
    transaction.ended()
    return transaction


@pytest.mark.parametrize(
    ("make", "call", "text"),
    [
        (Transaction, "begin_commit", "No transaction started"),
        (Transaction, "begin_abort", "No transaction started"),
        (committed, "begin_abort", "Cannot call abortTransaction after calling commitTransaction"),
        (committed_empty, "begin_abort", "Cannot call abortTransaction after calling commit"),
        (aborted, "begin_abort", "Cannot call abortTransaction twice"),
        (aborted, "begin_commit", "Cannot call commitTransaction after calling abortTransaction"),
    ],
)
def test_what_cannot_be_ended(make: Callable[[], Transaction], call: str, text: str) -> None:
    transaction = make()
    before = transaction.state
    with pytest.raises(InvalidOperation, match=text):
        getattr(transaction, call)()
    assert transaction.state is before


@pytest.mark.parametrize("make", [started, in_progress])
def test_one_at_a_time(make: Callable[[], Transaction]) -> None:
    transaction = make()
    with pytest.raises(InvalidOperation, match="Transaction already in progress"):
        transaction.start(TransactionOptions())


@pytest.mark.parametrize("make", [Transaction, committed, committed_empty, aborted])
def test_another_one_knows_nothing_of_the_one_before(make: Callable[[], Transaction]) -> None:
    transaction = make()
    transaction.recovery_token, transaction.attempts = b"token", 3
    transaction.start(TransactionOptions())
    assert transaction.state is states.STARTING
    assert (transaction.recovery_token, transaction.attempts, transaction.number) == (None, 0, 0)


def test_a_transaction_without_a_command_ends_without_one() -> None:
    transaction = started()
    assert not transaction.begin_abort()
    assert transaction.state is states.ABORTED
    transaction = committed_empty()
    assert transaction.state is states.COMMITTED_EMPTY
    assert not transaction.begin_commit()


# Errors


def failure(code: int, *labels: str) -> OperationFailure:
    return OperationFailure("refused", code, {"ok": 0, "code": code, "errorLabels": list(labels)})


def test_a_lost_connection_makes_the_whole_transaction_worth_another_try() -> None:
    error = AutoReconnect("lost")
    assert in_progress().failed(error)  # and it is unpinned
    assert error.has_error_label(TRANSIENT)


@pytest.mark.parametrize(
    ("error", "unpins"),
    [(failure(11601), False), (failure(112, TRANSIENT), True)],
)
def test_a_servers_error_says_itself_what_it_is(error: OperationFailure, unpins: bool) -> None:
    assert in_progress().failed(error) is unpins
    assert error.has_error_label(TRANSIENT) is unpins


def test_of_a_commit_a_lost_connection_says_nothing_of_the_transaction() -> None:
    transaction = in_progress()
    transaction.begin_commit()
    error = AutoReconnect("lost")
    assert transaction.failed(error)
    assert not error.has_error_label(TRANSIENT)


@pytest.mark.parametrize(
    ("error", "is_unknown"),
    [
        (AutoReconnect("lost"), True),
        (failure(91), True),
        (failure(50), True),
        (WTimeoutError("late", 64, {"errInfo": {"wtimeout": True}}), True),
        (failure(251, TRANSIENT), False),
        (failure(20), False),
    ],
)
def test_whether_a_commit_was_done_may_be_unknown(error: MongoError, is_unknown: bool) -> None:
    label_commit_error(error)
    assert error.has_error_label(UNKNOWN) is is_unknown


# with_transaction


def test_the_pause_grows_up_to_half_a_second() -> None:
    retries = TransactionRetries(0, lambda: 1.0)
    pauses = []
    for _ in range(15):
        pauses.append(retries.begin(0))
        assert retries.repeats_transaction(failure(112, TRANSIENT), 0)
    ms = [round(each / 1e6, 2) for each in pauses]
    assert ms[:4] == [0, 7.5, 11.25, 16.88]
    assert ms[-1] == ms[-2] == 500


def test_chance_shortens_the_pause() -> None:
    retries = TransactionRetries(0, lambda: 0.5)
    retries.begin(0)
    assert retries.begin(0) == 3_750_000


def test_what_is_not_transient_is_not_repeated() -> None:
    retries = TransactionRetries(0, lambda: 0.0)
    assert not retries.repeats_transaction(failure(20), 0)
    assert not retries.repeats_transaction(KeyError("x"), 0)
    assert not retries.repeats_commit(failure(20), 0)
    # The server had no time to commit: it would have none again.
    assert not retries.repeats_commit(failure(50, UNKNOWN), 0)
    assert retries.repeats_commit(failure(91, UNKNOWN), 0)


@pytest.mark.parametrize("label", [TRANSIENT, UNKNOWN])
def test_after_the_limit_an_error_of_time_tells_of_the_last_one(label: str) -> None:
    retries = TransactionRetries(1_000, lambda: 0.0)
    last = failure(91, label)
    again = retries.repeats_commit if label == UNKNOWN else retries.repeats_transaction
    assert again(last, TIME_LIMIT_NS + 999)
    with pytest.raises(NetworkTimeout, match="120 s") as raised:
        again(last, TIME_LIMIT_NS + 1_000)
    assert raised.value.__cause__ is last
    assert raised.value.has_error_label(label)
    assert raised.value.timeout


def test_a_pause_that_would_pass_the_limit_is_not_begun() -> None:
    retries = TransactionRetries(0, lambda: 1.0)
    retries.begin(0)
    assert retries.repeats_transaction(failure(112, TRANSIENT), TIME_LIMIT_NS - 1)
    with pytest.raises(NetworkTimeout):
        retries.begin(TIME_LIMIT_NS - 1)


def test_an_error_of_time_is_raised_as_it_is() -> None:
    retries = TransactionRetries(0, lambda: 0.0)
    last = ExecutionTimeout("late", 50, {"errorLabels": [TRANSIENT]})
    with pytest.raises(ExecutionTimeout) as raised:
        retries.repeats_transaction(last, TIME_LIMIT_NS)
    assert raised.value is last


# Options


def test_a_transaction_is_acknowledged() -> None:
    with pytest.raises(ConfigurationError, match="unacknowledged write concern"):
        TransactionOptions(write_concern=WriteConcern(w=0))


@pytest.mark.parametrize(
    "options",
    [
        {"read_concern": "majority"},
        {"write_concern": {"w": 1}},
        {"read_preference": "primary"},
        {"max_commit_time_ms": "5"},
    ],
)
def test_options_of_other_types_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(options))):
        TransactionOptions(**options)


def test_options_are_what_was_given() -> None:
    options = TransactionOptions(
        ReadConcern("local"), WriteConcern("majority"), ReadPreference.PRIMARY, 500
    )
    session = SessionOptions(default_transaction_options=options)
    assert session.default_transaction_options is options
    assert options.read_concern == ReadConcern("local")
    assert options.write_concern == WriteConcern("majority")
    assert (options.read_preference, options.max_commit_time_ms) == (ReadPreference.PRIMARY, 500)
    assert "max_commit_time_ms=500" in repr(session)


def test_reads_are_causal_unless_they_are_of_a_snapshot() -> None:
    assert SessionOptions().causal_consistency
    assert not SessionOptions(snapshot=True).causal_consistency
    assert not SessionOptions(causal_consistency=False).causal_consistency
    with pytest.raises(ConfigurationError, match="snapshot"):
        SessionOptions(causal_consistency=True, snapshot=True)
    with pytest.raises(TypeError, match="default_transaction_options"):
        SessionOptions(default_transaction_options=5)  # type: ignore[arg-type]
