# cython: language_level=3
"""The connection pool of one server, blocking.

Who gets which connection is `PoolState`'s decision; here threads wait for their turn, and
connections are opened, checked and closed. It must not know how a connection is made (it is given a
callable) nor what is sent.
"""

from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int64_t, uint64_t

from mongokey._support.deadline cimport Deadline, Timeout
from mongokey.connection.connection cimport Connection
from mongokey.pool.state cimport (
    CLOSED,
    HELD_BY_CALLER,
    OPEN,
    WAIT_FOR_BORROWED,
    PoolState,
    Waiter,
    expired,
    lend,
    pop_idle,
)
from mongokey.transport.stream cimport monotonic_ns

from mongokey._support.address import format_address
from mongokey._support.fork import call_after_fork
from mongokey.errors import InvalidOperation, OperationFailure, WaitQueueTimeoutError

# A connection idle for longer than this is asked whether the server has closed it before it is
# used again; sooner, the question would cost more than the rare retry it saves.
cdef int64_t CHECK_AFTER_NS = 1_000_000_000

# How long a caller waits for a connection that housekeeping has; then it opens another.
cdef double GIVE_BACK_S = 0.1


cdef class ThreadWaiter(Waiter):
    """A thread in the queue. It sleeps on `lock` until it is woken."""

    cdef object lock

    def __init__(self):
        from _thread import allocate_lock

        self.lock = allocate_lock()
        self.caller = PyThread_get_thread_ident()
        # Under gevent or eventlet, a lock is theirs.
        self.stops_thread = type(self.lock).__module__ == "_thread"
        self.lock.acquire()

    cdef int wake(self) except -1:
        self.lock.release()
        return 0


