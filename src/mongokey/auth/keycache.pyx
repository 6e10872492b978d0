# cython: language_level=3
"""A small cache of derived keys in which each key is derived by one thread only.

Knows threads, deadlines and forks; must not know what a key is or how it is derived. Between two
calls into Python nothing else runs here, so no lock is needed, and a signal handler that logs in
meanwhile finds nothing half done.
"""

from collections import deque
from threading import Lock, get_ident

from libc.stdint cimport int64_t

from mongokey._support.waiting import Cancelled
from mongokey._support.fork import call_after_fork


cdef extern from "mongokey/clock.h" nogil:
    int64_t mk_monotonic_ns()

# One credential sees one salt per mechanism and deployment, and a new one after each change of
# the password; more than this is a server making salts up.
MAX_ENTRIES = 8

# So often a waiter looks whether it is still to wait.
cdef int64_t LOOK_EVERY_NS = 250_000_000


cdef class _Flight:
    def __cinit__(self):
        self.owner = get_ident()
        self.waiting = deque()


cdef class _Waiter:
    def __cinit__(self):
        self.lock = Lock()
        self.lock.acquire()
        self.thread = get_ident()


cdef class KeyCache:
    """Maps what identifies a derivation to what it gave; at most `limit` entries, oldest out.

    `derive` is single-flight: of threads that ask for one missing key one computes, the others
    wait for it; if it fails, the next one tries. A forked child may use it at once.
    """

    def __cinit__(self):
        self._entries = {}
        self._flights = {}

    def __init__(self, Py_ssize_t limit=MAX_ENTRIES):
        self._limit = limit
        call_after_fork(self)

    def reset_after_fork(self):
        """Forget who computed in the parent."""
        self._flights = {}

    cpdef object get(self, object key):
        """The cached value, or None."""
        return self._entries.get(key)

    cpdef object derive(
        self, object key, object compute, int64_t deadline_ns=0, object cancelled=None
    ):
        """The cached value, or what `compute` gives; waits while another thread computes it.

        Raises TimeoutError when `deadline_ns` (of `monotonic_ns`; 0 for none) passes while it
        waits, `Cancelled` soon after `cancelled()` has become true, and whatever `compute` raises;
        then nothing is kept. A thread that computes the key
        and is interrupted by a handler which needs it too does not wait for itself.
        """
        cdef _Flight mine, flight
        while True:
            value = self._entries.get(key)
            if value is not None:
                return value
            mine = _Flight()
            flight = self._flights.setdefault(key, mine)
            if flight is mine:
                break
            if flight.owner == <unsigned long>get_ident():
                return compute()
            if self._wait(key, flight, deadline_ns, cancelled):
                break
        try:
            value = compute()
        except BaseException:
            self._pass_on(key, flight)
            raise
        self._keep(key, value)
        self._end(key, flight)
        return value

    cdef int _keep(self, object key, object value) except -1:
        while len(self._entries) >= self._limit:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = value
        return 0

    cdef int _pass_on(self, object key, _Flight flight) except -1:
        """The computation failed: it is the next waiter's."""
        cdef _Waiter heir
        if not flight.waiting:
            self._end(key, flight)
            return 0
        heir = flight.waiting.popleft()
        heir.inherits = True
        flight.owner = heir.thread
        heir.lock.release()
        return 0

    cdef int _end(self, object key, _Flight flight) except -1:
        flight.ended = True
        if self._flights.get(key) is flight:
            del self._flights[key]
        while flight.waiting:
            (<_Waiter>flight.waiting.popleft()).lock.release()
        return 0

    cdef bint _wait(
        self, object key, _Flight flight, int64_t deadline_ns, object cancelled
    ) except -1:
        """Wait for the flight's end; True when the computation became this thread's."""
        cdef _Waiter waiter = _Waiter()
        cdef int64_t left, now
        if flight.ended:
            return False
        flight.waiting.append(waiter)
        try:
            while True:
                if cancelled is not None and cancelled():
                    raise Cancelled
                left = LOOK_EVERY_NS
                if deadline_ns:
                    now = mk_monotonic_ns()
                    left = max(0, min(left, deadline_ns - now))
                if waiter.lock.acquire(timeout=left / 1e9):
                    break
                if deadline_ns and mk_monotonic_ns() >= deadline_ns:
                    raise TimeoutError("another connection was still at it when the time was over")
        except BaseException:
            # Its turn may have come at the same moment: then it is the next one's.
            if waiter.inherits:
                self._pass_on(key, flight)
            elif not flight.ended:
                flight.waiting.remove(waiter)
            raise
        return waiter.inherits

    def _waiting(self, key):
        """How many threads wait for the key; for tests."""
        cdef _Flight flight = self._flights.get(key)
        return 0 if flight is None else len(flight.waiting)

    def __repr__(self):
        return f"<KeyCache of {len(self._entries)}>"
