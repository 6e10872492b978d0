/* CRC-32C (Castagnoli, RFC 3720 section 12.1): the checksum of OP_MSG.
 *
 * Slicing by 8: eight bytes per step, by eight tables of 256 words that the compiler computes.
 * The CRC of a byte is linear, so an entry is the exclusive or of the entries of its bits, and
 * only those (eight a table, for the reflected polynomial 0x82f63b78) stand here.
 */
#ifndef MONGOKEY_CRC32C_H
#define MONGOKEY_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#include "mongokey/endian.h"

#define MK_CRC_BIT(n, bit, word) (((n) >> (bit)) & 1 ? (word) : 0u)
#define MK_CRC_XOR(n, a, b, c, d, e, f, g, h) \
    (MK_CRC_BIT(n, 0, a) ^ MK_CRC_BIT(n, 1, b) ^ MK_CRC_BIT(n, 2, c) ^ MK_CRC_BIT(n, 3, d) ^ \
     MK_CRC_BIT(n, 4, e) ^ MK_CRC_BIT(n, 5, f) ^ MK_CRC_BIT(n, 6, g) ^ MK_CRC_BIT(n, 7, h))
#define MK_CRC_ROW_0(n) \
    MK_CRC_XOR(n, 0xf26b8303u, 0xe13b70f7u, 0xc79a971fu, 0x8ad958cfu, \
               0x105ec76fu, 0x20bd8edeu, 0x417b1dbcu, 0x82f63b78u)
#define MK_CRC_ROW_1(n) \
    MK_CRC_XOR(n, 0x13a29877u, 0x274530eeu, 0x4e8a61dcu, 0x9d14c3b8u, \
               0x3fc5f181u, 0x7f8be302u, 0xff17c604u, 0xfbc3faf9u)
#define MK_CRC_ROW_2(n) \
    MK_CRC_XOR(n, 0xa541927eu, 0x4f6f520du, 0x9edea41au, 0x38513ec5u, \
               0x70a27d8au, 0xe144fb14u, 0xc76580d9u, 0x8b277743u)
#define MK_CRC_ROW_3(n) \
    MK_CRC_XOR(n, 0xdd45aab8u, 0xbf672381u, 0x7b2231f3u, 0xf64463e6u, \
               0xe964b13du, 0xd725148bu, 0xaba65fe7u, 0x52a0c93fu)
#define MK_CRC_ROW_4(n) \
    MK_CRC_XOR(n, 0x38116facu, 0x7022df58u, 0xe045beb0u, 0xc5670b91u, \
               0x8f2261d3u, 0x1ba8b557u, 0x37516aaeu, 0x6ea2d55cu)
#define MK_CRC_ROW_5(n) \
    MK_CRC_XOR(n, 0xef306b19u, 0xdb8ca0c3u, 0xb2f53777u, 0x6006181fu, \
               0xc00c303eu, 0x85f4168du, 0x0e045bebu, 0x1c08b7d6u)
#define MK_CRC_ROW_6(n) \
    MK_CRC_XOR(n, 0x68032cc8u, 0xd0065990u, 0xa5e0c5d1u, 0x4e2dfd53u, \
               0x9c5bfaa6u, 0x3d5b83bdu, 0x7ab7077au, 0xf56e0ef4u)
#define MK_CRC_ROW_7(n) \
    MK_CRC_XOR(n, 0x493c7d27u, 0x9278fa4eu, 0x211d826du, 0x423b04dau, \
               0x847609b4u, 0x0d006599u, 0x1a00cb32u, 0x34019664u)

#define MK_CRC_4(row, n) row(n), row((n) + 1), row((n) + 2), row((n) + 3)
#define MK_CRC_16(row, n) \
    MK_CRC_4(row, n), MK_CRC_4(row, (n) + 4), MK_CRC_4(row, (n) + 8), MK_CRC_4(row, (n) + 12)
#define MK_CRC_64(row, n) \
    MK_CRC_16(row, n), MK_CRC_16(row, (n) + 16), MK_CRC_16(row, (n) + 32), MK_CRC_16(row, (n) + 48)
#define MK_CRC_256(row) \
    { MK_CRC_64(row, 0), MK_CRC_64(row, 64), MK_CRC_64(row, 128), MK_CRC_64(row, 192) }

/* Continues `crc` (0 to start) over `size` bytes; the result is the finished checksum. */
static inline uint32_t mk_crc32c(uint32_t crc, const uint8_t *data, size_t size) {
    static const uint32_t table[8][256] = {
        MK_CRC_256(MK_CRC_ROW_0), MK_CRC_256(MK_CRC_ROW_1), MK_CRC_256(MK_CRC_ROW_2),
        MK_CRC_256(MK_CRC_ROW_3), MK_CRC_256(MK_CRC_ROW_4), MK_CRC_256(MK_CRC_ROW_5),
        MK_CRC_256(MK_CRC_ROW_6), MK_CRC_256(MK_CRC_ROW_7),
    };
    uint64_t word;
    crc = ~crc;
    for (; size >= 8; data += 8, size -= 8) {
        word = mk_load_u64(data) ^ crc;
        crc = table[7][word & 0xff] ^ table[6][(word >> 8) & 0xff] ^
              table[5][(word >> 16) & 0xff] ^ table[4][(word >> 24) & 0xff] ^
              table[3][(word >> 32) & 0xff] ^ table[2][(word >> 40) & 0xff] ^
              table[1][(word >> 48) & 0xff] ^ table[0][word >> 56];
    }
    for (; size; data++, size--) crc = table[0][(crc ^ *data) & 0xff] ^ (crc >> 8);
    return ~crc;
}

#endif
