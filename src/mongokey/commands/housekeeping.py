"""killCursors and endSessions: what the driver tells a server for good order, not for a caller.

It uses connections that are idle anyway: it never opens one, logs in or waits for one, unless a
timeoutMS bounds that too; every message has a short deadline. Each task is a plan of the steps in
`execution.idle_steps`, which the executor of either face carries out. It must not know who owned a
cursor, nor how anything waits.
"""

from __future__ import annotations

from collections.abc import Generator
from enum import Enum
from typing import Any, TypeAlias

from mongokey._support.deadline import Deadline, Timeout, earliest, shortest
from mongokey._support.system import monotonic_ns
from mongokey.bson.binary import Binary
from mongokey.commands.command import Command
from mongokey.errors import DocumentTooLarge, MongoError, NetworkTimeout
from mongokey.execution.cursors import ServerCursor
from mongokey.execution.execution import NO_IDLE_CONNECTION, Executor
from mongokey.execution.idle_steps import AS_A_CALL, OnIdle, Turn
from mongokey.execution.operation import Namespace
from mongokey.execution.time_limits import is_limited, timeout_now
from mongokey.pool.pool import Pool

SECOND_NS = 1_000_000_000
# How long one message may take, and everything that closing a client sends.
MESSAGE = Timeout(2 * SECOND_NS)
CLOSING = Timeout(3 * SECOND_NS)
# A cursor that so long found no connection idle is worth one of those that others wait for.
WAIT_AFTER_NS = 5 * SECOND_NS
QUEUE_S = 0.5
# A server forgets a cursor that nobody asked for so long (cursorTimeoutMillis).
CURSOR_NS = 600 * SECOND_NS
# A cursor whose killCursors failed so often is left to time out.
MOST_FAILURES = 2
# driver-sessions, "endSessions": at most so many ids in one command.
END_SESSIONS_BATCH = 10000


class Outcome(Enum):
    """What became of a message."""

    ANSWERED = 0
    NOT_SENT = 1
    """No connection is idle."""
    FAILED = 2
    TIMED_OUT = 3
    """The server did not answer in time."""


Steps: TypeAlias = Generator[OnIdle | Turn, Any, None]
Telling: TypeAlias = Generator[OnIdle | Turn, Any, Outcome]


# -- what is asked for, on either face ------------------------------------------------------------


def close_cursor(executor: Executor, cursor: ServerCursor) -> Any:
    """Have the server forget a cursor now, within `MESSAGE`; later, beside the program, if no
    connection is idle. A failure is not worth an error: cursors time out.

    Returns what `Executor.carry_out` does: on the asyncio face a coroutine.
    """
    return executor.carry_out(close_one(executor, cursor))


def kill_pending_cursors(executor: Executor) -> Any:
    """Kill the cursors that were let go; False if some are to be tried again in a second. On the
    asyncio face a coroutine.

    One that fails costs the others nothing, except that a server which is silent is asked once.
    """
    return executor.carry_out(kill_pending(executor))


def end_sessions(executor: Executor) -> Any:
    """For the end of a client: kill what was let go, then tell the selected server that the
    sessions are over (driver-sessions, "endSessions"), all within `CLOSING`. On the asyncio face a
    coroutine."""
    return executor.carry_out(end_all(executor))


def limit_of(executor: Executor, longest: Timeout) -> Timeout:
    """What is given to it: `longest`, or what timeoutMS says, which begins anew for it
    (client-side-operations-timeout, "Cursors")."""
    return shortest(longest, timeout_now(executor.timeout)) or longest


# -- plans ----------------------------------------------------------------------------------------


def tell(
    command: Command,
    cursor: ServerCursor | None,
    server: Pool | None,
    deadline: Deadline,
    wait_s: float,
) -> Telling:
    """Send a command, about `cursor` or (None) to `server`, and read the answer.

    With `wait_s` it queues for so many seconds with those who wait for a connection.
    """
    try:
        answer = yield OnIdle(command, cursor, server, deadline, wait_s)
    except NetworkTimeout:
        return Outcome.TIMED_OUT
    except (MongoError, DocumentTooLarge):
        return Outcome.FAILED
    if answer is NO_IDLE_CONNECTION:
        return Outcome.NOT_SENT
    return Outcome.FAILED if isinstance(answer, MongoError) else Outcome.ANSWERED


