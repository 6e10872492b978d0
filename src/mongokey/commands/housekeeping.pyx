# cython: language_level=3, boundscheck=False, wraparound=False, nonecheck=True
"""killCursors and endSessions: what the driver tells a server for good order, not for a caller.

It uses connections that are idle anyway: it never opens one, logs in or waits for one, and every
message has a short deadline. Each task is a plan of the steps in `execution.idle_steps`, which the
executor of either face carries out. It must not know who owned a cursor, nor how anything waits.
"""

from libc.stdint cimport int64_t

from mongokey._support.deadline cimport Deadline, Timeout, earliest
from mongokey.commands.command cimport Command
from mongokey.execution.cursors cimport PendingCursors, ServerCursor
from mongokey.execution.execution cimport Executor
from mongokey.execution.idle_steps cimport on_idle, turn
from mongokey.execution.operation cimport Namespace, Operation
from mongokey.pool.pool cimport Pool
from mongokey.transport.stream cimport monotonic_ns

from mongokey.errors import DocumentTooLarge, MongoError, NetworkTimeout
from mongokey.execution.execution import NO_IDLE_CONNECTION

cdef int64_t SECOND_NS = 1_000_000_000
# How long one message may take, and everything that closing a client sends.
cdef Timeout MESSAGE = Timeout(2 * SECOND_NS)
cdef Timeout CLOSING = Timeout(3 * SECOND_NS)
# A cursor that so long found no connection idle is worth one of those that others wait for.
cdef int64_t WAIT_AFTER_NS = 5 * SECOND_NS
cdef double QUEUE_S = 0.5
# A server forgets a cursor that nobody asked for so long (cursorTimeoutMillis).
cdef int64_t CURSOR_NS = 600 * SECOND_NS
# A cursor whose killCursors failed so often is left to time out.
cdef int MOST_FAILURES = 2
# driver-sessions, "endSessions": at most so many ids in one command.
cdef Py_ssize_t END_SESSIONS_BATCH = 10000

# What became of a message.
cdef enum:
    ANSWERED = 0
    NOT_SENT = 1                            # no connection is idle
    FAILED = 2
    TIMED_OUT = 3                           # the server did not answer in time

cdef object no_idle_connection = NO_IDLE_CONNECTION


# -- what is asked for, on either face ------------------------------------------------------------


def close_cursor(Executor executor not None, ServerCursor cursor not None):
    """Have the server forget a cursor now, within `MESSAGE`; later, beside the program, if no
    connection is idle. A failure is not worth an error: cursors time out.

    Returns what `Executor.carry_out` does: on the asyncio face a coroutine.
    """
    return executor.carry_out(close_one(executor, cursor))


def kill_pending_cursors(Executor executor not None):
    """Kill the cursors that were let go; False if some are to be tried again in a second. On the
    asyncio face a coroutine.

    One that fails costs the others nothing, except that a server which is silent is asked once.
    """
    return executor.carry_out(kill_pending(executor))


def end_sessions(Executor executor not None):
    """For the end of a client: kill what was let go, then tell the selected server that the
    sessions are over (driver-sessions, "endSessions"), all within `CLOSING`. On the asyncio face a
    coroutine."""
    return executor.carry_out(end_all(executor))


# -- plans ----------------------------------------------------------------------------------------


def tell(
    Operation operation, ServerCursor cursor, Pool server, Deadline deadline, double wait_s
):
    """Send `operation`, about `cursor` or (None) to `server`, and read the answer.

    With `wait_s` it queues for so many seconds with those who wait for a connection.
    """
    try:
        answer = yield on_idle(operation, cursor, server, deadline, wait_s)
    except NetworkTimeout:
        return TIMED_OUT
    except (MongoError, DocumentTooLarge):
        return FAILED
    if answer is no_idle_connection:
        return NOT_SENT
    return FAILED if isinstance(answer, MongoError) else ANSWERED


