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
    WriteConcernError,
    WriteError,
    WTimeoutError,
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

REAUTHENTICATION_REQUIRED = 391
_DUPLICATE_KEY_CODES = frozenset({11000, 11001, 12582})
_MAX_TIME_EXPIRED = 50
_CURSOR_NOT_FOUND = 43


def raise_command_error(reply: Mapping[str, Any], max_wire_version: int | None = None) -> NoReturn:
    """Raise what a reply with `ok: 0` means.

    Raises `NotPrimaryError`, `DuplicateKeyError`, `ExecutionTimeout`, `CursorNotFound` or, for
    all else, `OperationFailure`, with the server's code and its whole reply.
    """
    code = reply.get("code")
    message = reply.get("errmsg") or reply.get("$err") or "the server gave no error message"
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
    code = error.get("code")
    kind = DuplicateKeyError if code in _DUPLICATE_KEY_CODES else WriteError
    raise kind(error.get("errmsg", ""), code, error)


def raise_write_concern_error(error: Mapping[str, Any]) -> NoReturn:
    """Raise what a reply's `writeConcernError` means."""
    code = error.get("code")
    timed_out = code == 64 or bool(error.get("errInfo", {}).get("wtimeout"))
    kind = WTimeoutError if timed_out else WriteConcernError
    raise kind(error.get("errmsg", ""), code, error)
