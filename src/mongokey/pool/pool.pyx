# cython: language_level=3
"""The connection pool of one server.

It knows how many connections there may be, which are idle, and who waits; it follows the
connection-monitoring-and-pooling specification (generations, maxConnecting, a fair wait
queue). It must not know how a connection is made (it is given a callable) nor what is sent.
"""

from collections import deque

from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int64_t

from mongokey._support.deadline cimport Timeout
from mongokey.connection.connection cimport Connection
from mongokey.transport.stream cimport monotonic_ns

from mongokey._support.address import format_address
from mongokey._support.fork import call_after_fork
from mongokey._support.shared_errors import own_copy
from mongokey.errors import InvalidOperation, OperationFailure, WaitQueueTimeoutError

# A connection idle for longer than this is asked whether the server has closed it before it is
# used again; sooner, the question would cost more than the rare retry it saves.
cdef int64_t CHECK_AFTER_NS = 1_000_000_000

# How long a caller waits for a connection that housekeeping has; then it opens another.
cdef double GIVE_BACK_S = 0.1


cdef class _Waiter:
    """A thread in the queue. It sleeps on `lock` until it is handed a connection or a turn."""

    cdef object lock
    cdef Connection connection
    cdef object error                       # what to raise instead, or None
    cdef unsigned long thread
    # Whether the wait stops the whole thread. Under gevent or eventlet it does not: other
    # greenlets of the thread go on, and may give back what the thread holds.
    cdef bint stops_thread

    def __init__(self):
        from _thread import allocate_lock

        self.lock = allocate_lock()
        self.thread = PyThread_get_thread_ident()
        self.stops_thread = type(self.lock).__module__ == "_thread"
        self.lock.acquire()


