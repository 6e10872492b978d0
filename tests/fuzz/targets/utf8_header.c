/* libFuzzer target: utf8.h turns text of each width into UTF-8, and copies and checks keys.
 *
 * Whatever is written must be as long as was said (the sanitizers watch the writes), and read
 * back, by a plain decoder that knows RFC 3629 only, be the same characters.
 */
#include <stdio.h>
#include <stdlib.h>

#include "mongokey/utf8.h"

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #condition);   \
            abort();                                                                \
        }                                                                           \
    } while (0)

/* The character at *p, which moves behind it. */
static uint32_t next_character(const uint8_t **p) {
    const uint8_t *s = *p;
    size_t more = s[0] < 0x80 ? 0 : s[0] < 0xe0 ? 1 : s[0] < 0xf0 ? 2 : 3, i;
    static const uint32_t least[4] = {0, 0x80, 0x800, 0x10000};
    uint32_t c = more ? s[0] & (0x3fu >> more) : s[0];
    CHECK(s[0] < 0x80 || (s[0] >= 0xc2 && s[0] <= 0xf4));
    for (i = 1; i <= more; i++) {
        CHECK((s[i] & 0xc0) == 0x80);
        c = c << 6 | (s[i] & 0x3f);
    }
    CHECK(c >= least[more] && c <= 0x10ffff);
    *p = s + more + 1;
    return c;
}

static void *exactly(size_t size) {
    void *p = malloc(size ? size : 1);
    if (p == NULL) abort();
    return p;
}

#define CHECK_WIDTH(type, width)                                                    \
    static void check_##width(const uint8_t *data, size_t size) {                   \
        size_t n = size / sizeof(type), i, expected, bad = 0;                       \
        type *text = (type *)exactly(n * sizeof(type));                             \
        const uint8_t *p;                                                           \
        uint8_t *utf8;                                                              \
        if (n) memcpy(text, data, n * sizeof(type));                                \
        for (i = 0; i < n; i++) {                                                   \
            /* Python holds no character beyond the last one of Unicode. */         \
            if ((uint32_t)text[i] > 0x10ffff) text[i] = (type)(text[i] % 0x110000); \
            bad += sizeof(type) > 1 && ((uint32_t)text[i] & 0xfffff800u) == 0xd800; \
        }                                                                           \
        expected = mk_utf8_size_##width(text, n);                                   \
        CHECK((expected == MK_UTF8_SURROGATE) == (bad != 0));                       \
        if (!bad) {                                                                 \
            utf8 = (uint8_t *)exactly(expected);                                    \
            mk_utf8_from_##width(utf8, text, n);                                    \
            p = utf8;                                                               \
            for (i = 0; i < n; i++) CHECK(next_character(&p) == (uint32_t)text[i]); \
            CHECK(p == utf8 + expected);                                            \
            free(utf8);                                                             \
        }                                                                           \
        free(text);                                                                 \
    }

CHECK_WIDTH(uint8_t, ucs1)
CHECK_WIDTH(uint16_t, ucs2)
CHECK_WIDTH(uint32_t, ucs4)

static void check_bytes(const uint8_t *data, size_t n) {
    uint8_t *from = (uint8_t *)exactly(n), *to = (uint8_t *)exactly(n);
    int ascii = 1, nul = 0;
    size_t i;
    for (i = 0; i < n; i++) {
        from[i] = data[i];
        ascii &= from[i] < 0x80;
        nul |= from[i] == 0;
    }
    CHECK(!mk_is_ascii(from, n) == !ascii);
    CHECK(!mk_has_nul(from, n) == !nul);
    mk_copy_short(to, from, n);
    CHECK(n == 0 || memcmp(to, from, n) == 0);
    memset(to, 0xaa, n);
    CHECK(!mk_copy_key(to, from, n) == !nul);
    CHECK(n == 0 || memcmp(to, from, n) == 0);
    free(from);
    free(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_bytes(data, size);
    check_ucs1(data, size);
    check_ucs2(data, size);
    check_ucs4(data, size);
    return 0;
}
