# cython: embedsignature=True, embedsignature.format=clinic
# cython: language_level=3, boundscheck=False, wraparound=False, nonecheck=True
"""The C cores of cursors: they have the operations of a cursor carried out, and hand out its
documents.

What a cursor is between its commands is `commands.cursor_state`'s, what it asks for
`commands.find_query`'s. `Cursor`, `CommandCursor` and their asyncio counterparts are Python classes
on top. What is done for each document stands here, for both faces.
"""

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from types import AsyncGeneratorType, GenericAlias

from mongokey.commands.command cimport CursorCommand
from mongokey.commands.crud cimport Find
from mongokey.commands.cursor_state cimport CursorState
from mongokey.commands.find_query cimport FindQuery
from mongokey.execution.cursors cimport CursorBatch, ServerCursor
from mongokey.execution.execution cimport Executor, bound_sessions
from mongokey.execution.operation cimport NO_MAX_TIME, Operation

from mongokey.commands import arguments
from mongokey.commands.housekeeping import close_cursor
from mongokey.errors import InvalidOperation
from mongokey.execution.time_limits import (
    check_await_time,
    is_by_iteration,
    limited,
    one_deadline,
)
from mongokey.faces.sessions import options_in, session_for

cdef extern from *:
    """
    /* By am_send an awaitable returns its result without an exception. Cython cannot define it. */
    static void mk_give_am_send(PyTypeObject *type, sendfunc function) {
        type->tp_as_async->am_send = function;
        PyType_Modified(type);
    }

    /* Show a slot of a class as Python shows those of its own classes, as a slot wrapper: then
       subclasses written in Python take the C function over as it is. Of what Cython shows, a
       builtin method, they would look the name up for each document. */
    static int mk_show_slot(PyTypeObject *type, const char *name, PyObject *model, void *function) {
        PyObject *shown;
        int status;
        if (!PyObject_TypeCheck(model, &PyWrapperDescr_Type) || function == NULL) {
            PyErr_Format(PyExc_SystemError, "%s of %s is no slot", name, type->tp_name);
            return -1;
        }
        shown = PyDescr_NewWrapper(type, ((PyWrapperDescrObject *)model)->d_base, function);
        if (shown == NULL) return -1;
        status = PyDict_SetItemString(type->tp_dict, name, shown);
        Py_DECREF(shown);
        PyType_Modified(type);
        return status;
    }
    static int mk_show_next(PyTypeObject *type, PyObject *model) {
        return mk_show_slot(type, "__next__", model, (void *)type->tp_iternext);
    }
    static int mk_show_anext(PyTypeObject *type, PyObject *model) {
        return mk_show_slot(type, "__anext__", model, (void *)type->tp_as_async->am_anext);
    }
    """
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    ctypedef PySendResult (*sendfunc)(object, object, PyObject **) except PYGEN_ERROR
    PySendResult PyIter_Send(object iterator, object value, PyObject **result) except PYGEN_ERROR
    void mk_give_am_send(type made, sendfunc function)
    int mk_show_next(type made, object model) except -1
    int mk_show_anext(type made, object model) except -1


cdef int check_length(object length) except -1:
    if length is None:
        return 0
    if not isinstance(length, int):
        arguments.refuse_type("the length of to_list()", "an integer or None", length)
    if length < 1:
        raise ValueError("to_list() length must be greater than 0")
    return 0


