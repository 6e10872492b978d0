/* The wire protocol's framing: header layout, opcodes, flags, and validation of messages.
 *
 * Plain C, static inline, free of CPython and of I/O, so that it can run without the GIL and be
 * tested and fuzzed from C. Lengths come from the peer: each is checked against the bytes that
 * are there before it is used. Documents are only measured here, not read; that is BSON's task.
 */
#ifndef MONGOKEY_WIRE_H
#define MONGOKEY_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mongokey/crc32c.h"
#include "mongokey/endian.h"

/* Header: int32 messageLength, requestID, responseTo, opCode. */
#define MK_HEADER_SIZE 16
#define MK_MIN_DOCUMENT 5 /* int32 length and the closing zero byte */

#define MK_OP_REPLY 1
#define MK_OP_QUERY 2004
#define MK_OP_COMPRESSED 2012
#define MK_OP_MSG 2013

/* OP_MSG flagBits. Bits 0-15 are required: a receiver that does not know one must refuse. */
#define MK_CHECKSUM_PRESENT 0x1u
#define MK_MORE_TO_COME 0x2u
#define MK_EXHAUST_ALLOWED 0x10000u
#define MK_REQUIRED_FLAGS 0xffffu
#define MK_CHECKSUM_SIZE 4

/* OP_QUERY flags and OP_REPLY responseFlags, the ones a legacy hello can meet. */
#define MK_QUERY_SECONDARY_OK 0x4u
#define MK_REPLY_QUERY_FAILURE 0x2u

/* After the header: int32 responseFlags, int64 cursorID, int32 startingFrom, numberReturned. */
#define MK_OP_REPLY_HEAD 20

/* OP_COMPRESSED, after the header: int32 originalOpcode, int32 uncompressedSize (without a header),
 * uint8 compressorId. */
#define MK_COMPRESSED_HEAD 9

/* What can be wrong with a message. */
enum {
    MK_WIRE_OK = 0,
    MK_WIRE_SHORT,         /* fewer bytes than the header; found: how many */
    MK_WIRE_LENGTH,        /* messageLength is not the size of the message; found, expected */
    MK_WIRE_TOO_SMALL,     /* messageLength below what the opcode needs; found, expected: minimum */
    MK_WIRE_TOO_LARGE,     /* messageLength above the limit; found, expected: limit */
    MK_WIRE_OPCODE,        /* unknown, or not one that may come here; found */
    MK_WIRE_COMPRESSED,    /* OP_COMPRESSED, which nobody asked for */
    MK_WIRE_RESPONSE_TO,   /* answers another request; found, expected */
    MK_WIRE_FLAGS,         /* unknown required flag bits; found: those bits */
    MK_WIRE_CHECKSUM,      /* found, expected: as computed */
    MK_WIRE_KIND,          /* unknown section kind; found */
    MK_WIRE_SECTION,       /* a section's size does not fit; found, expected: bytes there */
    MK_WIRE_IDENTIFIER,    /* an identifier or collection name without its closing zero */
    MK_WIRE_DOCUMENT,      /* a document's length does not fit; found, expected: bytes there */
    MK_WIRE_TERMINATOR,    /* a document whose last byte is not zero; found */
    MK_WIRE_NO_BODY,       /* an OP_MSG without a section of kind 0 */
    MK_WIRE_TWO_BODIES,    /* an OP_MSG with more than one */
    MK_WIRE_COUNT,         /* an OP_REPLY whose numberReturned is not 1; found */
    MK_WIRE_TRAILING,      /* bytes after the last document; found: how many */
    MK_WIRE_NESTED,        /* an OP_COMPRESSED in an OP_COMPRESSED */
    MK_WIRE_PLAIN_SMALL,   /* uncompressedSize below what the opcode needs; found, expected */
    MK_WIRE_PLAIN_LARGE    /* uncompressedSize above the limit; found, expected: limit */
};

typedef struct {
    int code;
    size_t offset; /* from the start of the message */
    int64_t found;
    int64_t expected;
} mk_wire_error;

typedef struct {
    int32_t length;
    int32_t request_id;
    int32_t response_to;
    int32_t opcode;
    uint32_t flags;          /* OP_MSG flagBits, OP_REPLY responseFlags or OP_QUERY flags */
    const uint8_t *body;     /* the kind-0 section's, OP_REPLY's or OP_QUERY's document */
    size_t body_size;
    const uint8_t *sections; /* OP_MSG with any kind-1 section: all sections; else NULL */
    size_t sections_size;
    const char *collection;  /* OP_QUERY: fullCollectionName; else NULL */
} mk_reply;

