# A database: its options, inherited by the collections made from it.
from mongokey.bson.codec cimport CodecContext
from mongokey.execution.operation cimport Executor, Namespace


cdef class InheritedOptions:
    cdef readonly object codec_options
    cdef CodecContext context
    cdef readonly object read_preference
    cdef readonly object write_concern
    cdef readonly object read_concern
    cdef bytes read_preference_element
    cdef bytes write_concern_element
    cdef bytes read_concern_element
    cdef bint unacknowledged


cdef class Database:
    cdef Executor executor
    cdef Namespace namespace
    cdef CodecContext context
    cdef readonly object client
    cdef readonly str name
    cdef readonly object codec_options
    cdef readonly object read_preference
    cdef readonly object write_concern
    cdef readonly object read_concern
    cdef bytes read_preference_element
    cdef bytes write_concern_element
    cdef bytes read_concern_element
    cdef bint unacknowledged
    cdef object __weakref__
