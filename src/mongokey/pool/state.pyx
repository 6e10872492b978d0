# cython: language_level=3
"""Who gets which connection of one server: sizes, generations, a fair queue, paused or ready.

It follows the connection-monitoring-and-pooling specification. It does no I/O, takes no lock and
reads no clock: times are handed in, who waits is an object with `wake()`, and connections are
opened and closed by whoever asks here. Must not know how anybody waits.
"""

from collections import deque

from libc.stdint cimport int64_t, uint64_t

from mongokey.connection.connection cimport Connection

from mongokey._support.shared_errors import own_copy


cdef class Waiter:
    """Somebody in the queue; a subclass knows how they wait."""

    cdef int wake(self) except -1:
        raise NotImplementedError(type(self).__name__)


cdef class PoolState:
    """The connections of one server; `max_size` and `max_idle_ns` 0 mean no limit.

    It starts paused, unless it is `load_balanced`: that one is never paused, and has a generation
    for each service behind the load balancer.
    """

    def __cinit__(self):
        self.idle = []
        self.opened = []
        self.opening = []

    def __init__(
        self,
        *,
        Py_ssize_t max_size=100,
        Py_ssize_t min_size=0,
        Py_ssize_t max_connecting=2,
        int64_t max_idle_ns=0,
        bint load_balanced=False,
    ):
        self.max_size = max_size
        self.min_size = min_size
        self.max_connecting = max_connecting
        self.max_idle_ns = max_idle_ns
        self.load_balanced = load_balanced
        self.paused = not load_balanced
        self.services = {} if load_balanced else None

    @property
    def idle_count(self):
        """How many connections wait to be used."""
        return len(self.idle) + (self.latest is not None)

    @property
    def operation_count(self):
        """How many operations use a connection, or wait for one."""
        return operation_count(self)

    @property
    def waiting_count(self):
        """How many wait in the queue."""
        return len(self.waiters) if self.waiters is not None else 0

    # -- idle connections -----------------------------------------------------------------------

    cdef list take_all_idle(self):
        cdef list idle = self.idle
        self.idle = []
        if self.latest is not None:
            idle.append(self.latest)
            self.latest = None
        return idle

    # -- the queue ------------------------------------------------------------------------------

    cdef int expect_waiting(self) except -1:
        if self.waiters is None:
            self.waiters = deque()
        return 0

    cdef int request(self, Waiter waiter, bint again, bint waited) except -1:
        cdef bint opens
        if self.closed:
            return CLOSED
        if self.paused:
            return PAUSED
        if self.opens_at_once(waited):
            self.begin_opening(waiter.caller)
            return OPEN
        opens = self.may_open()
        if not opens and waiter.stops_thread and self.only_held_by(waiter.caller):
            return HELD_BY_CALLER
        # Who was given a turn and found nothing keeps the place at the front.
        if again:
            self.waiters.appendleft(waiter)
        else:
            self.enqueue(waiter)
        return WAIT_FOR_BORROWED if opens else WAIT

    cdef int enqueue(self, Waiter waiter) except -1:
        """Put a waiter at the end of the queue, but before those of its own thread: that wait was
        interrupted by a signal handler or a destructor, and goes on only after this one.

        Makes no object that the garbage collector knows, so nothing changes meanwhile.
        """
        cdef Py_ssize_t place
        if waiter.stops_thread:
            for place in range(len(self.waiters)):
                if (<Waiter>self.waiters[place]).caller == waiter.caller:
                    self.waiters.insert(place, waiter)
                    return 0
        self.waiters.append(waiter)
        return 0

    cdef Connection withdraw(self, Waiter waiter):
        try:
            self.waiters.remove(waiter)
        except ValueError:
            if waiter.connection is None:
                self.wake_next()  # it was given a turn that it does not use
        return waiter.connection

    cdef int wake_next(self) except -1:
        if self.waiters:
            (<Waiter>self.waiters.popleft()).wake()
        return 0

    cdef int refuse_waiting(self, object error) except -1:
        """Each would be refused once more, and servers count that against the account."""
        cdef object waiters
        fresh = deque()
        waiters, self.waiters = self.waiters, fresh
        return refuse_all(waiters, error)

    cdef bint only_held_by(self, unsigned long caller) except -1:
        """Whether all connections that are in use or being opened are those of `caller`, a thread,
        or of threads that wait in the queue, in the middle of what they have one for: for it to
        wait would be to wait for itself, or for those that wait for it. Makes no object either."""
        cdef Py_ssize_t place
        cdef unsigned long holder
        cdef bint held = False
        for place in range(len(self.opened)):
            held = held or (<Connection>self.opened[place]).held_by == caller
        for place in range(len(self.opening)):
            held = held or <unsigned long>self.opening[place] == caller
        if not held:
            return False
        for place in range(len(self.opened)):
            holder = (<Connection>self.opened[place]).held_by
            if not (holder == caller or holder == 0 or self.waits(holder)):
                return False
        for place in range(len(self.opening)):
            holder = self.opening[place]
            if holder != caller and not self.waits(holder):
                return False
        return True

    cdef bint waits(self, unsigned long thread) except -1:
        """Whether `thread` stands still in the queue."""
        cdef Waiter waiter
        cdef Py_ssize_t place
        if self.waiters is not None:
            for place in range(len(self.waiters)):
                waiter = self.waiters[place]
                if waiter.caller == thread and waiter.stops_thread:
                    return True
        return False

    # -- opening --------------------------------------------------------------------------------

    cdef bint opens_at_once(self, bint waited) noexcept:
        return (
            not self.closed
            and not self.paused
            and (waited or not self.borrowed)
            and self.may_open()
        )

    cdef bint may_open(self) noexcept:
        return self.connecting < self.max_connecting and (
            self.max_size == 0 or self.in_use + self.connecting < self.max_size
        )

    cdef int begin_opening(self, unsigned long caller) except -1:
        self.opening.append(caller)
        self.connecting += 1
        return 0

    cdef int end_opening(self, unsigned long caller) except -1:
        # After a fork in the meantime the counters were set anew.
        if self.connecting > 0:
            self.connecting -= 1
        if caller in self.opening:
            self.opening.remove(caller)
        return 0

    cdef int opened_one(
        self, Connection connection, uint64_t generation, unsigned long caller
    ) except -1:
        connection.generation = generation
        connection.stale = generation != self.generation_of(connection.service_id)
        self.opened.append(connection)
        lend(self, connection, caller)
        return 0

    # -- coming back ----------------------------------------------------------------------------

    cdef bint take_back(self, Connection connection, bint reusable, int64_t now_ns) except -1:
        cdef Waiter waiter
        if not reusable or connection.stale or self.closed:
            self.remove(connection)
            if self.in_use > 0:
                self.in_use -= 1
            self.wake_next()
            return False
        if self.waiters:
            # Handed over directly, so that no newcomer gets in between.
            waiter = <Waiter>self.waiters.popleft()
            connection.held_by = waiter.caller
            connection.idle_since_ns = now_ns
            waiter.connection = connection
            waiter.wake()
            return True
        self.in_use -= 1
        connection.held_by = 0
        connection.idle_since_ns = now_ns
        # A list that goes from empty to one and back is allocated each time.
        if self.latest is not None:
            # Only the one that is used next keeps the memory of a large message.
            self.latest.shrink_buffers()
            self.idle.append(self.latest)
        self.latest = connection
        return True

    cdef int remove(self, Connection connection) except -1:
        cdef Py_ssize_t place
        for place in range(len(self.opened)):
            if self.opened[place] is connection:
                del self.opened[place]
                if connection.service_id is not None:
                    self.leave_service(connection.service_id)
                break
        return 0

    # -- generations ----------------------------------------------------------------------------

    cpdef uint64_t generation_of(self, object service_id=None) except? 0:
        if self.services is None:
            return self.generation
        known = self.services.get(service_id)
        return 0 if known is None else known[0]

    cdef uint64_t join_service(self, object service_id) except? 0:
        known = self.services.get(service_id)
        if known is None:
            known = self.services[service_id] = [0, 0]
        known[1] += 1
        return known[0]

    cdef int leave_service(self, object service_id) except -1:
        known = None if self.services is None else self.services.get(service_id)
        if known is not None:
            known[1] -= 1
            if known[1] <= 0:
                del self.services[service_id]
        return 0

    cdef Cleared start_generation(self, object service_id):
        """Whatever comes between the steps (a new list may run the garbage collector, and with it
        other threads): what is stale is marked before it is looked for among the idle."""
        cdef Cleared cleared = Cleared()
        cdef Connection connection
        cdef list kept = []
        if self.load_balanced:
            for known in self.services:
                if service_id is None or known == service_id:
                    self.services[known][0] += 1
        else:
            service_id = None
            fresh = deque()
            self.generation += 1
            cleared.was_paused = self.paused
            self.paused = True
            if self.waiters is not None:
                cleared.waiters, self.waiters = self.waiters, fresh
        for connection in self.opened:
            if service_id is None or connection.service_id == service_id:
                connection.stale = True
        for connection in self.take_all_idle():
            (cleared.idle if connection.stale else kept).append(connection)
        self.idle = kept + self.idle
        for connection in cleared.idle:
            self.remove(connection)
        for connection in self.opened:
            if connection.stale:
                cleared.in_use.append(connection)
        if self.load_balanced:
            for _ in cleared.idle:
                self.wake_next()
        return cleared

    cdef list end(self):
        cdef list idle
        cdef Connection connection
        self.closed = True
        self.generation += 1
        idle = self.take_all_idle()
        for connection in idle:
            self.remove(connection)
        return idle

    cdef int forget(self) except -1:
        """In a forked child: what was in use, being opened or waited for was so in the parent."""
        cdef Connection connection
        for connection in self.opened:
            # The forking thread may be in the middle of an operation, and give it back.
            connection.stale = True
        if self.waiters is not None:
            self.waiters = deque()
        self.opened = []
        self.opening = []
        if self.services is not None:
            self.services = {}
        self.in_use = self.connecting = self.borrowed = 0
        self.generation += 1
        return 0

    # -- the background -------------------------------------------------------------------------

    cdef bint below_min_size(self) except -1:
        return (
            not (self.closed or self.paused)
            and self.connecting < self.max_connecting
            and self.idle_count + self.in_use + self.connecting < self.min_size
        )

    cdef list take_expired(self, int64_t now_ns):
        cdef Connection connection
        cdef list old = []
        cdef list kept = []
        if self.max_idle_ns == 0:
            return old
        for connection in self.take_all_idle():
            (old if expired(self, connection, now_ns) else kept).append(connection)
        # Those that came back meanwhile were used last.
        self.idle = kept + self.idle
        for connection in old:
            self.remove(connection)
        return old


