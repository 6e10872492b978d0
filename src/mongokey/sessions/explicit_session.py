"""`ExplicitSession`: what the sessions that users start have in common on both faces.

It knows which server session is theirs, the times that they have seen, and what a command in them
carries (sessions, causal-consistency and snapshot-sessions specifications); transactions,
`sessions.transaction` knows. It does no I/O and has no clock: times are handed in. It must not know
servers or connections.
"""

from __future__ import annotations

from mongokey.bson import decode, encode
from mongokey.bson.binary import Binary
from mongokey.bson.int64 import Int64
from mongokey.bson.timestamp import Timestamp
from mongokey.errors import ConfigurationError, InvalidOperation
from mongokey.sessions.options import TransactionOptions
from mongokey.sessions.server_session import ClusterTime
from mongokey.sessions.transaction import NONE, STARTING, Transaction

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mongokey.errors import MongoError
    from mongokey.sessions.options import SessionOptions
    from mongokey.sessions.server_session import ServerSession, ServerSessionPool

# causal-consistency, "Causally consistent read and write commands": those whose readConcern says
# what they have to come after.
_CAUSAL = frozenset(
    {"aggregate", "bulkWrite", "count", "create", "createIndexes", "delete", "distinct", "drop"}
    | {"dropDatabase", "dropIndexes", "find", "findAndModify", "insert", "update"}
)
# Commands about a cursor have no read concern: it is its first command's.
_ABOUT_CURSORS = frozenset({"getMore", "killCursors"})
# The first wire version whose servers (5.0) read snapshots.
_READS_SNAPSHOTS = 13


