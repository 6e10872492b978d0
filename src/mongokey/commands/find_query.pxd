# What a `find` asks for. A cursor of it can be made again and again.
from libc.stdint cimport int64_t

from mongokey.commands.crud cimport Find
from mongokey.commands.inherited_options cimport InheritedOptions
from mongokey.execution.operation cimport Namespace


cdef class FindQuery:
    cdef readonly object filter
    cdef object projection
    cdef object sort
    cdef object hint
    cdef readonly int64_t skip
    cdef readonly int64_t limit             # documents altogether; 0: all
    cdef int64_t batch_size                 # 0: the server's choice
    cdef bint single_batch
    cdef readonly bint empty                # an empty slice: the server takes limit 0 for all
    cdef bint tailable
    cdef bint exhaust                       # the server is to send one batch after the other
    cdef readonly dict options              # further fields of `find`
    cdef dict get_more_extras               # further fields of the getMores, or None
    cdef readonly object session            # what the caller wants it carried out in, or None

    cdef int set_up(
        self,
        filter,
        projection,
        skip,
        limit,
        no_cursor_timeout,
        cursor_type,
        sort,
        allow_partial_results,
        oplog_replay,
        batch_size,
        collation,
        hint,
        max_scan,
        max_time_ms,
        max,
        min,
        return_key,
        show_record_id,
        snapshot,
        comment,
        session,
        allow_disk_use,
        let,
    ) except -1
    cdef Find operation(self, Namespace namespace, InheritedOptions options)
    cdef Find first(self, Namespace namespace, InheritedOptions options)
    cdef dict extras_of_get_more(self)
    cpdef int set_limit(self, limit) except -1
    cpdef int set_skip(self, skip) except -1
    cpdef int set_batch_size(self, batch_size) except -1
    cpdef int set_sort(self, key_or_list, direction) except -1
    cpdef int set_hint(self, index) except -1
    cpdef int set_option(self, str name, value) except -1