cdef class Cleared:
    """What `PoolState.start_generation` leaves to be done."""

    def __cinit__(self):
        self.idle = []
        self.in_use = []


cdef int refuse_all(object waiters, object error) except -1:
    cdef Waiter waiter
    while waiters:
        own = own_copy(error)
        if not waiters:
            break  # making the copy may have let another thread run
        waiter = <Waiter>waiters.popleft()
        waiter.error = own
        waiter.wake()
    return 0


cdef class CallingWaiter(Waiter):
    """A waiter that calls `woken()`: for tests, and for whoever waits in a way of their own."""

    cdef object woken

    def __init__(self, woken, *, unsigned long caller=0, bint stops_thread=False):
        self.woken = woken
        self.caller = caller
        self.stops_thread = stops_thread

    cdef int wake(self) except -1:
        self.woken()
        return 0


cdef tuple ANSWERS = ("open", "wait", "wait for borrowed", "held by caller", "paused", "closed")


cdef class PoolDecisions(PoolState):
    """The same decisions, to be asked from Python: for tests, and for a pool of another kind."""

    def take(self, unsigned long caller, int64_t now_ns):
        """An idle connection that is not too old, lent to `caller`, or None; and those that were
        too old, to be closed."""
        cdef Connection connection
        old = []
        while True:
            connection = pop_idle(self)
            if connection is None:
                return None, old
            if not expired(self, connection, now_ns):
                lend(self, connection, caller)
                return connection, old
            self.remove(connection)
            old.append(connection)

    def ask(self, Waiter waiter not None, *, bint again=False, bint waited=False):
        """What is to be done for `waiter`, as a word."""
        self.expect_waiting()
        return ANSWERS[self.request(waiter, again, waited)]

    def give_up(self, Waiter waiter not None):
        """Take `waiter` out of the queue; the connection it was handed meanwhile, or None."""
        return self.withdraw(waiter)

    def opened_by(self, unsigned long caller, Connection connection not None, generation=None):
        """The connection that `caller` was told to open is there, of the present generation or of
        the one that was when it began."""
        self.end_opening(caller)
        self.opened_one(connection, self.generation if generation is None else generation, caller)
        self.wake_next()

    def failed_to_open(self, unsigned long caller, refused=None):
        """It is not; `refused` is the error of a login that all others would get too."""
        self.end_opening(caller)
        if refused is not None:
            self.refuse_waiting(refused)
        self.wake_next()

    def give_back(self, Connection connection not None, int64_t now_ns, *, bint reusable=True):
        """Whether the pool keeps it; if not, it is to be closed."""
        return self.take_back(connection, reusable, now_ns)

    def ready(self):
        """The server was checked: connections may be had."""
        self.paused = False

    def clear(self, error=None, *, service_id=None):
        """Start a new generation: the connections to be closed, those that were idle and those in
        use. All who wait are told `error`."""
        cleared = self.start_generation(service_id)
        refuse_all(cleared.waiters, error)
        return cleared.idle, cleared.in_use

    def join(self, service_id):
        """A connection to `service_id` is there: its generation."""
        return self.join_service(service_id)

    def close(self):
        """For good; the same. All who wait are woken."""
        idle = self.end()
        while self.waiters:
            self.wake_next()
        return idle

    def prune(self, int64_t now_ns):
        """Those that were idle for too long, to be closed."""
        return self.take_expired(now_ns)

    def reset_after_fork(self):
        """In a forked child; the parent's idle connections, to be let go of."""
        idle = self.take_all_idle()
        self.forget()
        return idle
