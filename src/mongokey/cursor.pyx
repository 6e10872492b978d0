# cython: language_level=3, boundscheck=False, wraparound=False, nonecheck=True
"""Cursors, under PyMongo's names: `Cursor` of `find`, `CommandCursor` of aggregate and kin.

They know how a cursor is opened and closed (find/getMore/killCursors specification), have its
operations carried out, and hand out documents. What a cursor is between its commands is
`commands.cursor_state`'s, how a batch is decoded `commands.crud`'s.
"""

from types import GenericAlias

from libc.stdint cimport int64_t

from mongokey.bson.codec cimport CodecContext
from mongokey.commands.command cimport Command
from mongokey.commands.crud cimport Find, GetMore
from mongokey.execution.cursors cimport CursorBatch, ServerCursor
from mongokey.execution.execution cimport Executor
from mongokey.execution.operation cimport Namespace

from mongokey.commands import arguments as arguments
from mongokey.commands.housekeeping import close_cursor
from mongokey.errors import InvalidOperation


class CursorType:
    """What kind of cursor `find` opens."""

    NON_TAILABLE = 0
    TAILABLE = 2
    TAILABLE_AWAIT = 2 | 32
    EXHAUST = 64


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


cdef class Cursor(BatchCursor):
    """An iterator over the documents that a `find` matches; made by `Collection.find`."""

    def __init__(
        self,
        collection,
        filter=None,
        projection=None,
        skip=0,
        limit=0,
        no_cursor_timeout=False,
        cursor_type=CursorType.NON_TAILABLE,
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
        if filter is not None:
            arguments.check_mapping("filter", filter)
        arguments.refuse_session(session)
        if cursor_type not in (0, 2, 34, 64):
            raise ValueError("not a valid value for cursor_type")
        if max_scan is not None or snapshot:
            raise ValueError("max_scan and snapshot were removed in MongoDB 4.0")
        self._options = {}
        self._filter = filter
        self._projection = arguments.projection_document(projection)
        self.tailable = cursor_type in (2, 34)
        if self.tailable:
            self._options["tailable"] = True
            if cursor_type == 34:
                self._options["awaitData"] = True
        for name, value in (
            ("noCursorTimeout", no_cursor_timeout),
            ("allowPartialResults", allow_partial_results),
            ("oplogReplay", oplog_replay),
        ):
            if value:
                self._options[name] = True
        for name, value in (
            ("returnKey", return_key),
            ("showRecordId", show_record_id),
            ("comment", comment),
            ("allowDiskUse", allow_disk_use),
            ("let", let),
        ):
            if value is not None:
                self._options[name] = value
        self.closed = False
        collection._bind(self)
        self.skip(skip)
        self.limit(limit)
        self.batch_size(batch_size)
        if sort is not None:
            self.sort(sort)
        if hint is not None:
            self.hint(hint)
        if collation is not None:
            self.collation(collation)
        if max_time_ms is not None:
            self.max_time_ms(max_time_ms)
        if max is not None:
            self.max(max)
        if min is not None:
            self.min(min)

    @property
    def collection(self):
        """The `Collection` this cursor reads from."""
        return self._collection

    def _check_not_started(self):
        if self.started or self.closed:
            raise InvalidOperation("cannot set options after executing query")

    def limit(self, limit):
        """Return at most `limit` documents; 0 means all, a negative one a single batch."""
        self._check_not_started()
        if not isinstance(limit, int):
            arguments.refuse_type("limit", "an integer", limit)
        self._single_batch = limit < 0
        self._empty = False
        self.most = -limit if limit < 0 else limit
        return self

    def skip(self, skip):
        """Leave out the first `skip` documents."""
        if not isinstance(skip, int):
            arguments.refuse_type("skip", "an integer", skip)
        if skip < 0:
            raise ValueError("skip must be >= 0")
        self._check_not_started()
        self._skip = skip
        return self

    def batch_size(self, batch_size):
        """Have the server send `batch_size` documents at a time; 0 leaves it to the server."""
        if not isinstance(batch_size, int):
            arguments.refuse_type("batch_size", "an integer", batch_size)
        if batch_size < 0:
            raise ValueError("batch_size must be >= 0")
        self._check_not_started()
        self._batch_size = batch_size
        return self

    def sort(self, key_or_list, direction=None):
        """Sort by a key and a direction, or a list of both."""
        self._check_not_started()
        sort = arguments.index_document(arguments.index_pairs(key_or_list, direction))
        # The old one goes when this returns: its destructors see the new one.
        _old, self._sort = self._sort, sort
        return self

    def hint(self, index):
        """Have the server use an index, by its name or its keys; None takes a hint back."""
        self._check_not_started()
        hint = arguments.hint_value(index)
        _old, self._hint = self._hint, hint
        return self

    def comment(self, comment):
        """A comment that the server's logs and profiles show."""
        return self._set("comment", comment)

    def collation(self, collation):
        """Compare strings by `collation`."""
        return self._set("collation", arguments.collation_document(collation))

    def max_time_ms(self, max_time_ms):
        """Have the server give up after so many milliseconds; None: never."""
        if max_time_ms is not None and not isinstance(max_time_ms, int):
            arguments.refuse_type("max_time_ms", "an integer or None", max_time_ms)
        return self._set("maxTimeMS", max_time_ms)

    def max_await_time_ms(self, max_await_time_ms):
        """How long a getMore of a tailable-await cursor waits for documents, in ms."""
        if max_await_time_ms is not None and not isinstance(max_await_time_ms, int):
            arguments.refuse_type("max_await_time_ms", "an integer or None", max_await_time_ms)
        self._check_not_started()
        if self.tailable and "awaitData" in self._options and max_await_time_ms is not None:
            self.get_more_extras = {"maxTimeMS": max_await_time_ms}
        return self

    def allow_disk_use(self, allow_disk_use):
        """Whether the server may sort on disk."""
        if not isinstance(allow_disk_use, bool):
            arguments.refuse_type("allow_disk_use", "a bool", allow_disk_use)
        return self._set("allowDiskUse", allow_disk_use)

    def min(self, spec):
        """The lowest keys of the index to look at; needs a hint."""
        return self._set("min", arguments.index_document(arguments.index_pairs(spec)))

    def max(self, spec):
        """The keys of the index to stop before; needs a hint."""
        return self._set("max", arguments.index_document(arguments.index_pairs(spec)))

    def where(self, code):
        """Match with a JavaScript expression (``$where``)."""
        from mongokey.bson.code import Code

        self._check_not_started()
        filter = dict(self._filter or {})
        filter["$where"] = code if isinstance(code, Code) else Code(code)
        _old, self._filter = self._filter, filter
        return self

    def _set(self, name, value):
        self._check_not_started()
        if value is None:
            self._options.pop(name, None)
        else:
            self._options[name] = value
        return self

    def _spec(self):
        """Filter, projection, sort and the other fields, for `explain` and `clone`."""
        document = {"filter": self._filter or {}}
        for name, value in (
            ("projection", self._projection),
            ("sort", self._sort),
            ("skip", self._skip),
            ("limit", self.most),
            ("batchSize", self._batch_size),
            ("singleBatch", self._single_batch),
            ("hint", self._hint),
        ):
            if value:
                document[name] = value
        document.update(self._options)
        return document

    cdef Find _operation(self):
        cdef Find operation = Find.__new__(Find)
        operation.namespace = self.namespace
        operation.context = self.context
        operation.filter = self._filter
        operation.projection = self._projection
        operation.sort = self._sort
        operation.skip = self._skip
        operation.limit = self.most
        operation.single_batch = self._single_batch
        operation.batch_size = self._batch_size
        if self._batch_size == 1 and self.most != 1 and not self._single_batch:
            # Old servers take 1 to mean a single batch; PyMongo asks for 2 as well.
            operation.batch_size = 2
        if self.most and operation.batch_size == self.most and not self._single_batch:
            # A server that stops at the end of the batch does not see that it was the last, and
            # would leave the cursor open: with one more to look for, it meets the limit.
            operation.batch_size += 1
        extras = dict(self._options) if self._options else {}
        if self._hint is not None:
            extras["hint"] = self._hint
        operation.extras = extras or None
        operation.retryable_read = True
        operation.read_preference = self.read_preference
        operation.read_concern = self.read_concern
        return operation

    cdef bint _is_empty(self) noexcept:
        return self._empty

    cdef int _start(self) except -1:
        cdef Find operation
        cdef CursorBatch batch
        if self.executor is None:
            raise InvalidOperation("this cursor was not made by find()")
        operation = self._operation()
        self.started = True
        batch = <CursorBatch?>self.executor.execute(operation)
        self.batch_limit = self._batch_size
        if "comment" in self._options:
            self.get_more_extras = dict(
                self.get_more_extras or {}, comment=self._options["comment"]
            )
        self.opened(batch)
        return 0

    def rewind(self):
        """Start over; returns self."""
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
        return self

    def clone(self):
        """A cursor of the same query that has not been started."""
        cdef Cursor copy = type(self)(self._collection)
        copy._filter = self._filter
        copy._projection = self._projection
        copy._sort = self._sort
        copy._hint = self._hint
        copy._skip = self._skip
        copy._batch_size = self._batch_size
        copy._single_batch = self._single_batch
        copy._empty = self._empty
        copy.most = self.most
        copy.tailable = self.tailable
        copy._options = dict(self._options)
        copy.get_more_extras = self.get_more_extras
        return copy

    def __copy__(self):
        return self.clone()

    def __deepcopy__(self, memo):
        from copy import deepcopy

        cdef Cursor copy = self.clone()
        copy._filter = deepcopy(self._filter, memo)
        copy._options = deepcopy(self._options, memo)
        return copy

    def distinct(self, key):
        """The distinct values of `key` among the documents the query matches."""
        options = {
            name: self._options[name]
            for name in ("comment", "collation", "maxTimeMS")
            if name in self._options
        }
        return self._collection.distinct(key, self._filter, **options)

    def explain(self):
        """The server's plan for the query, a dict."""
        name = self._collection.name
        return self._collection.database.command(
            {"explain": {"find": name, **self._spec()}, "verbosity": "allPlansExecution"}
        )

    def __getitem__(self, index):
        """One document by its position, or, with a slice, this cursor with skip and limit."""
        self._check_not_started()
        if isinstance(index, slice):
            if index.step is not None:
                raise IndexError("Cursor instances do not support slice steps")
            start = index.start or 0
            if start < 0:
                raise IndexError("Cursor instances do not support negative indices")
            limit = 0
            if index.stop is not None:
                limit = index.stop - start
                if limit < 0:
                    raise IndexError(
                        f"stop index must be greater than start index for slice {index!r}"
                    )
            self.skip(start).limit(limit)
            self._empty = index.stop is not None and limit == 0
            return self
        if isinstance(index, int):
            if index < 0:
                raise IndexError("Cursor instances do not support negative indices")
            clone = self.clone()
            clone.skip(index + self._skip)
            clone.limit(-1)
            for document in clone:
                return document
            raise IndexError("no such item for Cursor instance")
        raise TypeError(f"index {index!r} cannot be applied to Cursor instances")


cdef class CommandCursor(BatchCursor):
    """An iterator over the documents of a command's cursor; made by `aggregate` and kin."""

    @staticmethod
    def _open(
        collection,
        Executor executor not None,
        Namespace namespace not None,
        CodecContext context not None,
        Command command not None,
        int64_t batch_size=0,
        dict get_more_extras=None,
    ):
        """Run `command` and make the cursor of its reply."""
        cdef CommandCursor cursor = CommandCursor.__new__(CommandCursor)
        cdef CursorBatch batch = <CursorBatch?>executor.execute(command)
        cursor._collection = collection
        cursor.executor = executor
        cursor.namespace = namespace
        cursor.context = context
        cursor.started = True
        cursor.closed = False
        cursor.batch_limit = batch_size
        cursor.get_more_extras = get_more_extras
        cursor.opened(batch)
        return cursor

    @staticmethod
    def _of(list documents not None):
        """A cursor over documents that are all here, such as those of `listDatabases`."""
        cdef CommandCursor cursor = CommandCursor.__new__(CommandCursor)
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
