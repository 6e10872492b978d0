/* Base64 (RFC 4648, section 4), encoding only.
 *
 * Plain C, static inline, free of CPython, so that it can be tested from C. No table is looked up:
 * the time depends on the length only, as what is encoded may be a secret.
 */
#ifndef MONGOKEY_BASE64_H
#define MONGOKEY_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* The bytes that `size` bytes become. */
#define MK_BASE64_SIZE(size) (((size) + 2) / 3 * 4)

/* The letter of a value from 0 to 63. */
static inline uint8_t mk_base64_letter(uint32_t value) {
    uint32_t letter = value + 'A';
    /* Each difference is added from a limit on: (limit - 1 - value) >> 8 has its bits set then. */
    letter += ((25 - value) >> 8) & (uint32_t)('a' - 'A' - 26);
    letter -= ((51 - value) >> 8) & (uint32_t)('a' - '0' + 26);
    letter -= ((61 - value) >> 8) & (uint32_t)('0' + 10 - '+');
    letter += ((62 - value) >> 8) & (uint32_t)('/' - '+' - 1);
    return (uint8_t)letter;
}

/* Writes MK_BASE64_SIZE(size) bytes, padded, without a zero at the end; returns how many. */
static inline size_t mk_base64_encode(const uint8_t *data, size_t size, uint8_t *out) {
    uint8_t *begin = out;
    uint32_t word;
    size_t i;
    for (i = 0; i + 3 <= size; i += 3) {
        word = (uint32_t)data[i] << 16 | (uint32_t)data[i + 1] << 8 | data[i + 2];
        *out++ = mk_base64_letter(word >> 18);
        *out++ = mk_base64_letter(word >> 12 & 63);
        *out++ = mk_base64_letter(word >> 6 & 63);
        *out++ = mk_base64_letter(word & 63);
    }
    if (i < size) {
        word = (uint32_t)data[i] << 16;
        if (i + 1 < size) word |= (uint32_t)data[i + 1] << 8;
        *out++ = mk_base64_letter(word >> 18);
        *out++ = mk_base64_letter(word >> 12 & 63);
        *out++ = i + 1 < size ? mk_base64_letter(word >> 6 & 63) : (uint8_t)'=';
        *out++ = '=';
    }
    return (size_t)(out - begin);
}

#endif
