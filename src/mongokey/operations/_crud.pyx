# cython: language_level=3, boundscheck=False, wraparound=False
"""find, getMore, insert, update and delete: straight from arguments to the outgoing buffer, and
from the reply's bytes to documents.

It knows these commands of the crud and find/getMore/killCursors specifications. It must not
know connections' lives, retries or sessions (`_operation`), nor how arguments are checked
(`_validate`).
"""

from libc.stdint cimport int64_t

from mongokey._cdefs cimport (
    MK_OK,
    mk_buffer,
    mk_buffer_append,
    mk_buffer_free,
    mk_buffer_init,
)
from mongokey.bson._bson_c cimport (
    MK_BSON_DOCUMENT,
    mk_bson_begin,
    mk_bson_bool,
    mk_bson_element,
    mk_bson_end,
    mk_bson_find,
    mk_bson_int64,
    mk_bson_iter,
    mk_bson_iter_init,
    mk_bson_iter_next,
)
from mongokey.bson._codec cimport (
    CodecContext,
    context_of,
    read_document,
    read_documents,
    write_document,
    write_element,
)
from mongokey.connection._connection cimport Connection
from mongokey.operations._operation cimport (
    Operation,
    check,
    decode_reply,
    mk_command_reply,
    mk_cursor_reply,
    mk_read_cursor_reply,
    put,
    write_document_elements,
)
from mongokey.results cimport DeleteResult, InsertManyResult, InsertOneResult, UpdateResult
from mongokey.wire._message cimport begin_section, end_section

from mongokey._replies import (
    concern_error_of,
    documents_in,
    number_in,
    raise_write_concern_error,
    raise_write_error,
)
from mongokey.errors import (
    BulkWriteError,
    ConfigurationError,
    DocumentTooLarge,
    ProtocolError,
    labels_in,
)

# A statement may hold a document of full size beside its own fields; so much do servers allow.
cdef size_t STATEMENT_RESERVE = 16 * 1024


cdef list decode_batch(const unsigned char *batch, size_t size, CodecContext context):
    """The documents of a `firstBatch` or `nextBatch` array."""
    cdef list documents = read_documents(batch, size, context)
    if documents is None:
        raise ProtocolError("the server's batch holds something that is not a document")
    return documents


cdef int read_cursor(mk_command_reply *reply, mk_cursor_reply *cursor) except -1:
    if reply.cursor == NULL:
        raise ProtocolError("the server's reply to a query has no cursor")
    check(mk_read_cursor_reply(reply.cursor, reply.cursor_size, cursor))
    if cursor.batch == NULL:
        raise ProtocolError("the server's cursor has no batch of documents")
    return 0


cdef class Find(Operation):
    """One `find`; the result is its first batch, a list (or one document, `first_only`)."""

    cdef int write(self, mk_buffer *out, Connection connection) except -1:
        check(mk_buffer_append(out, b"\x02find\0", 6))
        put(out, self.namespace.collection_value)
        if self.filter is not None:
            write_element(out, "filter", self.filter, self.context)
        else:
            check(mk_buffer_append(out, b"\x03filter\0\x05\0\0\0\0", 13))
        if self.projection is not None:
            write_element(out, "projection", self.projection, self.context)
        if self.sort is not None:
            write_element(out, "sort", self.sort, self.context)
        if self.skip:
            check(mk_bson_int64(out, "skip", 4, self.skip))
        if self.limit:
            check(mk_bson_int64(out, "limit", 5, self.limit))
        if self.batch_size:
            check(mk_bson_int64(out, "batchSize", 9, self.batch_size))
        if self.single_batch:
            check(mk_bson_bool(out, "singleBatch", 11, True))
        if self.extras is not None:
            write_document_elements(out, self.extras, self.context)
        return 0

    cdef object read(self, Connection connection, mk_command_reply *reply):
        cdef mk_cursor_reply cursor
        cdef mk_bson_iter it
        read_cursor(reply, &cursor)
        self.cursor_id = cursor.id
        self.keeps_session = cursor.id != 0
        if not self.first_only:
            return decode_batch(cursor.batch, cursor.batch_size, self.context)
        check(mk_bson_iter_init(&it, cursor.batch, cursor.batch_size))
        if check(mk_bson_iter_next(&it)) == 0:
            return None
        if it.type != MK_BSON_DOCUMENT:
            raise ProtocolError("the server's batch holds something that is not a document")
        return read_document(it.value, it.value_size, self.context)


cdef class GetMore(Operation):
    """The next batch of a cursor; `cursor_id` is 0 afterwards when it was the last."""

    cdef int write(self, mk_buffer *out, Connection connection) except -1:
        check(mk_bson_int64(out, "getMore", 7, self.cursor_id))
        check(mk_buffer_append(out, b"\x02collection\0", 12))
        put(out, self.namespace.collection_value)
        if self.batch_size:
            check(mk_bson_int64(out, "batchSize", 9, self.batch_size))
        if self.extras is not None:
            write_document_elements(out, self.extras, self.context)
        return 0

    cdef object read(self, Connection connection, mk_command_reply *reply):
        cdef mk_cursor_reply cursor
        read_cursor(reply, &cursor)
        self.cursor_id = cursor.id
        self.keeps_session = cursor.id != 0
        return decode_batch(cursor.batch, cursor.batch_size, self.context)