class ExplicitSession:
    """One session of the client whose idle server sessions are in `pool`.

    `executor` is what carries its operations out, and gives back the connection that a transaction
    is pinned to.
    """

    # In errors: the class of the client.
    _client_name = "MongoClient"

    def __init__(self, client: Any, executor: Any, options: SessionOptions) -> None:
        self._client = client
        self._executor = executor
        self._options = options
        self._pool: ServerSessionPool = executor.sessions
        self._forks = self._pool.forks
        self._has_ended = False
        # Taken when the first command needs it.
        self._server_session: ServerSession | None = None
        self._seen = ClusterTime()
        #: As 64 bits: seconds, then the ordinal; 0: none was seen.
        self._operation_timestamp = 0
        self._snapshot_timestamp = 0
        self._transaction = Transaction()
        #: A `with_transaction` is under way that has a timeoutMS.
        self._has_time = False
        #: The collections' options as a transaction has them, by what they are without.
        self._inherited: dict[Any, Any] = {}

    # -- what it is -----------------------------------------------------------------------------

    @property
    def options(self) -> SessionOptions:
        """What the session was started with, a `SessionOptions`."""
        return self._options

    @property
    def has_ended(self) -> bool:
        """Whether `end_session` was called: it cannot be used any more."""
        return self._has_ended

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction was started, and neither committed nor aborted yet."""
        return self._transaction.active

    @property
    def cluster_time(self) -> Mapping[str, Any] | None:
        """The highest ``$clusterTime`` that the session has seen, a document; None: none yet."""
        encoded = self._seen.encoded
        return None if encoded is None else decode(encoded)

    @property
    def operation_time(self) -> Timestamp | None:
        """When the latest operation of the session took place, a `Timestamp`; None: there was
        none."""
        return _timestamp(self._operation_timestamp)

    def advance_cluster_time(self, cluster_time: Mapping[str, Any]) -> None:
        """Take in the `cluster_time` of another session, so that this one's reads come after it.

        Raises `TypeError` for what is no mapping, or one without a `Timestamp` as ``clusterTime``.
        """
        if not hasattr(cluster_time, "items"):
            raise TypeError(
                f"cluster_time must be a mapping, not {type(cluster_time).__name__}: give the "
                "cluster_time of another session"
            )
        time = cluster_time.get("clusterTime")
        if not isinstance(time, Timestamp):
            raise TypeError(
                "cluster_time must have a Timestamp as its clusterTime: give the cluster_time of "
                "another session"
            )
        self._seen.take_in(encode(cluster_time), _number(time))

    def advance_operation_time(self, operation_time: Timestamp) -> None:
        """Take in the `operation_time` of another session, so that this one's reads come after it.

        Raises `TypeError` for what is no `Timestamp`.
        """
        if not isinstance(operation_time, Timestamp):
            raise TypeError(
                f"operation_time must be a Timestamp, not {type(operation_time).__name__}: give "
                "the operation_time of another session"
            )
        self._saw_operation_time(_number(operation_time))

    def _check(self) -> None:
        """Raise `InvalidOperation` if it cannot be used."""
        if self._has_ended:
            raise InvalidOperation("Cannot use ended session: start another one")
        if self._is_inherited:
            raise InvalidOperation(
                "this session was started before the process forked, and is the parent's: start "
                "another one"
            )

    # -- its server session -----------------------------------------------------------------------

    def _materialized(self, now_ns: int, timeout_ns: int) -> ServerSession:
        """Its server session, borrowed at the first use."""
        session = self._server_session
        if session is None:
            session = self._server_session = self._pool.take(now_ns, timeout_ns)
        return session

    def _end(self) -> None:
        """Nothing is to be sent any more: give back what it has."""
        self._unpin()
        self._transaction.end_trace()
        self._has_ended = True
        session, self._server_session = self._server_session, None
        if session is not None:
            self._pool.give_back(session)

    def _unpin(self) -> None:
        if self._is_inherited:
            self._transaction.forget_pin()
        else:
            self._executor.unpin(self._transaction)

    @property
    def _is_inherited(self) -> bool:
        """Whether this is a forked child, and the session its parent's."""
        return bool(self._forks != self._pool.forks)

    # -- commands: what executions ask and tell --------------------------------------------------

    def _begin_command(self, executor: Any) -> None:
        """A command is about to be carried out. Raises `InvalidOperation` where it must not."""
        if executor.sessions is not self._pool:
            raise InvalidOperation(
                "this session was started by another client: use it with the collections of "
                f"session.client, or start one with this {self._client_name}"
            )
        if executor.of_call and self._has_time:
            raise ConfigurationError(
                "timeout_ms cannot be given to an operation in the callback of with_transaction, "
                "all of which has one time: leave it out, or give it to with_transaction"
            )
        self._check()
        transaction = self._transaction
        if not transaction.active and transaction.state is not NONE:
            # One that is over has no part in what comes after it.
            self._unpin()
            transaction.reset()

    def _elements(
        self,
        name: str,
        generic: bool,
        read_concern: bytes | None,
        number: int,
        max_wire_version: int,
        now_ns: int,
        timeout_ns: int,
    ) -> tuple[bytes, int]:
        """The elements that a command carries because of the session, and its txnNumber.

        `generic`: the command is a user's own, to be sent as it is. `number`: of a retryable write,
        -1 where this is its first attempt, 0 for others.
        """
        session = self._materialized(now_ns, timeout_ns)
        session.last_used_ns = now_ns
        fields: dict[str, Any] = {"lsid": {"id": Binary(session.session_id, 4)}}
        transaction = self._transaction
        concern: dict[str, Any] = {} if read_concern is None else _document(read_concern)
        # No cursor of a transaction is there before its first command.
        if transaction.active and not (name == "killCursors" and transaction.state is STARTING):
            if transaction.number == 0:
                transaction.number = session.next_txn_number()
            if transaction.state is STARTING:
                self._add_operation_time(concern)
            fields |= transaction.fields(concern)
            # Only the end is labelled as a retryable write is.
            number = transaction.number if transaction.ending is not None else 0
            encoded = encode(fields)[4:-1]
            if transaction.ending is not None and transaction.recovery_token is not None:
                encoded += b"\x03recoveryToken\0" + transaction.recovery_token
            return encoded, number
        if number == -1:
            number = session.next_txn_number()
        if number:
            fields["txnNumber"] = Int64(number)
        if self._options.snapshot:
            if name not in _ABOUT_CURSORS:
                self._add_snapshot(concern, max_wire_version)
        elif name in _CAUSAL and not generic:
            self._add_operation_time(concern)
        if concern:
            fields["readConcern"] = concern
        return encode(fields)[4:-1], number

    def _add_operation_time(self, concern: dict[str, Any]) -> None:
        if self._options.causal_consistency and self._operation_timestamp:
            concern["afterClusterTime"] = self.operation_time

    def _add_snapshot(self, concern: dict[str, Any], max_wire_version: int) -> None:
        if max_wire_version < _READS_SNAPSHOTS:
            raise ConfigurationError(
                "Snapshot reads require MongoDB 5.0 or later: start the session without "
                "snapshot=True"
            )
        concern["level"] = "snapshot"
        if self._snapshot_timestamp:
            concern["atClusterTime"] = _timestamp(self._snapshot_timestamp)

    def _answered(
        self, operation_time: int, at_cluster_time: int, recovery_token: bytes | None, ok: bool
    ) -> None:
        """A reply has come; the times as 64 bits, 0 where the reply has none."""
        self._saw_operation_time(operation_time)
        if at_cluster_time and self._options.snapshot and not self._snapshot_timestamp:
            self._snapshot_timestamp = at_cluster_time
        transaction = self._transaction
        if ok and transaction.active:
            transaction.completed = True
            if recovery_token is not None and transaction.server is not None:
                transaction.recovery_token = recovery_token

    def _saw_operation_time(self, timestamp: int) -> None:
        self._operation_timestamp = max(self._operation_timestamp, timestamp)

    def _lost_connection(self) -> None:
        """driver-sessions: the server may still be at the command."""
        if self._server_session is not None:
            self._server_session.dirty = True

    def _failed(self, error: MongoError) -> None:
        """A command of it has failed with `error`."""
        if self._transaction.active and self._transaction.failed(error):
            self._unpin()

    # -- transactions ---------------------------------------------------------------------------

    def _start_transaction(self, given: TransactionOptions) -> None:
        """Start one; what `given` leaves open is the session's, then the client's."""
        self._check()
        if self._options.snapshot:
            raise InvalidOperation(
                "Transactions are not supported in snapshot sessions: start one without "
                "snapshot=True"
            )
        if not self._transaction.active:
            self._unpin()
        default = self._options.default_transaction_options or _NO_OPTIONS
        client = self._client
        time = given.max_commit_time_ms
        self._inherited.clear()
        self._transaction.start(
            TransactionOptions(
                given.read_concern or default.read_concern or client.read_concern,
                given.write_concern or default.write_concern or client.write_concern,
                given.read_preference or default.read_preference or client.read_preference,
                default.max_commit_time_ms if time is None else time,
            )
        )
        tracing = self._executor.publisher.tracing
        if tracing is not None:
            self._transaction.trace = tracing.begin_transaction()
        if self._server_session is not None:
            # Counted even if no command of it is ever sent.
            self._transaction.number = self._server_session.next_txn_number()

    def _commit_document(self) -> dict[str, Any]:
        """The command of a commit, but for what all commands of a transaction carry."""
        options = self._transaction.options
        assert options is not None, "it was started"
        document: dict[str, Any] = {"commitTransaction": 1}
        if options.max_commit_time_ms:
            document["maxTimeMS"] = options.max_commit_time_ms
        return document

    # -- the object ------------------------------------------------------------------------------

    def __copy__(self) -> Any:
        raise TypeError(f"A {type(self).__name__} cannot be copied: start another session")

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def __del__(self) -> None:
        # A destructor may run anywhere, so it does no I/O: the server ends a transaction by itself.
        if not self.__dict__.get("_has_ended", True) and not self._is_inherited:
            self._transaction.end_trace()
            self._executor.let_session_go(self)


_NO_OPTIONS = TransactionOptions()


def _number(time: Timestamp) -> int:
    return time.time << 32 | time.inc


def _timestamp(number: int) -> Timestamp | None:
    return Timestamp(number >> 32, number & 0xFFFFFFFF) if number else None


def _document(element: bytes) -> dict[str, Any]:
    """The value of an element, a document."""
    return decode(element[element.index(0, 1) + 1 :])