cdef class CursorCore(CursorState):
    """What the cursors of both faces share: a `CursorState` whose first operation is a find, or
    whose first batch a command has brought. It hands out operations and does no I/O."""

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
        *,
        timeout_ms=None,
        timeout_mode=None,
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
        if timeout_ms is not None:
            self.executor = limited(self.executor, timeout_ms, of_call=True)
        if timeout_mode is not None:
            is_by_iteration(self.executor, timeout_mode, endless=self.tailable)
            self.timeout_mode = timeout_mode
        self.closed = False

    def __reduce_ex__(self, protocol):
        # A copy would share the cursor on the server.
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    @classmethod
    def __class_getitem__(cls, document_class):
        return GenericAlias(cls, document_class)

    def _in_raw_batches(self):
        """Have it hand out batches as they are, in BSON."""
        self.raw = True

    # -- made by a command ----------------------------------------------------------------------

    @classmethod
    def _opened(
        cls, owner, Executor executor not None, CursorCommand command not None, batch, session=None
    ):
        """The cursor that `command` has opened, in `session`; its first batch is `batch`."""
        cdef CursorCore cursor
        if command.raw:
            cls = cls._raw_class
        cursor = cls.__new__(cls)
        cursor.raw = command.raw
        cursor.owner = owner
        cursor.executor = executor
        cursor.namespace = command.namespace
        cursor.context = command.context
        cursor.started = True
        cursor.closed = False
        cursor.explicit = session
        cursor.batch_limit = command.batch_size
        cursor.get_more_extras = command.get_more_extras
        cursor.by_iteration = command.tailable
        cursor.endless = command.is_endless()
        cursor.opened(<CursorBatch?>batch)
        return cursor

    @classmethod
    def _of(cls, list documents not None):
        """A cursor over documents that are all here, such as those of `listDatabases`."""
        cdef CursorCore cursor = cls.__new__(cls)
        cursor.started = True
        cursor.closed = False
        cursor._take(documents, None)
        return cursor

    def _set_batch_size(self, batch_size):
        if not isinstance(batch_size, int):
            arguments.refuse_type("batch_size", "an integer", batch_size)
        if batch_size < 0:
            raise ValueError("batch_size must be >= 0")
        self.batch_limit = 2 if batch_size == 1 else arguments.as_int64("batch_size", batch_size)

    # -- fetching -------------------------------------------------------------------------------

    cdef Operation next_operation(self):
        cdef Find operation
        if self.index < self.size or self.encoded is not None or self.closed:
            return None
        if self.started:
            return None if self.server_cursor is None else self.get_more()
        if self.query is None or self.query.empty:
            return None
        if self.executor is None:
            raise InvalidOperation("this cursor was not made by find()")
        self.explicit = self.query.session
        if self.explicit is not None or bound_sessions:
            self.explicit = session_for(self.explicit, self.executor)
            operation = self.query.operation(
                self.namespace, options_in(self.explicit, self.inherited)
            )
        else:
            operation = self.query.operation(self.namespace, self.inherited)
        operation.raw = self.raw
        if self.timeout_mode is not None or self.executor.origin is not None:
            self.limit_time(operation)
        self.started = True
        return operation

    cdef int limit_time(self, Find operation) except -1:
        cdef dict extras = self.query.get_more_extras
        self.by_iteration = is_by_iteration(
            self.executor, self.timeout_mode, endless=self.tailable
        )
        if self.by_iteration and not self.tailable:
            # "Non-tailable Cursors": not capped by the server either.
            operation.tailable = True
            operation.max_time = NO_MAX_TIME
        if extras is not None and self.tailable:
            check_await_time(self.executor, extras.get("maxTimeMS"))
        return 0

    cdef object carry_out(self, Operation operation):
        if self.server_cursor is None:
            if self.explicit is not None:
                return self.executor.execute_in(operation, self.explicit)
            return self.executor.execute(operation)
        return self.executor.execute_for_cursor(operation, self.server_cursor)

    cdef bint take_in(self, object result) except -1:
        if isinstance(result, CursorBatch):
            self.most = self.query.limit
            self.batch_limit = self.query.batch_size
            self.get_more_extras = self.query.extras_of_get_more()
            self.opened(<CursorBatch>result)
            return self.index < self.size
        self.received(result)
        # A tailable cursor has nothing now, and may have something later.
        return self.tailable or self.index < self.size

    cdef ServerCursor to_be_killed(self):
        if self.server_cursor is not None and self.server_cursor.sent:
            return self.release()
        return None

    cdef object take_document(self):
        cdef object document = self.documents[self.index]
        self.documents[self.index] = None  # free it as soon as the caller does
        self.index += 1
        return document

    cdef list drain(self, list result, object length):
        cdef list documents = self.documents
        cdef Py_ssize_t first = self.index, end = self.size
        # Taken out of the cursor before anything else runs.
        # Compared before it becomes a C number: it may be any integer.
        if length is not None and length - len(result) < end - first:
            end = first + <Py_ssize_t>(length - len(result))
        if end < self.size:
            self.index = end
            result.extend(documents[first:end])
            documents[first:end] = [None] * (end - first)
            return result
        self.documents = None
        self.index = self.size = 0
        if first != 0 or end != len(documents):
            documents = documents[first:end]
        if not result:
            return documents
        result.extend(documents)
        return result

    cdef ServerCursor end(self):
        # What is at hand can still be taken, as in PyMongo.
        self.closed = True
        # A fetch that is on its way, in another thread or task, closes what it gets.
        if self.fetching or self.executor is None:
            return None
        return self.release()

    cdef int start_over(self) except -1:
        self.retrieved = 0
        self.started = self.closed = False
        return 0

    # -- what it is -----------------------------------------------------------------------------

    @property
    def _owner(self):
        return self.owner

    @property
    def _executor(self):
        return self.executor

    @property
    def _query(self):
        return self.query

    def _replace_query(self, FindQuery query not None):
        """Have another query, before this one was sent."""
        self._check_not_started()
        _old, self.query = self.query, query
        self.tailable = query.tailable

    def _limit_as(self, CursorCore other not None):
        """Have the timeoutMS of another cursor of the same collection, before it is started."""
        self.executor = other.executor
        self.timeout_mode = other.timeout_mode

    def _check_not_started(self):
        if self.started or self.closed:
            raise InvalidOperation("cannot set options after executing query")

    @property
    def alive(self):
        """Whether there may be more documents. True does not promise that there are."""
        if self.index < self.size or self.encoded is not None:
            return True
        return not self.closed and (self.server_cursor is not None or not self.started)

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
        """The session that it was given or that was bound at its first fetch, or None."""
        if self.explicit is None and self.query is not None:
            return self.query.session
        return self.explicit