cdef class Pool:
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
        self.idle = []
        self.opened = []
        self.opening = []
        call_after_fork(self)

    def reset_after_fork(self):
        """In a forked child: let go of the parent's connections without touching them."""
        # Only the forking thread lives on there: what the others held is gone, and the sockets
        # belong to the parent.
        for connection in self._take_idle():
            (<Connection>connection).close()
        self.waiters = None
        self.opened = []
        self.opening = []
        self.in_use = self.connecting = self.borrowed = 0
        self.generation += 1

    @property
    def idle_count(self):
        """How many connections wait to be used."""
        return len(self.idle) + (self.latest is not None)

    cdef list _take_idle(self):
        cdef list idle = self.idle
        self.idle = []
        if self.latest is not None:
            idle.append(self.latest)
            self.latest = None
        return idle

    cdef Connection checkout(self):
        """A connection for the caller alone, until `checkin`.

        Raises `WaitQueueTimeoutError`, `InvalidOperation` where only the caller's own thread could
        give one back, or what making a connection raises.
        """
        cdef Connection connection
        cdef int64_t now = monotonic_ns()
        connection = self._fresh_idle(now)
        if connection is not None:
            self.in_use += 1
            return connection
        return self._checkout_slowly(now)

    cdef Connection borrow(self, double wait_s):
        """For housekeeping: a connection that nobody uses, or None; never opens one. To be given
        back by `give_back`, soon. Where others wait for one already, None at once, or, with
        `wait_s`, one that comes back within so many seconds, in turn."""
        cdef Connection connection = None
        cdef _Waiter waiter
        if self.closed:
            return None
        if not self.waiters:
            connection = self._fresh_idle(monotonic_ns())
            if connection is not None:
                self.in_use += 1
        elif wait_s > 0:
            waiter = _Waiter()
            self._enqueue(waiter)
            try:
                waiter.lock.acquire(True, wait_s)
            finally:
                connection = waiter.connection
                if connection is None:
                    # Neither a place in the queue nor a turn to open one is for housekeeping.
                    connection = self._abandon(waiter)
        if connection is not None:
            self.borrowed += 1
        return connection

    cdef int give_back(self, Connection connection) except -1:
        if self.borrowed > 0:
            self.borrowed -= 1
        return self.checkin(connection)

    cdef Connection _fresh_idle(self, int64_t now):
        """The most recently used idle connection that is still good, or None."""
        cdef Connection connection
        cdef int64_t idle_for
        while True:
            connection = self.latest
            if connection is not None:
                self.latest = None
            elif self.idle:
                connection = <Connection>self.idle.pop()
            else:
                return None
            idle_for = now - connection.idle_since_ns
            if idle_for > CHECK_AFTER_NS and (
                (self.max_idle_ns and idle_for > self.max_idle_ns) or connection.stream.stale()
            ):
                self._drop(connection)
            elif self.max_idle_ns and idle_for > self.max_idle_ns:
                self._drop(connection)
            else:
                connection.held_by = PyThread_get_thread_ident()
                return connection

    cdef Connection _checkout_slowly(self, int64_t started_ns):
        cdef _Waiter waiter
        cdef Connection connection
        cdef int64_t left
        cdef bint first_time = True
        cdef bint asked_back = False
        cdef bint opens
        if self.waiters is None:
            self.waiters = deque()
        while True:
            # Made before looking: making objects may run the garbage collector, and with it other
            # threads, and nothing may change between the look and the place in the queue.
            waiter = _Waiter()
            if self.closed:
                raise InvalidOperation("Cannot use MongoClient after close")
            connection = self._fresh_idle(monotonic_ns())
            if connection is not None:
                self.in_use += 1
                return connection
            opens = self.connecting < self.max_connecting and (
                self.max_size == 0 or self.in_use + self.connecting < self.max_size
            )
            if opens and (asked_back or not self.borrowed):
                return self._open()
            if not opens and waiter.stops_thread and self._only_held_by(waiter.thread):
                raise InvalidOperation(self._held_by_caller())
            # Who was given a turn and found nothing keeps the place at the front.
            if first_time:
                self._enqueue(waiter)
                first_time = False
            else:
                self.waiters.appendleft(waiter)
            try:
                if opens:
                    # What housekeeping has comes back sooner than another can be opened.
                    asked_back = True
                    woken = waiter.lock.acquire(True, GIVE_BACK_S)
                elif self.wait_queue_timeout is None:
                    woken = waiter.lock.acquire()
                else:
                    left = self.wait_queue_timeout.ns - (monotonic_ns() - started_ns)
                    woken = left > 0 and waiter.lock.acquire(True, left / 1e9)
            except BaseException:
                connection = self._abandon(waiter)
                if connection is not None:
                    self.checkin(connection)
                raise
            if waiter.connection is not None:
                return waiter.connection
            if waiter.error is not None:
                raise waiter.error from waiter.error.__cause__
            if not woken:
                connection = self._abandon(waiter)
                if connection is not None:
                    return connection
                if opens:
                    first_time = True
                    continue
                raise WaitQueueTimeoutError(
                    f"no connection to {self._peer()} became free within "
                    f"{self.wait_queue_timeout}: all {self.in_use} of maxPoolSize="
                    f"{self.max_size} are in use and {self.connecting} are being opened; "
                    f"raise maxPoolSize, or share connections for a shorter time"
                )

    cdef int _enqueue(self, object newcomer) except -1:
        """Put a waiter at the end of the queue, but before those of its own thread: that wait was
        interrupted by a signal handler or a destructor, and goes on only after this one.

        Makes no object that the garbage collector knows, so nothing changes meanwhile.
        """
        cdef _Waiter waiter = <_Waiter?>newcomer
        cdef Py_ssize_t place
        if waiter.stops_thread:
            for place in range(len(self.waiters)):
                if (<_Waiter>self.waiters[place]).thread == waiter.thread:
                    self.waiters.insert(place, waiter)
                    return 0
        self.waiters.append(waiter)
        return 0

    cdef bint _only_held_by(self, unsigned long thread) except -1:
        """Whether all connections that are in use or being opened are those of `thread`, which
        is the caller's: to wait for one would be to wait for oneself. Makes no object either."""
        cdef Py_ssize_t place
        cdef unsigned long holder
        cdef bint held = False
        for place in range(len(self.opened)):
            holder = (<Connection>self.opened[place]).held_by
            if holder == thread:
                held = True
            elif holder != 0:
                return False
        for place in range(len(self.opening)):
            if <unsigned long>self.opening[place] != thread:
                return False
            held = True
        return held

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

    def _abandon(self, _Waiter waiter):
        """Take `waiter` out of the queue; what it was handed meanwhile is returned or passed on."""
        try:
            self.waiters.remove(waiter)
        except ValueError:
            if waiter.connection is None:
                self._wake()  # it was given a turn that it does not use
        connection = waiter.connection
        return connection

    cdef Connection _open(self):
        cdef Connection connection
        cdef object thread = PyThread_get_thread_ident()
        generation = self.generation
        self.connecting += 1
        self.opening.append(thread)
        try:
            connection = self.connect()
        except BaseException as error:
            # After a fork in the meantime the counters were set anew.
            if self.connecting > 0:
                self.connecting -= 1
            if thread in self.opening:
                self.opening.remove(thread)
            if isinstance(error, OperationFailure):
                self._fail(error)
            self._wake()
            raise
        if self.connecting > 0:
            self.connecting -= 1
        if thread in self.opening:
            self.opening.remove(thread)
        connection.generation = generation
        connection.held_by = PyThread_get_thread_ident()
        self.opened.append(connection)
        self.description = connection.hello
        self.in_use += 1
        self._wake()
        return connection

    cdef int checkin(self, Connection connection) except -1:
        """Take back a connection; one that is closed or of an older generation is dropped."""
        cdef _Waiter waiter
        if (
            connection.generation != self.generation
            or self.closed
            or not connection.reusable()
        ):
            self._drop(connection)
            if self.in_use > 0:
                self.in_use -= 1
            self._wake()
            return 0
        connection.trim_buffers()
        if self.waiters:
            # Handed over directly, so that no newcomer gets in between.
            waiter = <_Waiter>self.waiters.popleft()
            connection.held_by = waiter.thread
            waiter.connection = connection
            waiter.lock.release()
            return 0
        self.in_use -= 1
        connection.held_by = 0
        connection.idle_since_ns = monotonic_ns()
        # A list that goes from empty to one and back is allocated each time.
        if self.latest is not None:
            self.idle.append(self.latest)
        self.latest = connection
        return 0

    cdef int _drop(self, Connection connection) except -1:
        """Close a connection, which is then no longer one of the pool's."""
        cdef Py_ssize_t place
        connection.close()
        for place in range(len(self.opened)):
            if self.opened[place] is connection:
                del self.opened[place]
                break
        return 0

    cdef int _wake(self) except -1:
        """Give the first in the queue a turn: a place has become free."""
        cdef _Waiter waiter
        if self.waiters:
            waiter = <_Waiter>self.waiters.popleft()
            waiter.lock.release()
        return 0

    cdef int _fail(self, error) except -1:
        """Tell all who wait that the login was refused: each would be refused once more, and
        servers count that against the account."""
        cdef _Waiter waiter
        while self.waiters:
            own = own_copy(error)
            if not self.waiters:
                break  # making the copy may have let another thread run
            waiter = <_Waiter>self.waiters.popleft()
            waiter.error = own
            waiter.lock.release()
        return 0

    def _peer(self):
        return format_address(self.address)

    def add_connection(self, Connection connection not None):
        """Put in a connection that was made outside, such as the one that found the server."""
        connection.generation = self.generation
        self.description = connection.hello
        if self.max_size and self.idle_count + self.in_use + self.connecting >= self.max_size:
            connection.close()
            return
        self.in_use += 1
        connection.held_by = PyThread_get_thread_ident()
        self.opened.append(connection)
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
            self.checkin(self._open())

    cpdef clear(self):
        """Close what is idle, and let what is in use be closed when it comes back."""
        self.generation += 1
        for connection in self._take_idle():
            self._drop(<Connection>connection)
        self._wake()

    cpdef close(self):
        """Close the pool for good; waiting threads get `InvalidOperation`."""
        self.closed = True
        self.clear()
        while self.waiters:
            self._wake()

    def __repr__(self):
        if self.address is None:
            return "<Pool, not initialized>"
        return (
            f"<Pool of {self._peer()}: {self.in_use} in use, {self.idle_count} idle, "
            f"{self.connecting} connecting>"
        )
