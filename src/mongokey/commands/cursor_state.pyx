# cython: language_level=3, boundscheck=False, wraparound=False, nonecheck=True
"""What a cursor knows between its commands (find/getMore/killCursors specification).

It knows batches, limits, and what becomes of a cursor whose getMore fails. It does no I/O: it hands
out operations and takes in their results. It must not know how a cursor is opened or iterated.
"""

from libc.stdint cimport int64_t

from mongokey.commands.crud cimport GetMore
from mongokey.execution.cursors cimport CursorBatch, ServerCursor
from mongokey.execution.operation cimport AS_GIVEN

from mongokey.errors import InvalidOperation, OperationFailure

# What a server says of a cursor that it has closed (src/mongo/base/error_codes.yml): there is
# nothing to kill. CursorNotFound, QueryPlanKilled, CursorKilled; and of a tailable cursor whose
# place in a capped collection was overwritten: OperationFailed (old servers), CappedPositionLost.
cdef frozenset CURSOR_IS_GONE = frozenset((43, 96, 136, 175, 237))


cdef class CursorState:
    """The state of one cursor.

    One fetch at a time: while one is on its way (`fetching`), whoever else needs the next batch,
    another thread or task, or a signal handler or destructor that runs meanwhile, is refused. Each
    method leaves all fields in agreement before it calls what may run other people's code.
    """

    def __cinit__(self, *args, **kwargs):
        self.closed = True  # until there is something to read from

    def __del__(self):
        # A destructor may run anywhere, so it does no I/O.
        if self.server_cursor is not None or self.broken is not None:
            self.defer_kill()

    @property
    def _has_more(self):
        """Whether there is more to be fetched or decoded, besides the documents at hand."""
        return (self.encoded is not None or self.server_cursor is not None) and not self.closed

    @property
    def _buffered(self):
        """How many documents of the batch at hand are still to be handed out."""
        return self.size - self.index + (0 if self.encoded is None else self.to_decode)

    def _take_batch(self):
        """The documents of the batch at hand, a list; they are no longer the cursor's."""
        cdef list documents = self.documents
        cdef Py_ssize_t first = self.index, end = self.size
        self.documents = None
        self.index = self.size = 0
        return [] if documents is None else documents[first:end]

    def _give_up(self):
        """Let the batch go, and have the cursor killed if the server has it still; does no I/O."""
        self.drop_batch()
        self.defer_kill()

    cdef int claim(self) except -1:
        if self.fetching:
            raise InvalidOperation(
                "this cursor is fetching its next batch at this moment, in another thread or task "
                "or in the code that a signal handler or destructor interrupted: a cursor is for "
                "one user at a time"
            )
        self.fetching = True
        return 0

    cdef GetMore get_more(self):
        cdef GetMore operation = GetMore.__new__(GetMore)
        cdef int64_t left
        operation.namespace = self.namespace
        operation.context = self.context
        operation.cursor_id = self.server_cursor.id
        operation.extras = self.get_more_extras
        operation.max_time = AS_GIVEN
        operation.raw = self.raw
        operation.exhaust = self.server_cursor.exhaust
        operation.batch_size = self.batch_limit
        if self.most:
            left = self.most - self.retrieved
            if not self.batch_limit or self.batch_limit > left:
                operation.batch_size = left
        return operation

    cdef int opened(self, CursorBatch batch) except -1:
        cdef EncodedBatch encoded
        self.server = batch.server
        self.server_cursor = batch.cursor
        if batch.cursor is not None:
            self.namespace = batch.cursor.namespace
        if type(batch.encoded) is RawBatch:
            return self._take_raw(<RawBatch>batch.encoded)
        encoded = batch.encoded
        return self._take(batch.documents, encoded)

    cdef int received(self, object documents) except -1:
        if self.server_cursor is not None and self.server_cursor.id == 0:
            self.server_cursor = None
        if type(documents) is EncodedBatch:
            return self._take([], <EncodedBatch>documents)
        if type(documents) is RawBatch:
            return self._take_raw(<RawBatch>documents)
        return self._take(<list?>documents, None)

    cdef int decode_part(self) except -1:
        cdef EncodedBatch encoded = self.encoded
        cdef list documents
        if encoded is None:
            return 0
        try:
            documents = encoded.next_part()
        except BaseException:
            # What comes after it cannot be told from what is missing.
            self.encoded = None
            self.defer_kill()
            raise
        if self.encoded is not encoded:
            return 0  # closed by a type decoder
        self.documents, self.index = documents, 0
        self.size = min(len(documents), self.to_decode)
        self.to_decode -= self.size
        if self.to_decode == 0 or not encoded.parts:
            self.encoded = None
        return 0

    cdef bint failed(self, object error) except -1:
        cdef ServerCursor cursor = self.server_cursor
        if cursor is None or not cursor.sent:
            return False  # no connection was to be had: the cursor is where it was
        if cursor.id == 0 or (isinstance(error, OperationFailure) and error.code in CURSOR_IS_GONE):
            self._forget()
            # A tailable cursor may be gone since its collection is empty, or since all that it
            # was to give next was overwritten: that is its end.
            return self.tailable and isinstance(error, OperationFailure)
        # What became of the batch is not known, so the cursor cannot go on.
        if cursor.pinned:
            # load-balancers: it keeps its connection until it is closed.
            self.server_cursor, self.broken = None, cursor
        elif isinstance(error, OperationFailure):
            pass  # a server that has answered is told at once, by the caller
        elif self.executor.timed and getattr(error, "timeout", False):
            # client-side-operations-timeout: by `close`, which has the time once more.
            self.server_cursor, self.broken = None, cursor
        else:
            self.defer_kill()
        return False

    cdef int drop_batch(self) except -1:
        # Letting documents go may run destructors, which see a cursor without a batch: they go when
        # this returns, and not while the fields are being set.
        _documents, self.documents = self.documents, None
        self.index = self.size = 0
        self.encoded = None
        return 0

    cdef int _take(self, list documents, EncodedBatch encoded) except -1:
        """Make `documents`, and after them what is `encoded`, the batch at hand."""
        cdef Py_ssize_t size = len(documents)
        self.drop_batch()
        if encoded is not None:
            size += encoded.count
        self.retrieved += size
        if self.most and self.retrieved >= self.most:
            size -= self.retrieved - self.most
        size = max(size, 0)
        self.documents = documents
        if encoded is None:
            self.size = size
        else:
            self.size = min(size, len(documents))
            self.to_decode = size - self.size
            if self.to_decode:
                self.encoded = encoded
        return self._taken()

    cdef int _take_raw(self, RawBatch batch) except -1:
        """Make the bytes of a batch the one thing at hand; those of an empty one are none."""
        self.drop_batch()
        self.retrieved += batch.count
        if batch.count:
            self.documents, self.size = [batch.data], 1
        return self._taken()

    cdef int _taken(self) except -1:
        if self.closed or (self.most and self.retrieved >= self.most):
            self.defer_kill()
        if self.closed:  # while the batch was on its way
            self.drop_batch()
        return 0

    cdef int _forget(self) except -1:
        """The server has no cursor any more, or it is the parent's: give back its session."""
        cdef ServerCursor cursor = self.server_cursor
        self.server_cursor = None
        if cursor is not None:
            session, cursor.session = cursor.session, None
            if session is not None:
                self.executor.sessions.give_back(session)
            cursor.unpin()
        return 0

    cdef ServerCursor release(self):
        cdef ServerCursor cursor = self.server_cursor
        if cursor is None:
            cursor, self.broken = self.broken, None
            if cursor is None:
                return None
            self.server_cursor = cursor
        # A forked child leaves the parent its cursors.
        if cursor.id == 0 or cursor.forks != self.executor.sessions.forks:
            self._forget()
            return None
        self.server_cursor = None
        return cursor

    cdef int defer_kill(self) except -1:
        cdef ServerCursor cursor
        if self.executor is not None:
            cursor = self.release()
            if cursor is not None:
                self.executor.pending.defer(cursor)
        return 0
