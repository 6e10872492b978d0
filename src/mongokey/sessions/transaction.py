"""The transaction of a session, as a state machine (transactions specification).

It knows the states, what each command of a transaction carries, and what an error of one means. It
does no I/O and has no clock. It must not know servers or connections: what it is pinned to are
objects that it only keeps.
"""

from __future__ import annotations

from mongokey._support.server_codes import (
    MAX_TIME_MS_EXPIRED,
    RETRYABLE_CODES,
    WRITE_CONCERN_TIMEOUT,
)
from mongokey.bson.int64 import Int64
from mongokey.errors import (
    ConnectionFailure,
    InvalidOperation,
    MongoError,
    OperationFailure,
    WTimeoutError,
)

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.sessions.options import TransactionOptions

# The states, in the specification's words.
NONE = "no transaction"
STARTING = "starting transaction"
IN_PROGRESS = "transaction in progress"
COMMITTED = "transaction committed"
#: Committed, and no command of it was ever sent.
COMMITTED_EMPTY = "empty transaction committed"
ABORTED = "transaction aborted"

COMMIT = "commitTransaction"
ABORT = "abortTransaction"

TRANSIENT = "TransientTransactionError"
UNKNOWN_COMMIT = "UnknownTransactionCommitResult"

# "UnknownTransactionCommitResult": such errors leave open whether it was committed.
_UNKNOWN_COMMIT_CODES = RETRYABLE_CODES | {WRITE_CONCERN_TIMEOUT, MAX_TIME_MS_EXPIRED}
# "Majority write concern is used when retrying commitTransaction": milliseconds.
_RETRIED_WTIMEOUT = 10_000


class Transaction:
    """The latest transaction of one session; there is one object for all of them."""

    __slots__ = (
        "attempts",
        "completed",
        "connection",
        "ending",
        "number",
        "options",
        "pins_connection",
        "recovery_token",
        "server",
        "state",
        "trace",
    )

    def __init__(self) -> None:
        self.state = NONE
        self.options: TransactionOptions | None = None
        #: Of the server session: what the transaction is called by; 0 before its first command.
        self.number = 0
        #: COMMIT or ABORT while that is carried out, else None.
        self.ending: str | None = None
        #: How often the commit was sent, but for those that an overloaded server did not look at.
        self.attempts = 0
        #: Whether a command of it was answered: the server knows of it.
        self.completed = False
        #: What another mongos finds the transaction by, a document in BSON, or None.
        self.recovery_token: bytes | None = None
        #: The pool of the mongos or load balancer that it is pinned to, or None.
        self.server: Any = None
        #: Behind a load balancer it is pinned to a connection, which is here unless a command uses
        #: it.
        self.pins_connection = False
        self.connection: Any = None
        #: Its span (`mongokey.events.tracing`), which operations are nested in; None: no tracing.
        self.trace: Any = None

    @property
    def active(self) -> bool:
        """Whether commands belong to it."""
        return self.state is STARTING or self.state is IN_PROGRESS

    def start(self, options: TransactionOptions) -> None:
        """Another transaction; the former must be unpinned. Raises `InvalidOperation` if one is in
        progress."""
        if self.active:
            raise InvalidOperation("Transaction already in progress: commit or abort it first")
        self.reset()
        self.state = STARTING
        self.options = options

    def reset(self) -> None:
        """There is none, after one that is over."""
        self.end_trace()
        self.trace = None
        self.state = NONE
        self.number = self.attempts = 0
        self.completed = False
        self.recovery_token = None

    def forget_pin(self) -> None:
        """It is pinned to nothing; who gives a connection back does so before."""
        self.server = self.connection = None
        self.pins_connection = False

    # -- the end ------------------------------------------------------------------------------

    def begin_commit(self) -> bool:
        """Whether a command is to be sent for a commit. Raises `InvalidOperation` where there is
        nothing to commit."""
        if self.state is NONE:
            raise InvalidOperation("No transaction started: call start_transaction first")
        if self.state is ABORTED:
            raise InvalidOperation("Cannot call commitTransaction after calling abortTransaction")
        if self.state is STARTING or self.state is COMMITTED_EMPTY:
            self.state = COMMITTED_EMPTY
            self.end_trace()
            return False
        # Committed once more, it is in progress again.
        self.state = IN_PROGRESS
        self.ending = COMMIT
        return True

    def begin_abort(self) -> bool:
        """Whether a command is to be sent for an abort. Raises `InvalidOperation` where there is
        nothing to abort."""
        if self.state is NONE:
            raise InvalidOperation("No transaction started: call start_transaction first")
        if self.state is ABORTED:
            raise InvalidOperation("Cannot call abortTransaction twice")
        if self.state is COMMITTED or self.state is COMMITTED_EMPTY:
            raise InvalidOperation("Cannot call abortTransaction after calling commitTransaction")
        if self.state is STARTING:
            self.state = ABORTED
            self.end_trace()
            return False
        self.ending = ABORT
        return True

    def ended(self) -> None:
        """The command of the end was carried out, or has failed."""
        self.state = COMMITTED if self.ending == COMMIT else ABORTED
        self.ending = None
        self.end_trace()

    def end_trace(self) -> None:
        """It is over, as far as its span goes. Idempotent."""
        if self.trace is not None:
            self.trace.over()

    # -- commands -----------------------------------------------------------------------------

    def fields(self, read_concern: dict[str, Any]) -> dict[str, Any]:
        """What the next command of it carries, besides the session; `read_concern` is what the
        first one has in addition to the transaction's. It counts as sent."""
        options = self.options
        assert options is not None, "it was started"
        fields: dict[str, Any] = {}
        if self.state is STARTING:
            fields["startTransaction"] = True
            concern = {} if options.read_concern is None else options.read_concern.document
            read_concern = {**read_concern, **concern}
            self.state = IN_PROGRESS
        if read_concern:
            fields["readConcern"] = read_concern
        fields["txnNumber"] = Int64(self.number)
        fields["autocommit"] = False
        if self.ending is not None:
            write_concern = {} if options.write_concern is None else options.write_concern.document
            if self.ending == COMMIT:
                self.attempts += 1
                if self.attempts > 1:
                    write_concern["w"] = "majority"
                    write_concern.setdefault("wtimeout", _RETRIED_WTIMEOUT)
            if write_concern:
                fields["writeConcern"] = write_concern
        return fields

    def failed(self, error: MongoError) -> bool:
        """A command of it has failed with `error`, which gets its label; whether it is unpinned
        (transactions specification, "When to unpin")."""
        if self.ending is None and isinstance(error, ConnectionFailure):
            error._add_error_label(TRANSIENT)
        if self.ending is not None and isinstance(error, ConnectionFailure):
            return True
        return error.has_error_label(TRANSIENT) or error.has_error_label("RetryableWriteError")

    def not_looked_at(self) -> None:
        """The server did not look at the command: it is overloaded, or wants a new login first; or
        there was nothing to be sent."""
        if self.ending == COMMIT:
            self.attempts -= 1
        if not self.completed and self.state is IN_PROGRESS:
            self.state = STARTING


def label_commit_error(error: MongoError) -> None:
    """Give the error of a commit its labels, where the server could not."""
    if isinstance(error, ConnectionFailure):
        error._remove_error_label(TRANSIENT)
        error._add_error_label(UNKNOWN_COMMIT)
    elif isinstance(error, WTimeoutError) or (
        isinstance(error, OperationFailure) and error.code in _UNKNOWN_COMMIT_CODES
    ):
        error._add_error_label(UNKNOWN_COMMIT)
