# cython: language_level=3, boundscheck=False, wraparound=False
"""Carries out executions in tasks of an asyncio loop, which await; and says which loop that is.

It does what `Execution.advance` says, and no more: the rules are there, and `execution.blocking` is
the same loop with other waits. A client belongs to the loop of its first operation; when that is
over, another may take its place. What belongs to a loop, and how it is dropped, it must not know.
"""

import os
import sys

from mongokey._support.deadline cimport Deadline, Timeout
from mongokey.connection.async_connection cimport AsyncConnection
from mongokey.connection.connection cimport Connection
from mongokey.execution.cursors cimport ServerCursor
from mongokey.execution.execution cimport (
    AUTHENTICATE,
    CHECK_OUT,
    COMPRESS,
    DECRYPT,
    DONE,
    ENCRYPT,
    EXCHANGE,
    GIVE_WAY,
    SELECT_SERVER,
    SLEEP,
    TAKE_PINNED,
    Execution,
    Executor,
)
from mongokey.execution.operation cimport Operation
from mongokey.pool.aio cimport AsyncPool
from mongokey.pool.pool cimport Pool
from mongokey.sessions.server_session cimport ServerSession
from mongokey.transport.stream cimport monotonic_ns

from mongokey._support.fork import call_after_fork
from mongokey._support.lazy import late_imports
from mongokey._support.loop_end import LoopEnd
from mongokey._support.tasks import Turns, give_way, running_loop
from mongokey._support.weakly import weakly
from mongokey.errors import MongoError
from mongokey.execution.idle_steps import OnIdle, Turn

# Frames in here are no place of the application's.
cdef str OWN_FILES = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


cdef class AsyncExecutor(Executor):
    """An `Executor` whose calls return coroutines, for one loop at a time.

    `binding.enter(loop)` is asked before it is used in another loop than before.
    """

    def __init__(self, topology, *, binding, **options):
        self.binding = binding
        Executor.__init__(self, topology, **options)
        self.pending.lock = Turns()

    def reset_after_fork(self):
        """In a forked child: the loop is the parent's."""
        Executor.reset_after_fork(self)
        self.new_loop()

    def new_loop(self):
        """The loop that it belonged to is gone: what waited in it does not go on."""
        self.loop = None
        if self.pending is not None:
            self.pending.lock = Turns()

    def limited_to(self, Timeout timeout, *, bint of_call=False):
        """As of any `Executor`; the loop is the client's."""
        cdef AsyncExecutor made = Executor.limited_to(self, timeout, of_call=of_call)
        made.binding = self.binding
        return made

    cpdef int enter(self) except -1:
        if self.origin is not None:
            return (<AsyncExecutor>self.origin).enter()
        loop = running_loop()
        if loop is not self.loop:
            if self.binding is None:
                raise TypeError("this executor was never initialized")
            self.binding.enter(loop)
            self.loop = loop
        return 0

    cpdef object execute(self, Operation operation):
        return self._run(operation, None, None)

    cpdef object execute_for_cursor(self, Operation operation, ServerCursor cursor):
        return self._run(operation, cursor, None)

    cpdef object execute_in(self, Operation operation, object session):
        return self._run(operation, None, session)

    cpdef object execute_with(self, Operation operation, ServerSession session):
        return self._run(operation, None, session)

    cpdef object carry_out(self, object plan):
        return self._carry_out(plan)

    async def _carry_out(self, plan):
        try:
            step = next(plan)
            while True:
                try:
                    if type(step) is Turn:
                        answer = await have_turn(step)
                    else:
                        answer = await self._run(step.operation, step.cursor, step)
                except BaseException as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(answer)
        except StopIteration as end:
            return end.value
        finally:
            plan.close()

    cdef Execution _take(self):
        """An unused Execution: usually the one of the call before."""
        cdef Execution execution = self.spare
        if execution is None:
            return Execution.__new__(Execution)
        self.spare = None
        return execution

    async def _run(self, Operation operation, ServerCursor cursor, how):
        """`how`: None; or the session that the user has started; or the implicit one that is to be
        used; or an `OnIdle`, with which it is for good order, and not for a caller."""
        cdef object on_idle = None
        cdef Execution execution
        cdef AsyncConnection connection
        cdef Connection checked_out
        cdef AsyncPool pool
        cdef int step
        self.enter()
        execution = self._take()
        execution.begin(self, operation, cursor)
        # No other task should wait until a large batch is written, or decoded.
        execution.in_parts = execution.reply.in_parts = True
        if how is not None:
            if type(how) is OnIdle:
                on_idle = how
                if cursor is None:
                    execution.selected(on_idle.server)
                execution.background = on_idle.wait_s >= 0
                execution.deadline = on_idle.deadline
            elif type(how) is ServerSession:
                execution.session = <ServerSession>how
            else:
                execution.join(how)
        try:
            while True:
                try:
                    while True:
                        step = execution.advance()
                        if step == CHECK_OUT:
                            pool = <AsyncPool?>execution.server
                            if execution.background:
                                checked_out = await pool.borrow_soon(on_idle.wait_s)
                                execution.checked_out(checked_out, monotonic_ns())
                                checked_out = None
                                continue
                            if pool.paused and execution.awaits_server():
                                await wait_for_server(self.topology, pool, execution.deadline)
                            checked_out = pool.take_now(monotonic_ns())
                            if checked_out is None:
                                checked_out = <Connection?>await pool.checkout_soon(
                                    execution.deadline
                                )
                            execution.checked_out(checked_out, monotonic_ns())
                            checked_out = None
                        elif step == EXCHANGE:
                            connection = <AsyncConnection?>execution.connection
                            waiting = connection.exchange(execution.deadline)
                            if waiting is not None:
                                await waiting
                            if connection.is_compressed:
                                await connection.inflate_soon()
                            execution.received(connection.reply.body, connection.reply.body_size)
                        elif step == DONE:
                            return execution.result
                        elif step == SELECT_SERVER:
                            pool = <AsyncPool?>await self._select(execution)
                            # It may have taken long, and the client have another loop by now.
                            self.enter()
                            execution.selected(pool)
                        else:
                            await carry_out_rare(execution, step)
                except MongoError as error:
                    raised = execution.failed(error)
                    if raised is error:
                        raise
                    if raised is not None:
                        raise raised from error
                    self.enter()
        finally:
            execution.end()
            self.spare = execution

    # -- servers --------------------------------------------------------------------------------

    async def open(self):
        """Start to look for the servers; DNS is asked in a thread, once for all who wait."""
        with late_imports:
            from mongokey.topology.aio_selection import open_topology

        self.enter()
        await open_topology(self.topology)

    async def _select(self, Execution execution):
        with late_imports:
            from mongokey.topology.aio_selection import select

        return await select(
            self.topology,
            execution.operation.criteria,
            execution.deprioritized or (),
            execution.operation.command_name(),
            execution.operation_id,
            execution.deadline,
        )

    async def selected_server(self, Deadline until=None):
        """The pool of a server that takes writes, found if need be."""
        with late_imports:
            from mongokey.topology.aio_selection import select

        self.enter()
        return await select(self.topology, until=until)


