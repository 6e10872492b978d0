# cython: language_level=3, boundscheck=False, wraparound=False, nonecheck=True
"""The C cores of the blocking cursors: they have the operations of a cursor carried out, and hand
out its documents.

What a cursor is between its commands is `commands.cursor_state`'s, what it asks for
`commands.find_query`'s. `Cursor` and `CommandCursor` are Python classes on top.
"""

from types import GenericAlias

from mongokey.commands.command cimport CursorCommand
from mongokey.commands.crud cimport GetMore
from mongokey.commands.cursor_state cimport CursorState
from mongokey.commands.find_query cimport FindQuery
from mongokey.execution.cursors cimport CursorBatch, ServerCursor
from mongokey.execution.execution cimport Executor

from mongokey.commands import arguments
from mongokey.commands.housekeeping import close_cursor
from mongokey.errors import InvalidOperation


cdef class BatchCursor(CursorState):
    """What all cursors share: a `CursorState` whose operations are carried out, blocking."""

    cdef bint _is_empty(self) noexcept:
        """Whether there is nothing to ask the server for."""
        return False

    cdef int _start(self) except -1:
        """Send the command that opens the cursor."""
        self.started = True
        return 0

    cdef bint _fill(self) except -1:
        """Fetch until there is a document at hand; False when there are no more for now."""
        self.claim()
        try:
            if not self.started and not self.closed:
                if self._is_empty():
                    return False
                self._start()
                if self.index < self.size:
                    return True
            while self.server_cursor is not None and not self.closed:
                if self._get_more():
                    return True
                # A tailable cursor has nothing now, and may have something later.
                if self.tailable:
                    return False
            return False
        finally:
            self.fetching = False

    cdef bint _get_more(self) except -1:
        """Ask for the next batch, once; whether it has documents."""
        cdef GetMore operation = self.get_more()
        try:
            documents = self.executor.execute_for_cursor(operation, self.server_cursor)
        except BaseException as error:
            if self.failed(error):
                return False
            if self.server_cursor is not None and self.server_cursor.sent:
                self._kill_now()
            raise
        self.received(documents)
        return self.index < self.size

    cdef int _kill_now(self) except -1:
        """Close the cursor on the server now, if it has one."""
        cdef ServerCursor cursor
        if self.executor is not None:
            cursor = self.release()
            if cursor is not None:
                close_cursor(self.executor, cursor)
        return 0

    def __reduce_ex__(self, protocol):
        # A copy would share the cursor on the server.
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    @property
    def _owner(self):
        return self.owner

    @classmethod
    def __class_getitem__(cls, document_class):
        return GenericAlias(cls, document_class)

    def __iter__(self):
        return self

    def __next__(self):
        cdef object document
        if self.index >= self.size and not self._fill():
            raise StopIteration
        document = self.documents[self.index]
        self.documents[self.index] = None  # free it as soon as the caller does
        self.index += 1
        return document

    def next(self):
        """The next document. Raises StopIteration when there is none."""
        return self.__next__()

    def to_list(self, length=None):
        """The remaining documents (at most `length` of them) as a list."""
        cdef list result = [], documents
        cdef Py_ssize_t first, end
        if length is not None and length < 1:
            raise ValueError("to_list() length must be greater than 0")
        while self.index < self.size or self._fill():
            # Taken out of the cursor before anything else runs.
            documents = self.documents
            first, end = self.index, self.size
            if length is not None:
                end = min(end, first + <Py_ssize_t>length - len(result))
            if end < self.size:
                self.index = end
                result.extend(documents[first:end])
                documents[first:end] = [None] * (end - first)
                break
            self.documents = None
            self.index = self.size = 0
            if first == 0 and end == len(documents):
                if result:
                    result.extend(documents)
                else:
                    result = documents
            else:
                result.extend(documents[first:end])
            if length is not None and len(result) >= length:
                break
        return result

    def close(self):
        """Close the cursor. The server is told at once, and waited for 2 seconds at most; where no
        connection is free at the moment, it is told later, beside the program."""
        self.closed = True
        self.drop_batch()
        # A fetch that is on its way, in another thread, closes what it gets.
        if not self.fetching:
            self._kill_now()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    @property
    def alive(self):
        """Whether there may be more documents. True does not promise that there are."""
        if self.closed:
            return False
        return self.index < self.size or self.server_cursor is not None or not self.started

    @property
    def cursor_id(self):
        """The server's id of the cursor; 0 when it has none, None before the first fetch."""
        if not self.started:
            return None
        return self.server_cursor.id if self.server_cursor is not None else 0

    @property
    def address(self):
        """(host, port) of the server that was asked, or None before the first fetch."""
        return self.server.address if self.server is not None else None

    @property
    def session(self):
        """The explicit session of this cursor: always None in this version."""
        return None