typedef struct {
    const char *identifier;
    const uint8_t *documents; /* the documents one after another */
    size_t documents_size;
} mk_section;

typedef struct {
    int32_t opcode;          /* of the message that is compressed: known, and not OP_COMPRESSED */
    int32_t size;            /* its bytes, without a header, as the sender says */
    uint8_t compressor;      /* compressorId */
    const uint8_t *data;     /* the compressed bytes, one at least */
    size_t data_size;
} mk_compressed;

static inline int mk_wire_fail(
    mk_wire_error *error, int code, size_t offset, int64_t found, int64_t expected
) {
    error->code = code;
    error->offset = offset;
    error->found = found;
    error->expected = expected;
    return code;
}

/* The smallest valid message of an opcode; 0 for an unknown opcode. */
static inline int32_t mk_min_length(int32_t opcode) {
    switch (opcode) {
    case MK_OP_MSG: return MK_HEADER_SIZE + 4 + 1 + MK_MIN_DOCUMENT;
    case MK_OP_REPLY: return MK_HEADER_SIZE + MK_OP_REPLY_HEAD + MK_MIN_DOCUMENT;
    case MK_OP_QUERY: return MK_HEADER_SIZE + 4 + 1 + 8 + MK_MIN_DOCUMENT;
    case MK_OP_COMPRESSED: return MK_HEADER_SIZE + MK_COMPRESSED_HEAD + 1;
    default: return 0;
    }
}

/* Checks a header (16 bytes at `data`) and gives the message's length, for sizing the read.
 * MK_WIRE_COMPRESSED: all is well, if the caller takes compressed messages. */
static inline int mk_check_header(
    const uint8_t *data, size_t max_message_size, int32_t *length, mk_wire_error *error
) {
    int32_t opcode = mk_load_i32(data + 12), least = mk_min_length(opcode);
    *length = mk_load_i32(data);
    if (least == 0) return mk_wire_fail(error, MK_WIRE_OPCODE, 12, opcode, MK_OP_MSG);
    if (*length < least) return mk_wire_fail(error, MK_WIRE_TOO_SMALL, 0, *length, least);
    if ((size_t)*length > max_message_size)
        return mk_wire_fail(error, MK_WIRE_TOO_LARGE, 0, *length, (int64_t)max_message_size);
    if (opcode == MK_OP_COMPRESSED) return mk_wire_fail(error, MK_WIRE_COMPRESSED, 12, opcode, 0);
    return MK_WIRE_OK;
}

/* Measures the document at `at`, which must end at or before `end`. Gives the offset after it. */
static inline int mk_measure_document(
    const uint8_t *data, size_t at, size_t end, size_t *next, mk_wire_error *error
) {
    int32_t length;
    if (end - at < MK_MIN_DOCUMENT)
        return mk_wire_fail(error, MK_WIRE_DOCUMENT, at, MK_MIN_DOCUMENT, (int64_t)(end - at));
    length = mk_load_i32(data + at);
    if (length < MK_MIN_DOCUMENT || (size_t)length > end - at)
        return mk_wire_fail(error, MK_WIRE_DOCUMENT, at, length, (int64_t)(end - at));
    *next = at + (size_t)length;
    if (data[*next - 1] != 0)
        return mk_wire_fail(error, MK_WIRE_TERMINATOR, *next - 1, data[*next - 1], 0);
    return MK_WIRE_OK;
}

/* Measures the kind-1 section whose size field is at `at`. Gives what is in it and its end. */
static inline int mk_measure_section(
    const uint8_t *data, size_t at, size_t end, mk_section *section, size_t *next,
    mk_wire_error *error
) {
    int32_t size;
    size_t document;
    const uint8_t *zero;
    if (end - at < 5) return mk_wire_fail(error, MK_WIRE_SECTION, at, 5, (int64_t)(end - at));
    size = mk_load_i32(data + at);
    if (size < 5 || (size_t)size > end - at)
        return mk_wire_fail(error, MK_WIRE_SECTION, at, size, (int64_t)(end - at));
    *next = at + (size_t)size;
    at += 4;
    zero = (const uint8_t *)memchr(data + at, 0, *next - at);
    if (zero == NULL) return mk_wire_fail(error, MK_WIRE_IDENTIFIER, at, 0, 0);
    section->identifier = (const char *)(data + at);
    document = (size_t)(zero - data) + 1;
    section->documents = data + document;
    section->documents_size = *next - document;
    while (document < *next) {
        int rc = mk_measure_document(data, document, *next, &document, error);
        if (rc != MK_WIRE_OK) return rc;
    }
    return MK_WIRE_OK;
}

