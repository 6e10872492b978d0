# cython: language_level=3, boundscheck=False, wraparound=False, nonecheck=True
"""The `bulkWrite` command of MongoDB 8.0: writes to any collections, as many messages as the
server's limits ask for.

It knows how operations and namespaces are written, how much fits into a message (crud
specification, bulk-write.md, "Command Batching") and what may be sent twice. It must not know what
the results mean, nor how the messages of a bulk follow each other: `commands.client_bulk` does.
"""

from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport calloc, free, realloc

from mongokey._support.cdefs cimport (
    mk_buffer,
    mk_buffer_append,
    mk_buffer_free,
    mk_buffer_init,
    mk_store_i32,
)
from mongokey.bson.bson_c cimport (
    mk_bson_begin,
    mk_bson_bool,
    mk_bson_element,
    mk_bson_end,
    mk_bson_int32,
    mk_bson_iter,
    mk_bson_iter_init,
    mk_bson_iter_is,
    mk_bson_iter_next,
)
from mongokey.bson.codec cimport context_of, read_documents, write_document, write_element
from mongokey.commands.command cimport CursorCommand
from mongokey.commands.inherited_options cimport InheritedOptions
from mongokey.execution.cursors cimport CursorBatch
from mongokey.execution.operation cimport (
    COMMAND_RESERVE,
    IN_PART,
    WHOLE,
    CommandReply,
    Limits,
    Namespace,
    check,
    decode_reply,
    envelope_of,
    write_document_elements,
)
from mongokey.wire.framing cimport begin_section, end_section

from mongokey._support.server_errors import concern_error_of, raise_write_concern_error
from mongokey.commands import arguments
from mongokey.commands.collection_operations import ensure_id
from mongokey.commands.write_requests import REQUESTS, WriteRequest
from mongokey.errors import DocumentTooLarge, InvalidOperation, ProtocolError, labels_in

# The wire version of MongoDB 8.0.
cdef int32_t MIN_WIRE_VERSION = 25

cdef enum:
    # So much is encoded or written at a time where others share the thread: about a millisecond's
    # work.
    PART_BYTES = 524288
    PART_OPERATIONS = 4096
    PART_MODELS = 1024
    # bulk-write.md, "Total Message Size": what a message holds beside the command's own fields,
    # the operations and the namespaces, is taken for so many bytes.
    MESSAGE_OVERHEAD = 1000
    # The index of the namespace in an operation's document: behind its length and the element's
    # type and name, and all three names, insert, update and delete, have six letters.
    NAMESPACE_AT = 4 + 1 + 7


