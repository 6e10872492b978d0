# cython: language_level=3, boundscheck=False, wraparound=False
"""Batches of inserts, updates or deletes: as many messages as the server's limits ask for.

It knows these commands with many statements (crud specification, "Bulk Write"), how the replies
add up to one result, and what becomes of a statement that is too large to be sent. It must not
know arguments, nor how the batches of a bulk follow each other.
"""

cimport cython
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from mongokey._support.cdefs cimport mk_buffer, mk_buffer_append, mk_buffer_free, mk_buffer_init
from mongokey.bson.bson_c cimport mk_bson_bool
from mongokey.bson.codec cimport write_document
from mongokey.commands.crud cimport check_needs, decode_written, unanswered_needs
from mongokey.commands.inherited_options cimport InheritedOptions
from mongokey.execution.operation cimport (
    COMMAND_RESERVE,
    IN_PART,
    NOTHING,
    WHOLE,
    CommandReply,
    Limits,
    Namespace,
    Operation,
    check,
    put,
    write_document_elements,
)
from mongokey.wire.framing cimport begin_section, end_section

from mongokey._support.server_codes import RETRYABLE_CODES
from mongokey._support.server_errors import (
    concern_error_of,
    documents_in,
    number_in,
    raise_write_concern_error,
)
from mongokey.commands import arguments
from mongokey.errors import DocumentTooLarge, OperationFailure, labels_in

# src/mongo/base/error_codes.yml: BSONObjectTooLarge.
cdef int TOO_LARGE = 10334

cdef enum:
    # So much is written at a time where others share the thread: about a millisecond's work.
    PART_BYTES = 524288
    PART_STATEMENTS = 4096

# The section of OP_MSG that holds a command's statements.
cdef dict SECTIONS = {"insert": b"documents", "update": b"updates", "delete": b"deletes"}


def new_result():
    """A result without any count, in the form of `BulkWriteError.details`."""
    return {
        "writeErrors": [],
        "writeConcernErrors": [],
        "nInserted": 0,
        "nUpserted": 0,
        "nMatched": 0,
        "nModified": 0,
        "nRemoved": 0,
        "upserted": [],
    }


# The statement of an error, as PyMongo tells it: an update of one document says so.
cdef object _as_told(object statement, bytes command):
    if command == b"update" and isinstance(statement, dict) and "multi" not in statement:
        return {**statement, "multi": False}
    return statement


@cython.final
cdef class EncodedStatements:
    """Statements of one `Run` that were encoded before anything was sent, the first of them."""

    def __cinit__(self):
        mk_buffer_init(&self.bytes)

    def __dealloc__(self):
        mk_buffer_free(&self.bytes)
        free(self.ends)

    @property
    def size(self):
        """How many bytes are kept."""
        return self.bytes.size


def encode_statements(run not None, InheritedOptions options not None, Py_ssize_t room):
    """Encode the next statements of `run`, and raise what that raises; as many of them as have room
    in so many bytes are kept, in `run.encoded`. Returns whether there are more."""
    cdef EncodedStatements encoded = run.encoded
    cdef list statements = run.statements
    cdef bint inserts = run.command == "insert"
    cdef Py_ssize_t index, stop
    cdef size_t before, written = 0
    if encoded is None:
        encoded = EncodedStatements.__new__(EncodedStatements)
        encoded.ends = <size_t *>malloc(max(len(statements), 1) * sizeof(size_t))
        if encoded.ends == NULL:
            raise MemoryError
        encoded.total = len(statements)
        run.encoded = encoded
    index = encoded.seen
    stop = min(encoded.total, index + PART_STATEMENTS)
    while index < stop and written < PART_BYTES:
        before = encoded.bytes.size
        write_document(&encoded.bytes, statements[index], options.context, False, inserts)
        written += encoded.bytes.size - before
        # Only the first ones are kept.
        if encoded.count == index and encoded.bytes.size <= <size_t>max(room, 0):
            encoded.ends[index] = encoded.bytes.size
            encoded.count = index + 1
        else:
            encoded.bytes.size = before
        index += 1
    encoded.seen = index
    return index < encoded.total


