# cython: language_level=3, boundscheck=False, wraparound=False
"""find, getMore, and single inserts, updates and deletes: straight from arguments to the outgoing
buffer, and from the reply's bytes to documents.

It knows these commands of the crud and find/getMore/killCursors specifications. It must not
know connections, retries or sessions (`execution`), batches of writes (`commands.bulk`), nor how
arguments are checked (`commands.arguments`).
"""

from mongokey._support.cdefs cimport (
    MK_OK,
    mk_buffer,
    mk_buffer_append,
    mk_buffer_free,
    mk_buffer_init,
)
from mongokey.bson.bson_c cimport (
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
from mongokey.bson.codec cimport (
    CodecContext,
    context_of,
    read_document,
    read_documents,
    write_document,
    write_element,
)
from mongokey.commands.encoded_batch cimport encoded_batch, raw_batch, takes_long
from mongokey.execution.cursors cimport CursorBatch
from mongokey.execution.operation cimport (
    COMMAND_RESERVE,
    WHOLE,
    CommandReply,
    Limits,
    Operation,
    check,
    decode_reply,
    mk_read_cursor_reply,
    put,
    write_document_elements,
)
from mongokey.results cimport DeleteResult, InsertOneResult, UpdateResult
from mongokey.wire.framing cimport begin_section, end_section

from mongokey._support.server_errors import (
    concern_error_of,
    documents_in,
    raise_write_concern_error,
    raise_write_error,
)
from mongokey.errors import ConfigurationError, DocumentTooLarge, ProtocolError

cdef list decode_batch(const unsigned char *batch, size_t size, CodecContext context):
    """The documents of a `firstBatch` or `nextBatch` array."""
    cdef list documents = read_documents(batch, size, context)
    if documents is None:
        raise ProtocolError("the server's batch holds something that is not a document")
    return documents


cdef int read_batch(
    CommandReply *reply, CursorBatch result, CodecContext context, bint raw
) except -1:
    if raw:
        result.documents = []
        result.encoded = raw_batch(reply.cursor.batch, reply.cursor.batch_size)
    elif reply.in_parts and takes_long(reply.cursor.batch, reply.cursor.batch_size):
        result.documents = []
        result.encoded = encoded_batch(reply.cursor.batch, reply.cursor.batch_size, context)
    else:
        result.documents = decode_batch(reply.cursor.batch, reply.cursor.batch_size, context)
    return 0


cdef int read_cursor(CommandReply *reply) except -1:
    """Find the reply's cursor; afterwards it is the execution's to look after."""
    if reply.fields.cursor == NULL:
        raise ProtocolError("the server's reply to a query has no cursor")
    check(mk_read_cursor_reply(reply.fields.cursor, reply.fields.cursor_size, &reply.cursor))
    if reply.cursor.batch == NULL:
        raise ProtocolError("the server's cursor has no batch of documents")
    reply.has_cursor = True
    return 0


cdef class Find(Operation):
    """One `find`; the result is a `CursorBatch`, or (`first_only`) one document or None."""

    cdef str command_name(self):
        return "find"

    cdef int write(self, mk_buffer *out, const Limits *limits) except -1:
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

    cdef object read(self, CommandReply *reply):
        cdef mk_bson_iter it
        cdef CursorBatch result
        read_cursor(reply)
        if not self.first_only:
            result = CursorBatch.__new__(CursorBatch)
            read_batch(reply, result, self.context, self.raw)
            return result
        # Asked for a single batch, no server should leave a cursor open; one that does is killed.
        check(mk_bson_iter_init(&it, reply.cursor.batch, reply.cursor.batch_size))
        if check(mk_bson_iter_next(&it)) == 0:
            return None
        if it.type != MK_BSON_DOCUMENT:
            raise ProtocolError("the server's batch holds something that is not a document")
        return read_document(it.value, it.value_size, self.context)


# From MongoDB 4.4 on, a getMore may have a comment; older servers refuse one.
cdef int COMMENTED_GET_MORE = 9


cdef class GetMore(Operation):
    """The next batch of a cursor: a list of documents, an `EncodedBatch` or a `RawBatch`."""

    cdef str command_name(self):
        return "getMore"

    cdef int write(self, mk_buffer *out, const Limits *limits) except -1:
        check(mk_bson_int64(out, "getMore", 7, self.cursor_id))
        check(mk_buffer_append(out, b"\x02collection\0", 12))
        put(out, self.namespace.collection_value)
        if self.batch_size:
            check(mk_bson_int64(out, "batchSize", 9, self.batch_size))
        if self.extras is not None:
            extras = self.extras
            if limits.max_wire_version < COMMENTED_GET_MORE and "comment" in extras:
                extras = {name: extras[name] for name in extras if name != "comment"}
            write_document_elements(out, extras, self.context)
        return 0

    cdef object read(self, CommandReply *reply):
        read_cursor(reply)
        if self.raw:
            return raw_batch(reply.cursor.batch, reply.cursor.batch_size)
        if reply.in_parts and takes_long(reply.cursor.batch, reply.cursor.batch_size):
            return encoded_batch(reply.cursor.batch, reply.cursor.batch_size, self.context)
        return decode_batch(reply.cursor.batch, reply.cursor.batch_size, self.context)


cdef class InsertOne(Operation):
    """One `insert` of one document; the result is an `InsertOneResult`."""

    cdef str command_name(self):
        return "insert"

    cdef int write(self, mk_buffer *out, const Limits *limits) except -1:
        check(mk_buffer_append(out, b"\x02insert\0", 8))
        put(out, self.namespace.collection_value)
        check(mk_bson_bool(out, "ordered", 7, True))
        if self.extras is not None:
            write_document_elements(out, self.extras, self.context)
        return 0

    cdef int write_sections(self, mk_buffer *out, const Limits *limits) except -1:
        cdef Py_ssize_t section = begin_section(out, b"documents")
        cdef size_t start = out.size
        write_document(out, self.document, self.context, False, True)
        if out.size - start > <size_t>limits.max_bson_size:
            raise too_large(out.size - start, limits, "")
        end_section(out, section)
        return WHOLE

    cdef object read(self, CommandReply *reply):
        if reply.fields.has_write_errors:
            raise_first_error(decode_reply(reply, self.context))
        return self._result(True)

    cdef object unacknowledged_result(self):
        return self._result(False)

    cdef InsertOneResult _result(self, bint acknowledged):
        cdef InsertOneResult result = InsertOneResult.__new__(InsertOneResult)
        result.inserted_id = self.inserted_id
        result.acknowledged = acknowledged
        return result


cdef object too_large(size_t size, const Limits *limits, str where):
    return DocumentTooLarge(
        f"the document{where} has {size} bytes; the server takes {limits.max_bson_size} at most"
    )


cdef dict decode_written(CommandReply *reply, CodecContext context):
    """The reply to a write. The `_id`s of upserts in it are the user's, and read by the user's type
    decoders; all else is the envelope."""
    cdef dict answer = decode_reply(reply, context)
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
        check(mk_bson_find(reply.body, reply.size, "upserted", 8, &upserted))
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


cdef tuple unanswered_needs(dict statement, bint is_delete):
    """crud, "hint" and "sort": servers before a certain wire version would pass over these in an
    unacknowledged write, and nobody would learn it. What `check_needs` checks, or None."""
    if "sort" in statement:
        return 25, _UNANSWERED % ("sort", "8.0")
    if "hint" in statement:
        version, release = (9, "4.4") if is_delete else (8, "4.2")
        return version, _UNANSWERED % ("hint", release)
    return None


cdef str _UNANSWERED = (
    "%s in an unacknowledged write needs MongoDB %s or newer: acknowledge it (w > 0)"
)


cdef int check_needs(tuple needs, const Limits *limits) except -1:
    """`needs` is ``(wire version, what is said of older servers)`` or None: raise
    `ConfigurationError` with that for such a server."""
    if needs is not None and limits.max_wire_version < needs[0]:
        raise ConfigurationError(f"{needs[1]} (maxWireVersion is {limits.max_wire_version})")
    return 0


cdef class WriteOne(Operation):
    """One `update` or `delete` with one statement: an `UpdateResult` or a `DeleteResult`."""

    cdef str command_name(self):
        return "delete" if self.is_delete else "update"

    cdef int write(self, mk_buffer *out, const Limits *limits) except -1:
        if self.is_delete:
            check(mk_buffer_append(out, b"\x02delete\0", 8))
        else:
            check(mk_buffer_append(out, b"\x02update\0", 8))
        put(out, self.namespace.collection_value)
        check(mk_bson_bool(out, "ordered", 7, True))
        if self.extras is not None:
            write_document_elements(out, self.extras, self.context)
        return 0

    cdef int write_sections(self, mk_buffer *out, const Limits *limits) except -1:
        cdef Py_ssize_t section = begin_section(out, b"deletes" if self.is_delete else b"updates")
        cdef size_t start = out.size
        if self.unacknowledged:
            check_needs(unanswered_needs(self.statement, self.is_delete), limits)
        write_document(out, self.statement, self.context, False, False)
        if out.size - start > <size_t>limits.max_bson_size + COMMAND_RESERVE:
            raise too_large(out.size - start, limits, "")
        end_section(out, section)
        return WHOLE

    cdef object read(self, CommandReply *reply):
        cdef dict answer = decode_written(reply, self.context)
        if reply.fields.has_write_errors:
            raise_first_error(answer)
        if self.is_delete:
            return DeleteResult(answer, True)
        return UpdateResult.of_reply(answer)

    cdef object unacknowledged_result(self):
        return DeleteResult(None, False) if self.is_delete else UpdateResult(None, False)