def kill(Executor executor, ServerCursor cursor, Deadline deadline, double wait_s):
    """Have the server forget `cursor`; its session is free for others then."""
    cdef Command command = Command(
        Namespace(cursor.namespace.database),
        {"killCursors": cursor.namespace.collection, "cursors": [cursor.id]},
    )
    cdef int outcome
    if cursor.explicit is not None and cursor.explicit.has_ended:
        cursor.explicit = None
    if cursor.id == 0 or (
        cursor.pinned and (cursor.connection is None or cursor.connection.stream.closed)
    ):
        # load-balancers: no other connection leads to its server for sure.
        outcome = ANSWERED
    else:
        try:
            outcome = yield from tell(command, cursor, None, deadline, wait_s)
        except BaseException:
            # A Ctrl-C, or a task that is cancelled: it is killed later, where that is possible.
            if cursor.pinned:
                let_go(executor, cursor)
            else:
                executor.pending.defer(cursor)
            raise
    if cursor.pinned:
        outcome = ANSWERED  # it goes back whatever came of it
    if outcome == ANSWERED:
        let_go(executor, cursor)
    return outcome


cdef int let_go(Executor executor, ServerCursor cursor) except -1:
    """Give back its session, and the connection that it is pinned to."""
    session, cursor.session = cursor.session, None
    if session is not None:
        executor.sessions.give_back(session)
    return cursor.unpin()


def close_one(Executor executor, ServerCursor cursor):
    """The plan of `close_cursor`."""
    cdef int outcome
    if executor.closed:
        cursor.unpin()
        return
    outcome = yield from kill(executor, cursor, MESSAGE.start(), 0)
    if outcome == NOT_SENT:
        executor.pending.defer(cursor)
    else:
        let_go(executor, cursor)


def kill_pending(Executor executor):
    """The plan of `kill_pending_cursors`."""
    yield from kill_until(executor, None, [], False)
    return not executor.pending.postponed


def kill_until(Executor executor, Deadline deadline, list silent, bint has_turn):
    """The same, with the deadline of everything; `silent` are the pools of servers not to ask, and
    gets those that turn out not to answer. `has_turn`: the caller has the turn, for all of them."""
    cdef PendingCursors pending = executor.pending
    cdef Deadline limit
    cdef object lock = pending.lock
    postponed, pending.postponed = pending.postponed, []
    pending.deferred.extend(postponed)
    # One by one, so that who closes the client meanwhile need not wait for all. What is appended
    # meanwhile, even by a destructor in between, is taken too.
    while pending.deferred:
        if not has_turn:
            yield turn(lock, None)
        try:
            limit = earliest(MESSAGE.start(), deadline)
            if executor.closed or limit.passed():
                return
            if pending.deferred:
                yield from kill_one(executor, <ServerCursor>pending.deferred.pop(), limit, silent)
        finally:
            if not has_turn:
                lock.release()


def kill_one(Executor executor, ServerCursor cursor, Deadline deadline, list silent):
    """Kill one of those that were let go, or have it tried again later."""
    cdef int outcome = NOT_SENT
    cdef int64_t now = monotonic_ns()
    cdef double wait_s = 0
    if cursor.killing_since_ns == 0:
        cursor.killing_since_ns = now
    if now - cursor.killing_since_ns > WAIT_AFTER_NS:
        wait_s = QUEUE_S
    if cursor.server not in silent:
        outcome = yield from kill(executor, cursor, deadline, wait_s)
    if outcome == ANSWERED:
        return
    if outcome == TIMED_OUT:
        silent.append(cursor.server)
    if outcome != NOT_SENT:
        cursor.failures += 1
    if cursor.failures < MOST_FAILURES and now - cursor.killing_since_ns < CURSOR_NS:
        executor.pending.postponed.append(cursor)
    else:
        let_go(executor, cursor)


def end_all(Executor executor):
    """The plan of `end_sessions`."""
    from mongokey.bson.binary import Binary

    cdef Command command
    cdef Deadline deadline
    cdef list silent = []
    cdef object lock = executor.pending.lock
    cdef int outcome
    # With a maintenance thread, a cursor may be on its way to be killed, its session with it.
    if executor.closed or not (executor.sessions.idle or executor.pending.maintenance is not None):
        return
    deadline = CLOSING.start()
    # Who kills a cursor at this moment gives its session back first.
    if not (yield turn(lock, deadline)):
        return
    try:
        yield from kill_until(executor, deadline, silent, True)
        server = executor.topology.any_pool()
        if server is None or server in silent:
            return
        ids = [{"id": Binary(each.session_id, 4)} for each in executor.sessions.idle]
        for start in range(0, len(ids), END_SESSIONS_BATCH):
            command = Command(
                Namespace("admin"), {"endSessions": ids[start:start + END_SESSIONS_BATCH]}
            )
            command.sessionless = True
            outcome = yield from tell(command, None, <Pool?>server, deadline, 0)
            if outcome != ANSWERED:
                return
    finally:
        lock.release()
