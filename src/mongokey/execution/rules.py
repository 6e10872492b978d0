"""When a failed operation is tried again, and what is said when that fails too.

Knows the retryable-reads and retryable-writes specifications and the part of auth.md about
reauthentication. Must not know operations, connections or servers: each rule is a function of the
facts that it needs. What an error says about a server is `topology.application_errors`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from mongokey._support.server_codes import (
    MAX_TIME_MS_EXPIRED,
    REAUTHENTICATION_REQUIRED,
    RETRYABLE_CODES,
)
from mongokey.errors import (
    AutoReconnect,
    ConnectionFailure,
    ExecutionTimeout,
    MongoError,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.deadline import Deadline

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


def nothing_left(
    peer: str, deadline: Deadline, left_ns: int, round_trip_ns: int, max_wire_version: int
) -> ExecutionTimeout:
    """The error of a command that is not sent, as no answer can come in time
    (client-side-operations-timeout, "Command Execution")."""
    if left_ns > 0:
        why = (
            f"{left_ns / 1e9:.6f} s are left ({deadline}), and of late no answer has come back "
            f"sooner than after {round_trip_ns / 1e9:.6f} s"
        )
    else:
        why = deadline.timed_out()
    return _execution_timeout(f"{peer}: the command was not sent: {why}", max_wire_version)


def timed_out(error: MongoError, deadline: Deadline) -> MongoError:
    """`error`, of an attempt, after which there was no time for another one: an error of time that
    is of its kind, with its labels."""
    if error.timeout:
        return error
    text = f"{deadline.timed_out('trying')}; the last error was: {error}"
    made: MongoError
    if isinstance(error, ConnectionFailure):
        made = NetworkTimeout(text)
    else:
        made = _execution_timeout(text, getattr(error, "_max_wire_version", None))
    made._error_labels = set(error._error_labels)
    made.diagnoses = error.diagnoses
    return made


def _execution_timeout(text: str, max_wire_version: int | None) -> ExecutionTimeout:
    # As if the server had said so, which PyMongo's users look at too.
    answer = {"ok": 0, "errmsg": text, "code": MAX_TIME_MS_EXPIRED}
    made = ExecutionTimeout(text, MAX_TIME_MS_EXPIRED, answer, max_wire_version)
    made.args, made._message = (text,), text  # once is enough
    return made


def without_wtimeout(elements: bytes) -> bytes:
    """Elements of a command, without the `wtimeout` of a writeConcern among them
    (client-side-operations-timeout, "Validation and Overrides")."""
    # Most have none.
    return _strip_wtimeout(elements) if b"wtimeout\0" in elements else elements


@lru_cache(64)
def _strip_wtimeout(elements: bytes) -> bytes:
    from mongokey.bson import decode, encode

    document = decode((len(elements) + 5).to_bytes(4, "little") + elements + b"\0")
    concern = document.get("writeConcern")
    if isinstance(concern, dict):
        concern.pop("wtimeout", None)
        if not concern:
            del document["writeConcern"]
    return encode(document)[4:-1]


def needs_reauthentication(answer: Mapping[str, Any]) -> bool:
    """Whether the reply asks for a new login on its connection (auth.md, "Reauthentication")."""
    return answer.get("code") == REAUTHENTICATION_REQUIRED


def _code_of(error: MongoError) -> int | None:
    """The error code in the server's answer; None for none, or for what is no number."""
    details = getattr(error, "details", None)
    code = details.get("code") if isinstance(details, dict) else None
    return code if isinstance(code, int) else None
