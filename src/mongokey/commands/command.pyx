# cython: language_level=3, boundscheck=False, wraparound=False
"""Commands given as documents: everything that is not on the hot path.

`Command` sends any document and hands its decoded reply to a function. It must not know what the
single commands mean to a collection.
"""

from libc.stdint cimport int64_t

from mongokey._support.cdefs cimport MK_OK, mk_buffer
from mongokey.bson.bson_c cimport (
    MK_BSON_ARRAY,
    MK_BSON_DOCUMENT,
    MK_BSON_NOT_FOUND,
    MK_BSON_NULL,
    mk_bson_find,
    mk_bson_iter,
)
from mongokey.bson.codec cimport context_of, read_array, read_document
from mongokey.commands.crud cimport check_needs, raise_first_error, read_batch
from mongokey.commands.inherited_options cimport InheritedOptions, criteria_of
from mongokey.execution.cursors cimport CursorBatch
from mongokey.execution.operation cimport (
    NO_MAX_TIME,
    CommandReply,
    Limits,
    Namespace,
    Operation,
    ServerCriteria,
    check,
    decode_reply,
    envelope_of,
    mk_cursor_reply,
    mk_read_cursor_reply,
    write_document_elements,
)

from collections.abc import Mapping

from mongokey.commands import arguments
from mongokey.errors import ConfigurationError, InvalidBSON, InvalidOperation, ProtocolError
from mongokey.execution.time_limits import check_await_time, is_by_iteration
from mongokey.write_concern import WriteConcern

# What the execution sets itself, whatever the user gave: it would stand there twice.
cdef tuple RESERVED = ("$db", "$clusterTime", "lsid")


cdef class Command(Operation):
    """One command document; the result is the reply, a dict, or what `parse` makes of it."""

    def __init__(
        self,
        Namespace namespace not None,
        document,
        *,
        parse=None,
        options=None,
        bint retryable_read=False,
        bint retryable_write=False,
        bint check_write_concern=False,
    ):
        self.namespace = namespace
        self.context = context_of(options)
        self.reply_context = envelope_of(self.context)
        self.set_document(document)
        self.parse = parse
        self.retryable_read = retryable_read
        self.retryable_write = retryable_write
        self.check_write_concern = check_write_concern

    cdef str command_name(self):
        return str(next(iter(self.document)))

    cdef int set_document(self, object document) except -1:
        self.document = document
        if len(document) == 1:
            return 0  # only the command's name, as in {"ping": 1}
        for name in RESERVED:
            if name in document:
                self.document = {k: v for k, v in document.items() if k not in RESERVED}
                break
        self.own_api = "apiVersion" in document
        if "$readPreference" in document:
            self.own_read_preference = True
        return 0

    cdef int set_elements(
        self, ServerCriteria criteria, bytes read_concern, bytes write_concern
    ) except -1:
        # What the document has itself goes before what is inherited: one field in the bytes.
        if criteria is not None and not self.own_read_preference:
            self.criteria = criteria
        if read_concern is not None and "readConcern" not in self.document:
            self.read_concern = read_concern
        if write_concern is not None and "writeConcern" not in self.document:
            self.write_concern = write_concern
        return 0

    cdef int set_read_concern_apart(self) except -1:
        cdef bytes encoded
        if "readConcern" in self.document:
            from mongokey.bson import encode

            concern = self.document["readConcern"]
            self.document = {k: v for k, v in self.document.items() if k != "readConcern"}
            encoded = encode({"readConcern": concern})
            # The element alone: without the document's length and its last NUL.
            self.read_concern = encoded[4:len(encoded) - 1]
        return 0

    def for_reading(self, InheritedOptions options not None):
        """Have it read by `options`, and be tried again; returns self."""
        self.retryable_read = True
        self.set_elements(options.criteria, options.read_concern_element, None)
        return self

    def for_writing(self, InheritedOptions options not None):
        """Have it write with the write concern of `options`, or its own; returns self.

        No answer is asked for with w=0. Raises ConfigurationError for what nobody would then learn
        that the server refused.
        """
        self.writes = True
        self.check_write_concern = True
        self.set_elements(None, None, options.write_concern_element)
        own = self.document.get("writeConcern")
        unacknowledged = options.unacknowledged
        if own is not None:
            unacknowledged = isinstance(own, Mapping) and own.get("w") == 0
        if unacknowledged:
            self._ask_no_answer()
        return self

    cdef int _ask_no_answer(self) except -1:
        arguments.refuse_unacknowledged(self.document, "collation")
        self.unacknowledged = True

    cdef object unacknowledged_result(self):
        return {"ok": 1}  # as PyMongo

    def for_ending_transaction(self):
        """Have it go to a primary, and raise where its write concern was not met; returns self."""
        self.writes = self.check_write_concern = True
        return self

    def without_answer(self, tuple needs=None):
        """Have no answer be asked for: an unacknowledged write, whose result is None.

        `needs` is what `check_needs` checks, or None.
        """
        self.unacknowledged = True
        self.needs = needs

    def needing(self, int wire_version, str otherwise not None):
        """Have it refused, with what `otherwise` says, by older servers; returns self."""
        self.needs = (wire_version, otherwise)
        return self

    def reading_by(self, preference):
        """Have it sent with a read preference, None for none; returns self."""
        if preference is not None:
            self.set_elements(criteria_of(preference), None, None)
        return self

    def allow_errors(self, errors):
        """Return, and do not raise, the server's errors: those whose code or, for want of one,
        message is in `errors`; all of them if that is None."""
        self.allows_errors = True
        self.allowed_errors = errors

    cdef bint allows(self, dict answer) except -1:
        if self.allowed_errors is None:
            return True
        code = answer.get("code")
        return (answer.get("errmsg") if code is None else code) in self.allowed_errors

    cdef object allowed_reply(self, CommandReply *reply, dict answer):
        try:
            return read_document(reply.body, reply.size, self.reply_context)
        except InvalidBSON:
            # The server's words do not have to fit the options of the user's documents.
            return answer

    cdef int write(self, mk_buffer *out, const Limits *limits) except -1:
        if self.needs is not None:
            check_needs(self.needs, limits)
        return write_document_elements(out, self.document, self.context)

    cdef int check_written(self, CommandReply *reply) except -1:
        if self.check_write_concern and reply.fields.has_write_errors:
            raise_first_error(decode_reply(reply, self.context))
        return 0

    cdef object read(self, CommandReply *reply):
        self.check_written(reply)
        result = read_document(reply.body, reply.size, self.reply_context)
        if self.parse is None:
            return result
        try:
            return self.parse(result)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ProtocolError(
                f"the server's reply to {self.command_name()!r} lacks what it should "
                f"have, or has it in another type: {error!r}"
            ) from error


