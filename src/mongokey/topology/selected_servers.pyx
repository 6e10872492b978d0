# cython: language_level=3, boundscheck=False, wraparound=False
"""The servers that operations go to, as the topology has selected them.

The topology alone fills and empties it; executions read it on the path of every command, without a
lock. It must not know how servers are judged.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from mongokey.pool.pool cimport Pool
from mongokey.pool.state cimport operation_count


cdef extern from "mongokey/clock.h" nogil:
    int64_t mk_monotonic_ns()


@cython.final
cdef class ServerCriteria:
    """Which servers an operation may go to; see the stub."""

    def __init__(self, preference not None, bytes element=None, *, bint output_stage=False):
        self.preference = preference
        self.element = element
        self.output_stage = output_stage


cdef list pools_of(pools):
    """A list of them; `pick` reads their fields unchecked."""
    cdef list found = list(pools)
    for each in found:
        if not isinstance(each, Pool):
            raise TypeError(f"a pool is needed, not {type(each).__name__}")
    return found


@cython.final
cdef class SelectedServers:
    """`writable`: the pool of the only server that takes writes; None: ask the topology."""

    def __cinit__(self):
        self.random = <uint64_t>mk_monotonic_ns() | 1

    def change(self, writable):
        cdef list pools = pools_of(writable)
        # No bytecode runs between these, so nobody sees one without the others.
        self.version += 1
        self.writable = <Pool>pools[0] if len(pools) == 1 else None
        self.mongoses = pools if len(pools) > 1 else None

    def ask_each_time(self):
        self.change(())

    def remember(self, ServerCriteria criteria, pools):
        cdef list found = pools_of(pools)
        if criteria is None or not found:
            return
        criteria.owner = self
        criteria.version = self.version
        criteria.pools = found

    def choose(self, ServerCriteria criteria):
        return self.pick(criteria)

    cdef Pool pick(self, ServerCriteria criteria):
        cdef list pools
        if criteria is None:
            if self.writable is not None:
                return self.writable
            pools = self.mongoses
        else:
            pools = criteria.pools
            if criteria.version != self.version or criteria.owner is not self:
                return None
        if pools is None:
            return None
        return self._less_loaded(pools)

    cdef Pool _less_loaded(self, list pools):
        """server-selection.md: of two at random, the one with fewer operations under way."""
        cdef Py_ssize_t size = len(pools)
        cdef Py_ssize_t first, second
        cdef Pool one, other
        if size == 1:
            return <Pool>pools[0]
        # xorshift64: chance is only to spread the load.
        self.random ^= self.random << 13
        self.random ^= self.random >> 7
        self.random ^= self.random << 17
        first = <Py_ssize_t>(self.random % <uint64_t>size)
        second = <Py_ssize_t>((self.random >> 32) % <uint64_t>(size - 1))
        if second >= first:
            second += 1
        one = <Pool>pools[first]
        other = <Pool>pools[second]
        return one if operation_count(one) <= operation_count(other) else other
