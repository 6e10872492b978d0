# The pool of one server's connections, for threads that wait.
from libc.stdint cimport int64_t

from mongokey._support.deadline cimport Deadline
from mongokey.connection.connection cimport Connection
from mongokey.pool.pool cimport Pool


cdef class BlockingPool(Pool):
    cdef Connection _checkout_observed(self, int64_t started_ns, Deadline deadline)
    cdef object _drive(self, object steps)
