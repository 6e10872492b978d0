# The pool of one server's connections, blocking.
from libc.stdint cimport int64_t, uint64_t

from mongokey._support.deadline cimport Timeout
from mongokey.connection.connection cimport Connection
from mongokey.connection.openings cimport Opening
from mongokey.events.flags cimport PublisherFlags
from mongokey.pool.state cimport PoolState


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
    cdef object connect                     # (Opening) -> Connection
    cdef object on_connect_failure          # (error, generation), or None
    cdef PublisherFlags publisher           # of events, or None
    # State.
    cdef list under_way                     # of PoolOpening: what is being made
    cdef int64_t last_id                    # of the connections made
    cdef str cleared_by                     # what was wrong when it was last cleared, or None
    cdef bint may_fill                      # `pool_ready` was told
    cdef readonly Py_ssize_t pinned_count   # of those in use: pinned to cursors
    cdef bint removed                       # closed since its server left the deployment
    cdef int64_t rest_ns, rests_until_ns    # not filled until then, after a refused login
    cdef object __weakref__

    cdef Connection checkout(self)
    cdef Connection _checkout_observed(self, int64_t started_ns)
    cdef Connection borrow(self, double wait_s)
    cdef int give_back(self, Connection connection) except -1
    cdef int checkin(self, Connection connection) except -1
    # A connection that is checked out stays so, for a cursor; and comes back.
    cdef int pin(self, Connection connection) except -1
    cdef int unpin(self, Connection connection) except -1
    cdef Connection _take_idle(self, int64_t now)
    cdef Connection _checkout_slowly(self, int64_t started_ns)

    cdef Connection _open(self)
    cdef int _end(self, PoolOpening opening, unsigned long thread) except -1
    cdef int _failed_to_open(
        self, PoolOpening opening, object error, unsigned long thread
    ) except -1
    cdef int _drop(self, Connection connection, str reason) except -1
    cdef str _why_closed(self, Connection connection, bint reusable)
    cdef int _close(self, Connection connection, str reason) except -1

    cpdef ready(self)
    cpdef prune(self)
    cpdef bint wants_connections(self) except -1
    cpdef fill(self)
    cdef int take_back_unused(self, Connection connection) except -1


# Whether somebody wants to know of a pool's events.
cdef inline bint observed(Pool pool) noexcept:
    return pool.publisher is not None and pool.publisher.pools