cdef class ClientBatch(CursorCommand):
    """`models` as operations of one client's bulk, in their order. Each time it is carried out it
    is one message, with as many of those that are left as the server takes, and its result is a
    cursor over what became of single ones; `answer` has the reply around that. `done` is to be
    called between.

    `encode` is to be called first, until it says that it is over.
    """

    def __cinit__(self, *args, **kwargs):
        mk_buffer_init(&self.documents)
        mk_buffer_init(&self.namespace_documents)
        mk_buffer_init(&self.message_namespaces)

    def __dealloc__(self):
        mk_buffer_free(&self.documents)
        mk_buffer_free(&self.namespace_documents)
        mk_buffer_free(&self.message_namespaces)
        free(self.operations)
        free(self.namespaces)

    def __init__(
        self,
        InheritedOptions options not None,
        list models not None,
        *,
        bint ordered,
        bint errors_only,
        dict extras,
        dict get_more_extras,
    ):
        if self.operations != NULL:
            raise TypeError("a batch is initialized once")
        self.namespace = Namespace("admin")
        self.own_context = options.context
        # What the server says of single operations is no document of the user's.
        self.context = self.reply_context = envelope_of(options.context)
        self.raw_results = options.context.decoders is not None
        if self.raw_results:
            from mongokey.bson.raw_bson import RawBSONDocument

            # But for the `_id` of an upsert, which the user's type decoders read.
            self.context = context_of(
                self.reply_context.options.with_options(document_class=RawBSONDocument)
            )
        self.get_more_extras = get_more_extras
        self.total = len(models)
        self.models = models
        self.operations = <BulkOperation *>calloc(max(self.total, 1), sizeof(BulkOperation))
        if self.operations == NULL:
            raise MemoryError
        self.namespace_numbers = {}
        # Who asks for no results has no use for them.
        self.identifiers = None if errors_only else [None] * self.total
        self.ordered = ordered
        self.errors_only = errors_only
        self.extras = extras
        self.writes = True
        self.write_concern = options.write_concern_element
        self.unacknowledged = options.unacknowledged

    cdef str command_name(self):
        return "bulkWrite"

    cdef int set_read_concern_apart(self) except -1:
        return 0

    # -- before anything is sent ----------------------------------------------------------------

    def encode(self, size_t room):
        """Look at the next models, encode them and raise what is wrong with them; the first ones,
        as many as have room in so many bytes, are kept encoded. Returns whether there are more."""
        cdef Py_ssize_t stop = min(self.total, self.seen + PART_MODELS)
        cdef size_t before, written = 0
        cdef Py_ssize_t index
        while self.seen < stop and written < PART_BYTES:
            index = self.seen
            before = self.documents.size
            try:
                self._add(self.models[index], index)
            except BaseException:
                self.documents.size = before
                raise
            if self.seen != index:
                raise InvalidOperation("this bulk is being encoded at this moment")
            written += self.documents.size - before
            if self.kept == index and self.documents.size <= room:
                self.kept = index + 1
            else:
                self.documents.size = before
            self.seen = index + 1
        if self.seen < self.total:
            return True
        self._foresee()
        return False

    cdef int _foresee(self) except -1:
        """Whether the next message may be sent twice is known when it is planned; before that no
        more can fail than its connection, which is tried again if all that is left may be."""
        cdef Py_ssize_t index = self.start
        while index < self.total and not self.operations[index].multi:
            index += 1
        self.retryable_write = not self.unacknowledged and index == self.total
        return 0

    cdef int _add(self, object model, Py_ssize_t index) except -1:
        cdef BulkOperation *operation = &self.operations[index]
        cdef size_t before = self.documents.size
        if not isinstance(model, WriteRequest):
            arguments.refuse_type(f"the model at index {index}", REQUESTS, model)
        operation.namespace = self._namespace_number(model._namespace)
        operation.multi = model.multi
        if self.unacknowledged and model.command != "insert":
            arguments.refuse_unacknowledged(model.statement, "collation", "arrayFilters")
        if model.command == "insert":
            identifier = ensure_id(model.statement)
            if self.identifiers is not None:
                self.identifiers[index] = identifier
        else:
            model.check()
        operation.document_size = <uint32_t>self._put(&self.documents, model, 0)
        operation.size = <uint32_t>(self.documents.size - before)
        return 0

    cdef uint32_t _namespace_number(self, object name) except? 0xffffffff:
        cdef BulkNamespace *grown
        cdef BulkNamespace *namespace
        cdef Py_ssize_t number, room
        found = self.namespace_numbers.get(name) if type(name) is str else None
        if found is not None:
            return found
        name = arguments.plain_namespace(name)
        number = len(self.namespace_numbers)
        if number == self.namespace_room:
            room = max(2 * number, 8)
            grown = <BulkNamespace *>realloc(self.namespaces, room * sizeof(BulkNamespace))
            if grown == NULL:
                raise MemoryError
            self.namespaces = grown
            self.namespace_room = room
        namespace = &self.namespaces[number]
        namespace.at = self.namespace_documents.size
        write_document(&self.namespace_documents, {"ns": name}, context_of(None), False, False)
        namespace.size = <uint32_t>(self.namespace_documents.size - namespace.at)
        namespace.message = 0
        self.namespace_numbers[name] = number
        return <uint32_t>number

    cdef size_t _put(self, mk_buffer *out, object model, int32_t namespace) except? 1:
        """Append the document of one operation; returns how many bytes the document has that it
        stores, 0 for none."""
        cdef str command = model.command
        cdef bytes name = command.encode()
        cdef object statement = model.statement
        cdef size_t start = 0, before, stored = 0
        check(mk_bson_begin(out, &start))
        check(mk_bson_int32(out, <const char *>name, 6, namespace))
        if command == "insert":
            check(mk_buffer_append(out, b"\x03document\0", 10))
            before = out.size
            write_document(out, statement, self.own_context, False, True)
            stored = out.size - before
        else:
            write_element(out, "filter", statement["q"], self.own_context)
            if command == "update":
                before = out.size
                write_element(out, "updateMods", statement["u"], self.own_context)
                if model._replaces:
                    # Without the element's type and name.
                    stored = out.size - before - 12
            check(mk_bson_bool(out, "multi", 5, model.multi))
            for key, value in (<dict?>statement).items():
                if key not in ("q", "u", "multi", "limit"):
                    write_element(out, key, value, self.own_context)
        check(mk_bson_end(out, start))
        return stored

    @property
    def plain_options(self):
        """The options by which the server's words are read."""
        return self.reply_context.options

    def command_of(self, Py_ssize_t index):
        """ "insert", "update" or "delete"."""
        if not 0 <= index < self.seen:
            raise IndexError(index)
        return self.models[index].command

    def document_of(self, Py_ssize_t index):
        """The operation at `index` as the document that was sent for it, for an error's `op`."""
        cdef BulkOperation *operation
        if not 0 <= index < self.seen:
            raise IndexError(index)
        operation = &self.operations[index]
        model = self.models[index]
        made = {model.command: self.namespaces[operation.namespace].index}
        if model.command == "insert":
            made["document"] = model.statement
            return made
        made["filter"] = model.statement["q"]
        if model.command == "update":
            made["updateMods"] = model.statement["u"]
        made["multi"] = model.multi
        for key, value in model.statement.items():
            if key not in ("q", "u", "multi", "limit"):
                made[key] = value
        return made

    # -- messages -------------------------------------------------------------------------------

    cdef int write(self, mk_buffer *out, const Limits *limits) except -1:
        cdef size_t before = out.size
        if limits.max_wire_version < MIN_WIRE_VERSION:
            raise InvalidOperation(
                "MongoClient.bulk_write requires MongoDB server version 8.0+: use "
                "Collection.bulk_write for each collection"
            )
        check(mk_bson_int32(out, "bulkWrite", 9, 1))
        check(mk_bson_bool(out, "errorsOnly", 10, self.errors_only))
        check(mk_bson_bool(out, "ordered", 7, self.ordered))
        if self.extras is not None:
            write_document_elements(out, self.extras, self.own_context)
        # As a document of its own it has a length and a last NUL.
        return self._plan(limits, out.size - before + 5)

    cdef int _plan(self, const Limits *limits, size_t command_size) except -1:
        """Decide which operations the message will have. What comes before them in the message
        depends on it: whether it may be sent twice."""
        cdef size_t room = limits.max_message_size, used = 0, added
        cdef Py_ssize_t index = self.start, stop = self.total
        cdef BulkOperation *operation
        cdef BulkNamespace *namespace
        cdef bint multi = False
        cdef int32_t count = 0
        if self.seen < self.total:
            raise InvalidOperation("this bulk is not encoded")
        if room < MESSAGE_OVERHEAD + command_size:
            raise DocumentTooLarge(
                f"the command has {command_size} bytes without its operations; the server accepts "
                f"messages of at most {room} (maxMessageSizeBytes)"
            )
        room -= MESSAGE_OVERHEAD + command_size
        self._check_sizes(limits, room)
        self.section_start = 0
        self.message += 1
        self.message_namespaces.size = 0
        if limits.max_write_batch_size < stop - index:
            stop = index + max(limits.max_write_batch_size, 1)
        if self.most_end:
            stop = min(stop, self.most_end)
        while index < stop:
            operation = &self.operations[index]
            namespace = &self.namespaces[operation.namespace]
            added = operation.size
            if namespace.message != self.message:
                added += namespace.size
            if used + added > room:
                break
            used += added
            multi = multi or operation.multi
            if namespace.message != self.message:
                namespace.message = self.message
                namespace.index = count
                count += 1
                check(mk_buffer_append(
                    &self.message_namespaces,
                    self.namespace_documents.data + namespace.at,
                    namespace.size,
                ))
            index += 1
        if index == self.start:
            # A server that takes less than those before.
            self.checked_bson_size = 0
            self._check_sizes(limits, room)
            raise InvalidOperation("all operations of this bulk were carried out")
        self.end = self.most_end = index
        # retryable-writes: each command is looked at alone; the server cannot repeat a statement
        # on many documents.
        self.retryable_write = not (self.unacknowledged or multi)
        return 0

    cdef int _check_sizes(self, const Limits *limits, size_t room) except -1:
        """Raise `DocumentTooLarge` if there is an operation that no message has room for, or one
        that the server is sure to refuse: at the first message, when nothing is sent yet."""
        cdef Py_ssize_t index
        cdef BulkOperation *operation
        cdef size_t size
        if self.checked_bson_size == limits.max_bson_size:
            return 0
        for index in range(self.start, self.total):
            operation = &self.operations[index]
            size = operation.size
            size += self.namespaces[operation.namespace].size
            if (
                operation.document_size > <size_t>limits.max_bson_size
                or operation.size > <size_t>limits.max_bson_size + COMMAND_RESERVE
                or size > room
            ):
                raise DocumentTooLarge(
                    f"the {self.models[index].command} at index {index} has {size} bytes with its "
                    f"namespace; the server takes documents of at most {limits.max_bson_size} "
                    f"bytes (maxBsonObjectSize) in messages of at most {limits.max_message_size} "
                    f"(maxMessageSizeBytes)"
                )
        self.checked_bson_size = limits.max_bson_size
        return 0

    cdef int write_sections(self, mk_buffer *out, const Limits *limits) except -1:
        cdef Py_ssize_t section = self.section_start
        cdef Py_ssize_t stop = self.end
        cdef size_t full = out.size + PART_BYTES, before
        cdef BulkOperation *operation
        if section == 0:
            section = begin_section(out, b"ops")
            self.index = self.start
            self.at = self.start_at
        self.section_start = 0
        if limits.in_parts:
            stop = min(stop, self.index + PART_OPERATIONS)
        while self.index < stop and (out.size < full or not limits.in_parts):
            operation = &self.operations[self.index]
            before = out.size
            if self.index < self.kept:
                check(mk_buffer_append(out, self.documents.data + self.at, operation.size))
                self.at += operation.size
            else:
                self._put(out, self.models[self.index], 0)
                if out.size - before != operation.size:
                    raise InvalidOperation(
                        f"the document of the {self.models[self.index].command} at index "
                        f"{self.index} was changed while the bulk was carried out"
                    )
            mk_store_i32(
                out.data + before + NAMESPACE_AT, self.namespaces[operation.namespace].index
            )
            self.index += 1
        if self.index < self.end:
            self.section_start = section
            return IN_PART
        end_section(out, section)
        section = begin_section(out, b"nsInfo")
        check(mk_buffer_append(
            out, self.message_namespaces.data, self.message_namespaces.size
        ))
        end_section(out, section)
        self.written = True
        return WHOLE

    def done(self):
        """The message's outcome is noted; returns whether operations are left."""
        cdef Py_ssize_t index
        for index in range(self.start, self.end):
            if index < self.kept:
                self.start_at += self.operations[index].size
        self.start = self.end
        self.most_end = 0
        self.answer = None
        self._foresee()
        return self.start < self.total

    # -- replies --------------------------------------------------------------------------------

    cdef object read(self, CommandReply *reply):
        cdef CursorBatch result
        cdef dict answer
        self.unsettled = None
        if reply.fields.cursor == NULL:
            raise ProtocolError("the server's reply to a bulkWrite has no cursor")
        result = <CursorBatch?>CursorCommand.read(self, reply)
        if reply.cursor.batch == NULL:
            raise ProtocolError("the server's reply to a bulkWrite has no batch of results")
        answer = self._answer_of(reply)
        if reply.may_retry:
            error = concern_error_of(answer)
            if error is not None and "RetryableWriteError" in labels_in(answer):
                # It is sent again; if that fails, this is what is known of it.
                self.unsettled = answer, read_documents(
                    reply.cursor.batch, reply.cursor.batch_size, self.context
                )
                raise_write_concern_error(error)
        self.answer = answer
        return result

    cdef dict _answer_of(self, CommandReply *reply):
        """The reply without its cursor, which may hold 100 000 documents."""
        cdef CommandReply around = reply[0]
        cdef mk_buffer made
        cdef mk_bson_iter it
        cdef size_t start = 0
        mk_buffer_init(&made)
        try:
            check(mk_bson_begin(&made, &start))
            check(mk_bson_iter_init(&it, reply.body, reply.size))
            while check(mk_bson_iter_next(&it)) == 1:
                if not mk_bson_iter_is(&it, "cursor", 6):
                    check(mk_bson_element(
                        &made, it.type, it.key, it.key_len, it.value, it.value_size
                    ))
            check(mk_bson_end(&made, start))
            around.body = made.data
            around.size = made.size
            return decode_reply(&around, self.own_context)
        finally:
            mk_buffer_free(&made)

    cdef object unacknowledged_result(self):
        cdef CursorBatch result = CursorBatch.__new__(CursorBatch)
        result.documents = []
        return result
