# Host names to numeric addresses.
from libc.stdint cimport int64_t

from mongokey._support.deadline cimport Deadline
from mongokey.transport.stream cimport mk_address


cdef class SocketAddress:
    cdef mk_address at
    cdef readonly str text                  # as errors name it


# The addresses of `host` in the order in which they are to be tried, within the deadline;
# `resolver` (None: the system's) and `cancelled` are those of `connecting.connect`.
cdef list addresses_of(str host, port, str peer, Deadline deadline, resolver, cancelled)
cpdef list known_addresses(str host, port)
cpdef list in_order(list found, str peer)
cdef bint is_literal(str host) except -1
cpdef SocketAddress unix_address(str path)
# So much of a wait of `wait_ns` (-1: for ever) as may pass before `cancelled` is asked again.
cdef int64_t slice_of_wait(int64_t wait_ns, cancelled, str peer) except? -2
