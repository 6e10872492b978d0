# cython: language_level=3, nonecheck=True
"""One thread makes a value and the others that need it wait: for keys, tickets, tokens, logins.

Knows threads, deadlines, signal handlers and forks. Must not know what is made, nor keep it: that
is the caller's. Between two calls into Python no other thread runs here, so no lock is needed, and
a signal handler that needs the value its own thread is making finds nothing half done.
"""

from collections import deque
from threading import Lock, get_ident

from mongokey._support.deadline cimport Deadline

from mongokey._support.fork import call_after_fork
from mongokey._support.shared_errors import own_copy
from mongokey._support.waiting import Cancelled

# So often a waiter looks whether it is still to wait.
cdef double LOOK_EVERY_S = 0.25


cdef class Flight:
    """A value that is being made; `SingleFlight.join` gives it.

    Whoever began it, or inherited it, ends it with `finish`, `fail` or `give_up`. `ended` says that
    there is a value or an error, `owner` is what whoever began it gave as such.
    """

    def __cinit__(self):
        self._waiting = deque()
        self._thread = get_ident()

    @property
    def own(self):
        """Whether this very thread makes the value, so that it must not wait for it."""
        return self._thread == <unsigned long>get_ident()

    def hand_over(self):
        """Say that another thread makes the value: who began the flight may wait for it too."""
        self._thread = 0

    cpdef int finish(self, object value) except -1:
        """The value is made: all who wait get it. An ended flight stays as it is."""
        if not self.ended:
            self._value = value
            self._end()
        return 0

    cpdef int fail(self, object error) except -1:
        """Making it failed. With `shares_errors` all who wait get a copy of `error`, which then
        must be an exception; without, the next one tries."""
        if self.ended:
            return 0
        if not self._flights.shares_errors:
            return self.give_up()
        self._error = error
        return self._end()

    cpdef int give_up(self) except -1:
        """The value is not made here any more: who waits longest is to make it."""
        cdef _Waiter heir
        if self.ended:
            return 0
        if not self._waiting:
            return self._end()
        heir = self._waiting.popleft()
        heir.inherits = True
        self._thread = heir.thread
        self.owner = heir.owner
        heir.lock.release()
        return 0

    cdef int _end(self) except -1:
        self.ended = True
        if self._flights._flights.get(self.key) is self:
            del self._flights._flights[self.key]
        while self._waiting:
            (<_Waiter>self._waiting.popleft()).lock.release()
        return 0

    cpdef bint wait(self, Deadline deadline=None, object cancelled=None) except -1:
        """Wait for the end; True when the flight has become the caller's, who is to make the value.

        Raises TimeoutError when `deadline` passes, and `Cancelled` soon after `cancelled()` has
        become true.
        """
        return self._wait(None, deadline, cancelled)

    def _wait(self, object owner, Deadline deadline, object cancelled):
        cdef _Waiter waiter = _Waiter()
        cdef double left
        waiter.owner = owner
        if self.ended:
            return False
        self._waiting.append(waiter)
        try:
            while True:
                if cancelled is not None and cancelled():
                    raise Cancelled
                left = LOOK_EVERY_S
                if deadline is not None:
                    left = min(left, deadline.left_s)
                if waiter.lock.acquire(timeout=left):
                    break
                if deadline is not None and deadline.passed():
                    raise TimeoutError(
                        deadline.timed_out("waiting for another connection, which is still at it")
                    )
        except BaseException:
            # Its turn may have come at the same moment: then it is the next one's.
            if waiter.inherits:
                self.give_up()
            elif not self.ended:
                self._waiting.remove(waiter)
            raise
        return waiter.inherits

    cpdef object result(self):
        """The value of a flight that has ended; raises its error, each caller its own copy."""
        if not self.ended:
            raise RuntimeError("the value is not made yet")
        if self._error is not None:
            raise own_copy(self._error) from self._error.__cause__
        return self._value

    cdef int _after_fork(self, unsigned long survivor) except -1:
        """In a forked child, where only the thread `survivor` lives: it inherits if it waits."""
        cdef _Waiter waiter
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            if waiter.thread == survivor:
                self._waiting.append(waiter)
        if self._thread != survivor:
            self.give_up()
        return 0

    def __repr__(self):
        return f"<Flight of {self.key}, ended={self.ended}>"


cdef class _Waiter:
    def __cinit__(self):
        self.lock = Lock()
        self.lock.acquire()
        self.thread = get_ident()


cdef class SingleFlight:
    """Lets one thread at a time make the value of a key.

    :param shares_errors: what a failure means to those who wait. False: nothing, the next one
        tries, in the order in which they came. True: it is theirs too, each raises a copy of its
        own. An exception that is no `Exception` (Ctrl-C, a thread that is ended) is never shared.

    Threads that come later make the value again: a caller that keeps values looks for them first.
    A forked child may use it at once; what its parent's threads were making is forgotten.
    """

    def __cinit__(self):
        self._flights = {}

    def __init__(self, *, bint shares_errors=False):
        self.shares_errors = shares_errors
        call_after_fork(self)

    def reset_after_fork(self):
        """In a forked child: those who made values in the parent do not exist."""
        cdef Flight flight
        cdef unsigned long survivor = get_ident()
        for flight in list(self._flights.values()):
            flight._after_fork(survivor)

    cpdef tuple join(self, object key, object owner=None):
        """(the flight of `key`, whether the caller has begun it). Who has is to end it."""
        cdef Flight mine = Flight()
        cdef Flight flight
        mine._flights = self
        mine.key = key
        mine.owner = owner
        flight = self._flights.setdefault(key, mine)
        if flight is not mine:
            return flight, False
        return mine, True

    cpdef object run(
        self,
        object key,
        object make,
        Deadline deadline=None,
        object cancelled=None,
        object owner=None,
    ):
        """What `make()` gives, to this thread or to the one that calls it for `key` already.

        A thread that makes the value and is interrupted by a handler which needs it too makes it
        there once more. Raises what `make` raises, its own or, with `shares_errors`, another
        thread's; TimeoutError when `deadline` passes while it waits and `Cancelled` as
        `Flight.wait` does. `owner` is what `abandon` knows it by.
        """
        cdef Flight flight
        flight, mine = self.join(key, owner)
        if not mine:
            if flight.own:
                return make()
            if not flight._wait(owner, deadline, cancelled):
                return flight.result()
        try:
            value = make()
        except Exception as error:
            flight.fail(error)
            raise
        except BaseException:
            flight.give_up()
            raise
        flight.finish(value)
        return value

    cpdef int abandon(self, object key, object owner) except -1:
        """No thread that comes from now on waits for what `owner` makes; those who do get it."""
        cdef Flight flight = self._flights.get(key)
        if flight is not None and flight.owner is owner:
            del self._flights[key]
        return 0

    cpdef Py_ssize_t waiting(self, object key) except -1:
        """How many threads wait for the value of `key`."""
        cdef Flight flight = self._flights.get(key)
        return 0 if flight is None else len(flight._waiting)

    def __repr__(self):
        return f"<SingleFlight, {len(self._flights)} under way>"
