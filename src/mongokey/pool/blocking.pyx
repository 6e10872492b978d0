# cython: language_level=3
"""The pool of one server's connections, for threads: they wait for their turn, and open connections
themselves.

The steps to a connection are `pool.pool`'s. It must not know how a connection is made.
"""

from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int64_t

from mongokey._support.deadline cimport Deadline
from mongokey._support.generators cimport mk_next_step
from mongokey.connection.connection cimport Connection
from mongokey.pool.pool cimport Pool, observed
from mongokey.pool.state cimport Waiter
from mongokey.transport.stream cimport monotonic_ns


# What any lock can wait, see `_support.deadline`.
cdef int64_t LONGEST_WAIT_NS = 4_000_000 * 1_000_000_000


cdef class ThreadWaiter(Waiter):
    """A thread in the queue. It sleeps on `lock` until it is woken."""

    cdef object lock

    def __cinit__(self):
        self.lock = new_lock()
        self.caller = PyThread_get_thread_ident()
        # Under gevent or eventlet, a lock is theirs.
        self.stops_thread = type(self.lock).__module__ == "_thread"
        self.lock.acquire()

    cdef int wake(self) except -1:
        self.woken = True
        self.lock.release()
        return 0

    cdef int wait(self) except -1:
        cdef int64_t left_ns
        if self.until_ns == 0:
            self.lock.acquire()
            return 0
        left_ns = self.until_ns - monotonic_ns()
        if left_ns > 0:
            self.lock.acquire(True, min(left_ns, LONGEST_WAIT_NS) / 1e9)
        return 0


cdef object new_lock():
    # Looked up each time, as gevent replaces it there.
    import _thread

    return _thread.allocate_lock()


cdef class BlockingPool(Pool):
    """A `Pool` whose `connect(opening)` returns the connection, and whose callers wait."""

    cdef Waiter make_waiter(self):
        return ThreadWaiter()

    cdef Connection checkout(self, Deadline deadline):
        cdef int64_t now = monotonic_ns()
        cdef Connection connection
        if observed(self):
            return self._checkout_observed(now, deadline)
        connection = self._take_idle(now)
        if connection is not None:
            return connection
        return <Connection?>self._drive(self.checkout_steps(now, deadline))

    cdef Connection _checkout_observed(self, int64_t started_ns, Deadline deadline):
        cdef Connection connection
        self.checkout_begins()
        try:
            connection = self._take_idle(monotonic_ns())
            if connection is None:
                connection = <Connection?>self._drive(self.checkout_steps(started_ns, deadline))
        except BaseException as error:
            self.checkout_failed(error, started_ns)
            raise
        self.checkout_succeeded(connection, started_ns)
        return connection

    def check_out(self, Deadline deadline=None):
        """A connection, until `check_in`: `checkout` for callers in Python."""
        return self.checkout(deadline)

    cdef Connection borrow(self, double wait_s):
        cdef Connection connection = None
        cdef int64_t started_ns = monotonic_ns()
        if self.closed or self.paused:
            return None
        if not self.waiters:
            connection = self._take_idle(started_ns)
        elif wait_s > 0:
            connection = self._drive(self._borrow_steps(started_ns + <int64_t>(wait_s * 1e9)))
        if connection is not None:
            self.lend_for_housekeeping(connection, started_ns)
        return connection

    def fill(self):
        """Open connections up to `minPoolSize`; waits for them, in a thread that may.

        What goes wrong is told to `on_connect_failure`, and to the operation that comes next.
        """
        self._drive(self._fill_steps())

    cdef object _drive(self, object steps):
        """Do what the steps say; returns what they come to."""
        cdef object step = None
        cdef object answer = None
        cdef int ended = 0
        while True:
            if step is None:
                step = mk_next_step(steps, answer, &ended)
                if ended:
                    return step
            following = answer = None
            try:
                if isinstance(step, ThreadWaiter):
                    (<ThreadWaiter>step).wait()
                else:
                    answer = self.connect(step)
            except BaseException as error:
                try:
                    following = steps.throw(error)
                except StopIteration as end:
                    return end.value
            step = following


__all__ = ["BlockingPool"]