cdef class BlockingCursorCore(CursorCore):
    """The core of `Cursor` and `CommandCursor`: it waits for what it has carried out."""

    cdef bint fill(self, bint once=False) except -1:
        if not self.by_iteration:
            return self.fetch(once)
        # However many getMores it takes.
        with one_deadline(self.executor):
            return self.fetch(once)

    cdef bint fetch(self, bint once) except -1:
        cdef Operation operation
        self.claim()
        try:
            while True:
                operation = self.next_operation()
                if operation is None:
                    break
                try:
                    result = self.carry_out(operation)
                except BaseException as error:
                    if self.failed(error):
                        break
                    self.kill(self.to_be_killed())
                    raise
                if self.take_in(result) or once:
                    break
            return self.index < self.size
        finally:
            self.fetching = False

    cdef int kill(self, ServerCursor cursor) except -1:
        if cursor is not None:
            close_cursor(self.executor, cursor)
        return 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.index >= self.size and not self.fill():
            raise StopIteration
        return self.take_document()

    def next(self):
        """The next document. Raises StopIteration when there is none."""
        return self.__next__()

    def _try_next(self):
        """The next document, or None if there is none after one more look."""
        if self.index >= self.size and not self.fill(once=True):
            return None
        return self.__next__()

    def _document_at(self, cursor, index):
        """A document of a cursor, whose core this is, by its position."""
        for document in cursor._at(index):
            return document
        raise IndexError("no such item for Cursor instance")

    # -- PyMongo's names for its insides, which Motor and others build upon --------------------

    @property
    def _data(self):
        """The batch at hand: `len()` and `popleft()` of it."""
        from mongokey.faces.batch_at_hand import BatchAtHand

        return BatchAtHand(self)

    @property
    def _collection(self):
        """What it reads from: the collection, or the database whose command it was."""
        return self._owner

    @property
    def _killed(self):
        """Whether no batch can follow the one at hand."""
        return self.closed or (self.started and self.server_cursor is None)

    def _refresh(self):
        """One more batch, where none is at hand; returns how many documents are."""
        if self._buffered == 0:
            self.fill(once=True)
        return self._buffered

    def to_list(self, length=None):
        """The remaining documents (at most `length` of them) as a list; of a cursor whose server
        waits for more, what is there."""
        cdef list result = []
        check_length(length)
        # Elsewhere an empty batch is not the end.
        cdef bint once = self.endless
        while (length is None or len(result) < length) and (
            self.index < self.size or self.fill(once)
        ):
            result = self.drain(result, length)
        return result

    def close(self):
        """Close the cursor. The server is told at once, and waited for 2 seconds at most; where no
        connection is free at the moment, it is told later, beside the program."""
        self.kill(self.end())

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def _rewind(self):
        """Start over."""
        if self.executor is None:
            raise InvalidOperation("this cursor was never given a collection")
        self.claim()
        try:
            self.drop_batch()
            self.kill(self.release())
            self.start_over()
        finally:
            self.fetching = False


