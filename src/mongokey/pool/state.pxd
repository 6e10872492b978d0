# Who gets which connection of one server, and who waits: decisions only. Every method runs under
# the GIL without giving it up between a test and the change that follows it, so none takes a lock.
from libc.stdint cimport int64_t, uint64_t

from mongokey.connection.connection cimport Connection


# What `request` says.
cdef enum:
    OPEN                                    # open a connection: it is counted as being opened
    WAIT                                    # the waiter is in the queue
    WAIT_FOR_BORROWED                       # the same, but not for long: then open one
    HELD_BY_CALLER                          # only the caller's own thread could give one back
    PAUSED                                  # the server has not been checked since the last failure
    CLOSED


cdef class Waiter:
    # Somebody in the queue. It is woken once, when it was handed a connection, an error or a turn.
    cdef readonly Connection connection     # handed over; None: a turn, to ask again
    cdef readonly object error              # what to raise instead, or None
    cdef unsigned long caller               # the thread that waits
    # Whether the wait stops the whole thread. On an event loop, and under gevent or eventlet, it
    # does not: others of the thread go on, and may give back what the thread holds.
    cdef bint stops_thread
    cdef int64_t until_ns                   # the end of the wait (CLOCK_MONOTONIC); 0: none
    cdef bint woken                         # it did not end by itself

    cdef int wake(self) except -1


cdef class Cleared:
    # What is left to be done when a new generation was started.
    cdef list idle                          # connections to be closed, the pool's no more
    cdef list in_use                        # those that are lent, now stale
    cdef object waiters                     # a deque of those to be told, or None
    cdef bint was_paused


cdef class PoolState:
    # Limits: counts, and nanoseconds (0: none).
    cdef readonly Py_ssize_t max_size       # 0: unlimited
    cdef readonly Py_ssize_t min_size
    cdef readonly Py_ssize_t max_connecting
    cdef readonly int64_t max_idle_ns
    # Idle connections, last in, first out: the latest one, and those before it.
    cdef Connection latest
    cdef list idle
    cdef readonly Py_ssize_t in_use
    cdef readonly Py_ssize_t connecting
    cdef Py_ssize_t borrowed                # of those in use: by housekeeping
    cdef readonly uint64_t generation       # connections of an older one are closed at checkin
    # Load balanced: service id -> [generation, number of connections]; otherwise None.
    cdef dict services
    cdef readonly bint load_balanced
    # Not closed, and one of the two: ready, or paused until the server was checked.
    cdef readonly bint paused
    cdef readonly bint closed
    cdef list opened                        # every connection, idle or in use, that is not dropped
    cdef list opening                       # callers that open a connection now
    cdef object waiters                     # deque of Waiter, oldest first; None until needed

    # Makes the queue: before `request`, which may make no object of the garbage collector's.
    cdef int expect_waiting(self) except -1
    # What is to be done for a waiter that found no idle connection; `again`: it had been woken, and
    # keeps its place at the front; `waited`: borrowed connections were waited for in vain.
    cdef int request(self, Waiter waiter, bint again, bint waited) except -1
    # Takes a waiter out of the queue; what it was handed meanwhile is returned, a turn passed on.
    cdef Connection withdraw(self, Waiter waiter)
    cdef int enqueue(self, Waiter waiter) except -1

    # Whether who asks may open a connection now, without a place in the queue.
    cdef bint opens_at_once(self, bint waited) noexcept
    cdef bint may_open(self) noexcept
    cdef int begin_opening(self, unsigned long caller) except -1
    cdef int end_opening(self, unsigned long caller) except -1
    # A new connection of `generation`, which `caller` uses.
    cdef int opened_one(
        self, Connection connection, uint64_t generation, unsigned long caller
    ) except -1

    # A connection comes back: False if it is to be closed (and is no longer the pool's).
    cdef bint take_back(self, Connection connection, bint reusable, int64_t now_ns) except -1
    cdef int remove(self, Connection connection) except -1
    # Gives the first in the queue a turn: a place has become free.
    cdef int wake_next(self) except -1
    # Tells all who wait that the login was refused.
    cdef int refuse_waiting(self, object error) except -1
    # All idle connections, which are no longer idle in the pool's eyes.
    cdef list take_all_idle(self)
    # Those that were idle for too long, to be closed.
    cdef list take_expired(self, int64_t now_ns)
    # The pool's generation, or that of a service behind a load balancer.
    cpdef uint64_t generation_of(self, object service_id=*) except? 0
    # One more connection to a service: its generation; and one less.
    cdef uint64_t join_service(self, object service_id) except? 0
    cdef int leave_service(self, object service_id) except -1
    # Starts a new generation, of all or (load balanced) of one service. The pool is paused then,
    # except behind a load balancer.
    cdef Cleared start_generation(self, object service_id)
    # For good; the connections to be closed.
    cdef list end(self)
    # Whether one should be opened to reach `min_size`, and may.
    cdef bint below_min_size(self) except -1
    cdef int forget(self) except -1
    cdef bint only_held_by(self, unsigned long caller) except -1
    cdef bint waits(self, unsigned long thread) except -1


# The connection that was used last, and may be too old; None: none is idle. It is nobody's until
# `lend` or `remove`.
cdef inline Connection pop_idle(PoolState state):
    cdef Connection connection = state.latest
    if connection is not None:
        state.latest = None
        return connection
    return <Connection>state.idle.pop() if state.idle else None


# Whether it has been idle for longer than allowed at `now_ns`.
cdef inline bint expired(PoolState state, Connection connection, int64_t now_ns) noexcept:
    return state.max_idle_ns != 0 and now_ns - connection.idle_since_ns > state.max_idle_ns


# How many operations use a connection, wait for one, or open one.
cdef inline Py_ssize_t operation_count(PoolState state):
    cdef Py_ssize_t waiting = 0 if state.waiters is None else len(state.waiters)
    return state.in_use + state.connecting + waiting


# Tells all of a deque (or None) of waiters that `error` is why they get nothing.
cdef int refuse_all(object waiters, object error) except -1


cdef inline void lend(PoolState state, Connection connection, unsigned long caller) noexcept:
    connection.held_by = caller
    state.in_use += 1
