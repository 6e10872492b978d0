"""Turns an error reply of the server into the exception that fits it.

Knows the server's error codes (the tables of the server-discovery-and-monitoring and
retryable-writes specifications); must not know who asked, nor do any I/O.
"""

from __future__ import annotations

from collections.abc import Mapping

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

# server-discovery-and-monitoring.md, "Determining whether an error is a State Change Error".
NODE_SHUTTING_DOWN_CODES = frozenset({91, 11600})
NODE_RECOVERING_CODES = frozenset({11600, 11602, 13436, 189, 91})
NOT_WRITABLE_PRIMARY_CODES = frozenset({10107, 13435, 10058})
STATE_CHANGE_CODES = NODE_RECOVERING_CODES | NOT_WRITABLE_PRIMARY_CODES

# retryable-reads.md, "Retryable Error".
RETRYABLE_CODES = STATE_CHANGE_CODES | {6, 7, 64, 89, 134, 262, 9001}

# src/mongo/base/error_codes.yml
NAMESPACE_NOT_FOUND = 26
REAUTHENTICATION_REQUIRED = 391
_DUPLICATE_KEY_CODES = frozenset({11000, 11001, 12582})
_ILLEGAL_OPERATION = 20
_MAX_TIME_EXPIRED = 50
_CURSOR_NOT_FOUND = 43


def raise_command_error(
    reply: Mapping[str, Any], max_wire_version: int | None = None, hint: object = None
) -> NoReturn:
    """Raise what a reply with `ok: 0` means; `hint` stands behind the server's words.

    Raises `NotPrimaryError`, `DuplicateKeyError`, `ExecutionTimeout`, `CursorNotFound` or, for
    all else, `OperationFailure`, with the server's code and its whole reply.
    """
    code = _code(reply)
    message = reply.get("errmsg") or reply.get("$err") or "the server gave no error message"
    if not isinstance(message, str):
        message = repr(message)
    if code == _ILLEGAL_OPERATION and message.startswith("Transaction numbers"):
        message = (
            f"{message}; this deployment does not support retryable writes: add "
            f"retryWrites=false to the connection string"
        )
    if hint is not None:
        message = f"{message}; {hint}"
    if code in STATE_CHANGE_CODES or (
        code is None and ("not master" in message or "node is recovering" in message)
    ):
        raise NotPrimaryError(message, reply)
    if code in _DUPLICATE_KEY_CODES:
        raise DuplicateKeyError(message, code, reply, max_wire_version)
    if code == _MAX_TIME_EXPIRED:
        raise ExecutionTimeout(message, code, reply, max_wire_version)
    if code == _CURSOR_NOT_FOUND:
        raise CursorNotFound(message, code, reply, max_wire_version)
    raise OperationFailure(message, code, reply, max_wire_version)


def raise_for_reply(reply: Mapping[str, Any], max_wire_version: int | None = None) -> None:
    """Raise the server's error, if `reply` (a decoded command reply) is one."""
    if not reply.get("ok"):
        raise_command_error(reply, max_wire_version)


def raise_write_error(error: Mapping[str, Any]) -> NoReturn:
    """Raise what one entry of a reply's `writeErrors` means."""
    code = _code(error)
    kind = DuplicateKeyError if code in _DUPLICATE_KEY_CODES else WriteError
    raise kind(error.get("errmsg", ""), code, error)


def raise_write_concern_error(error: Mapping[str, Any]) -> NoReturn:
    """Raise what a reply's `writeConcernError` means."""
    code = _code(error)
    info = error.get("errInfo")
    timed_out = code == 64 or (isinstance(info, Mapping) and bool(info.get("wtimeout")))
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
