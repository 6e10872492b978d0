# The C cores of cursors. What a cursor is between its commands, `CursorState` knows; a core has its
# operations carried out and hands out its documents.
from mongokey.commands.crud cimport Find
from mongokey.commands.cursor_state cimport CursorState
from mongokey.commands.find_query cimport FindQuery
from mongokey.commands.inherited_options cimport InheritedOptions
from mongokey.execution.cursors cimport ServerCursor
from mongokey.execution.operation cimport Operation


cdef class CursorCore(CursorState):
    cdef object owner                       # the object that is read, kept alive with its client
    cdef FindQuery query                    # None: a command has opened the cursor
    cdef InheritedOptions inherited         # the collection's, for `query`
    cdef object explicit                    # the session of its commands, or None: implicit ones
    cdef object timeout_mode                # what the user says timeoutMS is for, or None
    cdef bint by_iteration                  # each fetch has the whole timeoutMS
    cdef bint endless                       # a command has opened it, and more may come any time

    # What is to be carried out for the next document: None if there is one at hand, or if there
    # are no more for now.
    cdef Operation next_operation(self)
    # Its result, or an awaitable of that, whichever the executor gives.
    cdef object carry_out(self, Operation operation)
    # Take in that result; whether the fetch is over.
    cdef bint take_in(self, object result) except -1
    # After an operation that failed: what it leaves on the server, to be killed now. Or None.
    cdef ServerCursor to_be_killed(self)
    # The next document of the batch at hand, which has one.
    cdef object take_document(self)
    # `result` and the documents at hand, so many that it has `length` (None: all).
    cdef list drain(self, list result, object length)
    # The end of its fetches; what is to be closed on the server, or None.
    cdef ServerCursor end(self)
    cdef int start_over(self) except -1
    # Before its first command is carried out: what timeoutMS, if there is one, is for.
    cdef int limit_time(self, Find operation) except -1


cdef class BlockingCursorCore(CursorCore):
    # Fetch until there is a document at hand, or with `once` a single batch; False when there are
    # no more for now.
    cdef bint fill(self, bint once=*) except -1
    cdef bint fetch(self, bint once) except -1
    cdef int kill(self, ServerCursor cursor) except -1


cdef class AwaitableCursorCore(CursorCore):
    pass