cdef class InsertOne(Operation):
    """One `insert` of one document; the result is an `InsertOneResult`."""

    cdef int write(self, mk_buffer *out, Connection connection) except -1:
        check(mk_buffer_append(out, b"\x02insert\0", 8))
        put(out, self.namespace.collection_value)
        check(mk_bson_bool(out, "ordered", 7, True))
        if self.extras is not None:
            write_document_elements(out, self.extras, self.context)
        return 0

    cdef int write_sections(self, mk_buffer *out, Connection connection) except -1:
        cdef Py_ssize_t section = begin_section(out, b"documents")
        cdef size_t start = out.size
        write_document(out, self.document, self.context, False, True)
        if out.size - start > <size_t>connection.max_bson_size:
            raise too_large(out.size - start, connection, "")
        end_section(out, section)
        return 0

    cdef object read(self, Connection connection, mk_command_reply *reply):
        if reply.has_write_errors:
            raise_first_error(decode_reply(connection, self.context))
        return self._result(True)

    cdef object unread(self):
        return self._result(False)

    cdef InsertOneResult _result(self, bint acknowledged):
        cdef InsertOneResult result = InsertOneResult.__new__(InsertOneResult)
        result.inserted_id = self.inserted_id
        result.acknowledged = acknowledged
        return result


cdef object too_large(size_t size, Connection connection, str where):
    return DocumentTooLarge(
        f"the document{where} has {size} bytes; the server takes {connection.max_bson_size} at most"
    )


cdef dict decode_written(Connection connection, CodecContext context):
    """The reply to a write. The `_id`s of upserts in it are the user's, and read by the user's type
    decoders; all else is the envelope."""
    cdef dict answer = decode_reply(connection, context)
    cdef mk_bson_iter upserted, each, identifier
    cdef mk_buffer one
    cdef Py_ssize_t position = 0
    cdef size_t start = 0
    found = answer.get("upserted")
    if context.decoders is None or not isinstance(found, list):
        return answer
    plain = context_of(context.options.with_options(document_class=dict))
    mk_buffer_init(&one)
    try:
        check(mk_bson_find(
            connection.reply.body, connection.reply.body_size, "upserted", 8, &upserted
        ))
        check(mk_bson_iter_init(&each, upserted.value, upserted.value_size))
        while check(mk_bson_iter_next(&each)) == 1 and position < len(found):
            if (
                each.type == MK_BSON_DOCUMENT
                and isinstance(found[position], dict)
                and mk_bson_find(each.value, each.value_size, "_id", 3, &identifier) == MK_OK
            ):
                # A document of its own, with nothing else in it.
                one.size = 0
                check(mk_bson_begin(&one, &start))
                check(mk_bson_element(
                    &one, identifier.type, "_id", 3, identifier.value, identifier.value_size
                ))
                check(mk_bson_end(&one, start))
                found[position]["_id"] = read_document(one.data, one.size, plain)["_id"]
            position += 1
    finally:
        mk_buffer_free(&one)
    return answer


cdef int raise_first_error(dict reply) except -1:
    """Raise what a reply with `writeErrors` or `writeConcernError` to one statement means."""
    for error in reversed(documents_in(reply, "writeErrors")):
        raise_write_error(error)
    concern_error = concern_error_of(reply)
    if concern_error is not None:
        raise_write_concern_error(concern_error)
    return 0


cdef int check_unanswered(dict statement, bint is_delete, Connection connection) except -1:
    """crud, "hint" and "sort": older servers would pass over these, and nobody would learn it."""
    cdef str option, release
    if "hint" in statement and connection.max_wire_version < (9 if is_delete else 8):
        option, release = "hint", "4.4" if is_delete else "4.2"
    elif "sort" in statement and connection.max_wire_version < 25:
        option, release = "sort", "8.0"
    else:
        return 0
    raise ConfigurationError(
        f"{option} in an unacknowledged write needs MongoDB {release} or newer: "
        f"acknowledge it (w > 0)"
    )


cdef class WriteOne(Operation):
    """One `update` or `delete` with one statement: an `UpdateResult` or a `DeleteResult`."""

    cdef int write(self, mk_buffer *out, Connection connection) except -1:
        if self.is_delete:
            check(mk_buffer_append(out, b"\x02delete\0", 8))
        else:
            check(mk_buffer_append(out, b"\x02update\0", 8))
        put(out, self.namespace.collection_value)
        check(mk_bson_bool(out, "ordered", 7, True))
        if self.extras is not None:
            write_document_elements(out, self.extras, self.context)
        return 0

    cdef int write_sections(self, mk_buffer *out, Connection connection) except -1:
        cdef Py_ssize_t section = begin_section(out, b"deletes" if self.is_delete else b"updates")
        cdef size_t start = out.size
        if self.unacknowledged:
            check_unanswered(self.statement, self.is_delete, connection)
        write_document(out, self.statement, self.context, False, False)
        if out.size - start > <size_t>connection.max_bson_size + STATEMENT_RESERVE:
            raise too_large(out.size - start, connection, "")
        end_section(out, section)
        return 0

    cdef object read(self, Connection connection, mk_command_reply *reply):
        cdef dict answer = decode_written(connection, self.context)
        if reply.has_write_errors:
            raise_first_error(answer)
        return DeleteResult(answer, True) if self.is_delete else UpdateResult(answer, True)

    cdef object unread(self):
        return DeleteResult(None, False) if self.is_delete else UpdateResult(None, False)