cdef class BlockingCursorSteps:
    """The iteration over a cursor that holds its core as `_core`. It has no fields, so that the
    class on top has the layout of any object: see `mongokey.faces.find_cursor`."""

    @classmethod
    def __class_getitem__(cls, document_class):
        return GenericAlias(cls, document_class)

    def __reduce_ex__(self, protocol):
        # A copy would share the cursor on the server.
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def __del__(self):
        pass  # for subclasses that call it: what is open on the server, the core lets go

    def __iter__(self):
        return self

    def __next__(self):
        cdef BlockingCursorCore core = <BlockingCursorCore?>self._core
        if core.index >= core.size and not core.fill():
            raise StopIteration
        return core.take_document()


cdef class AwaitableCursorCore(CursorCore):
    """The C core of `AsyncCursor` and `AsyncCommandCursor`: `async for`, and the steps of a fetch.

    Fetches are awaited by the Python class on top, which has `_next_fetched`, a coroutine function:
    that is done once for a batch. Documents at hand cost neither a coroutine nor a Python frame.
    """

    def __aiter__(self):
        return self

    def __anext__(self):
        cdef NextDocument awaitable = NextDocument.__new__(NextDocument)
        awaitable.cursor = self
        return awaitable

    # One fetch at a time: `_claim`, then `_next_operation`, `_carry_out`, `_take_in` (or `_failed`
    # and `_to_be_killed`) until there is no operation any more or `_take_in` says that it is over;
    # at last `_unclaim`.

    def _claim(self):
        self.claim()

    def _unclaim(self):
        self.fetching = False

    def _next_operation(self):
        """What is to be carried out for the next document, or None if nothing is."""
        return self.next_operation()

    def _carry_out(self, Operation operation not None):
        """The awaitable of what `_next_operation` has given."""
        return self.carry_out(operation)

    def _take_in(self, result not None):
        """Take in a result; whether the fetch is over."""
        return self.take_in(result)

    def _failed(self, error):
        """Take in an error; whether it is no more than the end of the documents."""
        return self.failed(error)

    def _to_be_killed(self):
        """The cursor that a fetch which failed leaves on the server, or None."""
        return self.to_be_killed()

    def _release(self):
        """The cursor that is to be closed on the server, or None; and no batch any more."""
        self.drop_batch()
        return self.release() if self.executor is not None else None

    def _end(self):
        """The end of this cursor; what is to be closed on the server, or None."""
        return self.end()

    def _start_over(self):
        self.start_over()

    def _decode_part(self):
        """Decode the next part of the batch at hand, if it has one."""
        if self.index >= self.size:
            self.decode_part()

    @property
    def _endless(self):
        """Whether a command has opened it whose cursor may have more at any time."""
        return self.endless

    def _one_deadline(self):
        """A block for one fetch, however many getMores it takes; None where it needs none."""
        return one_deadline(self.executor) if self.by_iteration else None

    @property
    def _has_document(self):
        return self.index < self.size

    @property
    def _is_encoded(self):
        """Whether documents of the batch at hand are yet to be decoded."""
        return self.encoded is not None

    def _take_document(self):
        """The next document of the batch at hand."""
        if self.index >= self.size:
            raise InvalidOperation("there is no document at hand")
        return self.take_document()

    def _drain(self, list result not None, length):
        """`result` and the documents at hand, so many that it has `length`; or all, with None."""
        check_length(length)
        return self.drain(result, length) if self.index < self.size else result


