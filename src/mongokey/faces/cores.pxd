# The C cores of clients, databases and collections.
from mongokey.commands.inherited_options cimport OptionsHolder
from mongokey.execution.execution cimport Executor
from mongokey.execution.operation cimport Namespace


cdef class Core(OptionsHolder):
    cdef Executor executor


cdef class BlockingCalls:
    pass


cdef class ClientCore(Core):
    pass


cdef class DatabaseCore(Core):
    cdef readonly ClientCore client
    cdef readonly str name
    cdef Namespace namespace


cdef class CollectionCore(Core):
    cdef readonly DatabaseCore database
    cdef readonly str name
    cdef Namespace namespace

    # Make it the collection `name`, with the options of the database.
    cdef int set_up(self, DatabaseCore database, name) except -1
