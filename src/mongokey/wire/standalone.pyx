# cython: boundscheck=False, wraparound=False, binding=True
"""The Python face of the wire protocol: whole messages from documents, and back.

It knows the codec and the framing of `_message`. It must not know sockets; the driver's own
path does not come through here, it frames straight into a connection's buffer.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, uint8_t, uint32_t

from mongokey._support.cdefs cimport mk_buffer, mk_buffer_free, mk_buffer_init, mk_load_i32
from mongokey.bson.codec cimport CodecContext, context_of, read_document, write_document
from mongokey.wire cimport framing as wire

from mongokey.errors import ProtocolError
from mongokey.wire.message import Message

HEADER_SIZE = wire.MK_HEADER_SIZE
OP_REPLY = wire.MK_OP_REPLY
OP_QUERY = wire.MK_OP_QUERY
OP_COMPRESSED = wire.MK_OP_COMPRESSED
OP_MSG = wire.MK_OP_MSG
CHECKSUM_PRESENT = wire.MK_CHECKSUM_PRESENT
MORE_TO_COME = wire.MK_MORE_TO_COME
EXHAUST_ALLOWED = wire.MK_EXHAUST_ALLOWED
SECONDARY_OK = wire.MK_QUERY_SECONDARY_OK
QUERY_FAILURE = wire.MK_REPLY_QUERY_FAILURE

# What holds until a server's hello gives its own maxMessageSizeBytes.
cdef enum:
    DEFAULT_MAX_MESSAGE_SIZE = 48000000

cdef tuple _HELLO_NAMES = ("isMaster", "ismaster", "hello")


def next_request_id():
    """The next request id of this process: 1 to 2**31 - 1, then 1 again."""
    return wire.next_request_id()


def crc32c(data, uint32_t value=0):
    """The CRC-32C of `data`; `value` is the checksum of what came before it."""
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return wire.mk_crc32c(value, <const uint8_t *>view.buf, <size_t>view.len)
    finally:
        PyBuffer_Release(&view)


def message_length(
    header, size_t max_message_size=DEFAULT_MAX_MESSAGE_SIZE, *, bint compressed=False
):
    """The length in bytes of the message that starts with `header` (16 bytes or more)."""
    cdef Py_buffer view
    PyObject_GetBuffer(header, &view, PyBUF_SIMPLE)
    try:
        return _length(&view, max_message_size, compressed)
    finally:
        PyBuffer_Release(&view)


cdef int32_t _length(
    const Py_buffer *view, size_t max_message_size, bint compressed
) except -1:
    if view.len < wire.MK_HEADER_SIZE:
        raise ProtocolError(
            f"invalid wire message at byte 0: {view.len} bytes are shorter than the 16-byte header"
        )
    return wire.check_header(<const uint8_t *>view.buf, max_message_size, compressed)


def encode_message(
    command,
    *,
    request_id=None,
    int32_t response_to=0,
    sections=None,
    uint32_t flags=0,
    bint checksum=False,
    size_t max_message_size=DEFAULT_MAX_MESSAGE_SIZE,
    codec_options=None,
    compression=None,
):
    """One OP_MSG with `command` as its body and `sections` as its kind-1 sections."""
    cdef CodecContext context = context_of(codec_options)
    cdef int32_t id_ = wire.next_request_id() if request_id is None else request_id
    cdef mk_buffer out
    cdef Py_ssize_t start, section
    cdef bytes name
    if checksum:
        flags |= wire.MK_CHECKSUM_PRESENT
    mk_buffer_init(&out)
    try:
        start = wire.begin_message(&out, id_, flags, response_to)
        write_document(&out, command, context, False, True)
        for identifier, documents in (sections or {}).items():
            name = identifier.encode()
            if b"\0" in name:
                raise ValueError(f"a section's identifier has a zero character: {identifier!r}")
            section = wire.begin_section(&out, name)
            for document in documents:
                write_document(&out, document, context, False, True)
            wire.end_section(&out, section)
        wire.end_message(&out, start, max_message_size)
        message = PyBytes_FromStringAndSize(<char *>out.data, <Py_ssize_t>out.size)
    finally:
        mk_buffer_free(&out)
    if compression is None or not compression.allows(next(iter(command), "")):
        return message
    return _compressed(message, compression)


cdef bytes _compressed(bytes message, compression):
    """The OP_COMPRESSED of a message."""
    compressor, data = compression.compress(message[wire.MK_HEADER_SIZE:])
    size = wire.MK_HEADER_SIZE + wire.MK_COMPRESSED_HEAD + len(data)
    return b"".join((
        size.to_bytes(4, "little"),
        message[4:12],
        wire.MK_OP_COMPRESSED.to_bytes(4, "little"),
        message[12:16],
        (len(message) - wire.MK_HEADER_SIZE).to_bytes(4, "little"),
        bytes((compressor,)),
        data,
    ))


cdef bytes _inflated(bytes message, size_t max_message_size, compression):
    """The message in an OP_COMPRESSED."""
    cdef wire.mk_compressed found
    wire.parse_compressed(
        <const uint8_t *>PyBytes_AS_STRING(message), <size_t>len(message), max_message_size, &found
    )
    plain = compression.inflate(
        found.compressor,
        PyBytes_FromStringAndSize(<const char *>found.data, <Py_ssize_t>found.data_size),
        found.size,
    )
    return b"".join((
        (wire.MK_HEADER_SIZE + len(plain)).to_bytes(4, "little"),
        message[4:12],
        message[16:20],
        plain,
    ))


def encode_legacy_hello(command, request_id=None):
    """The OP_QUERY on ``admin.$cmd`` that carries the legacy hello `command`."""
    cdef CodecContext context = context_of(None)
    cdef int32_t id_ = wire.next_request_id() if request_id is None else request_id
    cdef mk_buffer out
    cdef Py_ssize_t start
    name = next(iter(command), None)
    if name not in _HELLO_NAMES:
        raise ValueError(f"only a hello is sent as OP_QUERY, and {name!r} is none: use OP_MSG")
    mk_buffer_init(&out)
    try:
        start = wire.begin_legacy_query(&out, id_)
        write_document(&out, command, context, False, True)
        wire.end_message(&out, start, DEFAULT_MAX_MESSAGE_SIZE)
        return PyBytes_FromStringAndSize(<char *>out.data, <Py_ssize_t>out.size)
    finally:
        mk_buffer_free(&out)


def decode_message(
    data,
    *,
    response_to=None,
    size_t max_message_size=DEFAULT_MAX_MESSAGE_SIZE,
    codec_options=None,
    compression=None,
):
    """The one complete message in `data`: a reply (OP_MSG, OP_REPLY) or a request."""
    cdef CodecContext context = context_of(codec_options)
    cdef Py_buffer view
    cdef bytes message
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        _length(&view, max_message_size, compression is not None)
        # Document classes and type decoders run between the check of a length and its use: they
        # must not be able to change the message.
        if type(data) is bytes:
            message = data
        else:
            message = PyBytes_FromStringAndSize(<const char *>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)
    if mk_load_i32(PyBytes_AS_STRING(message) + 12) == wire.MK_OP_COMPRESSED:
        message = _inflated(message, max_message_size, compression)
    return _decode(
        <const uint8_t *>PyBytes_AS_STRING(message), <size_t>len(message), response_to, context
    )


def message_parts(bytes message not None):
    """What the OP_MSG `message` is made of, in BSON: its body, and its document sequences."""
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(message)
    cdef wire.mk_reply parsed
    cdef wire.mk_wire_error error
    cdef wire.mk_section section
    cdef size_t at = 0
    cdef list sections = []
    if wire.mk_parse_message(data, <size_t>len(message), &parsed, &error) != wire.MK_WIRE_OK:
        wire.raise_wire_error(&error)
    while wire.mk_next_section(&parsed, &at, &section):
        sections.append((
            _text(section.identifier, data),
            PyBytes_FromStringAndSize(
                <const char *>section.documents, <Py_ssize_t>section.documents_size
            ),
        ))
    body = PyBytes_FromStringAndSize(<const char *>parsed.body, <Py_ssize_t>parsed.body_size)
    return body, tuple(sections)


cdef object _decode(const uint8_t *data, size_t size, response_to, CodecContext context):
    cdef wire.mk_reply reply
    cdef wire.mk_wire_error error
    cdef int32_t expected
    if response_to is not None:
        expected = response_to
        wire.parse_reply(data, size, expected, &reply)
    elif wire.mk_parse_message(data, size, &reply, &error) != wire.MK_WIRE_OK:
        wire.raise_wire_error(&error)
    return Message(
        reply.request_id,
        reply.response_to,
        reply.opcode,
        reply.flags,
        read_document(reply.body, reply.body_size, context),
        _read_sections(data, &reply, context),
        _text(reply.collection, data) if reply.collection != NULL else None,
    )


cdef dict _read_sections(
    const uint8_t *data, const wire.mk_reply *reply, CodecContext context
):
    cdef dict found = {}
    cdef list documents
    cdef wire.mk_section section
    cdef size_t at = 0, offset
    cdef int32_t length
    while wire.mk_next_section(reply, &at, &section):
        identifier = _text(section.identifier, data)
        if identifier in found:
            raise ProtocolError(f"invalid wire message: two sections named {identifier!r}")
        documents = []
        offset = 0
        while offset < section.documents_size:
            length = mk_load_i32(section.documents + offset)
            documents.append(read_document(section.documents + offset, length, context))
            offset += <size_t>length
        found[identifier] = documents
    return found


cdef str _text(const char *name, const uint8_t *message):
    """A zero-terminated name of the message as text; an error says where it is."""
    cdef bytes raw = name
    try:
        return PyUnicode_DecodeUTF8(name, len(raw), NULL)
    except UnicodeDecodeError as error:
        raise ProtocolError(
            f"invalid wire message at byte {<const uint8_t *>name - message + error.start}: "
            "a name is not UTF-8"
        ) from None
