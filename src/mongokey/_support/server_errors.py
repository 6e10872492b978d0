"""Turns an error reply of the server into the exception that fits it.

Knows which class an error code (`mongokey._support.server_codes`) belongs to; must not know who
asked, nor do any I/O.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey._support.server_codes import (
    CURSOR_NOT_FOUND,
    DUPLICATE_KEY_CODES,
    ILLEGAL_OPERATION,
    MAX_TIME_MS_EXPIRED,
    STATE_CHANGE_CODES,
    WRITE_CONCERN_TIMEOUT,
)
from mongokey.errors import (
    CursorNotFound,
    DuplicateKeyError,
    ExecutionTimeout,
    NotPrimaryError,
    OperationFailure,
    ProtocolError,
    WriteConcernError,
    WriteError,
    WTimeoutError,
    labels_in,
)

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from mongokey.diagnostics import Diagnosis


def raise_command_error(
    reply: Mapping[str, Any],
    max_wire_version: int | None = None,
    diagnosis: Diagnosis | None = None,
) -> NoReturn:
    """Raise what a reply with `ok: 0` means; `diagnosis` stands behind the server's words.

    Raises `NotPrimaryError`, `DuplicateKeyError`, `ExecutionTimeout`, `CursorNotFound` or, for
    all else, `OperationFailure`, with the server's code and its whole reply.
    """
    code = _code(reply)
    message = reply.get("errmsg") or reply.get("$err") or "the server gave no error message"
    if not isinstance(message, str):
        message = repr(message)
    if code == ILLEGAL_OPERATION and message.startswith("Transaction numbers"):
        message = (
            f"{message}; this deployment does not support retryable writes: add "
            f"retryWrites=false to the connection string"
        )
    if diagnosis is not None:
        message = f"{message}; {diagnosis}"
    if code in STATE_CHANGE_CODES or (
        code is None and ("not master" in message or "node is recovering" in message)
    ):
        not_primary = NotPrimaryError(message, reply)
        not_primary._max_wire_version = max_wire_version
        raise not_primary
    if code in DUPLICATE_KEY_CODES:
        raise DuplicateKeyError(message, code, reply, max_wire_version)
    if code == MAX_TIME_MS_EXPIRED:
        raise ExecutionTimeout(message, code, reply, max_wire_version)
    if code == CURSOR_NOT_FOUND:
        raise CursorNotFound(message, code, reply, max_wire_version)
    failure = OperationFailure(message, code, reply, max_wire_version)
    if diagnosis is not None:
        failure.diagnoses = (diagnosis,)
    raise failure


def raise_write_error(error: Mapping[str, Any]) -> NoReturn:
    """Raise what one entry of a reply's `writeErrors` means."""
    code = _code(error)
    kind = DuplicateKeyError if code in DUPLICATE_KEY_CODES else WriteError
    raise kind(error.get("errmsg", ""), code, error)


def raise_write_concern_error(error: Mapping[str, Any]) -> NoReturn:
    """Raise what a reply's `writeConcernError` means."""
    code = _code(error)
    info = error.get("errInfo")
    timed_out = code == WRITE_CONCERN_TIMEOUT or (
        isinstance(info, Mapping) and bool(info.get("wtimeout"))
    )
    kind = WTimeoutError if timed_out else WriteConcernError
    raise kind(error.get("errmsg", ""), code, error)


def documents_in(reply: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The list of documents in the reply's field `name`, empty if it is not there.

    Raises `ProtocolError` when something else is there.
    """
    found = reply.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise _broken(name, found, "a list of documents")
    return found


def number_in(reply: Mapping[str, Any], name: str) -> int:
    """The integer in the reply's field `name`, 0 if it is not there."""
    found = reply.get(name, 0)
    if not isinstance(found, int | float) or found != found or abs(found) > 2**63:
        raise _broken(name, found, "a number")
    return int(found)


def concern_error_of(reply: Mapping[str, Any]) -> dict[str, Any] | None:
    """The reply's `writeConcernError`, with the reply's labels; None if there is none."""
    found = reply.get("writeConcernError")
    if not found:
        return None
    if not isinstance(found, dict):
        raise _broken("writeConcernError", found, "a document")
    labels = labels_in(reply)
    return {**found, "errorLabels": labels} if labels else found


def _broken(name: str, found: Any, expected: str) -> ProtocolError:
    return ProtocolError(
        f"the server's reply to a write cannot be right: {name} is {type(found).__name__}, "
        f"expected {expected}"
    )


def _code(error: Mapping[str, Any]) -> int | None:
    """The server's error code; None for want of one, or of one that is a number."""
    code = error.get("code")
    if isinstance(code, float) and code.is_integer():
        return int(code)  # of servers that are not written in C++
    return code if isinstance(code, int) else None
