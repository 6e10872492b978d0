# The client: options, topology and executor of one deployment.
from mongokey.execution.operation cimport Executor


cdef class MongoClient:
    cdef readonly object codec_options
    cdef readonly object read_preference
    cdef readonly object write_concern
    cdef readonly object read_concern
    cdef readonly object _inherited         # InheritedOptions: what databases take from here
    cdef readonly Executor _executor
    cdef object _topology
    cdef object _context
    cdef object __weakref__
