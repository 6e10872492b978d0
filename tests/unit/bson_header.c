/* Checks bson.h and utf8.h from C; prints the document that test_bson_header.py compares. */
#include <stdio.h>

#include "mongokey/bson.h"
#include "mongokey/civil.h"
#include "mongokey/utf8.h"

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #condition); \
            return 1;                                                           \
        }                                                                       \
    } while (0)

#define KEY(text) text, sizeof(text) - 1

static int write_all(mk_buffer *b) {
    size_t start, document, array;
    CHECK(mk_bson_begin(b, &start) == MK_OK);
    CHECK(mk_bson_int32(b, KEY("i"), -5) == MK_OK);
    CHECK(mk_bson_int64(b, KEY("l"), (int64_t)1 << 40) == MK_OK);
    CHECK(mk_bson_double(b, KEY("d"), 1.5) == MK_OK);
    CHECK(mk_bson_bool(b, KEY("b"), 7) == MK_OK);
    CHECK(mk_bson_null(b, KEY("n")) == MK_OK);
    CHECK(mk_bson_utf8(b, KEY("s"), KEY("h\xc3\xa9llo")) == MK_OK);
    CHECK(mk_bson_binary(b, KEY("bin"), 0, "\x01\x02", 2) == MK_OK);
    CHECK(mk_bson_binary(b, KEY("old"), 2, "\x01\x02", 2) == MK_OK);
    CHECK(mk_bson_timestamp(b, KEY("t"), 7, 9) == MK_OK);
    CHECK(mk_bson_document_begin(b, KEY("doc"), &document) == MK_OK);
    CHECK(mk_bson_array_begin(b, KEY("a"), &array) == MK_OK);
    CHECK(mk_bson_element(b, MK_BSON_INT32, KEY("0"), "\x01\0\0\0", 4) == MK_OK);
    CHECK(mk_bson_double(b, KEY("1"), 2.0) == MK_OK);
    CHECK(mk_bson_end(b, array) == MK_OK);
    CHECK(mk_bson_end(b, document) == MK_OK);
    CHECK(mk_bson_utf8(b, KEY("empty"), NULL, 0) == MK_OK);
    CHECK(mk_bson_end(b, start) == MK_OK);
    return 0;
}

static int check_writers(mk_buffer *b) {
    volatile size_t huge = SIZE_MAX; /* volatile: or the compiler warns of what is tested */
    size_t size = b->size, start;
    CHECK(mk_bson_int32(b, "a\0b", 3, 1) == MK_BSON_BAD_KEY);
    CHECK(mk_bson_utf8(b, KEY("a"), "", MK_BUFFER_MAX) == MK_TOO_LARGE);
    CHECK(mk_bson_binary(b, KEY("a"), 0, "", huge) == MK_TOO_LARGE);
    CHECK(mk_bson_element(b, 1, KEY("a"), "", huge) == MK_TOO_LARGE);
    CHECK(b->size == size);
    b->limit = size + 3;
    CHECK(mk_bson_begin(b, &start) == MK_TOO_LARGE);
    CHECK(mk_bson_null(b, KEY("ab")) == MK_TOO_LARGE);
    CHECK(mk_bson_null(b, KEY("a")) == MK_OK);
    CHECK(b->size == size + 3);
    b->size = size;
    b->limit = 0;
    return 0;
}

static int check_reader(const uint8_t *data, size_t size) {
    mk_bson_iter it, inner;
    CHECK(mk_bson_iter_init(&it, data, 0) == MK_BSON_INVALID);
    CHECK(mk_bson_iter_init(&it, NULL, 0) == MK_BSON_INVALID);
    CHECK(mk_bson_find(data, 0, KEY("i"), &it) == MK_BSON_INVALID);
    const uint8_t *document, *bytes;
    const char *text;
    size_t n, count = 0;
    int64_t whole;
    double number;
    int truth;
    uint32_t seconds, increment;
    uint8_t subtype;
    CHECK(mk_bson_iter_init(&it, data, size) == MK_OK);
    while (mk_bson_iter_next(&it) == 1) count++;
    CHECK(count == 11);
    CHECK(mk_bson_iter_next(&it) == 0);
    CHECK(mk_bson_find(data, size, KEY("i"), &it) == MK_OK);
    CHECK(mk_bson_as_int64(&it, &whole) && whole == -5);
    CHECK(mk_bson_as_double(&it, &number) && number == -5.0);
    CHECK(!mk_bson_as_utf8(&it, &text, &n) && !mk_bson_as_document(&it, &document, &n));
    CHECK(mk_bson_find(data, size, KEY("l"), &it) == MK_OK);
    CHECK(mk_bson_as_int64(&it, &whole) && whole == (int64_t)1 << 40);
    CHECK(mk_bson_find(data, size, KEY("d"), &it) == MK_OK);
    CHECK(!mk_bson_as_int64(&it, &whole));
    CHECK(mk_bson_find(data, size, KEY("b"), &it) == MK_OK);
    CHECK(mk_bson_as_bool(&it, &truth) && truth == 1);
    CHECK(mk_bson_find(data, size, KEY("n"), &it) == MK_OK);
    CHECK(it.type == MK_BSON_NULL && it.value_size == 0 && !mk_bson_as_bool(&it, &truth));
    CHECK(mk_bson_find(data, size, KEY("s"), &it) == MK_OK);
    CHECK(mk_bson_as_utf8(&it, &text, &n) && n == 6 && memcmp(text, "h\xc3\xa9llo", 6) == 0);
    CHECK(mk_bson_find(data, size, KEY("old"), &it) == MK_OK);
    CHECK(mk_bson_as_binary(&it, &subtype, &bytes, &n) && subtype == 2 && n == 2 && bytes[1] == 2);
    CHECK(mk_bson_find(data, size, KEY("t"), &it) == MK_OK);
    CHECK(mk_bson_as_timestamp(&it, &seconds, &increment) && seconds == 7 && increment == 9);
    CHECK(mk_bson_find(data, size, KEY("doc"), &it) == MK_OK);
    CHECK(mk_bson_as_document(&it, &document, &n));
    CHECK(mk_bson_find(document, n, KEY("a"), &inner) == MK_OK && inner.type == MK_BSON_ARRAY);
    CHECK(mk_bson_find(data, size, KEY("none"), &it) == MK_BSON_NOT_FOUND);
    CHECK(mk_bson_find(data, size - 1, KEY("i"), &it) == MK_BSON_INVALID);
    CHECK(mk_bson_find(NULL, 0, KEY("i"), &it) == MK_BSON_INVALID);
    return 0;
}

