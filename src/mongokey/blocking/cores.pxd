# The C cores of the blocking clients, databases and collections.
from mongokey.commands.inherited_options cimport OptionsHolder
from mongokey.execution.execution cimport Executor
from mongokey.execution.operation cimport Namespace


cdef class Blocking(OptionsHolder):
    cdef Executor executor


cdef class BlockingClient(Blocking):
    pass


cdef class BlockingDatabase(Blocking):
    cdef readonly BlockingClient client
    cdef readonly str name
    cdef Namespace namespace


cdef class BlockingCollection(Blocking):
    cdef readonly BlockingDatabase database
    cdef readonly str name
    cdef Namespace namespace
