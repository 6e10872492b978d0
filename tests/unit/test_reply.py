"""Which exception an error reply becomes, by its code, its message and its labels."""

from __future__ import annotations

from typing import Any

import pytest

from mongokey._support import server_codes, server_errors
from mongokey.errors import (
    AutoReconnect,
    BulkWriteError,
    CursorNotFound,
    DuplicateKeyError,
    ExecutionTimeout,
    MongoError,
    NotPrimaryError,
    OperationFailure,
    WriteConcernError,
    WriteError,
    WTimeoutError,
)


def raised(call: Any, *args: Any) -> Any:
    with pytest.raises(MongoError) as caught:
        call(*args)
    return caught.value


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *[(code, NotPrimaryError) for code in (91, 189, 10058, 10107, 11600, 11602, 13435, 13436)],
        *[(code, DuplicateKeyError) for code in (11000, 11001, 12582)],
        (50, ExecutionTimeout),
        (43, CursorNotFound),
        *[(code, OperationFailure) for code in (1, 2, 13, 18, 59, 112, 8000, -5, 2**40)],
        (None, OperationFailure),
    ],
)
def test_the_code_tells_the_class(code: Any, kind: type[MongoError]) -> None:
    reply = {"ok": 0.0, "errmsg": "no", "code": code}
    error = raised(server_errors.raise_command_error, reply, 21)
    assert type(error) is kind
    assert error.details == reply
    assert "no" in str(error)
    if isinstance(error, OperationFailure):
        assert error.code == code


@pytest.mark.parametrize("code", ["x", [], {}, [91], b"x", 1.5, float("nan"), float("inf")])
def test_a_code_that_is_no_number_is_none(code: Any) -> None:
    reply = {"ok": 0.0, "errmsg": "no", "code": code}
    for call in (server_errors.raise_command_error, server_errors.raise_write_error):
        error = raised(call, reply)
        assert error.code is None
        assert error.details is reply


def test_a_code_may_be_a_double() -> None:
    assert type(raised(server_errors.raise_command_error, {"code": 91.0})) is NotPrimaryError
    assert raised(server_errors.raise_command_error, {"code": 59.0}).code == 59


@pytest.mark.parametrize(
    "message", ["not master", "not master and slaveOk=false", "node is recovering"]
)
def test_old_servers_say_it_in_words(message: str) -> None:
    reply = {"ok": 0, "errmsg": message}
    assert type(raised(server_errors.raise_command_error, reply)) is NotPrimaryError
    # With a code, the code counts.
    assert type(raised(server_errors.raise_command_error, {**reply, "code": 5})) is OperationFailure


@pytest.mark.parametrize("reply", [{}, {"ok": 0}, {"ok": 0, "errmsg": ""}, {"ok": 0, "code": 5}])
def test_a_reply_without_a_message_still_says_something(reply: Any) -> None:
    assert "no error message" in str(raised(server_errors.raise_command_error, reply))


@pytest.mark.parametrize("message", [5, None, ["x"], {"a": 1}, b"bytes", ""])
def test_a_message_of_a_strange_type_does_no_harm(message: Any) -> None:
    reply = {"ok": 0.0, "errmsg": message}
    assert isinstance(raised(server_errors.raise_command_error, reply), MongoError)


def test_labels_are_taken_over() -> None:
    for code in (59, 91, 50, 11000):
        reply = {"ok": 0, "errmsg": "no", "code": code, "errorLabels": ["A", "B"]}
        error = raised(server_errors.raise_command_error, reply)
        assert error.has_error_label("A")
        assert error.has_error_label("B")
        assert not error.has_error_label("C")


@pytest.mark.parametrize("labels", [None, 5, "AB", {"a": 1}, [5, None, {}], []])
def test_labels_of_a_strange_type_do_no_harm(labels: Any) -> None:
    reply = {"ok": 0, "errmsg": "no", "code": 59, "errorLabels": labels}
    error = raised(server_errors.raise_command_error, reply)
    assert type(error) is OperationFailure
    assert not error.has_error_label("RetryableWriteError")


def test_write_errors_are_duplicate_keys_or_not() -> None:
    for code in (11000, 11001, 12582):
        entry = {"index": 0, "code": code, "errmsg": "E11000"}
        error = raised(server_errors.raise_write_error, entry)
        assert type(error) is DuplicateKeyError
    error = raised(server_errors.raise_write_error, {"index": 0, "code": 121, "errmsg": "failed"})
    assert type(error) is WriteError
    assert (error.code, error.details["index"]) == (121, 0)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 64, "errmsg": "waiting"}, WTimeoutError),
        ({"code": 64, "errInfo": {"wtimeout": True}}, WTimeoutError),
        ({"code": 5, "errInfo": {"wtimeout": True}}, WTimeoutError),
        ({"code": 100, "errmsg": "not enough"}, WriteConcernError),
        ({"code": 100, "errInfo": {}}, WriteConcernError),
        ({}, WriteConcernError),
    ],
)
def test_write_concern_errors_tell_whether_time_ran_out(
    error: Any, kind: type[WriteConcernError]
) -> None:
    found = raised(server_errors.raise_write_concern_error, error)
    assert type(found) is kind
    assert found.timeout == (kind is WTimeoutError)


@pytest.mark.parametrize("info", [None, 5, "x", []])
def test_an_err_info_of_a_strange_type_does_no_harm(info: Any) -> None:
    error = raised(server_errors.raise_write_concern_error, {"code": 100, "errInfo": info})
    assert type(error) is WriteConcernError


def test_the_tables_fit_together() -> None:
    assert server_codes.STATE_CHANGE_CODES < server_codes.RETRYABLE_CODES
    assert server_codes.NODE_SHUTTING_DOWN_CODES < server_codes.NODE_RECOVERING_CODES
    assert server_codes.NODE_RECOVERING_CODES.isdisjoint(server_codes.NOT_WRITABLE_PRIMARY_CODES)


@pytest.mark.parametrize(
    ("details", "timeout"),
    [
        ({"writeErrors": [], "writeConcernErrors": []}, False),
        ({"writeErrors": [{"code": 50}], "writeConcernErrors": []}, True),
        ({"writeErrors": [{"code": 11000}], "writeConcernErrors": []}, False),
        ({"writeErrors": [], "writeConcernErrors": [{"errInfo": {"wtimeout": True}}]}, True),
        ({"writeErrors": [], "writeConcernErrors": [{"code": 100}]}, False),
    ],
)
def test_bulk_errors_tell_whether_time_ran_out(details: Any, timeout: bool) -> None:
    assert BulkWriteError(details).timeout is timeout


def test_errors_of_the_network_are_not_errors_of_operations() -> None:
    assert not issubclass(AutoReconnect, OperationFailure)
    assert issubclass(NotPrimaryError, AutoReconnect)
