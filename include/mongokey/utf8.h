/* UTF-8 (RFC 3629) and key checks for the codec, eight bytes at a time.
 *
 * Python keeps text as Latin-1, UCS-2 or UCS-4; the functions below turn each straight into
 * UTF-8 in a buffer the caller has sized, with no copy between. Plain C, no CPython.
 */
#ifndef MONGOKEY_UTF8_H
#define MONGOKEY_UTF8_H

#include "mongokey/endian.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MK_UTF8_SURROGATE ((size_t)-1)

#define MK_ONES ((uint64_t)0x0101010101010101)
#define MK_HIGH ((uint64_t)0x8080808080808080)
/* The lowest set bit of this marks the first zero byte of w (in memory order); bits above that
 * may be wrong. */
#define MK_ZERO_BYTES(w) (((w) - MK_ONES) & ~(w) & MK_HIGH)

/* Which byte (0..7) the lowest set bit of `marks` belongs to; marks != 0. */
static inline unsigned mk_first_byte(uint64_t marks) {
#if defined(__GNUC__)
    return (unsigned)__builtin_ctzll(marks) >> 3;
#else
    unsigned n = 0;
    while (!(marks & 0xff)) {
        marks >>= 8;
        n++;
    }
    return n;
#endif
}

static inline int mk_is_ascii(const uint8_t *p, size_t n) {
    uint64_t seen = 0;
    const uint8_t *end = p + n;
    if (n < 8) {
        uint8_t any = 0;
        while (p < end) any |= *p++;
        return any < 0x80;
    }
    while ((size_t)(end - p) >= 32) {
        seen = mk_load_u64(p) | mk_load_u64(p + 8) | mk_load_u64(p + 16) | mk_load_u64(p + 24);
        if (seen & MK_HIGH) return 0;
        p += 32;
    }
    while ((size_t)(end - p) >= 8) {
        seen |= mk_load_u64(p);
        p += 8;
    }
    seen |= mk_load_u64(end - 8);
    return (seen & MK_HIGH) == 0;
}

/* Copies n bytes that do not overlap, most often few: without a call for up to 32. */
static inline void mk_copy_short(uint8_t *to, const uint8_t *from, size_t n) {
    if (n >= 8) {
        if (n > 32) {
            memcpy(to, from, n);
            return;
        }
        {
            size_t i = 0;
            for (; i + 8 <= n; i += 8) memcpy(to + i, from + i, 8);
            memcpy(to + n - 8, from + n - 8, 8);
        }
        return;
    }
    if (n >= 4) {
        uint32_t a, b;
        memcpy(&a, from, 4);
        memcpy(&b, from + n - 4, 4);
        memcpy(to, &a, 4);
        memcpy(to + n - 4, &b, 4);
        return;
    }
    if (n) {
        to[0] = from[0];
        to[n >> 1] = from[n >> 1];
        to[n - 1] = from[n - 1];
    }
}

/* Copies n bytes that do not overlap, as mk_copy_short; whether there is a NUL among them. */
static inline int mk_copy_key(uint8_t *to, const uint8_t *from, size_t n) {
    uint64_t w, marks = 0;
    uint32_t a, b;
    size_t i;
    if (n >= 8) {
        if (n > 32) {
            memcpy(to, from, n);
            return memchr(to, 0, n) != NULL;
        }
        for (i = 0; i + 8 <= n; i += 8) {
            w = mk_load_u64(from + i);
            memcpy(to + i, from + i, 8);
            marks |= MK_ZERO_BYTES(w);
        }
        w = mk_load_u64(from + n - 8);
        memcpy(to + n - 8, from + n - 8, 8);
        marks |= MK_ZERO_BYTES(w);
        return marks != 0;
    }
    if (n >= 4) {
        memcpy(&a, from, 4);
        memcpy(&b, from + n - 4, 4);
        memcpy(to, &a, 4);
        memcpy(to + n - 4, &b, 4);
        w = (uint64_t)a << 32 | b;
        return MK_ZERO_BYTES(w) != 0;
    }
    if (n == 0) return 0;
    to[0] = from[0];
    to[n >> 1] = from[n >> 1];
    to[n - 1] = from[n - 1];
    return !(from[0] && from[n >> 1] && from[n - 1]);
}

/* Whether there is a NUL among the n bytes of a key. */
static inline int mk_has_nul(const uint8_t *p, size_t n) {
    if (n < 8) {
        size_t i;
        int found = 0;
        for (i = 0; i < n; i++) found |= p[i] == 0;
        return found;
    }
    if (n <= 32) {
        uint64_t marks = 0;
        size_t i = 0;
        for (; i + 8 <= n; i += 8) {
            uint64_t w = mk_load_u64(p + i);
            marks |= MK_ZERO_BYTES(w);
        }
        {
            uint64_t w = mk_load_u64(p + n - 8);
            marks |= MK_ZERO_BYTES(w);
        }
        return marks != 0;
    }
    return memchr(p, 0, n) != NULL;
}

/* How many bytes the text takes as UTF-8; MK_UTF8_SURROGATE if it has a lone surrogate. */
static inline size_t mk_utf8_size_ucs1(const uint8_t *s, size_t n) {
    size_t i, high = 0;
    for (i = 0; i < n; i++) high += s[i] >> 7;
    return n + high;
}

static inline size_t mk_utf8_size_ucs2(const uint16_t *s, size_t n) {
    size_t i, size = n, bad = 0;
    for (i = 0; i < n; i++) {
        size += (size_t)(s[i] >= 0x80) + (size_t)(s[i] >= 0x800);
        bad |= (size_t)((s[i] & 0xf800) == 0xd800);
    }
    return bad ? MK_UTF8_SURROGATE : size;
}

static inline size_t mk_utf8_size_ucs4(const uint32_t *s, size_t n) {
    size_t i, size = n, bad = 0;
    for (i = 0; i < n; i++) {
        size += (size_t)(s[i] >= 0x80) + (size_t)(s[i] >= 0x800) + (size_t)(s[i] >= 0x10000);
        bad |= (size_t)((s[i] & 0xfffff800u) == 0xd800);
    }
    return bad ? MK_UTF8_SURROGATE : size;
}

static inline uint8_t *mk_utf8_put(uint8_t *p, uint32_t c) {
    if (c < 0x80) {
        *p++ = (uint8_t)c;
    } else if (c < 0x800) {
        *p++ = (uint8_t)(0xc0 | c >> 6);
        *p++ = (uint8_t)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *p++ = (uint8_t)(0xe0 | c >> 12);
        *p++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *p++ = (uint8_t)(0x80 | (c & 0x3f));
    } else {
        *p++ = (uint8_t)(0xf0 | c >> 18);
        *p++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        *p++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *p++ = (uint8_t)(0x80 | (c & 0x3f));
    }
    return p;
}

/* Writes the text as UTF-8; `to` has the room that the size function said. */
static inline void mk_utf8_from_ucs1(uint8_t *to, const uint8_t *s, size_t n) {
    size_t i;
    for (i = 0; i < n; i++) to = mk_utf8_put(to, s[i]);
}

static inline void mk_utf8_from_ucs2(uint8_t *to, const uint16_t *s, size_t n) {
    size_t i;
    for (i = 0; i < n; i++) to = mk_utf8_put(to, s[i]);
}

static inline void mk_utf8_from_ucs4(uint8_t *to, const uint32_t *s, size_t n) {
    size_t i;
    for (i = 0; i < n; i++) to = mk_utf8_put(to, s[i]);
}

#endif
