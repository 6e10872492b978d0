# cython: boundscheck=False, wraparound=False
"""Framing of wire messages: it writes OP_MSG and the legacy hello, and reads replies in place.

It knows the layout of the MongoDB wire protocol (OP_MSG specification) and the buffer it writes
into. It must not know BSON beyond a document's length, nor sockets, nor what commands mean.
"""

import os

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport strlen

from mongokey._support.cdefs cimport (
    MK_NO_MEMORY,
    MK_OK,
    mk_buffer,
    mk_buffer_append,
    mk_buffer_byte,
    mk_buffer_reserve,
    mk_load_i32,
    mk_load_u32,
    mk_store_i32,
    mk_store_u32,
)

from mongokey._support.fork import run_after_fork
from mongokey.errors import DocumentTooLarge, ProtocolError

cdef extern from *:
    """
    #define MK_QUERY_NAMESPACE "admin.$cmd"
    """
    const char *MK_QUERY_NAMESPACE

# Ids begin at random, so that nobody from outside knows which one a reply has to answer.
cdef int32_t _last_request_id = 0


@run_after_fork
def reset_after_fork():
    """Begin at another id; in a forked child too, or it would go on with its parent's."""
    global _last_request_id
    _last_request_id = int.from_bytes(os.urandom(4), "little") & 0x7FFFFFFF


reset_after_fork()


cdef int32_t next_request_id() noexcept:
    global _last_request_id
    _last_request_id = _last_request_id + 1 if _last_request_id < 0x7FFFFFFF else 1
    return _last_request_id


cdef int _check(mk_buffer *out, int rc) except -1:
    if rc == MK_OK:
        return 0
    if rc == MK_NO_MEMORY:
        raise MemoryError(f"no memory for a wire message beyond {out.size} bytes")
    raise DocumentTooLarge(
        f"the message does not fit its buffer: it has {out.size} bytes already and may have "
        f"{out.limit or 0x7FFFFFFF}"
    )


cdef Py_ssize_t _begin(
    mk_buffer *out, int32_t request_id, int32_t response_to, int32_t opcode, uint32_t flags
) except -1:
    cdef size_t start = out.size
    cdef uint8_t *head
    _check(out, mk_buffer_reserve(out, MK_HEADER_SIZE + 4))
    head = out.data + start
    mk_store_i32(head, 0)
    mk_store_i32(head + 4, request_id)
    mk_store_i32(head + 8, response_to)
    mk_store_i32(head + 12, opcode)
    mk_store_u32(head + 16, flags)
    out.size += MK_HEADER_SIZE + 4
    return <Py_ssize_t>start


cdef Py_ssize_t begin_message(
    mk_buffer *out, int32_t request_id, uint32_t flags, int32_t response_to=0
) except -1:
    cdef Py_ssize_t start = _begin(out, request_id, response_to, MK_OP_MSG, flags)
    _check(out, mk_buffer_byte(out, 0))
    return start


cdef Py_ssize_t begin_section(mk_buffer *out, const char *identifier) except -1:
    cdef size_t length = strlen(identifier) + 1
    cdef Py_ssize_t start
    _check(out, mk_buffer_reserve(out, 5 + length))
    mk_buffer_byte(out, 1)
    start = <Py_ssize_t>out.size
    out.size += 4
    mk_buffer_append(out, identifier, length)
    return start


cdef int end_section(mk_buffer *out, Py_ssize_t start) except -1:
    # A buffer never holds more than 2^31-1 bytes, so the difference fits.
    mk_store_i32(out.data + start, <int32_t>(out.size - <size_t>start))
    return 0


cdef Py_ssize_t begin_legacy_query(mk_buffer *out, int32_t request_id) except -1:
    # secondaryOk, or a secondary would refuse the query (server-discovery-and-monitoring.md).
    cdef Py_ssize_t start = _begin(out, request_id, 0, MK_OP_QUERY, MK_QUERY_SECONDARY_OK)
    cdef uint8_t window[8]
    _check(out, mk_buffer_append(out, MK_QUERY_NAMESPACE, strlen(MK_QUERY_NAMESPACE) + 1))
    mk_store_i32(window, 0)                 # numberToSkip
    mk_store_i32(window + 4, -1)            # numberToReturn: one document and no cursor
    _check(out, mk_buffer_append(out, window, 8))
    return start