cdef class FieldCommand(Command):
    """A command whose result is one field of the reply: with `array` the items of an array,
    otherwise a document, or None for none. The user's options read that, and nothing around it."""

    def __init__(
        self, Namespace namespace not None, document, bytes field not None, bint array, **kwargs
    ):
        Command.__init__(self, namespace, document, **kwargs)
        self.field = field
        self.array = array

    cdef object unacknowledged_result(self):
        return None

    cdef object read(self, CommandReply *reply):
        cdef mk_bson_iter it
        cdef int found
        self.check_written(reply)
        found = mk_bson_find(
            reply.body, reply.size, <const char *>self.field, len(self.field), &it
        )
        if found != MK_BSON_NOT_FOUND:
            check(found)
        if self.array:
            if found == MK_OK and it.type == MK_BSON_ARRAY:
                return read_array(it.value, it.value_size, self.context)
        elif found == MK_BSON_NOT_FOUND or it.type == MK_BSON_NULL:
            return None
        elif it.type == MK_BSON_DOCUMENT:
            return read_document(it.value, it.value_size, self.context)
        raise ProtocolError(
            f"the server's reply to {self.command_name()!r} has no "
            f"{'array' if self.array else 'document'} {self.field.decode()!r}"
        )


cdef class CursorCommand(Command):
    """A command whose reply opens a cursor: the result is a `CursorBatch`.

    `batch_size` and `get_more_extras` are for the getMores of that cursor. With `needs_cursor` a
    reply without one raises `InvalidOperation`.
    """

    def __init__(
        self,
        Namespace namespace not None,
        document,
        *,
        options=None,
        int64_t batch_size=0,
        dict get_more_extras=None,
        bint needs_cursor=False,
        bint retryable_read=False,
    ):
        Command.__init__(self, namespace, document, options=options, retryable_read=retryable_read)
        self.batch_size = batch_size
        self.get_more_extras = get_more_extras
        self.needs_cursor = needs_cursor

    def in_raw_batches(self):
        """Have the batches left as they are; returns self."""
        self.raw = True
        return self

    cdef bint is_endless(self) except -1:
        """Whether its cursor may have more at any time: a find of the user's own may be of a
        tailable one, an aggregation a stream of changes."""
        if self.document is None:
            return False  # it writes itself otherwise, as a client's bulk does
        pipeline = self.document.get("pipeline")
        if isinstance(pipeline, list) and pipeline and isinstance(pipeline[0], Mapping):
            return "$changeStream" in pipeline[0]
        return bool(self.document.get("tailable"))

    def in_time_of(self, executor, mode):
        """Have the timeoutMS of `executor`, if it has one, be for what `mode`, the user's
        `timeout_mode` or None, says; returns self."""
        endless = self.generic and self.is_endless()
        awaits = endless and bool(self.document.get("awaitData"))
        if is_by_iteration(executor, mode, endless=endless, writes=self.writes):
            self.tailable = True
            if not awaits:
                self.max_time = NO_MAX_TIME
        if self.get_more_extras is not None:
            check_await_time(executor, self.get_more_extras.get("maxTimeMS"))
        return self

    def for_aggregation(self, InheritedOptions options not None, bint writes):
        """Have it read by `options`, or also write ($out, $merge); returns self."""
        self.retryable_read = not writes
        self.writes = self.check_write_concern = writes
        self.set_elements(
            options.output_criteria if writes else options.criteria,
            options.read_concern_element,
            options.write_concern_element if writes else None,
        )
        if (
            writes
            and options.unacknowledged
            and "writeConcern" not in self.document
            and "explain" not in self.document
        ):
            self._ask_no_answer()
            # A secondary that does not take the write would not be heard.
            self.criteria = None
        return self

    cdef object unacknowledged_result(self):
        cdef CursorBatch result = CursorBatch.__new__(CursorBatch)
        result.documents = []
        return result

    cdef object read(self, CommandReply *reply):
        cdef mk_cursor_reply cursor
        cdef CursorBatch result = CursorBatch.__new__(CursorBatch)
        self.check_written(reply)
        if reply.fields.cursor == NULL:
            if self.needs_cursor:
                raise InvalidOperation("Command does not return a cursor.")
            result.documents = []  # $out with w=0
            if "explain" in self.document:
                result.documents.append(read_document(reply.body, reply.size, self.context))
            return result
        check(mk_read_cursor_reply(reply.fields.cursor, reply.fields.cursor_size, &cursor))
        reply.cursor = cursor
        if cursor.id != 0:
            self._collection_of(reply)
        reply.has_cursor = True
        if cursor.batch != NULL:
            read_batch(reply, result, self.context, self.raw)
        else:
            result.documents = []
        return result

    cdef Namespace cursor_namespace(self, CommandReply *reply):
        return Namespace(self.namespace.database, self._collection_of(reply))

    cdef str _collection_of(self, CommandReply *reply):
        """The collection that getMore is to be sent for: the server names it."""
        name, full = "", ""
        if reply.cursor.ns != NULL:
            full = (<const char *>reply.cursor.ns)[:reply.cursor.ns_size].decode("utf-8", "replace")
            name = full.partition(".")[2]
        if not name or "\0" in name:
            raise ProtocolError(
                f"the server's reply to {self.command_name()!r} has a cursor whose ns is "
                f"{full[:100]!r}, which is not database.collection: no more can be read from it"
            )
        return name


