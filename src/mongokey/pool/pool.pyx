# cython: language_level=3
"""The connection pool of one server: what both faces have in common.

Who gets which connection is `PoolState`'s decision; here connections are checked, taken back and
closed, listeners told, and the steps made that lead to a connection where none is idle. It must not
know how anybody waits (`pool.blocking` and `pool.aio` do), how a connection is made, nor what is
sent.
"""

from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int64_t

from mongokey._support.deadline cimport Deadline, Timeout
from mongokey.connection.connection cimport Connection
from mongokey.connection.settings cimport Opening
from mongokey.events.flags cimport PublisherFlags
from mongokey.pool.state cimport (
    CLOSED,
    HELD_BY_CALLER,
    OPEN,
    PAUSED,
    WAIT_FOR_BORROWED,
    Cleared,
    PoolState,
    Waiter,
    expired,
    lend,
    pop_idle,
    refuse_all,
)
from mongokey.transport.stream cimport monotonic_ns

from mongokey._support.address import format_address
from mongokey._support.fork import call_after_fork
from mongokey._support.lazy import late_imports
from mongokey.errors import (
    ConfigurationError,
    InvalidOperation,
    MongoError,
    OperationFailure,
    PoolClearedError,
    WaitQueueTimeoutError,
)

# A connection idle for longer than this is asked whether the server has closed it before it is
# used again; sooner, the question would cost more than the rare retry it saves.
cdef int64_t CHECK_AFTER_NS = 1_000_000_000

# How long a caller waits for a connection that housekeeping has; then it opens another.
cdef int64_t GIVE_BACK_NS = 100_000_000

# A pool whose login was refused is not filled for so long, twice as long each time: each try may
# count against an account that locks, or ask a person again.
cdef int64_t FIRST_REST_NS = 4_000_000_000
cdef int64_t LONGEST_REST_NS = 256_000_000_000

# Who holds a connection that is pinned.
cdef unsigned long NO_THREAD = <unsigned long>-1

# Characters of another operation's error that a `PoolClearedError` shows.
cdef Py_ssize_t LONGEST_CAUSE = 400
# What can interrupt an operation, for errors.
cdef str AMIDST = (
    "(it began in a signal handler, in __del__, or in other code that runs in the middle of an "
    "operation)"
)


cdef class PoolOpening(Opening):
    """A connection that the pool is making."""

    cpdef int hello_received(self, hello) except -1:
        Opening.hello_received(self, hello)
        if self.pool.load_balanced and self.service_id is None and hello.service_id is not None:
            self.generation = self.pool.join_service(hello.service_id)
            self.service_id = hello.service_id
        return 0

    def refuse(self):
        """The error of who goes on making it."""
        if self.closed and not self.pool.closed:
            return self.pool._cleared_error()
        return Opening.refuse(self)


