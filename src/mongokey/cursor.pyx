# cython: language_level=3, boundscheck=False, wraparound=False, nonecheck=True
"""Cursors, under PyMongo's names: `Cursor` of `find`, `CommandCursor` of aggregate and kin.

They know how a cursor is opened, continued and closed (find/getMore/killCursors
specification), and hand out documents. How a batch is fetched and decoded is `operations`'.
"""

from types import GenericAlias

from libc.stdint cimport int64_t

from mongokey.bson.codec cimport CodecContext
from mongokey.commands.command cimport Command
from mongokey.commands.crud cimport Find, GetMore
from mongokey.execution.operation cimport PendingCursor, Executor, Namespace, Operation

from mongokey.commands import arguments as arguments
from mongokey.errors import CursorNotFound, InvalidOperation, OperationFailure
from mongokey.commands.housekeeping import close_cursor


class CursorType:
    """What kind of cursor `find` opens."""

    NON_TAILABLE = 0
    TAILABLE = 2
    TAILABLE_AWAIT = 2 | 32
    EXHAUST = 64


# What a server says of a cursor that it has closed (src/mongo/base/error_codes.yml): there is
# nothing to kill. CursorNotFound, QueryPlanKilled, CursorKilled.
cdef frozenset CURSOR_IS_GONE = frozenset((43, 175, 237))


