# cython: language_level=3, boundscheck=False, wraparound=False
"""Operations: what is asked of a server, and what its reply means.

An operation knows how its command is written, given the limits of a connection, how the reply is
read, where it may be sent and whether it may be sent again. It must not know servers, connections,
sessions or attempts (`execution.execution` does), nor may this module know single commands.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport INT32_MAX, int32_t
from libc.string cimport memcpy, memmove

from mongokey._support.cdefs cimport (
    MK_NO_MEMORY,
    MK_TOO_LARGE,
    mk_buffer,
    mk_store_i32,
)
from mongokey.bson.codec cimport CodecContext, context_of, read_document, write_document

from mongokey.wire.message_buffer import LENIENT
from mongokey.errors import DocumentTooLarge, InvalidBSON, ProtocolError

cdef CodecContext _lenient = context_of(LENIENT)
cdef CodecContext _default = context_of(None)


cdef int raise_code(int rc) except -1:
    if rc == MK_NO_MEMORY:
        raise MemoryError("no memory for a message")
    if rc == MK_TOO_LARGE:
        raise DocumentTooLarge("the message would be larger than 2 GiB")
    if rc == MK_CURSOR_ID_INVALID:
        raise ProtocolError("the id of the server's cursor is no whole number")
    raise InvalidBSON("the server's reply is not a valid BSON document")


cdef int write_document_elements(mk_buffer *out, object document, object context) except -1:
    """Append the elements of `document` to a document under construction."""
    cdef size_t start = out.size
    cdef size_t size
    write_document(out, document, <CodecContext>context, False, False)
    # Take off the length in front and the NUL behind.
    size = out.size - start - 5
    memmove(out.data + start, out.data + start + 4, size)
    out.size = start + size
    return 0


cdef CodecContext envelope_of(CodecContext context):
    """What reads the fields that the server puts around documents of `context`.

    The values in them, a duplicate key for one, are of the UUID representation and time zone that
    `context` has. Its document class, type decoders and error handler are for documents only.
    """
    if context is _default:
        return _lenient
    attributes = context.options.__dict__
    found = attributes.get("_envelope")
    if found is None:
        found = attributes["_envelope"] = context_of(
            context.options.with_options(
                document_class=dict,
                type_registry=None,
                unicode_decode_error_handler=LENIENT.unicode_decode_error_handler,
                datetime_conversion=LENIENT.datetime_conversion,
            )
        )
    return <CodecContext?>found


cdef dict decode_reply(CommandReply *reply, CodecContext context):
    if context is None:
        context = _default
    try:
        return <dict>read_document(reply.body, reply.size, envelope_of(context))
    except InvalidBSON:
        if context is _default:
            raise
        # A value that the user's options cannot read, such as a UUID of 3 bytes.
        return decode_reply(reply, _default)


cdef bytes string_value(bytes encoded):
    """A BSON string: its length, the UTF-8 in `encoded`, a NUL."""
    cdef Py_ssize_t size = len(encoded)
    cdef bytes made
    cdef char *p
    if size >= INT32_MAX:
        raise OverflowError(f"a name of {size} bytes is too long for BSON")
    made = PyBytes_FromStringAndSize(NULL, size + 5)
    p = PyBytes_AS_STRING(made)
    mk_store_i32(p, <int32_t>(size + 1))
    # With the NUL that is behind all bytes objects.
    memcpy(p + 4, PyBytes_AS_STRING(encoded), size + 1)
    return made


cdef class Namespace:
    """The database `database`, or the collection `collection` in it."""

    def __init__(self, str database not None, str collection=None):
        self.database = database
        self.collection = collection
        self.db_element = b"\x02$db\0" + string_value(database.encode())
        if collection is not None:
            self.collection_value = string_value(collection.encode())

    cdef Namespace of_collection(self, str collection):
        """The collection `collection` of the same database."""
        cdef Namespace made = Namespace.__new__(Namespace)
        made.database = self.database
        made.db_element = self.db_element
        made.collection = collection
        made.collection_value = string_value(collection.encode())
        return made


cdef class Operation:
    """Base of all operations."""

    cdef str command_name(self):
        raise NotImplementedError(type(self).__name__)

    cdef int write(self, mk_buffer *out, const Limits *limits) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int set_read_concern_apart(self) except -1:
        return 0

    cdef int write_sections(self, mk_buffer *out, const Limits *limits) except -1:
        return WHOLE

    cdef object read(self, CommandReply *reply):
        raise NotImplementedError(type(self).__name__)

    cdef Namespace cursor_namespace(self, CommandReply *reply):
        return self.namespace

    cdef bint allows(self, dict answer) except -1:
        return False

    cdef object allowed_reply(self, CommandReply *reply, dict answer):
        return answer

    cdef object unacknowledged_result(self):
        return None

    @property
    def name(self):
        """The command's name: "find", "insert"."""
        return self.command_name()