static inline int mk_parse_op_msg(
    const uint8_t *data, size_t size, mk_reply *reply, mk_wire_error *error
) {
    size_t at = MK_HEADER_SIZE + 4, end = size;
    uint32_t unknown;
    mk_section section;
    int rc, more = 0;
    reply->flags = mk_load_u32(data + MK_HEADER_SIZE);
    unknown = reply->flags & MK_REQUIRED_FLAGS & ~(MK_CHECKSUM_PRESENT | MK_MORE_TO_COME);
    if (unknown) return mk_wire_fail(error, MK_WIRE_FLAGS, MK_HEADER_SIZE, unknown, 0);
    if (reply->flags & MK_CHECKSUM_PRESENT) {
        uint32_t found, computed;
        end -= MK_CHECKSUM_SIZE; /* the least OP_MSG is longer than a checksum */
        found = mk_load_u32(data + end);
        computed = mk_crc32c(0, data, end);
        if (found != computed) return mk_wire_fail(error, MK_WIRE_CHECKSUM, end, found, computed);
    }
    while (at < end) {
        size_t start = at + 1;
        switch (data[at]) {
        case 0:
            if (reply->body) return mk_wire_fail(error, MK_WIRE_TWO_BODIES, at, 0, 0);
            rc = mk_measure_document(data, start, end, &at, error);
            if (rc != MK_WIRE_OK) return rc;
            reply->body = data + start;
            reply->body_size = at - start;
            break;
        case 1:
            rc = mk_measure_section(data, start, end, &section, &at, error);
            if (rc != MK_WIRE_OK) return rc;
            more = 1;
            break;
        default: return mk_wire_fail(error, MK_WIRE_KIND, at, data[at], 0);
        }
    }
    if (reply->body == NULL) return mk_wire_fail(error, MK_WIRE_NO_BODY, end, 0, 0);
    if (more) {
        reply->sections = data + MK_HEADER_SIZE + 4;
        reply->sections_size = end - (MK_HEADER_SIZE + 4);
    }
    return MK_WIRE_OK;
}

/* One document from `at` to the end of the message: OP_REPLY's and OP_QUERY's tail. */
static inline int mk_parse_only_document(
    const uint8_t *data, size_t at, size_t size, mk_reply *reply, mk_wire_error *error
) {
    size_t next;
    int rc = mk_measure_document(data, at, size, &next, error);
    if (rc != MK_WIRE_OK) return rc;
    if (next != size)
        return mk_wire_fail(error, MK_WIRE_TRAILING, next, (int64_t)(size - next), 0);
    reply->body = data + at;
    reply->body_size = next - at;
    return MK_WIRE_OK;
}

static inline int mk_parse_op_reply(
    const uint8_t *data, size_t size, mk_reply *reply, mk_wire_error *error
) {
    int32_t count = mk_load_i32(data + MK_HEADER_SIZE + 16);
    reply->flags = mk_load_u32(data + MK_HEADER_SIZE);
    if (count != 1) return mk_wire_fail(error, MK_WIRE_COUNT, MK_HEADER_SIZE + 16, count, 1);
    return mk_parse_only_document(data, MK_HEADER_SIZE + MK_OP_REPLY_HEAD, size, reply, error);
}

static inline int mk_parse_op_query(
    const uint8_t *data, size_t size, mk_reply *reply, mk_wire_error *error
) {
    size_t at = MK_HEADER_SIZE + 4;
    const uint8_t *zero = (const uint8_t *)memchr(data + at, 0, size - at);
    reply->flags = mk_load_u32(data + MK_HEADER_SIZE);
    if (zero == NULL) return mk_wire_fail(error, MK_WIRE_IDENTIFIER, at, 0, 0);
    reply->collection = (const char *)(data + at);
    at = (size_t)(zero - data) + 1;
    if (size - at < 8)
        return mk_wire_fail(error, MK_WIRE_SECTION, at, 8, (int64_t)(size - at));
    return mk_parse_only_document(data, at + 8, size, reply, error);
}

/* Validates the one complete message in data[0:size] and fills `reply` with pointers into it.
 * Takes requests (OP_QUERY) too. Returns MK_WIRE_OK or the code that stands in `error`. */