async def have_turn(turn):
    """Whether the lock was got in time."""
    if turn.deadline is None:
        return await turn.lock.acquire()
    return await turn.lock.acquire(turn.deadline.left_s)


async def wait_for_server(topology, Pool pool, Deadline deadline):
    with late_imports:
        from mongokey.topology.aio_selection import drive

    await drive(topology, topology.availability(pool, deadline))


async def carry_out_rare(Execution execution, int step):
    """The steps that few executions come to."""
    if step == AUTHENTICATE:
        with late_imports:
            from mongokey.connection.establish_aio import reauthenticate

        await reauthenticate(execution.connection, execution.deadline)
        execution.authenticated()
    elif step == SLEEP:
        await back_off(execution)
        execution.slept()
    elif step == GIVE_WAY:
        await give_way()
    elif step == COMPRESS:
        await (<AsyncConnection?>execution.connection).compress_soon()
    elif step == TAKE_PINNED:
        execution.checked_out(execution.pinned_connection(), monotonic_ns())
    elif step == ENCRYPT:
        await execution.executor.crypt.encrypt(execution)
    elif step == DECRYPT:
        await execution.executor.crypt.decrypt(execution)
    else:  # SEND_ONLY
        await send_only(execution)
        execution.sent_only()


async def send_only(Execution execution):
    waiting = (<AsyncConnection?>execution.connection).send_only(execution.deadline)
    if waiting is not None:
        await waiting


async def back_off(Execution execution):
    """Wait as long as the execution says, or until its client is closed."""
    with late_imports:
        from mongokey._support.tasks import sleep_unless

    cdef Executor executor = execution.executor
    await sleep_unless(lambda: executor.closed, execution.backoff_ns / 1e9)


__all__ = ["AsyncExecutor"]


cdef class LoopBinding:
    """The loop of one client."""

    def __init__(self, on_new_loop not None, on_loop_end=None):
        self.on_new_loop = on_new_loop
        self.on_loop_end = on_loop_end
        call_after_fork(self)

    def reset_after_fork(self):
        """In a forked child: the loop is the parent's, and must not be touched: the two share what
        it waits by. All that belonged to it is reset by itself."""
        self.loop = self.entered_at = self.ended = None
        self.has_remains = False
        self._forget_end()

    def _forget_end(self):
        end, self.loop_end = self.loop_end, None
        if end is not None:
            end.forget()

    def _loop_ends(self):
        """The loop is about to be closed; it is used no more, unless by what ends there too."""
        self.ended = self.loop
        self.on_loop_end()

    cpdef int enter(self, object running) except -1:
        """Bind the client to `running`, if no other loop has it."""
        cdef object bound
        while True:
            bound = self.loop
            if bound is running:
                return 0
            if bound is None and not self.has_remains:
                # Nothing of Python's comes between the look and this: the first thread gets it.
                self.loop = running
                self._entered(running)
                return 0
            if bound is not None and bound.is_running() and not bound.is_closed():
                if self.loop is bound:
                    raise self._taken()
                continue
            if self.loop is not bound:
                continue  # another thread was faster
            # It is this loop's from here on: another thread's is refused.
            self.loop = running
            self.has_remains = True
            try:
                self._entered(running)
                self.on_new_loop()
            except BaseException:
                # Such as a Ctrl-C: what is left is dropped by the next operation.
                self.loop = None
                raise
            self.has_remains = False
            return 0

    cdef int _entered(self, object running) except -1:
        self.entered_at = place_of_caller()
        self._forget_end()
        # A loop that has begun to end would complain of a generator that begins there.
        if self.on_loop_end is not None and self.ended is not running:
            self.ended = None
            self.loop_end = LoopEnd(weakly(self._loop_ends))
        return 0

    def _taken(self):
        with late_imports:
            from mongokey.execution.loop_causes import used_in_two_loops

        return used_in_two_loops(self.entered_at)


cdef str place_of_caller():
    """The place in the application that is being executed, for errors."""
    cdef str name
    cdef str loops = os.sep + "asyncio" + os.sep
    frame = sys._getframe(0)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(OWN_FILES) and loops not in name:
            return f"{name}, line {frame.f_lineno}, in {frame.f_code.co_name}"
        frame = frame.f_back
    return "a place that is not known"