cdef int end_message(mk_buffer *out, Py_ssize_t start, size_t max_message_size) except -1:
    cdef size_t size = out.size - <size_t>start
    cdef uint8_t *head = out.data + start
    cdef bint checksum = (
        mk_load_i32(head + 12) == MK_OP_MSG
        and mk_load_u32(head + MK_HEADER_SIZE) & MK_CHECKSUM_PRESENT != 0
    )
    if checksum:
        size += MK_CHECKSUM_SIZE
    if size > max_message_size:
        out.size = <size_t>start
        raise DocumentTooLarge(
            f"the message has {size} bytes; the server accepts at most {max_message_size} "
            "(maxMessageSizeBytes)"
        )
    mk_store_i32(head, <int32_t>size)
    if checksum:
        _check(out, mk_buffer_reserve(out, MK_CHECKSUM_SIZE))
        head = out.data + start             # reserve may have moved it
        mk_store_u32(head + size - MK_CHECKSUM_SIZE, mk_crc32c(0, head, size - MK_CHECKSUM_SIZE))
        out.size += MK_CHECKSUM_SIZE
    return 0


cdef int32_t check_header(
    const uint8_t *data, size_t max_message_size, bint compressed
) except -1:
    cdef int32_t length = 0
    cdef mk_wire_error error
    cdef int rc = mk_check_header(data, max_message_size, &length, &error)
    if rc != MK_WIRE_OK and not (compressed and rc == MK_WIRE_COMPRESSED):
        raise_wire_error(&error)
    return length


cdef int parse_compressed(
    const uint8_t *data, size_t size, size_t max_message_size, mk_compressed *found
) except -1:
    cdef mk_wire_error error
    if mk_parse_compressed(data, size, max_message_size, found, &error) != MK_WIRE_OK:
        raise_wire_error(&error)
    return 0


cdef int parse_reply(
    const uint8_t *data, size_t size, int32_t response_to, mk_reply *reply
) except -1:
    cdef mk_wire_error error
    if mk_parse_reply(data, size, response_to, reply, &error) != MK_WIRE_OK:
        raise_wire_error(&error)
    return 0


cdef dict _WHAT = {
    MK_WIRE_SHORT: "a message of {found} bytes is shorter than its 16-byte header",
    MK_WIRE_LENGTH: "the header says {found} bytes but the message has {expected}",
    MK_WIRE_TOO_SMALL: "the header says {found} bytes; a message of its opcode has {expected} at "
    "least",
    MK_WIRE_TOO_LARGE: "the header says {found} bytes; at most {expected} are accepted",
    MK_WIRE_OPCODE: "unexpected opcode {found}",
    MK_WIRE_COMPRESSED: "an OP_COMPRESSED message came, but no compressor was agreed on",
    MK_WIRE_RESPONSE_TO: "the reply answers request {found}, not request {expected}",
    MK_WIRE_FLAGS: "unknown required flag bits {found:#06x}",
    MK_WIRE_CHECKSUM: "the CRC-32C is {found:#010x}, but the message's bytes give {expected:#010x}",
    MK_WIRE_KIND: "unknown section kind {found}",
    MK_WIRE_SECTION: "a section of {found} bytes where {expected} are left",
    MK_WIRE_IDENTIFIER: "a name without its closing zero byte",
    MK_WIRE_DOCUMENT: "a document of {found} bytes where {expected} are left",
    MK_WIRE_TERMINATOR: "a document ends with byte {found:#04x} instead of zero",
    MK_WIRE_NO_BODY: "an OP_MSG without a body (a section of kind 0)",
    MK_WIRE_TWO_BODIES: "an OP_MSG with a second body (section of kind 0)",
    MK_WIRE_COUNT: "an OP_REPLY with {found} documents instead of one",
    MK_WIRE_TRAILING: "{found} bytes after the last document",
    MK_WIRE_NESTED: "a compressed message inside a compressed message",
    MK_WIRE_PLAIN_SMALL: "uncompressedSize is {found}; a message of its opcode has {expected} at "
    "least, without a header",
    MK_WIRE_PLAIN_LARGE: "uncompressedSize is {found}; at most {expected} are accepted",
}


cdef int raise_wire_error(const mk_wire_error *error) except -1:
    what = _WHAT[error.code].format(found=error.found, expected=error.expected)
    raise ProtocolError(f"invalid wire message at byte {error.offset}: {what}")