cdef class BatchCursor:
    """What all cursors share.

    One fetch at a time: while one is on its way (`fetching`), whoever else needs the next batch,
    another thread or a signal handler or destructor that runs meanwhile, is refused. Each method
    leaves all fields in agreement before it calls what may run other people's code.
    """

    cdef int _drop_batch(self) except -1:
        # Letting documents go may run destructors, which see a cursor without a batch: they go when
        # this returns, and not while the fields are being set.
        _documents, self.documents = self.documents, None
        self.index = self.size = 0
        return 0

    cdef int _take(self, list documents) except -1:
        """Make `documents` the batch at hand."""
        cdef Py_ssize_t size = len(documents)
        self._drop_batch()
        self.retrieved += size
        if self.most and self.retrieved >= self.most:
            size -= self.retrieved - self.most
        self.documents = documents
        self.size = max(size, 0)
        if self.closed or (self.most and self.retrieved >= self.most):
            self._abandon()
        if self.closed:  # while the batch was on its way
            self._drop_batch()
        return 0

    cdef bint _is_empty(self) noexcept:
        """Whether there is nothing to ask the server for."""
        return False

    cdef int _start(self) except -1:
        """Send the command that opens the cursor."""
        self.started = True
        return 0

    cdef bint _fill(self) except -1:
        """Fetch until there is a document at hand; False when there are no more for now."""
        self._claim()
        try:
            if not self.started and not self.closed:
                if self._is_empty():
                    return False
                self._start()
                if self.index < self.size:
                    return True
            while self.id != 0 and not self.closed:
                if self._get_more():
                    return True
                # A tailable cursor has nothing now, and may have something later.
                if self.tailable:
                    return False
            return False
        finally:
            self.fetching = False

    cdef int _claim(self) except -1:
        if self.fetching:
            raise InvalidOperation(
                "this cursor is fetching its next batch at this moment, in another thread or in "
                "the code that a signal handler or destructor interrupted: a cursor is for one "
                "user at a time"
            )
        self.fetching = True
        return 0

    cdef bint _get_more(self) except -1:
        """Ask for the next batch, once; whether it has documents."""
        cdef GetMore operation = GetMore.__new__(GetMore)
        operation.namespace = self.namespace
        operation.context = self.context
        operation.cursor_id = self.id
        operation.session = self.server_session
        operation.keeps_session = True
        operation.pool = self.pool
        operation.pinned = True
        operation.extras = self.get_more_extras
        operation.batch_size = self.batch_limit
        if self.most and (not self.batch_limit or self.batch_limit > self.most - self.retrieved):
            operation.batch_size = self.most - self.retrieved
        try:
            documents = self.executor.execute(operation)
        except BaseException as error:
            self.server_session = operation.session
            if not operation.sent:
                raise  # no connection was to be had: the cursor is where it was
            if operation.cursor_id == 0 or (
                isinstance(error, OperationFailure) and error.code in CURSOR_IS_GONE
            ):
                self._forget()
                if self.tailable and isinstance(error, CursorNotFound):
                    return False
            else:
                # What became of the batch is not known, so the cursor cannot go on.
                self._abandon()
            raise
        self.id = operation.cursor_id
        self.server_session = operation.session if self.id != 0 else None
        self._take(documents)
        return self.index < self.size

    cdef int _adopt(self, Operation operation) except -1:
        """Take over what the command has opened on the server."""
        self.id = operation.opened
        if self.id != 0:
            self.server_session = operation.session
            self.executor.expect_cursor()
        return 0

    cdef int _forget(self) except -1:
        """The server has no cursor any more: give back its session."""
        session, self.server_session = self.server_session, None
        self.id = 0
        if session is not None:
            self.executor.give_session(session)
        return 0

    cdef PendingCursor _release(self):
        """What is open on the server, no longer ours; None for nothing."""
        cdef int64_t id = self.id
        # A forked child leaves the parent its cursors.
        if id == 0 or self.forks != self.executor.forks:
            self._forget()
            return None
        session, self.server_session = self.server_session, None
        self.id = 0
        return PendingCursor(self.namespace, id, session, self.pool)

    cdef int _end(self) except -1:
        """Close the cursor on the server now, if it has one."""
        cdef PendingCursor cursor
        if self.executor is not None:
            cursor = self._release()
            if cursor is not None:
                close_cursor(self.executor, cursor)
        return 0

    cdef int _abandon(self) except -1:
        """Have the cursor closed on the server soon, if it has one; does no I/O."""
        cdef PendingCursor cursor
        if self.executor is not None:
            cursor = self._release()
            if cursor is not None:
                self.executor.abandon(cursor)
        return 0

    def __cinit__(self, *args, **kwargs):
        self.closed = True  # until there is a collection to read from

    def __del__(self):
        # A destructor may run anywhere, so it does no I/O.
        if self.id != 0:
            self._abandon()

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
        self._drop_batch()
        # A fetch that is on its way, in another thread, closes what it gets.
        if not self.fetching:
            self._end()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    @property
    def alive(self):
        """Whether there may be more documents. True does not promise that there are."""
        if self.closed:
            return False
        return self.index < self.size or self.id != 0 or not self.started

    @property
    def cursor_id(self):
        """The server's id of the cursor; 0 when it has none, None before the first fetch."""
        return self.id if self.started else None

    @property
    def address(self):
        """(host, port) of the server that was asked, or None before the first fetch."""
        return self.pool.address if self.pool is not None else None

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
        if self.executor is None:
            raise InvalidOperation("this cursor was not made by find()")
        operation = self._operation()
        self.started = True
        documents = self.executor.execute(operation)
        self.pool = operation.pool
        self.forks = self.executor.forks
        self._adopt(operation)
        self.batch_limit = self._batch_size
        if "comment" in self._options:
            self.get_more_extras = dict(
                self.get_more_extras or {}, comment=self._options["comment"]
            )
        self._take(documents)
        return 0

    def rewind(self):
        """Start over; returns self."""
        if self.executor is None:
            raise InvalidOperation("this cursor was never given a collection")
        self._claim()
        try:
            self._drop_batch()
            self._end()
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
        documents = executor.execute(command)
        cursor._collection = collection
        cursor.executor = executor
        cursor.namespace = namespace
        if command.opened_collection is not None:
            cursor.namespace = Namespace(namespace.database, command.opened_collection)
        cursor.context = context
        cursor.started = True
        cursor.closed = False
        cursor.pool = command.pool
        cursor.forks = executor.forks
        cursor.batch_limit = batch_size
        cursor.get_more_extras = get_more_extras
        cursor._adopt(command)
        cursor._take(documents)
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
            if self.id == 0 or self.closed:
                return None
            self._claim()
            try:
                if not self._get_more():
                    return None
            finally:
                self.fetching = False
        return self.__next__()
