/* libFuzzer target: wire.h reads messages, and what stands in front of compressed ones.
 *
 * Nothing outside of a message is touched (it lies in memory of exactly its size), and what an
 * accepted one points at is inside of it, where it was said to be.
 */
#include <stdio.h>
#include <stdlib.h>

#include "mongokey/wire.h"

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #condition);   \
            abort();                                                                \
        }                                                                           \
    } while (0)

#define LIMIT 100000

static int inside(const uint8_t *part, size_t part_size, const uint8_t *data, size_t size) {
    return part >= data && part_size <= size && part - data <= (ptrdiff_t)(size - part_size);
}

static void check_reply(const uint8_t *data, size_t size) {
    mk_reply reply;
    mk_wire_error error = {0, 0, 0, 0};
    mk_section section;
    size_t at = 0, next;
    int rc = mk_parse_message(data, size, &reply, &error);
    if (rc != MK_WIRE_OK) {
        CHECK(rc == error.code && error.offset <= size);
        return;
    }
    CHECK((size_t)reply.length == size && reply.opcode != MK_OP_COMPRESSED);
    CHECK(inside(reply.body, reply.body_size, data, size));
    CHECK((size_t)mk_load_i32(reply.body) == reply.body_size);
    while (mk_next_section(&reply, &at, &section)) {
        CHECK(inside(section.documents, section.documents_size, data, size));
        for (next = 0; next < section.documents_size;)
            CHECK(mk_measure_document(
                      section.documents, next, section.documents_size, &next, &error)
                  == MK_WIRE_OK);
    }
    CHECK(at == reply.sections_size);
}

static void check_compressed(const uint8_t *data, size_t size) {
    mk_compressed found;
    mk_wire_error error = {0, 0, 0, 0};
    int rc = mk_parse_compressed(data, size, LIMIT, &found, &error);
    if (rc != MK_WIRE_OK) {
        CHECK(rc == error.code && error.offset <= size);
        return;
    }
    CHECK(inside(found.data, found.data_size, data, size) && found.data_size > 0);
    CHECK(found.data + found.data_size == data + size);
    CHECK(found.opcode != MK_OP_COMPRESSED && mk_min_length(found.opcode) > 0);
    CHECK(found.size >= mk_min_length(found.opcode) - MK_HEADER_SIZE);
    CHECK(found.size <= LIMIT - MK_HEADER_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int32_t opcodes[4] = {MK_OP_MSG, MK_OP_REPLY, MK_OP_QUERY, MK_OP_COMPRESSED};
    uint8_t *message = (uint8_t *)malloc(size ? size : 1);
    if (message == NULL) abort();
    if (size) memcpy(message, data, size);
    check_reply(message, size);
    check_compressed(message, size);
    if (size >= MK_HEADER_SIZE) {
        /* With a length that is right and an opcode that there is, it gets further. */
        mk_store_i32(message, (int32_t)size);
        mk_store_i32(message + 12, opcodes[data[12] & 3]);
        check_reply(message, size);
        check_compressed(message, size);
    }
    free(message);
    return 0;
}
