# The C cores of the blocking cursors.
from mongokey.commands.command cimport CursorCommand
from mongokey.commands.cursor_state cimport CursorState
from mongokey.commands.find_query cimport FindQuery
from mongokey.commands.inherited_options cimport InheritedOptions
from mongokey.execution.cursors cimport CursorBatch
from mongokey.execution.execution cimport Executor


cdef class BatchCursor(CursorState):
    cdef object owner                       # the object that is read, kept alive with its client

    cdef bint _fill(self) except -1
    cdef bint _get_more(self) except -1
    cdef bint _is_empty(self) noexcept
    cdef int _start(self) except -1
    cdef int _kill_now(self) except -1


cdef class BlockingCursor(BatchCursor):
    cdef FindQuery query
    cdef InheritedOptions inherited         # the collection's


cdef class BlockingCommandCursor(BatchCursor):
    # The command has opened the cursor whose first batch is `batch`.
    cdef int begin(
        self, object owner, Executor executor, CursorCommand command, CursorBatch batch
    ) except -1
