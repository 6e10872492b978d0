"""`SessionBase`: what the sessions of both faces do with their client; `BlockingSessionBase`: what
the blocking one does in a way of its own.

It knows the clock, and how the end of a transaction is carried out. PyMongo's names stand in
`mongokey.client_session`.
"""

from __future__ import annotations

from functools import partial

from mongokey._support.system import monotonic_ns
from mongokey.bson.binary import Binary
from mongokey.commands.command import Command
from mongokey.execution.execution import random_jitter
from mongokey.execution.operation import Namespace
from mongokey.execution.time_limits import deadline_of, is_for_ever, limited
from mongokey.sessions.explicit_session import ExplicitSession
from mongokey.sessions.transaction_retries import TransactionRetries

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

# Where no server has said how long it keeps sessions: as long as any has been idle.
_NO_TIMEOUT_NS = 1 << 62


class SessionBase(ExplicitSession):
    """Base of the sessions of both faces."""

    def _now_ns(self) -> int:
        return monotonic_ns()

    def _session_id(self) -> dict[str, Any]:
        self._check()
        minutes = self._client._topology.description.logical_session_timeout_minutes
        timeout_ns = _NO_TIMEOUT_NS if minutes is None else minutes * 60 * 1_000_000_000
        return {"id": Binary(self._materialized(monotonic_ns(), timeout_ns).session_id, 4)}

    def _limited(self, timeout_ms: float | None) -> Any:
        """The session's executor, or one with the timeoutMS of a single call."""
        return limited(self._executor, timeout_ms)

    def _retries(self, executor: Any) -> TransactionRetries:
        deadline = deadline_of(executor.timeout, executor.timed, None)
        if deadline is not None and is_for_ever(deadline):
            deadline = None
        return TransactionRetries(monotonic_ns(), random_jitter, deadline)

    def _can_abort(self) -> bool:
        """Whether there is a transaction to be aborted: not one of a parent process, or of a client
        that is closed."""
        return self.in_transaction and not self._is_inherited and not self._executor.closed

    def _carry_out(self, document: dict[str, Any], timeout_ms: float | None) -> Any:
        """Carry out the command that ends the transaction."""
        command = Command(Namespace("admin"), document, retryable_write=True)
        return self._limited(timeout_ms).execute_in(command.for_ending_transaction(), self)


class BlockingSessionBase(SessionBase):
    """Base of `ClientSession`."""

    _client_name = "MongoClient"

    def _sleep(self, duration_ns: int) -> None:
        if duration_ns:
            from mongokey.transport.sleeping import sleep_until

            sleep_until(monotonic_ns() + duration_ns, partial(getattr, self._executor, "closed"))
