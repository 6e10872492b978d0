# A collection: names and options turned into bytes once, operations made from them.
from mongokey.bson.codec cimport CodecContext
from mongokey.database cimport Database
from mongokey.commands.crud cimport WriteOne
from mongokey.execution.operation cimport Executor, Namespace, Operation


cdef class Collection:
    cdef Executor executor
    cdef Namespace namespace
    cdef CodecContext context
    cdef readonly Database database
    cdef readonly str name
    # The options, as given, and as elements of commands (None: nothing to send).
    cdef readonly object codec_options
    cdef readonly object read_preference
    cdef readonly object write_concern
    cdef readonly object read_concern
    cdef bytes read_preference_element
    cdef bytes write_concern_element
    cdef bytes read_concern_element
    cdef bint unacknowledged
    cdef object __weakref__

    cdef int _prepare_read(self, Operation operation) except -1
    cdef int _prepare_write(self, Operation operation) except -1
    cdef WriteOne _write_one(self, bint is_delete, dict statement, bint multi, dict extras)
    cdef dict _carry_out(
        self, list groups, bint ordered, bypass_document_validation, comment, let
    )
