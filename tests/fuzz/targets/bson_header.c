/* libFuzzer target: bson.h reads bytes of anybody, and writes again what it read.
 *
 * Every key and value must lie within the document; what was read, written by the writers, must be
 * the same bytes; and no look at a field may go beyond it (the sanitizers watch the reads).
 */
#include <stdio.h>

#include "mongokey/bson.h"

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #condition);   \
            abort();                                                                \
        }                                                                           \
    } while (0)

static volatile uint64_t seen; /* so that no read is optimized away */

static void look(const uint8_t *bytes, size_t size) {
    size_t i;
    for (i = 0; i < size; i++) seen += bytes[i];
}

/* The typed looks at one element. */
static void look_at(const mk_bson_iter *it) {
    double number;
    int64_t integer;
    int truth;
    uint8_t subtype;
    uint32_t seconds, increment;
    const char *text;
    const uint8_t *bytes;
    size_t size;
    if (mk_bson_as_double(it, &number)) seen += number > 0;
    if (mk_bson_as_int64(it, &integer)) seen += (uint64_t)integer;
    if (mk_bson_as_bool(it, &truth)) seen += (uint64_t)truth;
    if (mk_bson_as_timestamp(it, &seconds, &increment)) seen += seconds ^ increment;
    if (mk_bson_as_utf8(it, &text, &size)) look((const uint8_t *)text, size + 1);
    if (mk_bson_as_binary(it, &subtype, &bytes, &size)) {
        CHECK(bytes >= it->value && bytes + size == it->value + it->value_size);
        look(bytes, size);
    }
}

/* Reads the document and writes it into `out`: 1, or 0 where it is not sound. */
static int copy_document(mk_buffer *out, const uint8_t *data, size_t size, int depth) {
    mk_bson_iter it, found;
    size_t start, inner, count = 0;
    int rc;
    if (depth > MK_BSON_MAX_DEPTH || mk_bson_iter_init(&it, data, size) != MK_OK) return 0;
    CHECK(mk_bson_begin(out, &start) == MK_OK);
    while ((rc = mk_bson_iter_next(&it)) == 1) {
        const uint8_t *key = (const uint8_t *)it.key, *end = data + size - 1;
        CHECK(key > data && key + it.key_len < end && key[it.key_len] == 0);
        CHECK(it.value <= end && it.value_size <= (size_t)(end - it.value));
        CHECK(mk_bson_iter_is(&it, it.key, it.key_len));
        look(it.value, it.value_size);
        look_at(&it);
        if (++count <= 4) {
            /* The first of that name, which may stand before this one. */
            CHECK(mk_bson_find(data, size, it.key, it.key_len, &found) == MK_OK);
            CHECK(found.value <= it.value);
        }
        if (it.type == MK_BSON_DOCUMENT || it.type == MK_BSON_ARRAY) {
            CHECK(mk_bson_container_begin(out, it.type, it.key, it.key_len, &inner) == MK_OK);
            out->size -= 4; /* copy_document begins it again */
            if (!copy_document(out, it.value, it.value_size, depth + 1)) return 0;
        } else {
            CHECK(mk_bson_element(out, it.type, it.key, it.key_len, it.value, it.value_size) ==
                  MK_OK);
        }
    }
    if (rc != 0) {
        CHECK(rc == MK_BSON_INVALID);
        return 0;
    }
    CHECK(mk_bson_end(out, start) == MK_OK);
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mk_buffer out;
    mk_bson_iter it;
    /* A copy of its own size: the sanitizer sees a read of one byte more. */
    uint8_t *own = (uint8_t *)malloc(size ? size : 1);
    if (own == NULL) return 0;
    if (size) memcpy(own, data, size);
    mk_buffer_init(&out);
    if (copy_document(&out, own, size, 1))
        CHECK(out.size == size && memcmp(out.data, own, size) == 0);
    seen += (uint64_t)mk_bson_find(own, size, "a", 1, &it);
    if (size > 1) {
        int64_t value = mk_bson_value_size(own[0], own + 1, size - 1);
        CHECK(value == MK_BSON_INVALID || (value >= 0 && (uint64_t)value <= size - 1));
    }
    mk_buffer_free(&out);
    free(own);
    return 0;
}
