"""Where a change stream is, and from where it goes on after an error (change-streams
specification, "Resume Process" and "Exposing All Resume Tokens").

A state machine without I/O: it is told what commands brought, which events were handed out and
what failed; it says what the next `$changeStream` stage holds. It must not know cursors or servers.
"""

from __future__ import annotations

from copy import deepcopy

from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.errors import (
    ConnectionFailure,
    CursorNotFound,
    NotPrimaryError,
    OperationFailure,
)

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mongokey.bson.timestamp import Timestamp

# "Resumable Error": servers from this wire version on (MongoDB 4.4) say it themselves.
LABELS_SINCE = 9
RESUMABLE_LABEL = "ResumableChangeStreamError"
# The codes of servers that do not.
RESUMABLE_CODES = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        63,  # StaleShardVersion
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        133,  # FailedToSatisfyReadPreference
        150,  # StaleEpoch
        189,  # PrimarySteppedDown
        234,  # RetryChangeStream
        262,  # ExceededTimeLimit
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11602,  # InterruptedDueToReplStateChange
        13388,  # StaleConfig
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
    }
)

# A stream is resumed at once. Where the next getMore fails too, and so on, it waits from the second
# time on: first so long, then twice as long each time, up to the longest pause.
FIRST_PAUSE_NS = 100_000_000
LONGEST_PAUSE_NS = 2_000_000_000


def is_resumable(error: BaseException) -> bool:
    """Whether a getMore that failed with `error` is worth opening the stream anew.

    The wire version that counts is that of the connection which brought the error.
    """
    if isinstance(error, CursorNotFound):
        return True
    if isinstance(error, NotPrimaryError):
        version = error._max_wire_version
        # Not the answer to a command: a connection could not be set up.
        return version is None or _server_says_resumable(error, _code_of(error), version)
    if isinstance(error, ConnectionFailure):
        return True
    if isinstance(error, OperationFailure):
        version = error._max_wire_version
        return version is not None and _server_says_resumable(error, error.code, version)
    return False


def _server_says_resumable(
    error: NotPrimaryError | OperationFailure, code: int | None, version: int
) -> bool:
    if version >= LABELS_SINCE:
        return error.has_error_label(RESUMABLE_LABEL)
    return code in RESUMABLE_CODES


def _code_of(error: NotPrimaryError) -> int | None:
    details: Any = error.details
    return details.get("code") if hasattr(details, "get") else None


class ChangeStreamState:
    """Where one change stream is.

    `options` are those of the `$changeStream` stage that stay the same; then the user's starting
    points, None for none. All that are given go with the first aggregation: which of them go
    together is the server's to say.
    """

    __slots__ = (
        "_losses",
        "_opened",
        "_options",
        "_post_batch",
        "_start_after",
        "_start_at",
        "_starts",
        "_token",
    )

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        resume_after: Mapping[str, Any] | None = None,
        start_after: Mapping[str, Any] | None = None,
        start_at_operation_time: Timestamp | None = None,
    ) -> None:
        self._options = options
        given = {
            "resumeAfter": deepcopy(resume_after),
            "startAfter": deepcopy(start_after),
            "startAtOperationTime": start_at_operation_time,
        }
        self._starts = {name: value for name, value in given.items() if value is not None}
        self._start_at = start_at_operation_time
        # Started with startAfter, and no event was handed out yet.
        self._start_after = start_after is not None
        # The cached resume token: as the user gave it, or in BSON as the server did.
        self._token: Any = self._starts.get("startAfter", self._starts.get("resumeAfter"))
        self._post_batch: bytes | None = None
        self._opened = False
        # How often in succession the stream was lost, without a getMore that succeeded.
        self._losses = 0

    # -- what the next aggregation says ---------------------------------------------------------

    def stage(self) -> dict[str, Any]:
        """The `$changeStream` stage of the next aggregation."""
        return {"$changeStream": {**self._options, **self._starting_point()}}

    def _starting_point(self) -> dict[str, Any]:
        if not self._opened:
            return self._starts
        if self._token is not None:
            token = self._token
            if isinstance(token, bytes):
                token = RawBSONDocument(token)
            return {"startAfter" if self._start_after else "resumeAfter": token}
        if self._start_at is not None:
            return {"startAtOperationTime": self._start_at}
        return {}

    def pause_ns(self, jitter: float) -> int:
        """How long to wait before that aggregation, ns; `jitter` is a random number from 0 to 1,
        by which up to half of it is taken off."""
        if self._losses < 2:
            return 0
        # Not 2 ** losses: a stream may be lost for days.
        pause = min(FIRST_PAUSE_NS << min(self._losses - 2, 16), LONGEST_PAUSE_NS)
        return int(pause * (1 - jitter / 2))

    # -- what has come to pass ------------------------------------------------------------------

    def opened(
        self, empty: bool, post_batch_token: bytes | None, operation_time: Timestamp | None
    ) -> None:
        """An aggregation has succeeded; `empty` says whether its batch has no events.

        Raises `OperationFailure` where the reply lacks what the stream could be resumed from.
        """
        self._opened = True
        self._note_batch(empty, post_batch_token)
        if not empty or self._token is not None or self._start_at is not None:
            return
        if operation_time is None:
            raise OperationFailure(
                "the server's reply to a change stream has neither postBatchResumeToken nor "
                "operationTime: it could not be resumed without a loss"
            )
        self._start_at = operation_time

    def received(self, empty: bool, post_batch_token: bytes | None) -> None:
        """A getMore has succeeded."""
        self._losses = 0
        self._note_batch(empty, post_batch_token)

    def _note_batch(self, empty: bool, post_batch_token: bytes | None) -> None:
        self._post_batch = post_batch_token
        if empty and post_batch_token is not None:
            self._token = post_batch_token

    def returned(self, token: bytes, last: bool) -> None:
        """An event with this resume token was handed out, the `last` of its batch or not."""
        self._start_after = False
        self._token = token if self._post_batch is None or not last else self._post_batch

    def lost(self) -> None:
        """The cursor is lost: a getMore has failed, or the aggregation after that."""
        self._losses += 1

    @property
    def token(self) -> Any:
        """The cached resume token: a copy of what the user gave, or BSON; None for none."""
        return self._token if isinstance(self._token, bytes) else deepcopy(self._token)
