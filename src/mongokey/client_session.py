# Made from aio/client_session.py by tools/blocking_face.py: change that, then run ./dev format.
"""Explicit sessions and their transactions, under PyMongo's names.

They know PyMongo's methods. What a session is and what its commands carry,
`mongokey.sessions.explicit_session` knows; when a transaction is tried once more,
`mongokey.sessions.transaction_retries`.
"""

from __future__ import annotations

from contextlib import suppress

from mongokey.errors import ConnectionFailure, MongoError, OperationFailure
from mongokey.execution.time_limits import one_deadline, refreshed_deadline
from mongokey.faces.session_base import BlockingSessionBase
from mongokey.faces.sessions import Binding
from mongokey.sessions.options import SessionOptions, TransactionOptions
from mongokey.sessions.transaction import ABORT, label_commit_error

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from mongokey.mongo_client import MongoClient
    from mongokey.read_concern import ReadConcern
    from mongokey.read_preferences import _ServerMode
    from mongokey.write_concern import WriteConcern

    _Result = TypeVar("_Result")
    _Self = TypeVar("_Self", bound="ClientSession")

__all__ = ["ClientSession", "SessionOptions", "TransactionOptions"]


class ClientSession(BlockingSessionBase):
    """A session: operations in a causal order, and transactions. `start_session` makes it.

    It is for one user at a time: neither several threads nor several tasks may use it at once; and
    it belongs to the process that started it, not to a forked child.
    """

    @property
    def client(self) -> MongoClient[Any]:
        """The client that started it."""
        return self._client  # type: ignore[no-any-return]

    @property
    def session_id(self) -> Mapping[str, Any]:
        """What the server calls it, a document. Raises `InvalidOperation` if it has ended."""
        return self._session_id()

    def end_session(self) -> None:
        """End it: a transaction that was neither committed nor aborted is aborted."""
        if self._has_ended:
            return
        try:
            if self._can_abort():
                with refreshed_deadline(self._executor):
                    self.abort_transaction()
        finally:
            self._end()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end_session()

    def bind(self, end_session: bool = True) -> BoundSession:
        """A context manager: all operations of the client within its block are carried out in this
        session, where they are not given another one.

        :param end_session: whether the session is ended with the block; default True
        """
        return BoundSession(self, end_session)

    # -- transactions ---------------------------------------------------------------------------

    def start_transaction(
        self,
        read_concern: ReadConcern | None = None,
        write_concern: WriteConcern | None = None,
        read_preference: _ServerMode | None = None,
        max_commit_time_ms: int | None = None,
    ) -> TransactionContext:
        """Start a transaction: all operations in the session belong to it until it is committed or
        aborted. The server is told by the first of them.

        The arguments are those of `TransactionOptions`. Returns a context manager that commits at
        the end of its block, and aborts if that raises. Raises `InvalidOperation` if one is in
        progress, and in snapshot sessions.
        """
        self._start_transaction(
            TransactionOptions(read_concern, write_concern, read_preference, max_commit_time_ms)
        )
        return TransactionContext(self)

    def commit_transaction(self, *, timeout_ms: float | None = None) -> None:
        """Commit the transaction. May be called again if that fails; the server applies it once.

        :param timeout_ms: how long that may take, in ms, in place of the session's timeoutMS

        An error with the label "UnknownTransactionCommitResult" leaves open whether it was
        committed. Raises `InvalidOperation` if there is nothing to commit.
        """
        self._check()
        if not self._transaction.begin_commit():
            return
        try:
            self._carry_out(self._commit_document(), timeout_ms)
        except MongoError as error:
            label_commit_error(error)
            raise
        finally:
            self._transaction.ended()

    def abort_transaction(self, *, timeout_ms: float | None = None) -> None:
        """Abort the transaction: nothing that was done in it is kept.

        :param timeout_ms: how long that may take, in ms, in place of the session's timeoutMS

        What the server says to it is of no importance, as it aborts by itself what was not
        committed in time. Raises `InvalidOperation` if there is nothing to abort.
        """
        self._check()
        is_known = self._transaction.begin_abort()
        try:
            if is_known:
                with suppress(OperationFailure, ConnectionFailure):
                    self._carry_out({ABORT: 1}, timeout_ms)
        finally:
            if is_known:
                self._transaction.ended()
            self._unpin()

    def with_transaction(
        self,
        callback: Callable[[ClientSession], _Result],
        read_concern: ReadConcern | None = None,
        write_concern: WriteConcern | None = None,
        read_preference: _ServerMode | None = None,
        max_commit_time_ms: int | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> _Result:
        """Call `callback` with this session in a transaction, commit it, and return the result.

        :param timeout_ms: how long all of it may take, in ms, in place of the session's timeoutMS;
            0: no limit

        Where that is allowed, the commit or all of it is tried once more, for up to 120 seconds, or
        as long as timeoutMS or a block of `mongokey.timeout` says, which is the time of all
        operations of `callback` together, so that none may have a `timeout_ms` of its own
        (`ConfigurationError`); an abort then has as long once more. So `callback` may be called
        more than once, and must not do what would be wrong twice outside the transaction. It must
        raise the errors of operations that it catches: an error may have aborted the transaction,
        whose commit then would fail for ever. The other arguments are those of
        `TransactionOptions`. Raises what `callback` or the commit raises; when the time is over, an
        error with `timeout` and the labels of the last error, which is its cause.
        """
        executor = self._limited(timeout_ms)
        has_time, self._has_time = self._has_time, executor.timed
        try:
            with one_deadline(executor):
                result: _Result = self._with_transaction(
                    executor,
                    callback,
                    read_concern,
                    write_concern,
                    read_preference,
                    max_commit_time_ms,
                )
                return result
        finally:
            self._has_time = has_time

    def _with_transaction(self, executor: Any, callback: Any, *options: Any) -> Any:
        retries = self._retries(executor)
        while True:
            self._sleep(retries.begin(self._now_ns()))
            self.start_transaction(*options)
            try:
                result = callback(self)
            except BaseException as error:
                if self.in_transaction:
                    # The time may be over, and the server is told nevertheless.
                    with refreshed_deadline(executor):
                        self.abort_transaction()
                if retries.repeats_transaction(error, self._now_ns()):
                    continue
                raise
            if not self.in_transaction:
                return result  # the callback has ended it on purpose
            while True:
                try:
                    self.commit_transaction()
                except MongoError as error:
                    if retries.repeats_commit(error, self._now_ns()):
                        continue
                    if retries.repeats_transaction(error, self._now_ns()):
                        break
                    raise
                return result


class TransactionContext:
    """What `start_transaction` returns: the end of its block is the end of the transaction."""

    __slots__ = ("_session",)

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    def __enter__(self) -> TransactionContext:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: object, exc_tb: object
    ) -> None:
        if self._session.in_transaction:
            if exc_type is None:
                self._session.commit_transaction()
            else:
                with refreshed_deadline(self._session._executor):
                    self._session.abort_transaction()


class BoundSession:
    """What `bind` returns: within its block, the session is bound."""

    __slots__ = ("_binding", "_ends", "_session")

    def __init__(self, session: ClientSession, end_session: bool) -> None:
        self._session = session
        self._ends = end_session
        self._binding = Binding(session)

    def __enter__(self) -> ClientSession:
        self._binding.bind()
        return self._session

    def __exit__(self, *exc_info: object) -> None:
        self._binding.unbind()
        if self._ends:
            self._session.end_session()