cdef int check_statements(list statements, bint inserts, CodecContext context) except -1:
    """Raise what encoding one of `statements` would raise, before anything is sent."""
    cdef mk_buffer scratch
    mk_buffer_init(&scratch)
    try:
        for statement in statements:
            scratch.size = 0
            write_document(&scratch, statement, context, False, inserts)
    finally:
        mk_buffer_free(&scratch)
    return 0


cdef class Batch(Operation):
    """Statements of one kind, sent in as many messages as the server's limits ask for.

    The result is a dict of counts and errors in the form of `BulkWriteError.details`; errors of
    single statements do not raise here.
    """

    def __cinit__(self):
        self.result = {
            "writeErrors": [],
            "writeConcernErrors": [],
            "nInserted": 0,
            "nUpserted": 0,
            "nMatched": 0,
            "nModified": 0,
            "nRemoved": 0,
            "upserted": [],
        }

    cdef int write(self, mk_buffer *out, Connection connection) except -1:
        check(mk_buffer_append(out, b"\x02", 1))
        check(mk_buffer_append(out, <const char *>self.command, len(self.command) + 1))
        put(out, self.namespace.collection_value)
        check(mk_bson_bool(out, "ordered", 7, self.ordered))
        if self.extras is not None:
            write_document_elements(out, self.extras, self.context)
        return 0

    cdef int write_sections(self, mk_buffer *out, Connection connection) except -1:
        cdef Py_ssize_t section = begin_section(out, <const char *>self.section)
        cdef Py_ssize_t total = len(self.statements)
        cdef Py_ssize_t index = self.start
        cdef bint inserts = self.command == b"insert"
        cdef size_t before
        cdef size_t most = <size_t>connection.max_bson_size + (0 if inserts else STATEMENT_RESERVE)
        while index < total and index - self.start < connection.max_write_batch_size:
            before = out.size
            write_document(out, self.statements[index], self.context, False, inserts)
            if out.size - before > most:
                raise too_large(out.size - before, connection, f" at index {self._index(index)}")
            if out.size > connection.max_message_size and index > self.start:
                out.size = before
                break
            index += 1
        self.end = index
        end_section(out, section)
        return 0

    cdef object read(self, Connection connection, mk_command_reply *reply):
        if self.command == b"insert" and not reply.has_write_errors:
            self.result["nInserted"] += reply.n
        else:
            answer = decode_written(connection, self.context)
            if (
                reply.has_error_labels
                and self.txn_number
                and not self.retried
                and "RetryableWriteError" in labels_in(answer)
                and concern_error_of(answer) is not None
            ):
                raise_write_concern_error(concern_error_of(answer))  # the batch is sent again
            self._note(answer, reply.n)
        return self.unread()

    cdef int _note(self, dict answer, int64_t n) except -1:
        """Add one reply's counts and errors to the result, with indexes of the whole."""
        cdef dict result = self.result
        for error in documents_in(answer, "writeErrors"):
            index = number_in(error, "index") + self.start
            if 0 <= index < len(self.statements):
                error["op"] = self.statements[index]
            error["index"] = self._index(index)
            result["writeErrors"].append(error)
        concern_error = concern_error_of(answer)
        if concern_error is not None:
            result["writeConcernErrors"].append(concern_error)
        if self.command == b"insert":
            result["nInserted"] += n
        elif self.command == b"delete":
            result["nRemoved"] += n
        else:
            upserted = documents_in(answer, "upserted")
            for each in upserted:
                result["upserted"].append(
                    {
                        "index": self._index(number_in(each, "index") + self.start),
                        "_id": each.get("_id"),
                    }
                )
            result["nUpserted"] += len(upserted)
            result["nMatched"] += n - len(upserted)
            result["nModified"] += number_in(answer, "nModified")
        return 0

    cdef Py_ssize_t _index(self, Py_ssize_t statement) except -1:
        if self.indexes is None or not 0 <= statement < len(self.indexes):
            return statement if statement >= 0 else 0
        return self.indexes[statement]

    cdef object unread(self):
        self.start = self.end
        self.more = self.start < len(self.statements) and not (
            self.ordered and self.result["writeErrors"]
        )
        return self.result


cdef class InsertMany(Batch):
    """Batches of `insert`; the result is an `InsertManyResult`, or `BulkWriteError` is raised."""

    cdef object finish(self, object result):
        if result["writeErrors"] or result["writeConcernErrors"]:
            raise BulkWriteError(result)
        return InsertManyResult(self.inserted_ids, not self.unacknowledged)
