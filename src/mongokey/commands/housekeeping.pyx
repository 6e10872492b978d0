# cython: language_level=3, boundscheck=False, wraparound=False
"""killCursors and endSessions: what the driver tells a server for good order, not for a caller.

It uses connections that are idle anyway: it never opens one, logs in or waits for one, and every
message has a short deadline. It must not know who owned a cursor, nor in which thread it runs.
"""

from libc.stdint cimport int64_t

from mongokey.connection.connection cimport Connection
from mongokey.commands.command cimport Command
from mongokey.execution.operation cimport (
    PendingCursor,
    Executor,
    ReauthenticationRequired,
    Namespace,
    Operation,
    ServerSession,
)
from mongokey.pool.pool cimport Pool
from mongokey.transport.stream cimport monotonic_ns

from mongokey.errors import AutoReconnect, DocumentTooLarge, MongoError, NetworkTimeout

cdef int64_t SECOND_NS = 1_000_000_000
# How long one message may take, and everything that closing a client sends.
cdef int64_t MESSAGE_NS = 2 * SECOND_NS
cdef int64_t CLOSING_NS = 3 * SECOND_NS
# A cursor that so long found no connection idle is worth one of those that others wait for.
cdef int64_t PATIENCE_NS = 5 * SECOND_NS
cdef double QUEUE_S = 0.5
# A server forgets a cursor that nobody asked for so long (cursorTimeoutMillis).
cdef int64_t CURSOR_NS = 600 * SECOND_NS
# A cursor whose killCursors failed so often is left to time out.
cdef int MOST_TRIES = 2
# driver-sessions, "endSessions": at most so many ids in one command.
cdef Py_ssize_t END_SESSIONS_BATCH = 10000

# What became of a message.
cdef enum:
    TOLD = 0
    NOT_NOW = 1                             # nothing was sent: no connection is idle
    FAILED = 2
    SILENT = 3                              # the server did not answer in time


cdef int tell(
    Executor executor, Operation operation, Pool pool, int64_t deadline_ns, double wait_s
) except -1:
    """Send `operation` to the server behind `pool` on an idle connection and read the answer.

    With `wait_s` it queues for so many seconds with those who wait for a connection.
    """
    cdef Connection connection
    cdef bint lost = False
    while True:
        connection = pool.borrow(wait_s)
        if connection is None:
            return FAILED if lost else NOT_NOW
        try:
            executor.encode(operation, connection)
            connection.send(deadline_ns)
            connection.receive(deadline_ns)
            answer = executor.decode(operation, connection)
        except NetworkTimeout:
            return SILENT
        except AutoReconnect:
            # That connection was dead before; the others may still be good.
            lost = True
            continue
        except (MongoError, DocumentTooLarge):
            return FAILED
        finally:
            if connection.stream.closed and operation.session is not None:
                operation.session.dirty = True
            pool.give_back(connection)
        # A connection whose login has expired is left to those who will renew it.
        return FAILED if type(answer) is ReauthenticationRequired else TOLD


cdef int kill(
    Executor executor, PendingCursor cursor, int64_t deadline_ns, double wait_s
) except -1:
    """Have the server forget `cursor`; its session is free for others then."""
    cdef Command command = Command(
        Namespace(cursor.namespace.database),
        {"killCursors": cursor.namespace.collection, "cursors": [cursor.id]},
    )
    cdef int outcome
    # driver-sessions: in the cursor's session.
    command.session = cursor.session
    outcome = tell(executor, command, cursor.pool, deadline_ns, wait_s)
    cursor.session = command.session
    if outcome == TOLD:
        give_session_back(executor, cursor)
    return outcome


cdef int give_session_back(Executor executor, PendingCursor cursor) except -1:
    session, cursor.session = cursor.session, None
    if session is not None:
        executor.give_session(session)
    return 0


def close_cursor(Executor executor not None, PendingCursor cursor not None):
    """Have the server forget a cursor now, within `MESSAGE_NS`; later, beside the program, if no
    connection is idle. A failure is not worth an error: cursors time out."""
    if executor.closed:
        return
    if kill(executor, cursor, monotonic_ns() + MESSAGE_NS, 0) == NOT_NOW:
        executor.abandon(cursor)
    else:
        give_session_back(executor, cursor)


def kill_abandoned(Executor executor not None):
    """Kill the cursors that were let go; False if some are to be tried again in a second.

    One that fails costs the others nothing, except that a server which is silent is asked once.
    """
    kill_until(executor, 0, [])
    return not executor.postponed


cdef int kill_until(Executor executor, int64_t deadline_ns, list silent) except -1:
    """The same, with the `deadline_ns` (0: none) of everything; `silent` are pools not to ask,
    and gets those that turn out to be."""
    cdef int64_t limit
    postponed, executor.postponed = executor.postponed, []
    executor.abandoned.extend(postponed)
    # One by one, so that who closes the client in another thread need not wait for all. What is
    # appended meanwhile, even by a destructor in between, is taken too.
    while executor.abandoned:
        with executor.housekeeping:
            limit = monotonic_ns() + MESSAGE_NS
            if deadline_ns and deadline_ns < limit:
                limit = deadline_ns
            if executor.closed or limit <= monotonic_ns():
                return 0
            if executor.abandoned:
                kill_one(executor, <PendingCursor>executor.abandoned.pop(), limit, silent)
    return 0


cdef int kill_one(
    Executor executor, PendingCursor cursor, int64_t deadline_ns, list silent
) except -1:
    cdef int outcome = NOT_NOW
    cdef double wait_s = 0
    if monotonic_ns() - cursor.since_ns > PATIENCE_NS:
        wait_s = QUEUE_S
    if cursor.pool not in silent:
        outcome = kill(executor, cursor, deadline_ns, wait_s)
    if outcome == TOLD:
        return 0
    if outcome == SILENT:
        silent.append(cursor.pool)
    if outcome != NOT_NOW:
        cursor.tries += 1
    if cursor.tries < MOST_TRIES and monotonic_ns() - cursor.since_ns < CURSOR_NS:
        executor.postponed.append(cursor)
    else:
        give_session_back(executor, cursor)
    return 0


def end(Executor executor not None, Pool pool):
    """For the end of a client: kill what was let go, then tell the server behind `pool` that the
    sessions are over (driver-sessions, "endSessions"), all within `CLOSING_NS`."""
    from mongokey.bson.binary import Binary

    cdef Command command
    cdef int64_t deadline = monotonic_ns() + CLOSING_NS
    cdef list silent = []
    # Who kills a cursor at this moment in another thread gives its session back first.
    if not executor.housekeeping.acquire(timeout=CLOSING_NS / SECOND_NS):
        return
    try:
        kill_until(executor, deadline, silent)
        if pool is None or pool in silent:
            return
        idle = executor.idle_sessions()
        ids = [{"id": Binary((<ServerSession>each).id[:16], 4)} for each in idle]
        for start in range(0, len(ids), END_SESSIONS_BATCH):
            command = Command(
                Namespace("admin"), {"endSessions": ids[start:start + END_SESSIONS_BATCH]}
            )
            command.sessionless = True
            if tell(executor, command, pool, deadline, 0) != TOLD:
                return
    finally:
        executor.housekeeping.release()