cdef class Pool(PoolState):
    """Connections to `address`, made by calling `connect(opening)`, with an `Opening` that ends
    when the pool gives that connection up.

    `max_size` 0 means no limit; `max_idle_ns` 0 and `wait_queue_timeout` None mean none. The pool
    starts paused, and is `ready` once its server was checked; one that is `load_balanced` always
    is. `publisher`, if given, is told of the pool's events. `on_connect_failure(error, generation)`
    is called when a connection could not be made, before anybody is told; behind a load balancer
    only after the server's hello, and then with `service_id=`. `holds_lock()` says whether the
    calling thread has a lock that others may need before they give a connection back. `on_ready()`
    is called when the pool has become ready and `fill` has something to do; it must not wait.
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
        PublisherFlags publisher=None,
        on_connect_failure=None,
        holds_lock=None,
        on_ready=None,
        bint load_balanced=False,
    ):
        if not isinstance(address, tuple):
            raise TypeError(f"an address is (host, port), not {address!r}")
        PoolState.__init__(
            self,
            max_size=max_size,
            min_size=min_size,
            max_connecting=max_connecting,
            max_idle_ns=max_idle_ns,
            load_balanced=load_balanced,
        )
        self.address = address
        self.connect = connect
        self.wait_queue_timeout = wait_queue_timeout
        self.publisher = publisher
        self.on_connect_failure = on_connect_failure
        self.holds_lock = holds_lock
        self.on_ready = on_ready
        self.under_way = []
        self.cleared_for = ()
        self.may_fill = load_balanced
        call_after_fork(self)
        if observed(self):
            # By `deliver`: whoever makes a pool may hold a lock.
            publisher.defer(publisher.pool_created, address, self._options())

    def reset_after_fork(self):
        """In a forked child: let go of the parent's connections without touching them."""
        # Only the forking thread lives on there: what the others held is gone, and the sockets
        # belong to the parent.
        idle = self.take_all_idle()
        self.forget()
        self.under_way = []
        self.pinned_count = self.transaction_count = 0
        for connection in idle:
            (<Connection>connection).close()

    def _options(self):
        """What differs from the defaults, under the options' names, for events."""
        options = {}
        if self.max_size != 100:
            options["maxPoolSize"] = self.max_size
        if self.min_size:
            options["minPoolSize"] = self.min_size
        if self.max_idle_ns:
            options["maxIdleTimeMS"] = self.max_idle_ns // 1_000_000
        if self.wait_queue_timeout is not None:
            options["waitQueueTimeoutMS"] = self.wait_queue_timeout.ns // 1_000_000
        if self.max_connecting != 2:
            options["maxConnecting"] = self.max_connecting
        return options

    # -- checking out and in --------------------------------------------------------------------

    cdef Connection checkout(self, Deadline deadline):
        raise NotImplementedError(type(self).__name__)

    cdef Connection borrow(self, double wait_s):
        raise NotImplementedError(type(self).__name__)

    cdef Waiter make_waiter(self):
        raise NotImplementedError(type(self).__name__)

    def check_in(self, Connection connection not None):
        """Take back a connection that `check_out` has returned."""
        self.checkin(connection)

    cdef Connection _take_idle(self, int64_t now):
        """The most recently used idle connection that is still good, lent to this thread, or
        None."""
        cdef Connection connection
        while True:
            connection = pop_idle(self)
            if connection is None:
                return None
            if expired(self, connection, now) or connection.stream.closed or (
                now - connection.idle_since_ns > CHECK_AFTER_NS and connection.stream.stale()
            ):
                self._drop(connection, "idle" if expired(self, connection, now) else "error")
            else:
                lend(self, connection, PyThread_get_thread_ident())
                return connection

    cdef int give_back(self, Connection connection) except -1:
        if self.borrowed > 0:
            self.borrowed -= 1
        return self.checkin(connection)

    cdef object checkout_steps(self, int64_t started_ns, Deadline until):
        """The steps that lead to a connection for the caller alone, until `checkin`, where none was
        idle: a generator that returns it.

        It yields an `Opening`, and is sent the connection that was opened or has the error thrown
        in; or a `Waiter`, to be waited for until `until_ns`. `until` is the deadline of the
        operation that wants it, in place of waitQueueTimeoutMS; or None.

        Raises `WaitQueueTimeoutError`, `PoolClearedError`, `InvalidOperation` where only the
        caller's own thread could give one back or the client is closed, or what making a connection
        raises.
        """
        return self._checkout_steps(started_ns, until)

    def _checkout_steps(self, int64_t started_ns, Deadline until):
        cdef Waiter waiter
        cdef Connection connection
        cdef Deadline deadline = until
        cdef int todo
        cdef bint again = False
        cdef bint waited = False
        self.expect_waiting()
        if deadline is None and self.wait_queue_timeout is not None:
            deadline = self.wait_queue_timeout.start(started_ns)
        while True:
            # Made before looking: making objects may run the garbage collector, and with it other
            # threads, and nothing may change between the look and the place in the queue.
            waiter = None if self.opens_at_once(waited) else self.make_waiter()
            if not self.closed:
                connection = self._take_idle(monotonic_ns())
                if connection is not None:
                    return connection
            if waiter is not None:
                todo = self.request(waiter, again, waited)
            elif self.opens_at_once(waited):
                self.begin_opening(PyThread_get_thread_ident())
                todo = OPEN
            else:
                continue  # closing the idle ones took time
            if todo == OPEN:
                connection = yield from self._open(until)
                if connection is not None:
                    return connection
                again = True
                continue
            if todo == PAUSED:
                raise self._cleared_error()
            if todo == CLOSED:
                raise self._closed_error()
            if todo == HELD_BY_CALLER:
                raise InvalidOperation(self._held_by_caller())
            again = True
            if waiter.stops_thread and self.holds_lock is not None and self.holds_lock():
                connection = self.withdraw(waiter)
                if connection is not None:
                    return connection
                raise InvalidOperation(self._lock_held_by_caller())
            if todo == WAIT_FOR_BORROWED:
                # What housekeeping has comes back sooner than another can be opened.
                waited = True
                waiter.until_ns = monotonic_ns() + GIVE_BACK_NS
                if deadline is not None:
                    waiter.until_ns = min(waiter.until_ns, deadline.at_ns)
            elif deadline is not None:
                waiter.until_ns = deadline.at_ns
            try:
                yield waiter
            except BaseException:
                connection = self.withdraw(waiter)
                if connection is not None:
                    self.checkin(connection)
                raise
            if waiter.connection is not None:
                return waiter.connection
            if waiter.error is not None:
                raise waiter.error from waiter.error.__cause__
            if not waiter.woken:
                connection = self.withdraw(waiter)
                if connection is not None:
                    return connection
                if todo == WAIT_FOR_BORROWED and not (
                    deadline is not None and deadline.passed()
                ):
                    again = False
                    continue
                raise WaitQueueTimeoutError(
                    "Timed out while checking out a connection from connection pool"
                    f"{self._users() if self.load_balanced else ''}: "
                    f"no connection to {self._peer()} became free within "
                    f"{deadline}: all {self.in_use} of maxPoolSize="
                    f"{self.max_size} are in use and {self.connecting} are being opened; "
                    f"raise maxPoolSize, or share connections for a shorter time"
                )

    def _borrow_steps(self, int64_t until_ns):
        """The same for housekeeping, where others wait already: returns a connection that comes
        back until then, in turn, or None."""
        cdef Waiter waiter = self.make_waiter()
        cdef Connection connection
        waiter.until_ns = until_ns
        self.enqueue(waiter)
        try:
            yield waiter
        except BaseException:
            connection = self.withdraw(waiter)
            if connection is not None:
                self.checkin(connection)
            raise
        if waiter.connection is not None:
            return waiter.connection
        # Neither a place in the queue nor a turn to open one is for housekeeping.
        return self.withdraw(waiter)

    cdef int lend_for_housekeeping(self, Connection connection, int64_t started_ns) except -1:
        self.borrowed += 1
        if observed(self):
            # Told only now: who finds none did not try hard.
            try:
                (<object>self.publisher).checkout_started(self.address)
                (<object>self.publisher).checked_out(
                    self.address, connection.id, monotonic_ns() - started_ns
                )
            except BaseException:
                self.give_back(connection)
                raise
        return 0

    # -- events of a checkout -------------------------------------------------------------------

    cdef int checkout_begins(self) except -1:
        (<object>self.publisher).checkout_started(self.address)
        return 0

    cdef int checkout_failed(self, object error, int64_t started_ns) except -1:
        reason = "connectionError"
        if isinstance(error, WaitQueueTimeoutError):
            reason = "timeout"
        elif self.closed and isinstance(error, InvalidOperation):
            reason = "poolClosed"
        (<object>self.publisher).checkout_failed(
            self.address, reason, monotonic_ns() - started_ns, error
        )
        return 0

    cdef int checkout_succeeded(self, Connection connection, int64_t started_ns) except -1:
        try:
            (<object>self.publisher).checked_out(
                self.address, connection.id, monotonic_ns() - started_ns
            )
        except BaseException:
            # A listener's, such as a Ctrl-C that came in it: nobody gets the connection.
            self.checkin(connection)
            raise
        return 0

    def _held_by_caller(self):
        """Why the caller gets no connection, where only its own thread could give one back."""
        if self.max_size and self.in_use + self.connecting >= self.max_size:
            limit = f"maxPoolSize={self.max_size}"
        else:
            limit = f"maxConnecting={self.max_connecting}"
        return (
            f"no connection to {self._peer()} can become free: this thread itself holds all that "
            f"{limit} allows, or others do that wait for it, for an operation that this one has "
            f"interrupted {AMIDST}; raise {limit.partition('=')[0]}, or do not use the client there"
        )

    def _lock_held_by_caller(self):
        return (
            f"no connection to {self._peer()} can be waited for: this operation has interrupted "
            f"its own thread while that took in what became of a server {AMIDST}, and who gives a "
            f"connection back waits for that; do not use the client there"
        )

    def _users(self):
        """What the connections are in use by (load-balancers, "Connection Tracking")."""
        others = self.in_use - self.pinned_count
        cursors = self.pinned_count - self.transaction_count
        return (
            f" (maxPoolSize: {self.max_size}, connections in use by cursors: {cursors}, "
            f"connections in use by transactions: {self.transaction_count}, "
            f"connections in use by other operations: {others})"
        )

    def _closed_error(self):
        if self.removed:
            return PoolClearedError(
                f"{self._peer()}: this server is no longer one of the deployment; the operation "
                f"can be tried again on another"
            )
        return InvalidOperation("Cannot use MongoClient after close")

    def _cleared_error(self):
        """Why there is no connection to be had, and none can be waited for."""
        if self.cleared_by is None:
            why = "its server has not answered a check yet"
        else:
            why = f"its pool was cleared because another operation failed: {self.cleared_by}"
        return self._pool_cleared(
            f"{self._peer()}: no connection to be had, {why}; the operation can be tried again, "
            f"once the server answers"
        )

    def _pool_cleared(self, text):
        """The error of somebody who did not cause it, with the cause of the one who did."""
        with late_imports:
            from mongokey.pool.causes import cleared_error

        return cleared_error(text, self.cleared_by, self.cleared_for)

    # -- opening and closing --------------------------------------------------------------------

    def _open(self, Deadline until):
        """The steps that open the connection which the caller was told to open, and lend it to it.
        None: it is of an older generation by now, and another may be asked for."""
        cdef Connection connection
        cdef unsigned long thread = PyThread_get_thread_ident()
        cdef PoolOpening opening = PoolOpening()
        opening.pool = self
        opening.until = until
        opening.generation = self.generation
        self.last_id += 1
        opening.id = self.last_id
        opening.created_ns = monotonic_ns()
        self.under_way.append(opening)
        try:
            if observed(self):
                (<object>self.publisher).connection_created(self.address, opening.id)
            connection = yield opening
        except BaseException as error:
            self._failed_to_open(opening, error, thread)
            raise
        self._end(opening, thread)
        connection.id = opening.id
        connection.service_id = opening.service_id
        if self.closed or opening.closed or opening.generation != self.generation_of(
            opening.service_id
        ):
            if opening.service_id is not None:
                self.leave_service(opening.service_id)
            try:
                self._close(connection, "poolClosed" if self.closed else "stale")
            finally:
                self.wake_next()
            if self.closed:
                raise self._closed_error()
            if self.paused:
                raise self._cleared_error()
            return None
        self.opened_one(connection, opening.generation, thread)
        self.description = connection.hello
        if observed(self):
            try:
                (<object>self.publisher).connection_ready(
                    self.address, opening.id, monotonic_ns() - opening.created_ns
                )
            except BaseException:
                self.take_back_unused(connection)
                self.wake_next()
                raise
        self.wake_next()
        return connection

    cdef int _end(self, PoolOpening opening, unsigned long thread) except -1:
        """It is over, in one way or the other. In a forked child it was the parent's."""
        if opening in self.under_way:
            self.under_way.remove(opening)
        self.end_opening(thread)
        return 0

    cdef int _failed_to_open(
        self, PoolOpening opening, object error, unsigned long thread
    ) except -1:
        cdef bint counts = isinstance(error, Exception) and not (
            self.closed
            or opening.closed
            # An operation that had no more time says nothing about the server.
            or (opening.until is not None and opening.until.passed())
        )
        try:
            if opening.hello is None and counts:
                with late_imports:
                    from mongokey.pool.backpressure import label_overload

                label_overload(error)
            if isinstance(error, OperationFailure):
                # First: the others are told so too, and not that the pool was cleared.
                self.refuse_waiting(error)
            if self.on_connect_failure is not None and counts:
                if not self.load_balanced:
                    self.on_connect_failure(error, opening.generation)
                elif opening.service_id is not None:
                    self.on_connect_failure(
                        error, opening.generation, service_id=opening.service_id
                    )
        finally:
            self._end(opening, thread)
            if opening.service_id is not None:
                self.leave_service(opening.service_id)
            self.wake_next()
            if observed(self):
                reason = "stale" if opening.closed else "error"
                (<object>self.publisher).connection_closed(self.address, opening.id, reason, error)
        return 0

    cdef int checkin(self, Connection connection) except -1:
        """Take back a connection; one that is closed or of an older generation is dropped."""
        cdef bint reusable = connection.reusable()
        if reusable:
            connection.trim_buffers()
        try:
            if observed(self):
                (<object>self.publisher).checked_in(self.address, connection.id)
        finally:
            # Whatever a listener raises.
            if not self.take_back(connection, reusable, monotonic_ns()):
                self._close(connection, self._why_closed(connection, reusable))
        return 0

    cdef str _why_closed(self, Connection connection, bint reusable):
        # First: with the pool's close, or with its loop's, connections in use break too.
        if self.closed:
            return "poolClosed"
        if not reusable and connection.interruption is None:
            return "error"
        return "stale"

    cdef int pin(self, Connection connection) except -1:
        self.pinned_count += 1
        # It is the cursor's: whoever reads that next, in any thread, may give it back.
        connection.held_by = NO_THREAD
        return 0

    cdef int unpin(self, Connection connection) except -1:
        if self.pinned_count > 0:
            self.pinned_count -= 1
        return self.checkin(connection)

    cdef int _drop(self, Connection connection, str reason) except -1:
        """Close a connection, which is then no longer one of the pool's."""
        self.remove(connection)
        return self._close(connection, reason)

    cdef int _close(self, Connection connection, str reason) except -1:
        try:
            if observed(self):
                (<object>self.publisher).connection_closed(self.address, connection.id, reason)
        finally:
            connection.close()
        return 0

    cdef int _close_all(self, list connections, str reason) except -1:
        """Close them all, whatever a listener raises; that is raised afterwards. They are the
        pool's no longer."""
        cdef Connection connection
        cdef object first = None
        if observed(self):
            for connection in connections:
                try:
                    (<object>self.publisher).connection_closed(
                        self.address, connection.id, reason
                    )
                except BaseException as error:
                    first = first or error
        self._close_sockets(connections)
        if first is not None:
            raise first
        return 0

    def _close_sockets(self, list connections not None):
        cdef Connection connection
        for connection in connections:
            connection.close()

    def _peer(self):
        return format_address(self.address)

    # -- ready, cleared, closed -----------------------------------------------------------------

    cpdef ready(self):
        """The server was checked: connections may be had. Nothing if that is known."""
        if not self.paused or self.closed:
            return
        self.paused = False
        try:
            if observed(self):
                (<object>self.publisher).pool_ready(self.address)
        finally:
            # Only now: nobody is to see a connection made in the background before that event.
            self.may_fill = True
            if self.min_size and self.on_ready is not None:
                self.on_ready()

    def clear(self, error=None, *, service_id=None, bint interrupt=False):
        """Begin a new generation: close what is idle, let what is in use be closed when it comes
        back, and pause until `ready`; who waits gets `PoolClearedError` at once.

        `error` is why. `interrupt` closes what is in use, or is being opened, too: who uses it gets
        `PoolClearedError`. Behind a load balancer this is about the connections to `service_id`
        (None: all), nothing is paused, and who waits goes on waiting.
        """
        self.finish_clear(
            self.begin_clear(error, service_id=service_id, interrupt=interrupt)
        )

    def begin_clear(self, error=None, *, service_id=None, bint interrupt=False):
        """The part of `clear` that nobody may come in between: from here on nobody gets a
        connection. What is returned is for `finish_clear`, which tells and closes."""
        cdef Cleared cleared
        if self.closed:
            return None
        if error is not None:
            why = f"{type(error).__name__}: {error}"
            if len(why) > LONGEST_CAUSE:
                why = f"{why[:LONGEST_CAUSE]}..."
            self.cleared_by = why
            self.cleared_for = tuple(getattr(error, "diagnoses", ()))
        elif not self.paused:
            self.cleared_by, self.cleared_for = "no error of its own", ()
        self.may_fill = self.load_balanced
        cleared = self.start_generation(service_id)
        return cleared, service_id, interrupt, list(self.under_way) if interrupt else []

    def finish_clear(self, begun):
        """The rest of `clear`, that may call listeners."""
        cdef Cleared cleared
        cdef Connection connection
        cdef PoolOpening opening
        if begun is None:
            return
        cleared, service_id, interrupt, under_way = begun
        try:
            if not cleared.was_paused and observed(self):
                (<object>self.publisher).pool_cleared(self.address, service_id, interrupt)
        finally:
            if cleared.waiters:
                refuse_all(cleared.waiters, self._cleared_error())
            if interrupt:
                why = f"the connection to {self._peer()} was interrupted: {self.cleared_by}"
                for connection in cleared.in_use:
                    connection.interruption = self._pool_cleared(why)
                self._close_sockets(cleared.in_use)
                for opening in under_way:
                    if service_id is None or opening.service_id == service_id:
                        opening.end()
            self._close_all(cleared.idle, "stale")

    def close(self, *, bint removed=False):
        """Close the pool for good. Who waits, or comes later, gets `InvalidOperation`: the client
        is closed; or, if its server was `removed` from the deployment, `PoolClearedError`."""
        cdef PoolOpening opening
        cdef bint before = self.closed
        self.removed = self.removed or (removed and not before)
        idle = self.end()
        while self.waiters:
            self.wake_next()
        for opening in list(self.under_way):
            opening.end()
        try:
            self._close_all(idle, "poolClosed")
        finally:
            if not before and observed(self):
                (<object>self.publisher).pool_closed(self.address)

    # -- the background -------------------------------------------------------------------------

    cpdef prune(self):
        """Close what was idle for longer than `maxIdleTimeMS`; never waits."""
        if self.max_idle_ns:
            self._close_all(self.take_expired(monotonic_ns()), "idle")

    cpdef bint wants_connections(self) except -1:
        """Whether `fill` would open connections: there are fewer than `minPoolSize`, the pool is
        ready, and it was not just now that a login was refused."""
        return (
            self.min_size > 0
            and self.may_fill
            and self.below_min_size()
            and (self.rests_until_ns == 0 or monotonic_ns() >= self.rests_until_ns)
        )

    def _fill_steps(self):
        """The steps that open connections up to `minPoolSize`.

        What goes wrong is told to `on_connect_failure`, and to the operation that comes next.
        """
        cdef Connection connection
        while self.wants_connections():
            self.begin_opening(PyThread_get_thread_ident())
            try:
                connection = yield from self._open(None)
            except (OperationFailure, ConfigurationError):
                self.rest_ns = min(max(2 * self.rest_ns, FIRST_REST_NS), LONGEST_REST_NS)
                self.rests_until_ns = monotonic_ns() + self.rest_ns
                return
            except (MongoError, Warning):
                # The server cannot be reached now, or warnings are errors.
                return
            self.rest_ns = self.rests_until_ns = 0
            if connection is not None:
                self.take_back_unused(connection)

    cdef int take_back_unused(self, Connection connection) except -1:
        """A connection that nobody has asked for: no event tells that it was lent."""
        cdef bint reusable = connection.reusable()
        if not self.take_back(connection, reusable, monotonic_ns()):
            self._close(connection, self._why_closed(connection, reusable))
        return 0

    def __repr__(self):
        if self.address is None:
            return "<Pool, not initialized>"
        state = "closed" if self.closed else "paused" if self.paused else "ready"
        return (
            f"<Pool of {self._peer()}, {state}: {self.in_use} in use, {self.idle_count} idle, "
            f"{self.connecting} connecting>"
        )