cdef class AwaitableCursorSteps:
    """The same for `async for`."""

    @classmethod
    def __class_getitem__(cls, document_class):
        return GenericAlias(cls, document_class)

    def __reduce_ex__(self, protocol):
        # A copy would share the cursor on the server.
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def __del__(self):
        pass  # for subclasses that call it: what is open on the server, the core lets go

    def __aiter__(self):
        return self

    def __anext__(self):
        cdef NextDocument awaitable = NextDocument.__new__(NextDocument)
        awaitable.cursor = <AwaitableCursorCore?>self._core
        return awaitable


@cython.final
@cython.freelist(8)
cdef class NextDocument:
    """What `__anext__` returns: a coroutine without a frame, as long as there is a document at
    hand when it is awaited. When there is none, it becomes the coroutine that fetches."""

    cdef AwaitableCursorCore cursor         # None once it is over
    cdef object fetch                       # the coroutine of a fetch, None for none

    cdef PySendResult step(self, object value, PyObject **result) except PYGEN_ERROR:
        cdef AwaitableCursorCore cursor = self.cursor
        cdef PySendResult outcome
        cdef object document, fetch
        if self.fetch is None and cursor is not None and cursor.index < cursor.size:
            self.cursor = None
            document = cursor.take_document()
            Py_INCREF(document)
            result[0] = <PyObject *>document
            return PYGEN_RETURN
        fetch = self.fetching()
        outcome = PyIter_Send(fetch, value, result)
        if outcome == PYGEN_RETURN:
            self.cursor = self.fetch = None
        return outcome

    cdef object fetching(self):
        """The coroutine that is awaited, made if need be."""
        if self.fetch is None:
            if self.cursor is None:
                raise RuntimeError("cannot reuse already awaited coroutine")
            self.fetch = self.cursor._next_fetched()
        return self.fetch

    def __await__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        """As of any coroutine."""
        cdef PyObject *result = NULL
        cdef PySendResult outcome = self.step(value, &result)
        cdef object given = <object>result
        Py_DECREF(given)
        if outcome == PYGEN_NEXT:
            return given
        raise StopIteration(given)

    def throw(self, *error):
        """As of any coroutine."""
        return self.fetching().throw(*error)

    def close(self):
        """As of any coroutine."""
        self.cursor = None
        if self.fetch is not None:
            self.fetch.close()


cdef PySendResult send_next_document(
    object awaitable, object value, PyObject **result
) except PYGEN_ERROR:
    return (<NextDocument>awaitable).step(value, result)


mk_give_am_send(NextDocument, send_next_document)
mk_show_next(BlockingCursorCore, type(iter([])).__next__)
mk_show_next(BlockingCursorSteps, type(iter([])).__next__)
mk_show_anext(AwaitableCursorCore, AsyncGeneratorType.__anext__)
mk_show_anext(AwaitableCursorSteps, AsyncGeneratorType.__anext__)
