# Cursors: batches of documents, and getMore for the next one.
from libc.stdint cimport int64_t

from mongokey.commands.crud cimport Find
from mongokey.commands.cursor_state cimport CursorState


cdef class BatchCursor(CursorState):
    cdef object _collection
    cdef bytes read_preference              # the elements for commands, or None
    cdef bytes read_concern
    cdef object __weakref__

    cdef bint _fill(self) except -1
    cdef bint _get_more(self) except -1
    cdef bint _is_empty(self) noexcept
    cdef int _start(self) except -1
    cdef int _kill_now(self) except -1


cdef class Cursor(BatchCursor):
    cdef object _filter
    cdef object _projection
    cdef object _sort
    cdef object _hint
    cdef int64_t _skip
    cdef int64_t _batch_size
    cdef bint _single_batch
    cdef bint _empty                        # an empty slice: the server takes limit 0 for all
    cdef dict _options                      # further fields of `find`
    cdef Find _operation(self)


cdef class CommandCursor(BatchCursor):
    pass
