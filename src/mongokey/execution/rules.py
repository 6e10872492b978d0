"""When a failed operation is tried again, and what is said when that fails too.

Knows the retryable-reads and retryable-writes specifications and the part of auth.md about
reauthentication. Must not know operations, connections or servers: each rule is a function of the
facts that it needs. What an error says about a server is `topology.application_errors`'.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey._support.server_codes import REAUTHENTICATION_REQUIRED, RETRYABLE_CODES
from mongokey.errors import (
    AutoReconnect,
    ConnectionFailure,
    MongoError,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

# client-backpressure.md, "Overload retry policy".
_BASE_BACKOFF_MS = 100
_MAX_BACKOFF_MS = 10_000

# The first wire version whose servers (4.4) label their errors themselves.
_LABELS_ITS_ERRORS = 9


def found_no_connection(error: MongoError) -> bool:
    """Whether `error` only says that no server or no connection was to be had in time: it is
    nothing that another attempt could mend, and says nothing about a server."""
    return isinstance(error, WaitQueueTimeoutError | ServerSelectionTimeoutError)


def needs_retryable_write_label(error: MongoError, max_wire_version: int | None) -> bool:
    """Whether the driver has to label `error` of a retryable write "RetryableWriteError", since
    its server could not (retryable-writes, "RetryableWriteError Labels"): it is gone, or older
    than 4.4. `max_wire_version` is None where no server has said hello yet."""
    if found_no_connection(error):
        return False
    if isinstance(error, AutoReconnect) and not isinstance(error, NotPrimaryError):
        return True
    return (
        max_wire_version is not None
        and max_wire_version < _LABELS_ITS_ERRORS
        and _code_of(error) in RETRYABLE_CODES
    )


def should_retry(
    error: MongoError, *, retryable_read: bool, retryable_write: bool, sent: bool
) -> bool:
    """Whether an operation whose first attempt failed with `error` is tried once more.

    `retryable_read` and `retryable_write` say which kind of operation it is, if the client retries
    that kind; `sent` says whether the command may have reached the server.
    """
    if found_no_connection(error):
        return False
    if retryable_read:
        # retryable-reads, "Retryable Error".
        return isinstance(error, ConnectionFailure) or (
            isinstance(error, OperationFailure) and error.code in RETRYABLE_CODES
        )
    if retryable_write:
        # What was never sent cannot have been written.
        return error.has_error_label("RetryableWriteError") or (
            isinstance(error, ConnectionFailure) and not sent
        )
    return False


def is_overload(error: MongoError) -> bool:
    """Whether the server did not do it as it has too much to do (client-backpressure.md)."""
    return error.has_error_label("SystemOverloadedError")


def should_retry_overload(
    error: MongoError, *, reads: bool, writes: bool, retry_reads: bool, retry_writes: bool
) -> bool:
    """Whether an operation of any kind is tried once more since its server is overloaded.

    `reads` and `writes` say what it is; of a user's command nobody knows, and both options have to
    allow it then (client-backpressure.md, "Overload retry policy").
    """
    if not (is_overload(error) and error.has_error_label("RetryableError")):
        return False
    if reads == writes:
        return retry_reads and retry_writes
    return retry_reads if reads else retry_writes


def backoff_ns(error: MongoError, retry: int, jitter: float) -> int:
    """How long to wait after an overload error before retry number `retry` (from 1), nanoseconds.

    The server may say with how many milliseconds that begins; `jitter` is from 0 to 1.
    """
    details = getattr(error, "details", None)
    base = details.get("baseBackoffMS") if isinstance(details, Mapping) else None
    # NaN, which is of no use as a time, is not positive.
    if isinstance(base, bool) or not isinstance(base, int | float) or not base > 0:
        base = _BASE_BACKOFF_MS
    # More doublings than that exceed the longest one whatever the base.
    longest = min(_MAX_BACKOFF_MS, base * 2 ** min(retry, 1000))
    return int(jitter * longest * 1_000_000)


def error_to_raise(
    error: MongoError, first_error: MongoError | None, *, retryable_write: bool, sent: bool
) -> MongoError:
    """Which error the caller gets: the last attempt's, `error`, or the first attempt's.

    retryable-writes, "Determining Which Error to Return": what did not even begin to write must
    not hide what perhaps wrote. `sent` is about the last attempt. Without a `first_error` there
    was but one attempt.
    """
    if first_error is None:
        return error
    if isinstance(error, ServerSelectionTimeoutError):
        return first_error
    if isinstance(error, WaitQueueTimeoutError):
        return first_error if retryable_write else error
    if error.has_error_label("NoWritesPerformed") or (retryable_write and not sent):
        return first_error
    return error


def needs_reauthentication(answer: Mapping[str, Any]) -> bool:
    """Whether the reply asks for a new login on its connection (auth.md, "Reauthentication")."""
    return answer.get("code") == REAUTHENTICATION_REQUIRED


def _code_of(error: MongoError) -> int | None:
    """The error code in the server's answer; None for none, or for what is no number."""
    details = getattr(error, "details", None)
    code = details.get("code") if isinstance(details, dict) else None
    return code if isinstance(code, int) else None