cdef object command_document(command, value, comment, dict options):
    """The document of a command given by its name and options, or whole."""
    if isinstance(command, str):
        if options and command in options:
            raise ConfigurationError(
                f"the option {command!r} cannot be given by keyword: it is the command's name, "
                f"whose value is {value!r}"
            )
        document = {command: value}
    else:
        arguments.check_mapping("command", command)
        if not command:
            raise ValueError("command must not be empty: its first key is the command's name")
        document = command
    if options or comment is not None:
        document = dict(document, **options)
        concern = options.get("write_concern")
        if isinstance(concern, WriteConcern):  # PyMongo takes it there, too
            del document["write_concern"]
            if not concern.is_server_default:
                document["writeConcern"] = concern.document
        if comment is not None:
            document["comment"] = comment
    return document


cdef Command user_command(
    Namespace namespace,
    command,
    value,
    check,
    allowable_errors,
    read_preference,
    codec_options,
    comment,
    dict options,
):
    cdef Command operation = Command.__new__(Command)
    operation.namespace = namespace
    # run-command: neither the database's codec options nor its read preference apply. The whole
    # reply is the caller's, and read by the caller's options.
    operation.context = operation.reply_context = context_of(codec_options)
    operation.generic = True
    operation.set_document(command_document(command, value, comment, options))
    if read_preference is not None:
        operation.set_elements(criteria_of(read_preference), None, None)
    if not check or allowable_errors is not None:
        operation.allow_errors(allowable_errors if check else None)
    return operation


def user_cursor_command(
    Namespace namespace not None,
    command,
    value,
    read_preference,
    codec_options,
    comment,
    max_await_time_ms,
    dict options not None,
):
    """A command of the user's whose reply has a cursor; one without raises `InvalidOperation`.

    `comment` goes with the getMores: the command's own stands in the command.
    """
    document = command_document(command, value, None, options)
    extras = {}
    if comment is not None:
        extras["comment"] = comment
    if max_await_time_ms is not None:
        extras["maxTimeMS"] = max_await_time_ms
    operation = CursorCommand(
        namespace,
        document,
        options=codec_options,
        get_more_extras=extras or None,
        needs_cursor=True,
    )
    (<Operation>operation).generic = True
    return operation.reading_by(read_preference)
