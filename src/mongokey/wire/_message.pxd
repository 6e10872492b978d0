# Wire messages: framing of OP_MSG on a buffer, and reading of replies in place.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from mongokey._cdefs cimport mk_buffer


cdef extern from "mongokey/wire.h" nogil:
    int MK_HEADER_SIZE                      # 16
    int MK_OP_REPLY, MK_OP_QUERY, MK_OP_COMPRESSED, MK_OP_MSG
    uint32_t MK_CHECKSUM_PRESENT, MK_MORE_TO_COME, MK_EXHAUST_ALLOWED
    uint32_t mk_crc32c(uint32_t crc, const uint8_t *data, size_t size)

    ctypedef struct mk_reply:
        int32_t length
        int32_t request_id
        int32_t response_to
        int32_t opcode
        uint32_t flags                      # OP_MSG flagBits or OP_REPLY responseFlags
        const uint8_t *body                 # the kind-0 (or OP_REPLY's first) document
        size_t body_size
        const uint8_t *sections             # what follows or precedes the body, unparsed; or NULL
        size_t sections_size


# The next request id of this process (thread-safe, wraps at 2^31).
cdef int32_t next_request_id() noexcept

# Starts an OP_MSG at the end of `out`: header, flags and the kind byte 0. The caller appends
# the body document, then, if it wants, kind-1 sections by begin_section/end_section.
# Returns the offset at which the message starts.
cdef Py_ssize_t begin_message(mk_buffer *out, int32_t request_id, uint32_t flags) except -1
cdef Py_ssize_t begin_section(mk_buffer *out, const char *identifier) except -1
cdef int end_section(mk_buffer *out, Py_ssize_t start) except -1
# Fills in the length; raises DocumentTooLarge when it exceeds `max_message_size`.
cdef int end_message(mk_buffer *out, Py_ssize_t start, size_t max_message_size) except -1

# Length of the message whose 16-byte header is at data; raises ProtocolError when it is not
# within 16..max_message_size or the opcode is unknown. For sizing the read.
cdef int32_t check_header(const uint8_t *data, size_t max_message_size) except -1
# Validates one complete message in place and fills `reply` with pointers into it.
# `response_to` < 0 skips that check. Verifies the checksum when it is present.
cdef int parse_reply(
    const uint8_t *data, size_t size, int32_t response_to, mk_reply *reply
) except -1
