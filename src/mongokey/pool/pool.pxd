# The pool of one server's connections, without the waiting, which is a subclass's:
# `pool.blocking.BlockingPool` or `pool.aio.AsyncPool`.
from libc.stdint cimport int64_t, uint64_t

from mongokey._support.deadline cimport Deadline, Timeout
from mongokey.connection.connection cimport Connection
from mongokey.connection.settings cimport Opening
from mongokey.events.flags cimport PublisherFlags
from mongokey.pool.state cimport PoolState, Waiter


cdef class PoolOpening(Opening):
    # A connection that the pool is making.
    cdef Pool pool
    cdef int64_t id
    cdef uint64_t generation                # of the pool when it was begun; then of the service
    cdef object service_id                  # behind a load balancer, after hello; or None
    cdef int64_t created_ns                 # CLOCK_MONOTONIC


cdef class Pool(PoolState):
    cdef readonly object address            # an Address: (host, port or None)
    cdef readonly object description        # HelloReply of the latest handshake, or None
    cdef Timeout wait_queue_timeout         # or None
    cdef object connect                     # (Opening) -> Connection, or a coroutine of one
    cdef object holds_lock                  # whether the calling thread has the topology's; or None
    cdef object on_connect_failure          # (error, generation), or None
    cdef object on_ready                    # (), or None
    cdef PublisherFlags publisher           # of events, or None
    # State.
    cdef list under_way                     # of PoolOpening: what is being made
    cdef int64_t last_id                    # of the connections made
    cdef str cleared_by                     # what was wrong when it was last cleared, or None
    cdef tuple cleared_for                  # the diagnoses of that error
    cdef bint may_fill                      # `pool_ready` was told
    cdef readonly Py_ssize_t pinned_count   # of those in use: pinned to cursors and transactions
    cdef Py_ssize_t transaction_count       # of these: to transactions
    cdef bint removed                       # closed since its server left the deployment
    cdef int64_t rest_ns, rests_until_ns    # not filled until then, after a refused login
    cdef object __weakref__

    # A connection for the caller alone, until `checkin`; waits for one until `deadline`, which is
    # an operation's, or (None) as long as the options say.
    cdef Connection checkout(self, Deadline deadline)
    # For housekeeping: a connection that nobody uses, or None; never opens one. To be given back by
    # `give_back`, soon. Where others wait for one already, None at once, or, with `wait_s`, one
    # that comes back within so many seconds, in turn.
    cdef Connection borrow(self, double wait_s)
    # Somebody for the queue.
    cdef Waiter make_waiter(self)
    # The steps of a checkout that found nothing idle: see there.
    cdef object checkout_steps(self, int64_t started_ns, Deadline until)
    cdef int lend_for_housekeeping(self, Connection connection, int64_t started_ns) except -1
    # What listeners are told, where there are any.
    cdef int checkout_begins(self) except -1
    cdef int checkout_failed(self, object error, int64_t started_ns) except -1
    cdef int checkout_succeeded(self, Connection connection, int64_t started_ns) except -1
    cdef int give_back(self, Connection connection) except -1
    cdef int checkin(self, Connection connection) except -1
    # A connection that is checked out stays so, for a cursor; and comes back.
    cdef int pin(self, Connection connection) except -1
    cdef int unpin(self, Connection connection) except -1
    cdef Connection _take_idle(self, int64_t now)

    cdef int _end(self, PoolOpening opening, unsigned long thread) except -1
    cdef int _failed_to_open(
        self, PoolOpening opening, object error, unsigned long thread
    ) except -1
    cdef int _drop(self, Connection connection, str reason) except -1
    cdef str _why_closed(self, Connection connection, bint reusable)
    cdef int _close(self, Connection connection, str reason) except -1
    cdef int _close_all(self, list connections, str reason) except -1

    cpdef ready(self)
    cpdef prune(self)
    cpdef bint wants_connections(self) except -1
    cdef int take_back_unused(self, Connection connection) except -1


# Whether somebody wants to know of a pool's events.
cdef inline bint observed(Pool pool) noexcept:
    return pool.publisher is not None and pool.publisher.pools