/* Every cut and every changed byte: the reader stays within an exact copy on the heap. */
static int check_hostile(const uint8_t *data, size_t size) {
    size_t cut, at, step;
    int value;
    for (cut = 0; cut <= size; cut++) {
        uint8_t *copy = (uint8_t *)malloc(cut ? cut : 1);
        mk_bson_iter it;
        CHECK(copy != NULL);
        memcpy(copy, data, cut);
        if (cut >= 5) {
            mk_store_u32(copy, (uint32_t)cut);
            copy[cut - 1] = 0;
        }
        if (mk_bson_iter_init(&it, copy, cut) == MK_OK)
            while (mk_bson_iter_next(&it) == 1) CHECK(it.value + it.value_size <= copy + cut - 1);
        free(copy);
    }
    for (at = 4; at < size - 1; at++) {
        for (value = 0; value < 256; value++) {
            uint8_t *copy = (uint8_t *)malloc(size);
            mk_bson_iter it;
            CHECK(copy != NULL);
            memcpy(copy, data, size);
            copy[at] = (uint8_t)value;
            CHECK(mk_bson_iter_init(&it, copy, size) == MK_OK);
            for (step = 0; mk_bson_iter_next(&it) == 1; step++) CHECK(step < size);
            free(copy);
        }
    }
    return 0;
}

static int check_text(void) {
    uint8_t bytes[64], to[64];
    const uint8_t latin[] = {'a', 0xe9, 0x7f, 0x80};
    const uint16_t wide[] = {'a', 0x7ff, 0x800, 0xffff};
    const uint16_t lone[] = {'a', 0xd800};
    const uint32_t full[] = {'a', 0x10000, 0x10ffff};
    const uint32_t lone_full[] = {0xdfff};
    size_t n, i;
    for (n = 0; n < 40; n++) {
        memset(bytes, 'x', sizeof bytes);
        CHECK(mk_is_ascii(bytes, n) && !mk_has_nul(bytes, n));
        memset(to, 0, sizeof to);
        mk_copy_short(to, bytes, n);
        CHECK((n == 0 || memcmp(to, bytes, n) == 0) && to[n] == 0);
        memset(to, 0, sizeof to);
        CHECK(!mk_copy_key(to, bytes, n));
        CHECK((n == 0 || memcmp(to, bytes, n) == 0) && to[n] == 0);
        for (i = 0; i < n; i++) {
            bytes[i] = 0x80;
            CHECK(!mk_is_ascii(bytes, n) && !mk_has_nul(bytes, n) && !mk_copy_key(to, bytes, n));
            bytes[i] = 0;
            CHECK(mk_is_ascii(bytes, n) && mk_has_nul(bytes, n) && mk_copy_key(to, bytes, n));
            CHECK(memcmp(to, bytes, n) == 0);
            bytes[i] = 'x';
        }
    }
    CHECK(mk_utf8_size_ucs1(latin, 4) == 6);
    mk_utf8_from_ucs1(to, latin, 4);
    CHECK(memcmp(to, "a\xc3\xa9\x7f\xc2\x80", 6) == 0);
    CHECK(mk_utf8_size_ucs2(wide, 4) == 9);
    mk_utf8_from_ucs2(to, wide, 4);
    CHECK(memcmp(to, "a\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf", 9) == 0);
    CHECK(mk_utf8_size_ucs4(full, 3) == 9);
    mk_utf8_from_ucs4(to, full, 3);
    CHECK(memcmp(to, "a\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 9) == 0);
    CHECK(mk_utf8_size_ucs2(lone, 2) == MK_UTF8_SURROGATE);
    CHECK(mk_utf8_size_ucs4(lone_full, 1) == MK_UTF8_SURROGATE);
    return 0;
}

static int check_calendar(void) {
    int64_t days;
    int year, month, day;
    CHECK(mk_floor_div(-1, 1000) == -1 && mk_floor_div(-1000, 1000) == -1);
    CHECK(mk_floor_div(999, 1000) == 0 && mk_floor_div(0, 1000) == 0);
    CHECK(mk_days_from_civil(1970, 1, 1) == 0);
    CHECK(mk_days_from_civil(1, 1, 1) == -719162);
    CHECK(mk_days_from_civil(9999, 12, 31) == 2932896);
    for (days = -719162; days <= 2932896; days++) {
        mk_civil_from_days((int32_t)days, &year, &month, &day);
        CHECK(mk_days_from_civil(year, month, day) == days);
        CHECK(month >= 1 && month <= 12 && day >= 1 && day <= 31);
    }
    return 0;
}

int main(void) {
    mk_buffer b;
    int failed;
    mk_buffer_init(&b);
    failed = write_all(&b) || check_writers(&b) || check_reader(b.data, b.size) ||
             check_hostile(b.data, b.size) || check_text() || check_calendar();
    if (!failed) fwrite(b.data, 1, b.size, stdout);
    mk_buffer_free(&b);
    return failed;
}
