# The client: options, topology and executor of one deployment.
from mongokey.execution.blocking_cores cimport BlockingClient


cdef class MongoClient(BlockingClient):
    cdef object _topology
    cdef object _context
    cdef object __weakref__