cdef class Pool(PoolState):
    """Connections to `address`, made by calling `connect()`.

    `max_size` 0 means no limit; `max_idle_ns` 0 and `wait_queue_timeout` None mean none.
    """

    def __init__(
        self,
        address,
        connect,
        *,
        Py_ssize_t max_size=100,
        Py_ssize_t min_size=0,
        Py_ssize_t max_connecting=2,
        int64_t max_idle_ns=0,
        Timeout wait_queue_timeout=None,
    ):
        if not isinstance(address, tuple):
            raise TypeError(f"an address is (host, port), not {address!r}")
        self.address = address
        self.connect = connect
        self.max_size = max_size
        self.min_size = min_size
        self.max_connecting = max_connecting
        self.max_idle_ns = max_idle_ns
        self.wait_queue_timeout = wait_queue_timeout
        call_after_fork(self)

    def reset_after_fork(self):
        """In a forked child: let go of the parent's connections without touching them."""
        # Only the forking thread lives on there: what the others held is gone, and the sockets
        # belong to the parent.
        idle = self.take_all_idle()
        self.forget()
        for connection in idle:
            (<Connection>connection).close()

    cdef Connection checkout(self):
        """A connection for the caller alone, until `checkin`.

        Raises `WaitQueueTimeoutError`, `InvalidOperation` where only the caller's own thread could
        give one back, or what making a connection raises.
        """
        cdef int64_t now = monotonic_ns()
        cdef Connection connection = self._take_idle(now)
        if connection is not None:
            return connection
        return self._checkout_slowly(now)

    cdef Connection _take_idle(self, int64_t now):
        """The most recently used idle connection that is still good, lent to this thread, or
        None."""
        cdef Connection connection
        while True:
            connection = pop_idle(self)
            if connection is None:
                return None
            if expired(self, connection, now) or (
                now - connection.idle_since_ns > CHECK_AFTER_NS and connection.stream.stale()
            ):
                self._drop(connection)
            else:
                lend(self, connection, PyThread_get_thread_ident())
                return connection

    cdef Connection borrow(self, double wait_s):
        """For housekeeping: a connection that nobody uses, or None; never opens one. To be given
        back by `give_back`, soon. Where others wait for one already, None at once, or, with
        `wait_s`, one that comes back within so many seconds, in turn."""
        cdef Connection connection = None
        cdef ThreadWaiter waiter
        if self.closed:
            return None
        if not self.waiters:
            connection = self._take_idle(monotonic_ns())
        elif wait_s > 0:
            waiter = ThreadWaiter()
            self.enqueue(waiter)
            try:
                waiter.lock.acquire(True, wait_s)
            finally:
                connection = waiter.connection
                if connection is None:
                    # Neither a place in the queue nor a turn to open one is for housekeeping.
                    connection = self.withdraw(waiter)
        if connection is not None:
            self.borrowed += 1
        return connection

    cdef int give_back(self, Connection connection) except -1:
        if self.borrowed > 0:
            self.borrowed -= 1
        return self.checkin(connection)

    cdef Connection _checkout_slowly(self, int64_t started_ns):
        cdef ThreadWaiter waiter
        cdef Connection connection
        cdef Deadline deadline = None
        cdef int todo
        cdef bint again = False
        cdef bint waited = False
        self.expect_waiting()
        if self.wait_queue_timeout is not None:
            deadline = self.wait_queue_timeout.start(started_ns)
        while True:
            # Made before looking: making objects may run the garbage collector, and with it other
            # threads, and nothing may change between the look and the place in the queue.
            waiter = ThreadWaiter()
            if not self.closed:
                connection = self._take_idle(monotonic_ns())
                if connection is not None:
                    return connection
            todo = self.request(waiter, again, waited)
            if todo == OPEN:
                return self._open()
            if todo == CLOSED:
                raise InvalidOperation("Cannot use MongoClient after close")
            if todo == HELD_BY_CALLER:
                raise InvalidOperation(self._held_by_caller())
            again = True
            try:
                if todo == WAIT_FOR_BORROWED:
                    # What housekeeping has comes back sooner than another can be opened.
                    waited = True
                    woken = waiter.lock.acquire(True, GIVE_BACK_S)
                elif deadline is None:
                    woken = waiter.lock.acquire()
                else:
                    left_ns = deadline.left_ns()
                    woken = left_ns > 0 and waiter.lock.acquire(True, left_ns / 1e9)
            except BaseException:
                connection = self.withdraw(waiter)
                if connection is not None:
                    self.checkin(connection)
                raise
            if waiter.connection is not None:
                return waiter.connection
            if waiter.error is not None:
                raise waiter.error from waiter.error.__cause__
            if not woken:
                connection = self.withdraw(waiter)
                if connection is not None:
                    return connection
                if todo == WAIT_FOR_BORROWED:
                    again = False
                    continue
                raise WaitQueueTimeoutError(
                    f"no connection to {self._peer()} became free within "
                    f"{self.wait_queue_timeout}: all {self.in_use} of maxPoolSize="
                    f"{self.max_size} are in use and {self.connecting} are being opened; "
                    f"raise maxPoolSize, or share connections for a shorter time"
                )

    def _held_by_caller(self):
        """Why the caller gets no connection, where only its own thread could give one back."""
        if self.max_size and self.in_use + self.connecting >= self.max_size:
            limit = f"maxPoolSize={self.max_size}"
        else:
            limit = f"maxConnecting={self.max_connecting}"
        return (
            f"no connection to {self._peer()} can become free: this thread itself holds all that "
            f"{limit} allows, for an operation that this one has interrupted (it began in a signal "
            f"handler, in __del__, or in other code that runs in the middle of an operation); "
            f"raise {limit.partition('=')[0]}, or do not use the client there"
        )

    cdef Connection _open(self):
        """Open the connection that this thread was told to open, and lend it to it."""
        cdef Connection connection
        cdef unsigned long thread = PyThread_get_thread_ident()
        cdef uint64_t generation = self.generation
        try:
            connection = self.connect()
        except BaseException as error:
            self.end_opening(thread)
            if isinstance(error, OperationFailure):
                self.refuse_waiting(error)
            self.wake_next()
            raise
        self.end_opening(thread)
        self.opened_one(connection, generation, thread)
        self.description = connection.hello
        self.wake_next()
        return connection

    cdef int checkin(self, Connection connection) except -1:
        """Take back a connection; one that is closed or of an older generation is dropped."""
        cdef bint reusable = connection.reusable()
        if reusable:
            connection.trim_buffers()
        if not self.take_back(connection, reusable, monotonic_ns()):
            connection.close()
        return 0

    cdef int _drop(self, Connection connection) except -1:
        """Close a connection, which is then no longer one of the pool's."""
        self.remove(connection)
        connection.close()
        return 0

    def _peer(self):
        return format_address(self.address)

    def add_connection(self, Connection connection not None):
        """Put in a connection that was made outside, such as the one that found the server."""
        self.description = connection.hello
        if self.max_size and self.idle_count + self.in_use + self.connecting >= self.max_size:
            connection.close()
            return
        self.opened_one(connection, self.generation, PyThread_get_thread_ident())
        self.checkin(connection)

    def maintain(self):
        """Close idle connections past `maxIdleTimeMS`; open new ones up to `minPoolSize`.

        Raises what opening a connection raises.
        """
        cdef Connection connection
        cdef int64_t now = monotonic_ns()
        if self.max_idle_ns:
            if self.latest is not None:
                self.idle.append(self.latest)
                self.latest = None
            for connection in list(self.idle):
                if now - connection.idle_since_ns > self.max_idle_ns:
                    # Oldest first; a checkout may have taken it in the meantime.
                    if connection in self.idle:
                        self.idle.remove(connection)
                        self._drop(connection)
        while (
            not self.closed
            and self.idle_count + self.in_use + self.connecting < self.min_size
            and self.connecting < self.max_connecting
        ):
            self.begin_opening(PyThread_get_thread_ident())
            self.checkin(self._open())

    cpdef clear(self):
        """Close what is idle, and let what is in use be closed when it comes back."""
        for connection in self.start_generation():
            (<Connection>connection).close()

    cpdef close(self):
        """Close the pool for good; waiting threads get `InvalidOperation`."""
        idle = self.end()
        while self.waiters:
            self.wake_next()
        for connection in idle:
            (<Connection>connection).close()

    def __repr__(self):
        if self.address is None:
            return "<Pool, not initialized>"
        return (
            f"<Pool of {self._peer()}: {self.in_use} in use, {self.idle_count} idle, "
            f"{self.connecting} connecting>"
        )
