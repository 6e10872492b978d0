# cython: language_level=3, boundscheck=False, wraparound=False
"""Carries out executions in the calling thread, which waits.

It does what `Execution.advance` says, and no more: the rules are there. An asyncio runner is the
same loop with other waits.
"""

cimport cython
from libc.stdint cimport int64_t

from mongokey._support.deadline cimport Deadline
from mongokey.connection.connection cimport Connection
from mongokey.execution.cursors cimport ServerCursor
from mongokey.execution.execution cimport (
    AUTHENTICATE,
    CHECK_OUT,
    DECRYPT,
    DONE,
    ENCRYPT,
    EXCHANGE,
    SELECT_SERVER,
    SLEEP,
    TAKE_PINNED,
    Execution,
    Executor,
)
from mongokey.execution.operation cimport Operation
from mongokey.pool.pool cimport Pool
from mongokey.sessions.server_session cimport ServerSession
from mongokey.transport.stream cimport monotonic_ns

from functools import partial

from mongokey._support.lazy import late_imports
from mongokey.errors import MongoError
from mongokey.execution.idle_steps import Turn


@cython.final
cdef class BlockingExecutor(Executor):
    """An `Executor` whose calls return when the operation is over."""

    cpdef object execute(self, Operation operation):
        cdef Execution execution = self._take()
        execution.begin(self, operation, None)
        return self._run(execution, 0)

    cpdef object execute_for_cursor(self, Operation operation, ServerCursor cursor):
        cdef Execution execution = self._take()
        execution.begin(self, operation, cursor)
        return self._run(execution, 0)

    cpdef object execute_in(self, Operation operation, object session):
        cdef Execution execution = self._take()
        execution.begin(self, operation, None)
        execution.join(session)
        return self._run(execution, 0)

    cpdef object execute_with(self, Operation operation, ServerSession session):
        cdef Execution execution = self._take()
        execution.begin(self, operation, None)
        execution.session = session
        return self._run(execution, 0)

    cdef object execute_on_idle(
        self,
        Operation operation,
        ServerCursor cursor,
        Pool server,
        Deadline deadline,
        double wait_s,
    ):
        cdef Execution execution = self._take()
        execution.begin(self, operation, cursor)
        if cursor is None:
            execution.selected(server)
        execution.background = wait_s >= 0
        execution.deadline = deadline
        return self._run(execution, wait_s)

    cpdef object carry_out(self, object plan):
        cdef object step, answer
        try:
            step = next(plan)
            while True:
                try:
                    answer = self._carry_out(step)
                except BaseException as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(answer)
        except StopIteration as end:
            return end.value
        finally:
            plan.close()

    cdef object _carry_out(self, object step):
        if type(step) is Turn:
            if step.deadline is None:
                return step.lock.acquire()
            return step.lock.acquire(timeout=step.deadline.left_s)
        return self.execute_on_idle(
            step.operation, step.cursor, step.server, step.deadline, step.wait_s
        )

    cdef Execution _take(self):
        """An unused Execution: usually the one of the call before."""
        cdef Execution execution = self.spare
        if execution is None:
            return Execution.__new__(Execution)
        self.spare = None
        return execution

    cdef object _run(self, Execution execution, double wait_s):
        cdef Connection connection
        cdef int step
        try:
            while True:
                try:
                    while True:
                        step = execution.advance()
                        if step == CHECK_OUT:
                            if execution.background:
                                connection = execution.server.borrow(wait_s)
                            else:
                                if execution.server.paused and execution.awaits_server():
                                    self.topology.wait_for_server(
                                        execution.server, execution.deadline
                                    )
                                connection = execution.server.checkout(execution.deadline)
                            execution.checked_out(connection, monotonic_ns())
                        elif step == EXCHANGE:
                            connection = execution.connection
                            connection.send(execution.deadline)
                            connection.receive(execution.deadline)
                            execution.received(connection.reply.body, connection.reply.body_size)
                        elif step == DONE:
                            return execution.result
                        elif step == SELECT_SERVER:
                            execution.selected(
                                <Pool?>self.topology.select(
                                    execution.operation.criteria,
                                    execution.deprioritized or (),
                                    execution.operation.command_name(),
                                    execution.operation_id,
                                    execution.deadline,
                                )
                            )
                        elif step == AUTHENTICATE:
                            authenticate(execution)
                            execution.authenticated()
                        elif step == SLEEP:
                            back_off(execution)
                            execution.slept()
                        elif step == TAKE_PINNED:
                            connection = execution.pinned_connection()
                            execution.checked_out(connection, monotonic_ns())
                        elif step == ENCRYPT:
                            self.crypt.encrypt(execution)
                        elif step == DECRYPT:
                            self.crypt.decrypt(execution)
                        else:  # SEND_ONLY
                            execution.connection.send(execution.deadline)
                            execution.sent_only()
                except MongoError as error:
                    raised = execution.failed(error)
                    if raised is error:
                        raise
                    if raised is not None:
                        raise raised from error
        finally:
            execution.end()
            self.spare = execution


cdef int authenticate(Execution execution) except -1:
    """Log in on the connection once more."""
    with late_imports:
        from mongokey.connection.establish import reauthenticate

    reauthenticate(execution.connection, execution.deadline)
    return 0


cdef int back_off(Execution execution) except -1:
    """Wait as long as the execution says, or until its client is closed."""
    with late_imports:
        from mongokey.transport.sleeping import sleep_until

    cdef int64_t end_ns = monotonic_ns() + execution.backoff_ns
    sleep_until(end_ns, partial(getattr, execution.executor, "closed"))
    return 0
