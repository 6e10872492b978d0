"""When `with_transaction` tries once more (transactions-convenient-api specification).

Pure decisions: times are handed in, and chance is a function. It must not know sessions, nor what
is tried.
"""

from __future__ import annotations

from mongokey._support.server_codes import MAX_TIME_MS_EXPIRED
from mongokey.errors import ExecutionTimeout, MongoError, NetworkTimeout, OperationFailure
from mongokey.sessions.transaction import TRANSIENT, UNKNOWN_COMMIT

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable

    from mongokey._support.deadline import Deadline

# The specification's numbers, in nanoseconds. A server aborts a transaction after half that limit.
TIME_LIMIT_NS = 120_000_000_000
_FIRST_BACKOFF_NS = 5_000_000
_LONGEST_BACKOFF_NS = 500_000_000
_GROWTH = 1.5
# More than that many steps exceed the longest backoff.
_MOST_STEPS = 64


class TransactionRetries:
    """The attempts of one `with_transaction` that began at `now_ns` (monotonic).

    `jitter()` gives a random number from 0 to 1 for each backoff; `deadline` is what timeoutMS
    says, or None.
    """

    def __init__(
        self, now_ns: int, jitter: Callable[[], float], deadline: Deadline | None = None
    ) -> None:
        self._deadline = deadline
        self._end_ns = now_ns + TIME_LIMIT_NS if deadline is None else deadline.at_ns
        self._jitter = jitter
        self._attempts = 0
        self._last_error: BaseException | None = None

    def begin(self, now_ns: int) -> int:
        """How many nanoseconds to wait before the next attempt.

        Raises what `_time_is_over` makes of the last error if the limit would pass meanwhile.
        """
        backoff_ns = 0
        if self._attempts:
            longest = _FIRST_BACKOFF_NS * _GROWTH ** min(self._attempts, _MOST_STEPS)
            backoff_ns = int(self._jitter() * min(longest, _LONGEST_BACKOFF_NS))
            if now_ns + backoff_ns >= self._end_ns:
                self._time_is_over()
        self._attempts += 1
        return backoff_ns

    def repeats_transaction(self, error: BaseException, now_ns: int) -> bool:
        """Whether everything is done once more after `error`, of the callback or of the commit."""
        self._last_error = error
        if not (isinstance(error, MongoError) and error.has_error_label(TRANSIENT)):
            return False
        if now_ns >= self._end_ns:
            self._time_is_over()
        return True

    def repeats_commit(self, error: MongoError, now_ns: int) -> bool:
        """Whether the commit that failed with `error` is sent once more."""
        self._last_error = error
        if not error.has_error_label(UNKNOWN_COMMIT) or (
            isinstance(error, OperationFailure) and error.code == MAX_TIME_MS_EXPIRED
        ):
            return False
        if now_ns >= self._end_ns:
            self._time_is_over()
        return True

    def _time_is_over(self) -> None:
        """Raise an error of time for the last one, with its labels: that is its cause."""
        last = self._last_error
        if isinstance(last, MongoError) and last.timeout:
            raise last
        error: MongoError
        if self._deadline is None:
            error = NetworkTimeout(
                f"with_transaction gave up after {TIME_LIMIT_NS // 1_000_000_000} s; the last "
                f"error was: {last}"
            )
        else:
            # PyMongo's class, where it is timeoutMS that says so.
            text = f"with_transaction {self._deadline.timed_out()}; the last error was: {last}"
            error = ExecutionTimeout(
                text,
                MAX_TIME_MS_EXPIRED,
                {"ok": 0, "errmsg": text, "code": MAX_TIME_MS_EXPIRED},
            )
        if isinstance(last, MongoError):
            error._error_labels = set(last._error_labels)
        raise error from last


__all__ = ["TIME_LIMIT_NS", "TransactionRetries"]
