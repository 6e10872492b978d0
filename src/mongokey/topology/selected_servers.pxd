# Where operations go, where executions see it without a call into Python.
from libc.stdint cimport uint64_t

from mongokey.pool.pool cimport Pool


cdef class ServerCriteria:
    cdef readonly object preference         # a read preference other than primary
    cdef readonly bytes element             # `$readPreference` as an element of commands
    cdef readonly bint output_stage         # of an aggregation that writes: see `Topology.select`
    # The pools of the servers that met the criteria when `owner` had `version`.
    cdef list pools
    cdef SelectedServers owner
    cdef uint64_t version


cdef class SelectedServers:
    cdef readonly Pool writable             # of the only server that takes writes; None: ask
    cdef readonly list mongoses             # pools of several, any of which does; None: ask
    cdef uint64_t version
    cdef uint64_t random

    # A pool for operations with these criteria (None: writes, and reads of the primary); None:
    # the topology is to be asked.
    cdef Pool pick(self, ServerCriteria criteria)
    cdef Pool _less_loaded(self, list pools)