def unanswered_needs_of(list groups not None, bypass_document_validation):
    """What an unacknowledged bulk needs of the server, see `unanswered_needs`; raises for what it
    cannot have at all."""
    cdef tuple needs = None
    if bypass_document_validation:
        # PyMongo's class for it.
        raise OperationFailure(
            "bypass_document_validation cannot be used in an unacknowledged bulk (w=0)"
        )
    for run in groups:
        if run.command == "insert":
            continue
        for statement in run.statements:
            arguments.refuse_unacknowledged(statement, "collation", "arrayFilters")
            needed = unanswered_needs(statement, run.command == "delete")
            if needed is not None and (needs is None or needed > needs):
                needs = needed
    return needs


cdef class Batch(Operation):
    """Statements of one kind. Each time it is carried out it is one message, with as many of the
    statements that are left as the server takes; `more` says whether some are left after that.

    The result is `result`, a dict of counts and errors in the form of
    `BulkWriteError.details`; errors of single statements do not raise here.

    A statement that is larger than the server takes is not sent: its error stands in the result,
    as if the server had refused it, and the others are sent around it.
    """

    def __init__(
        self,
        Namespace namespace not None,
        InheritedOptions options not None,
        run not None,
        bint ordered,
        dict extras,
        *,
        dict result not None,
        list refusals not None,
        tuple needs=None,
        bint last=True,
        int64_t operation_id=0,
    ):
        self.namespace = namespace
        self.context = options.context
        self.command = run.command.encode()
        self.section = SECTIONS[run.command]
        self.statements = run.statements
        # Not kept for longer than it is of use.
        self.encoded, run.encoded = run.encoded, None
        self.indexes = run.indexes
        self.ordered = ordered
        self.extras = extras
        self.result = result
        self.refusals = refusals
        self.writes = True
        self.write_concern = self.wanted_concern = options.write_concern_element
        self.unacknowledged = options.unacknowledged
        # retryable-writes: the server cannot repeat a statement on many documents.
        self.retryable_write = not (options.unacknowledged or run.multi)
        self.needs = needs
        self.stops = options.unacknowledged and ordered
        self.last = last
        self.operation_id = operation_id
        self.begin()

    cdef str command_name(self):
        return self.command.decode()

    cdef int begin(self) except -1:
        """Decide, before each message, whether it is to be answered."""
        if self.stops:
            # Only behind a last statement there is nothing that an error would have to stop.
            self.unacknowledged = self.last and self.start == len(self.statements) - 1
            self.write_concern = self.wanted_concern if self.unacknowledged else None
        return 0

    cdef int write(self, mk_buffer *out, const Limits *limits) except -1:
        check_needs(self.needs, limits)
        self.section_start = 0
        check(mk_buffer_append(out, b"\x02", 1))
        check(mk_buffer_append(out, <const char *>self.command, len(self.command) + 1))
        put(out, self.namespace.collection_value)
        check(mk_bson_bool(out, "ordered", 7, self.ordered))
        if self.extras is not None:
            write_document_elements(out, self.extras, self.context)
        return 0

    cdef int write_sections(self, mk_buffer *out, const Limits *limits) except -1:
        cdef Py_ssize_t section = self.section_start
        cdef Py_ssize_t index, stop
        cdef bint rest = False
        cdef size_t full = limits.batch_size
        cdef bint inserts = self.command == b"insert"
        cdef bint encoded = self.encoded is not None
        cdef list statements = self.statements
        cdef size_t before
        cdef size_t most = <size_t>limits.max_bson_size + (0 if inserts else COMMAND_RESERVE)
        if section == 0:
            section = begin_section(out, <const char *>self.section)
            self.end = self.start
            self.refusal = None
            if out.size > limits.max_message_size:
                raise DocumentTooLarge(
                    f"the command has {out.size} bytes without its statements; the server accepts "
                    f"messages of at most {limits.max_message_size} (maxMessageSizeBytes)"
                )
        self.section_start = 0
        index = self.end
        stop = self._most(limits)
        if limits.in_parts:
            stop = min(stop, index + PART_STATEMENTS)
            full = min(full, out.size + PART_BYTES)
        while index < stop:
            before = out.size
            if encoded:
                self.put_statement(out, index, inserts)
            else:
                write_document(out, statements[index], self.context, False, inserts)
            if out.size - before <= most:
                if out.size <= full:
                    index += 1
                    continue
                if out.size <= limits.batch_size:
                    index += 1
                    rest = True  # it is the part that is full
                    break
                if index > self.start:
                    out.size = before  # it opens the next message
                    break
                if out.size <= limits.max_message_size:
                    index += 1  # it is a batch of its own
                    break
            error = self._too_large(out.size - before, index, limits)
            out.size = before
            if index > self.start:
                self.refusal = error  # noted when those before it are answered
                break
            self._refuse(index, error)
            index += 1
            self.start = index
            if self.ordered:
                break
            if not limits.in_parts:
                stop = self._most(limits)
        else:
            rest = limits.in_parts
        self.end = index
        if rest and index < self._most(limits):
            self.section_start = section
            return IN_PART
        end_section(out, section)
        return WHOLE if index > self.start else NOTHING

    cdef Py_ssize_t _most(self, const Limits *limits) except -1:
        """How many of the statements the message may hold at most, and those before it."""
        return min(<Py_ssize_t>len(self.statements), self.start + limits.max_write_batch_size)

    cdef int put_statement(self, mk_buffer *out, Py_ssize_t index, bint inserts) except -1:
        cdef EncodedStatements encoded = self.encoded
        cdef size_t start
        if encoded is None or index >= encoded.count:
            write_document(out, self.statements[index], self.context, False, inserts)
            return 0
        start = encoded.ends[index - 1] if index else 0
        check(mk_buffer_append(out, encoded.bytes.data + start, encoded.ends[index] - start))
        return 0

    cdef object read(self, CommandReply *reply):
        self.unsettled = None
        if self.command == b"insert" and not reply.fields.has_write_errors:
            self.result["nInserted"] += reply.fields.n
            return self.unacknowledged_result()
        answer = decode_written(reply, self.context)
        if reply.may_retry:
            error = concern_error_of(answer)
            if error is not None and (
                "RetryableWriteError" in labels_in(answer)
                # Servers that old do not label their errors.
                or (reply.max_wire_version < 9 and error.get("code") in RETRYABLE_CODES)
            ):
                # The batch is sent again; if that fails, this is what is known of it.
                self.unsettled = answer, reply.fields.n
                raise_write_concern_error(error)
        self._note(answer, reply.fields.n)
        return self.unacknowledged_result()

    cdef object unacknowledged_result(self):
        self.start = self.end
        if self.refusal is not None and not (self.ordered and self.result["writeErrors"]):
            self._refuse(self.end, self.refusal)
            self.start += 1
        self.more = self.start < len(self.statements) and not (
            self.ordered and self.result["writeErrors"]
        )
        self.begin()
        return self.result

    cpdef int note_unsettled(self) except -1:
        """Count what the reply said whose batch could not be repeated, when a failure ends all."""
        if self.unsettled is not None:
            answer, n = self.unsettled
            self.unsettled = None
            self._note(answer, n)
        return 0

    cdef int _note(self, dict answer, n) except -1:
        """Add one reply's counts and errors to the result, with indexes of the whole."""
        cdef dict result = self.result
        for error in documents_in(answer, "writeErrors"):
            index = number_in(error, "index") + self.start
            if 0 <= index < len(self.statements):
                error["op"] = _as_told(self.statements[index], self.command)
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

    cdef object _too_large(self, size_t size, Py_ssize_t index, const Limits *limits):
        return DocumentTooLarge(
            f"the {self.command.decode()} at index {self._index(index)} has {size} bytes; the "
            f"server takes documents of at most {limits.max_bson_size} bytes "
            f"(maxBsonObjectSize) in messages of at most {limits.max_message_size} "
            f"(maxMessageSizeBytes)"
        )

    cdef int _refuse(self, Py_ssize_t index, error) except -1:
        """Note a statement that cannot be sent as the server would have: it is the same fault."""
        self.refusals.append(error)
        self.result["writeErrors"].append(
            {
                "index": self._index(index),
                "code": TOO_LARGE,
                "errmsg": str(error),
                "op": _as_told(self.statements[index], self.command),
            }
        )
        return 0

    cdef Py_ssize_t _index(self, Py_ssize_t statement) except -1:
        if not 0 <= statement < len(self.indexes):
            return statement if statement >= 0 else 0
        return self.indexes[statement]
