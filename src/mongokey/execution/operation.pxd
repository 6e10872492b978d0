# What an operation is: a request. It says which bytes to send and what the reply means, and knows
# no server, connection, session or attempt; Execution carries it out.
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from mongokey._support.cdefs cimport mk_buffer, mk_buffer_append
from mongokey.bson.codec cimport CodecContext
from mongokey.topology.selected_servers cimport ServerCriteria


cdef extern from "mongokey/reply.h" nogil:
    ctypedef struct mk_command_reply:
        int ok
        int has_write_errors
        int has_error_labels
        int64_t n
        const uint8_t *cursor
        size_t cursor_size
        const uint8_t *cluster_time
        size_t cluster_time_size
        uint64_t cluster_timestamp

    ctypedef struct mk_cursor_reply:
        int64_t id
        const uint8_t *ns
        size_t ns_size
        const uint8_t *batch
        size_t batch_size

    int MK_CURSOR_ID_INVALID
    int mk_read_command_reply(const uint8_t *doc, size_t size, mk_command_reply *out)
    int mk_read_cursor_reply(const uint8_t *doc, size_t size, mk_cursor_reply *out)


cdef enum:
    # A command may hold a document of full size beside its own fields; so much do servers allow.
    COMMAND_RESERVE = 16 * 1024


# What the server of a connection accepts.
ctypedef struct Limits:
    size_t max_message_size                 # bytes of a message
    int32_t max_bson_size                   # bytes of a document
    int32_t max_write_batch_size            # statements of a write command
    int32_t max_wire_version
    bint in_parts                           # a large message may be written in parts, see Written
    # Bytes at which a batch of several statements is full: the message, or less if it is encrypted.
    size_t batch_size


# What a command says of time where the operation has a deadline.
cdef enum MaxTime:
    AS_LEFT = 0                             # `maxTimeMS`: what is left, less a round trip
    NO_MAX_TIME                             # nothing: it would limit the getMores to come
    AS_GIVEN                                # of a getMore: no more than its own, if it has one


# What has been written of a message: nothing, as nothing is to be sent; all of it; or a part, after
# which others have a turn before the rest is asked for.
cdef enum Written:
    NOTHING = 0
    WHOLE = 1
    IN_PART = 2


# A reply, and what `Operation.read` finds in it besides its result.
ctypedef struct CommandReply:
    const uint8_t *body                     # the reply's document
    size_t size
    mk_command_reply fields
    int32_t max_wire_version                # of the server
    bint may_retry                          # an error worth it has the command sent once more
    bint in_parts                           # a large batch may be left encoded: others have a turn
    # Set by `read`: the cursor that is open on the server after this reply, if its id is not 0.
    bint has_cursor
    mk_cursor_reply cursor


cdef class Namespace:
    # A database, or a collection in it, with the bytes that name it in commands.
    cdef readonly str database
    cdef readonly str collection            # None for a database
    cdef bytes db_element                   # the element `$db`
    cdef bytes collection_value             # the collection's name as a BSON string value

    cdef Namespace of_collection(self, str collection)


cdef class Operation:
    cdef Namespace namespace
    # Where it may go, with what the command says of it; None: to the primary.
    cdef ServerCriteria criteria
    # Elements that are appended to the command; None: nothing.
    cdef bytes read_concern
    cdef bytes write_concern
    cdef bint own_api                       # the command declares a stable API itself
    cdef public int64_t operation_id        # for events: the same at each attempt; 0: none yet
    cdef bint own_read_preference           # it has `$readPreference` itself
    cdef bint generic                       # a user's own command: sessions do not compose it
    # Kinds of operation.
    cdef bint retryable_read
    cdef bint retryable_write
    cdef bint writes                        # it goes to a primary only
    cdef bint unacknowledged                # no reply is asked for
    cdef public bint sessionless            # no lsid at all
    # The server may send one batch after the other (exhaust): the cursor keeps its connection.
    cdef bint exhaust
    cdef bint allows_errors                 # an error reply may be a result: ask `allows`
    cdef object allowed_errors              # codes and messages, None: all
    cdef MaxTime max_time
    # Its cursor has no end: timeoutMS is for each of its batches, and not for all of them.
    cdef public bint tailable

    # The command's name, as in its first field.
    cdef str command_name(self)
    # Appends the command's elements, without `lsid`, `$db` and kin, to an open document.
    cdef int write(self, mk_buffer *out, const Limits *limits) except -1
    # For sessions, which compose it: a read concern among its elements becomes `read_concern`.
    cdef int set_read_concern_apart(self) except -1
    # Appends kind-1 sections behind the body; what it has `Written`. After IN_PART it is to be
    # called once more, with the same buffer.
    cdef int write_sections(self, mk_buffer *out, const Limits *limits) except -1
    # What the reply means: the result. Raises the server's error.
    cdef object read(self, CommandReply *reply)
    # Where the cursor is to be continued that `read` found.
    cdef Namespace cursor_namespace(self, CommandReply *reply)
    # Whether an error reply is a result; `answer` is how the driver read it.
    cdef bint allows(self, dict answer) except -1
    cdef object allowed_reply(self, CommandReply *reply, dict answer)
    # The result where no reply is asked for.
    cdef object unacknowledged_result(self)


# Raises what a code of buffer.h or bson.h means.
cdef int raise_code(int rc) except -1


cdef inline int check(int rc) except -1:
    return rc if rc >= 0 else raise_code(rc)


# Appends bytes as they are.
cdef inline int put(mk_buffer *out, bytes data) except -1:
    return check(mk_buffer_append(out, PyBytes_AS_STRING(data), len(data)))


cdef int write_document_elements(mk_buffer *out, object document, object context) except -1
cdef CodecContext envelope_of(CodecContext context)
# The whole reply, read as the envelope of documents of `context`, or (None) of the default ones.
cdef dict decode_reply(CommandReply *reply, CodecContext context)
