"""Each rule by itself: retrying, labels, which error is raised, what an error says of a server."""

from __future__ import annotations

from typing import Any

import pytest

from mongokey.errors import (
    AutoReconnect,
    ConnectionFailure,
    DuplicateKeyError,
    MongoError,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ProtocolError,
    ServerSelectionTimeoutError,
    TLSError,
    WaitQueueTimeoutError,
    WriteConcernError,
)
from mongokey.execution.rules import (
    error_to_raise,
    found_no_connection,
    needs_reauthentication,
    needs_retryable_write_label,
    should_retry,
)

# retryable-reads.md, "Retryable Error".
RETRYABLE = (6, 7, 64, 89, 91, 134, 189, 262, 9001, 10058, 10107, 11600, 11602, 13435, 13436)


def failure(code: Any, *labels: str) -> OperationFailure:
    return OperationFailure("x", code, {"ok": 0, "code": code, "errorLabels": list(labels)})


def not_primary(code: Any = 10107) -> NotPrimaryError:
    return NotPrimaryError("x", {"ok": 0, "code": code})


NETWORK = [AutoReconnect("x"), NetworkTimeout("x"), TLSError("x"), ConnectionFailure("x")]
NO_CONNECTION = [WaitQueueTimeoutError("x"), ServerSelectionTimeoutError("x")]


# Retrying


def retries(error: MongoError, kind: str, *, sent: bool = True) -> bool:
    return should_retry(
        error, retryable_read=kind == "read", retryable_write=kind == "write", sent=sent
    )


@pytest.mark.parametrize("error", [*NETWORK, not_primary()], ids=repr)
def test_a_read_is_tried_again_after_every_failure_of_the_network(error: MongoError) -> None:
    assert retries(error, "read")
    assert retries(error, "read", sent=False)


@pytest.mark.parametrize("code", RETRYABLE)
def test_a_read_is_tried_again_after_the_servers_retryable_codes(code: int) -> None:
    assert retries(failure(code), "read")


@pytest.mark.parametrize("code", [None, 0, 1, 13, 18, 50, 112, 391, 11000, "91", 91.5])
def test_a_read_is_not_tried_again_after_other_codes(code: Any) -> None:
    assert not retries(failure(code), "read")


@pytest.mark.parametrize("code", [*RETRYABLE, 1, None])
def test_a_write_is_tried_again_only_where_its_error_is_labelled(code: Any) -> None:
    assert not retries(failure(code), "write")
    assert retries(failure(code, "RetryableWriteError"), "write")
    assert not retries(failure(code, "TransientTransactionError"), "write")


@pytest.mark.parametrize("error", NETWORK, ids=repr)
def test_a_write_that_was_not_sent_is_tried_again(error: MongoError) -> None:
    assert retries(error, "write", sent=False)
    assert not retries(error, "write", sent=True)


def test_an_error_that_is_not_the_networks_does_not_repeat_an_unsent_write() -> None:
    assert not retries(ProtocolError("x"), "write", sent=False)
    assert not retries(failure(1), "write", sent=False)


@pytest.mark.parametrize("error", NO_CONNECTION, ids=repr)
@pytest.mark.parametrize("kind", ["read", "write"])
def test_waiting_in_vain_for_a_connection_is_not_repeated(error: MongoError, kind: str) -> None:
    assert found_no_connection(error)
    assert not retries(error, kind, sent=False)


@pytest.mark.parametrize("error", [*NETWORK, not_primary(), failure(1)], ids=repr)
def test_other_errors_are_not_those_of_waiting(error: MongoError) -> None:
    assert not found_no_connection(error)


@pytest.mark.parametrize("error", [*NETWORK, not_primary(), failure(91)], ids=repr)
def test_what_is_neither_read_nor_retryable_write_is_not_tried_again(error: MongoError) -> None:
    error._add_error_label("RetryableWriteError")
    assert not retries(error, "neither", sent=False)


# Labels


@pytest.mark.parametrize("error", [AutoReconnect("x"), NetworkTimeout("x"), TLSError("x")])
@pytest.mark.parametrize("version", [None, 8, 9, 21])
def test_a_lost_connection_is_always_labelled(error: MongoError, version: Any) -> None:
    assert needs_retryable_write_label(error, version)


@pytest.mark.parametrize("error", [failure(91), not_primary(), WriteConcernError("x", 91, {})])
@pytest.mark.parametrize("version", [None, 9, 21])
def test_servers_since_4_4_label_their_own_errors(error: MongoError, version: Any) -> None:
    assert not needs_retryable_write_label(error, version)


@pytest.mark.parametrize("code", RETRYABLE)
def test_retryable_errors_of_older_servers_are_labelled(code: int) -> None:
    assert needs_retryable_write_label(failure(code), 8)
    assert needs_retryable_write_label(not_primary(code), 0)
    assert needs_retryable_write_label(WriteConcernError("x", code, {"code": code}), 8)


@pytest.mark.parametrize("code", [None, 1, 11000, "91", [91], {}])
def test_other_errors_of_older_servers_are_not(code: Any) -> None:
    assert not needs_retryable_write_label(failure(code), 8)
    assert not needs_retryable_write_label(not_primary(code), 8)
    assert not needs_retryable_write_label(DuplicateKeyError("x", 11000, None), 8)


@pytest.mark.parametrize("error", NO_CONNECTION, ids=repr)
def test_waiting_in_vain_is_not_labelled(error: MongoError) -> None:
    assert not needs_retryable_write_label(error, 8)
    assert not needs_retryable_write_label(error, None)


# Which error is raised

FIRST = AutoReconnect("the first attempt's")


@pytest.mark.parametrize("error", [*NETWORK, *NO_CONNECTION, failure(1, "NoWritesPerformed")])
def test_the_error_of_a_single_attempt_is_raised(error: MongoError) -> None:
    for write in (False, True):
        assert error_to_raise(error, None, retryable_write=write, sent=False) is error


@pytest.mark.parametrize("write", [False, True])
def test_the_second_attempts_error_is_raised(write: bool) -> None:
    for error in (*NETWORK, failure(1), not_primary()):
        assert error_to_raise(error, FIRST, retryable_write=write, sent=True) is error


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("sent", [False, True])
def test_what_wrote_nothing_does_not_hide_the_first_error(write: bool, sent: bool) -> None:
    error = failure(1, "NoWritesPerformed")
    assert error_to_raise(error, FIRST, retryable_write=write, sent=sent) is FIRST


@pytest.mark.parametrize("error", [*NETWORK, WaitQueueTimeoutError("x")], ids=repr)
def test_a_write_that_was_not_sent_again_raises_the_first_error(error: MongoError) -> None:
    assert error_to_raise(error, FIRST, retryable_write=True, sent=False) is FIRST
    assert error_to_raise(error, FIRST, retryable_write=False, sent=False) is error


@pytest.mark.parametrize("write", [False, True])
def test_no_server_for_the_second_attempt_raises_the_first_error(write: bool) -> None:
    error = ServerSelectionTimeoutError("x")
    assert error_to_raise(error, FIRST, retryable_write=write, sent=False) is FIRST


# Reauthentication


def test_only_error_391_asks_for_a_new_login() -> None:
    assert needs_reauthentication({"ok": 0, "code": 391})
    for answer in ({"ok": 0}, {"code": 18}, {"code": "391"}, {"code": None}):
        assert not needs_reauthentication(answer)