static inline int mk_parse_message(
    const uint8_t *data, size_t size, mk_reply *reply, mk_wire_error *error
) {
    int rc;
    memset(reply, 0, sizeof *reply);
    if (size < MK_HEADER_SIZE) return mk_wire_fail(error, MK_WIRE_SHORT, 0, (int64_t)size, 0);
    rc = mk_check_header(data, (size_t)INT32_MAX, &reply->length, error);
    if (rc != MK_WIRE_OK) return rc;
    if ((size_t)reply->length != size)
        return mk_wire_fail(error, MK_WIRE_LENGTH, 0, reply->length, (int64_t)size);
    reply->request_id = mk_load_i32(data + 4);
    reply->response_to = mk_load_i32(data + 8);
    reply->opcode = mk_load_i32(data + 12);
    switch (reply->opcode) {
    case MK_OP_MSG: return mk_parse_op_msg(data, size, reply, error);
    case MK_OP_REPLY: return mk_parse_op_reply(data, size, reply, error);
    default: return mk_parse_op_query(data, size, reply, error);
    }
}

/* The same for a reply to request `response_to` (below 0: to any); a query is no reply. */
static inline int mk_parse_reply(
    const uint8_t *data, size_t size, int32_t response_to, mk_reply *reply, mk_wire_error *error
) {
    int rc = mk_parse_message(data, size, reply, error);
    if (rc != MK_WIRE_OK) return rc;
    if (reply->opcode == MK_OP_QUERY)
        return mk_wire_fail(error, MK_WIRE_OPCODE, 12, reply->opcode, MK_OP_MSG);
    if (response_to >= 0 && reply->response_to != response_to)
        return mk_wire_fail(error, MK_WIRE_RESPONSE_TO, 8, reply->response_to, response_to);
    return MK_WIRE_OK;
}

/* Validates what stands in front of the compressed bytes of the one complete OP_COMPRESSED in
 * data[0:size]; the message in it may have `max_message_size` bytes. */
static inline int mk_parse_compressed(
    const uint8_t *data, size_t size, size_t max_message_size, mk_compressed *found,
    mk_wire_error *error
) {
    int32_t length, least;
    int rc;
    memset(found, 0, sizeof *found);
    if (size < MK_HEADER_SIZE) return mk_wire_fail(error, MK_WIRE_SHORT, 0, (int64_t)size, 0);
    rc = mk_check_header(data, (size_t)INT32_MAX, &length, error);
    if (rc == MK_WIRE_OK)
        return mk_wire_fail(error, MK_WIRE_OPCODE, 12, mk_load_i32(data + 12), MK_OP_COMPRESSED);
    if (rc != MK_WIRE_COMPRESSED) return rc;
    if ((size_t)length != size)
        return mk_wire_fail(error, MK_WIRE_LENGTH, 0, length, (int64_t)size);
    found->opcode = mk_load_i32(data + MK_HEADER_SIZE);
    found->size = mk_load_i32(data + MK_HEADER_SIZE + 4);
    found->compressor = data[MK_HEADER_SIZE + 8];
    if (found->opcode == MK_OP_COMPRESSED)
        return mk_wire_fail(error, MK_WIRE_NESTED, MK_HEADER_SIZE, found->opcode, MK_OP_MSG);
    least = mk_min_length(found->opcode);
    if (least == 0)
        return mk_wire_fail(error, MK_WIRE_OPCODE, MK_HEADER_SIZE, found->opcode, MK_OP_MSG);
    least -= MK_HEADER_SIZE;
    if (found->size < least)
        return mk_wire_fail(error, MK_WIRE_PLAIN_SMALL, MK_HEADER_SIZE + 4, found->size, least);
    if (max_message_size > (size_t)INT32_MAX) max_message_size = (size_t)INT32_MAX;
    if ((size_t)found->size + MK_HEADER_SIZE > max_message_size)
        return mk_wire_fail(
            error, MK_WIRE_PLAIN_LARGE, MK_HEADER_SIZE + 4, found->size,
            (int64_t)max_message_size - MK_HEADER_SIZE);
    found->data = data + MK_HEADER_SIZE + MK_COMPRESSED_HEAD;
    found->data_size = size - MK_HEADER_SIZE - MK_COMPRESSED_HEAD;
    return MK_WIRE_OK;
}

/* Steps through the kind-1 sections of a message that mk_parse_reply accepted; *at starts at 0.
 * Returns 1 with `section` filled in, or 0 after the last. */
static inline int mk_next_section(const mk_reply *reply, size_t *at, mk_section *section) {
    mk_wire_error error;
    while (*at < reply->sections_size) {
        const uint8_t *here = reply->sections + *at;
        if (*here == 1) {
            size_t next = *at + 1;
            int rc = mk_measure_section(
                reply->sections, next, reply->sections_size, section, at, &error);
            return rc == MK_WIRE_OK;
        }
        *at += 1 + (size_t)mk_load_i32(here + 1);
    }
    return 0;
}

#endif
