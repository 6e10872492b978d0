# Wire messages: framing of OP_MSG on a buffer, and reading of replies in place.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from mongokey._support.cdefs cimport mk_buffer


cdef extern from "mongokey/wire.h" nogil:
    int MK_HEADER_SIZE                      # 16
    int MK_OP_REPLY, MK_OP_QUERY, MK_OP_COMPRESSED, MK_OP_MSG
    uint32_t MK_CHECKSUM_PRESENT, MK_MORE_TO_COME, MK_EXHAUST_ALLOWED, MK_REQUIRED_FLAGS
    uint32_t MK_QUERY_SECONDARY_OK, MK_REPLY_QUERY_FAILURE
    size_t MK_CHECKSUM_SIZE
    uint32_t mk_crc32c(uint32_t crc, const uint8_t *data, size_t size)

    ctypedef struct mk_reply:
        int32_t length
        int32_t request_id
        int32_t response_to
        int32_t opcode
        uint32_t flags                      # OP_MSG flagBits or OP_REPLY responseFlags
        const uint8_t *body                 # the kind-0 (or OP_REPLY's only) document
        size_t body_size
        const uint8_t *sections             # all sections, body too, if any is of kind 1; or NULL
        size_t sections_size
        const char *collection              # OP_QUERY's fullCollectionName; or NULL

    ctypedef struct mk_section:
        const char *identifier
        const uint8_t *documents            # one after another
        size_t documents_size

    ctypedef struct mk_compressed:
        int32_t opcode
        int32_t size                        # bytes of the message in it, without a header
        uint8_t compressor
        const uint8_t *data
        size_t data_size

    ctypedef struct mk_wire_error:
        int code                            # one of MK_WIRE_*
        size_t offset                       # from the start of the message
        int64_t found
        int64_t expected

    int MK_WIRE_OK, MK_WIRE_SHORT, MK_WIRE_LENGTH, MK_WIRE_TOO_SMALL, MK_WIRE_TOO_LARGE
    int MK_WIRE_OPCODE, MK_WIRE_COMPRESSED, MK_WIRE_RESPONSE_TO, MK_WIRE_FLAGS
    int MK_WIRE_CHECKSUM, MK_WIRE_KIND, MK_WIRE_SECTION, MK_WIRE_IDENTIFIER
    int MK_WIRE_DOCUMENT, MK_WIRE_TERMINATOR, MK_WIRE_NO_BODY, MK_WIRE_TWO_BODIES
    int MK_WIRE_COUNT, MK_WIRE_TRAILING
    int MK_WIRE_NESTED, MK_WIRE_PLAIN_SMALL, MK_WIRE_PLAIN_LARGE
    size_t MK_COMPRESSED_HEAD
    int mk_check_header(
        const uint8_t *data, size_t max_message_size, int32_t *length, mk_wire_error *error
    )
    int mk_parse_compressed(
        const uint8_t *data, size_t size, size_t max_message_size, mk_compressed *found,
        mk_wire_error *error
    )
    int mk_parse_message(
        const uint8_t *data, size_t size, mk_reply *reply, mk_wire_error *error
    )
    int mk_parse_reply(
        const uint8_t *data, size_t size, int32_t response_to, mk_reply *reply,
        mk_wire_error *error
    )
    # Steps through the kind-1 sections of an accepted message; `at` starts at 0.
    bint mk_next_section(const mk_reply *reply, size_t *at, mk_section *section)


# The next request id of this process, from a random one on: up to 2^31-1, then from 1. Called
# under the GIL.
cdef int32_t next_request_id() noexcept

# Starts an OP_MSG at the end of `out`: header, flags and the kind byte 0. The caller appends
# the body document, then, if it wants, kind-1 sections by begin_section/end_section.
# Returns the offset at which the message starts. `response_to` is for servers in tests.
cdef Py_ssize_t begin_message(
    mk_buffer *out, int32_t request_id, uint32_t flags, int32_t response_to=*
) except -1
cdef Py_ssize_t begin_section(mk_buffer *out, const char *identifier) except -1
cdef int end_section(mk_buffer *out, Py_ssize_t start) except -1
# Starts the OP_QUERY on admin.$cmd that carries the legacy hello; its document comes next.
cdef Py_ssize_t begin_legacy_query(mk_buffer *out, int32_t request_id) except -1
# Fills in the length, appends the checksum if the flags promise one; raises DocumentTooLarge
# when the message exceeds `max_message_size`, with `out` back at `start`.
cdef int end_message(mk_buffer *out, Py_ssize_t start, size_t max_message_size) except -1

# Length of the message whose 16-byte header is at data; raises ProtocolError when it is not
# within what its opcode needs..max_message_size, or the opcode is unknown, or OP_COMPRESSED and
# not `compressed`.
cdef int32_t check_header(
    const uint8_t *data, size_t max_message_size, bint compressed
) except -1
# Validates what stands in front of the bytes of one complete OP_COMPRESSED; the message in it may
# have `max_message_size` bytes.
cdef int parse_compressed(
    const uint8_t *data, size_t size, size_t max_message_size, mk_compressed *found
) except -1
# Validates one complete message in place and fills `reply` with pointers into it.
# `response_to` < 0 skips that check. Verifies the checksum when it is present.
cdef int parse_reply(
    const uint8_t *data, size_t size, int32_t response_to, mk_reply *reply
) except -1
# Raises the ProtocolError that says what `error` found and where.
cdef int raise_wire_error(const mk_wire_error *error) except -1
