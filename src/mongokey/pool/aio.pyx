# cython: language_level=3
"""The pool of one server's connections, for tasks: they await their turn, and open connections
themselves.

The steps to a connection are `pool.pool`'s. It must not know how a connection is made.
"""

from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int64_t

from mongokey._support.deadline cimport Deadline
from mongokey.connection.async_connection cimport AsyncConnection
from mongokey.connection.connection cimport Connection
from mongokey.pool.pool cimport Pool, observed
from mongokey.pool.state cimport Waiter, pop_idle, refuse_all
from mongokey.transport.stream cimport monotonic_ns

from asyncio import _get_running_loop as running_loop
from asyncio import get_running_loop
from contextvars import Context

from mongokey._support.tasks import wake as wake_future
from mongokey.errors import InvalidOperation


# So many sockets are closed before others have a turn: about a millisecond's work.
cdef int CLOSED_AT_ONCE = 16


cdef class TaskWaiter(Waiter):
    """A task in the queue. It awaits `future` until it is woken, from whatever thread."""

    cdef object loop
    cdef object future

    cdef int wake(self) except -1:
        self.woken = True
        wake_future(self.loop, self.future)
        return 0


async def wait_for(TaskWaiter waiter):
    """Until it is woken, or its time is over."""
    timer = None
    if waiter.until_ns:
        left_s = max(0, waiter.until_ns - monotonic_ns()) / 1e9
        timer = waiter.loop.call_later(left_s, wake_future, waiter.loop, waiter.future)
    try:
        await waiter.future
    finally:
        if timer is not None:
            timer.cancel()


cdef class AsyncPool(Pool):
    """A `Pool` whose `connect(opening)` is a coroutine function, and whose callers are tasks.

    It is used in the thread of the loop; connections may come back in any.
    """

    def __cinit__(self):
        self.closing = []

    def close_idle(self):
        """Close what nobody uses; the pool stays as it is."""
        cdef Connection connection = pop_idle(self)
        while connection is not None:
            self._drop(connection, "stale")
            connection = pop_idle(self)

    def reset_for_new_loop(self):
        """The loop of before is over. Its connections are closed when they come back, if they do;
        a task that waits is told, should that loop go on after all."""
        cdef Connection connection
        waiters = self.waiters
        closing, self.closing = self.closing, []
        for connection in closing:
            connection.close()
        for opening in list(self.under_way):
            opening.abandon()
        for connection in list(self.opened):
            if type(connection) is AsyncConnection and (
                (<AsyncConnection>connection).loop_stream.loop.is_closed()
            ):
                connection.close()  # whoever uses it will never go on
        self.reset_after_fork()
        if waiters:
            refuse_all(
                waiters,
                InvalidOperation(
                    f"{self._peer()}: while this task waited for a connection, the client was used "
                    "in another event loop, as the one of this task did not run; a client is for "
                    "one loop at a time"
                ),
            )

    def _close_sockets(self, list connections not None):
        """In the loop a few of them now, and the rest in its next turns."""
        cdef bint begun = len(self.closing) > 0
        self.closing += connections
        if not begun:
            self.close_some()

    def close_some(self):
        cdef list closing = self.closing
        cdef Py_ssize_t left = len(closing)
        loop = running_loop()
        if loop is not None:
            left = min(left, CLOSED_AT_ONCE)
        while left and closing:
            left -= 1
            (<Connection>closing.pop()).close()
        if closing:
            loop.call_soon(self.close_some, context=Context())

    @property
    def is_closing(self):
        """Whether sockets are still to be closed, in the next turns of the loop."""
        return len(self.closing) > 0

    cdef Waiter make_waiter(self):
        cdef TaskWaiter waiter = TaskWaiter.__new__(TaskWaiter)
        waiter.loop = get_running_loop()
        waiter.future = waiter.loop.create_future()
        waiter.caller = PyThread_get_thread_ident()
        return waiter

    cdef Connection take_now(self, int64_t now):
        return None if observed(self) else self._take_idle(now)

    async def checkout_soon(self, Deadline deadline=None):
        """A connection for the caller alone, until `check_in`; see `checkout`."""
        cdef int64_t started_ns = monotonic_ns()
        cdef Connection connection
        cdef bint watched = observed(self)
        if watched:
            self.checkout_begins()
        try:
            connection = self._take_idle(started_ns)
            if connection is None:
                connection = <Connection?>await self._drive(
                    self.checkout_steps(started_ns, deadline)
                )
        except BaseException as error:
            if watched:
                self.checkout_failed(error, started_ns)
            raise
        if watched:
            self.checkout_succeeded(connection, started_ns)
        return connection

    async def borrow_soon(self, double wait_s):
        """For housekeeping: a connection that nobody uses, or None; never opens one. Where others
        wait for one already, None at once, or, with `wait_s`, one that comes back within so many
        seconds, in turn."""
        cdef Connection connection = None
        cdef int64_t started_ns = monotonic_ns()
        if self.closed or self.paused:
            return None
        if not self.waiters:
            connection = self._take_idle(started_ns)
        elif wait_s > 0:
            connection = await self._drive(
                self._borrow_steps(started_ns + <int64_t>(wait_s * 1e9))
            )
        if connection is not None:
            self.lend_for_housekeeping(connection, started_ns)
        return connection

    async def fill(self):
        """Open connections up to `minPoolSize`.

        What goes wrong is told to `on_connect_failure`, and to the operation that comes next.
        """
        await self._drive(self._fill_steps())

    async def _drive(self, steps):
        """Do what the steps say; returns what they come to."""
        try:
            step = next(steps)
            while True:
                answer = None
                try:
                    if isinstance(step, TaskWaiter):
                        await wait_for(step)
                    else:
                        answer = await self.connect(step)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            return end.value


__all__ = ["AsyncPool"]