def kill(executor: Executor, cursor: ServerCursor, deadline: Deadline, wait_s: float) -> Telling:
    """Have the server forget `cursor`; its session is free for others then."""
    command = Command(
        Namespace(cursor.namespace.database),
        {"killCursors": cursor.namespace.collection, "cursors": [cursor.id]},
    )
    if cursor.explicit is not None and cursor.explicit.has_ended:
        cursor.explicit = None
    cursor.stop_stream()
    if cursor.id == 0 or (
        cursor.pinned and (cursor.connection is None or cursor.connection.stream.closed)
    ):
        # load-balancers: no other connection leads to its server for sure.
        outcome = Outcome.ANSWERED
    else:
        try:
            outcome = yield from tell(command, cursor, None, deadline, wait_s)
        except BaseException:
            # A Ctrl-C, or a task that is cancelled: it is killed later, where that is possible.
            if cursor.pinned:
                cursor.give_back(executor.sessions)
            else:
                executor.pending.kill_later(cursor)
            raise
    if cursor.pinned:
        outcome = Outcome.ANSWERED  # it goes back whatever came of it
    if outcome is Outcome.ANSWERED:
        cursor.give_back(executor.sessions)
    return outcome


def close_one(executor: Executor, cursor: ServerCursor) -> Steps:
    """The plan of `close_cursor`."""
    if executor.closed:
        cursor.release_connection()
        return
    # "Cursors": where there is a timeoutMS, it is for this once more, and for a new connection too.
    wait_s = AS_A_CALL if is_limited(executor) else 0
    outcome = yield from kill(executor, cursor, limit_of(executor, MESSAGE).start(), wait_s)
    if outcome is Outcome.NOT_SENT:
        executor.pending.kill_later(cursor)
    else:
        cursor.give_back(executor.sessions)


def kill_pending(executor: Executor) -> Generator[OnIdle | Turn, Any, bool]:
    """The plan of `kill_pending_cursors`."""
    yield from kill_until(executor, None, [], has_turn=False)
    return not executor.pending.postponed


def kill_until(
    executor: Executor, deadline: Deadline | None, silent: list[Pool], *, has_turn: bool
) -> Steps:
    """The same, with the deadline of everything; `silent` are the pools of servers not to ask, and
    gets those that turn out not to answer. `has_turn`: the caller has the turn, for all of them."""
    pending = executor.pending
    lock = pending.lock
    postponed, pending.postponed = pending.postponed, []
    pending.deferred.extend(postponed)
    # One by one, so that who closes the client meanwhile need not wait for all. What is appended
    # meanwhile, even by a destructor in between, is taken too.
    while pending.deferred:
        if not has_turn:
            yield Turn(lock, None)
        try:
            started = MESSAGE.start()
            limit = earliest(started, deadline) or started
            if executor.closed or limit.passed():
                return
            if pending.deferred:
                yield from kill_one(executor, pending.deferred.pop(), limit, silent)
        finally:
            if not has_turn:
                lock.release()


def kill_one(
    executor: Executor, cursor: ServerCursor, deadline: Deadline, silent: list[Pool]
) -> Steps:
    """Kill one of those that were let go, or have it tried again later."""
    outcome = Outcome.NOT_SENT
    now = monotonic_ns()
    if cursor.killing_since_ns == 0:
        cursor.killing_since_ns = now
    waited = now - cursor.killing_since_ns
    if cursor.server not in silent:
        wait_s = QUEUE_S if waited > WAIT_AFTER_NS else 0
        outcome = yield from kill(executor, cursor, deadline, wait_s)
    if outcome is Outcome.ANSWERED:
        return
    if outcome is Outcome.TIMED_OUT:
        silent.append(cursor.server)
    if outcome is not Outcome.NOT_SENT:
        cursor.failures += 1
    if cursor.failures < MOST_FAILURES and waited < CURSOR_NS:
        executor.pending.postponed.append(cursor)
    else:
        cursor.give_back(executor.sessions)


def end_all(executor: Executor) -> Steps:
    """The plan of `end_sessions`."""
    pending = executor.pending
    silent: list[Pool] = []
    # With a maintenance thread, a cursor may be on its way to be killed, its session with it.
    if executor.closed or not (executor.sessions.idle or pending.maintenance is not None):
        return
    deadline = limit_of(executor, CLOSING).start()
    # Who kills a cursor at this moment gives its session back first.
    if not (yield Turn(pending.lock, deadline)):
        return
    try:
        yield from kill_until(executor, deadline, silent, has_turn=True)
        server = executor.topology.any_pool()
        if server is None or server in silent:
            return
        ids = [{"id": Binary(each.session_id, 4)} for each in executor.sessions.idle]
        for start in range(0, len(ids), END_SESSIONS_BATCH):
            command = Command(
                Namespace("admin"), {"endSessions": ids[start : start + END_SESSIONS_BATCH]}
            )
            command.sessionless = True
            outcome = yield from tell(command, None, server, deadline, 0)
            if outcome is not Outcome.ANSWERED:
                return
    finally:
        pending.lock.release()