cdef class BlockingCursor(BatchCursor):
    """The core of `Cursor`: it opens the cursor of a `FindQuery` once documents are asked for."""

    def __init__(
        self,
        collection,
        filter=None,
        projection=None,
        skip=0,
        limit=0,
        no_cursor_timeout=False,
        cursor_type=0,
        sort=None,
        allow_partial_results=False,
        oplog_replay=False,
        batch_size=0,
        collation=None,
        hint=None,
        max_scan=None,
        max_time_ms=None,
        max=None,
        min=None,
        return_key=None,
        show_record_id=None,
        snapshot=None,
        comment=None,
        session=None,
        allow_disk_use=None,
        let=None,
    ):
        cdef FindQuery query = FindQuery.__new__(FindQuery)
        query.set_up(
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
        )
        self.query = query
        self.tailable = query.tailable
        collection._bind(self)
        self.closed = False

    @property
    def _query(self):
        return self.query

    def _replace_query(self, FindQuery query not None):
        """Have another query, before this one was sent."""
        self._check_not_started()
        _old, self.query = self.query, query
        self.tailable = query.tailable

    def _check_not_started(self):
        if self.started or self.closed:
            raise InvalidOperation("cannot set options after executing query")

    cdef bint _is_empty(self) noexcept:
        return self.query is not None and self.query.empty

    cdef int _start(self) except -1:
        cdef CursorBatch batch
        if self.executor is None:
            raise InvalidOperation("this cursor was not made by find()")
        operation = self.query.operation(self.namespace, self.inherited)
        self.started = True
        batch = <CursorBatch?>self.executor.execute(operation)
        self.most = self.query.limit
        self.batch_limit = self.query.batch_size
        self.get_more_extras = self.query.extras_of_get_more()
        self.opened(batch)
        return 0

    def _rewind(self):
        """Start over."""
        if self.executor is None:
            raise InvalidOperation("this cursor was never given a collection")
        self.claim()
        try:
            self.drop_batch()
            self._kill_now()
            self.retrieved = 0
            self.started = self.closed = False
        finally:
            self.fetching = False


cdef class BlockingCommandCursor(BatchCursor):
    """The core of `CommandCursor`: a command has opened it, or its documents are all here."""

    cdef int begin(
        self, owner, Executor executor, CursorCommand command, CursorBatch batch
    ) except -1:
        self.owner = owner
        self.executor = executor
        self.namespace = command.namespace
        self.context = command.context
        self.started = True
        self.closed = False
        self.batch_limit = command.batch_size
        self.get_more_extras = command.get_more_extras
        return self.opened(batch)

    @classmethod
    def _open(cls, owner, Executor executor not None, CursorCommand command not None):
        """Have `executor` carry out `command`, and make the cursor of its reply."""
        cdef BlockingCommandCursor cursor = cls.__new__(cls)
        cursor.begin(owner, executor, command, <CursorBatch?>executor.execute(command))
        return cursor

    @classmethod
    def _of(cls, list documents not None):
        """A cursor over documents that are all here, such as those of `listDatabases`."""
        cdef BlockingCommandCursor cursor = cls.__new__(cls)
        cursor.started = True
        cursor.closed = False
        cursor._take(documents)
        return cursor

    def batch_size(self, batch_size):
        """Have the server send `batch_size` documents at a time from now on."""
        if not isinstance(batch_size, int):
            arguments.refuse_type("batch_size", "an integer", batch_size)
        if batch_size < 0:
            raise ValueError("batch_size must be >= 0")
        self.batch_limit = 2 if batch_size == 1 else batch_size
        return self

    def try_next(self):
        """The next document, or None if there is none after one more look."""
        if self.index >= self.size:
            if self.server_cursor is None or self.closed:
                return None
            self.claim()
            try:
                if not self._get_more():
                    return None
            finally:
                self.fetching = False
        return self.__next__()
