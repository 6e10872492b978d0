/* What sha1.h, sha256.h and pbkdf2.h share: big-endian words, what the processor can do.
 *
 * Plain C, static inline, free of CPython, so that it can be tested from C. `MK_SHA_X86` or
 * `MK_SHA_ARM` is defined where the compiler can make the processor's SHA instructions; whether
 * this processor has them is asked at run time (`mk_sha_supported`).
 */
#ifndef MONGOKEY_SHA_H
#define MONGOKEY_SHA_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "wipe.h"

#if defined(MK_SHA_PORTABLE)
/* Only the portable code is wanted. */
#elif (defined(__x86_64__) && defined(__GNUC__)) || (defined(_M_X64) && !defined(_M_ARM64EC))
#define MK_SHA_X86 1
#include <immintrin.h>
#if defined(__GNUC__)
#include <cpuid.h>
#define MK_SHA_TARGET __attribute__((target("sha,ssse3,sse4.1")))
#else
#include <intrin.h>
#define MK_SHA_TARGET
#endif
#elif defined(__aarch64__) && !defined(__AARCH64EB__) && \
    (defined(__linux__) || defined(__APPLE__)) && \
    (defined(__ARM_FEATURE_SHA2) || defined(__ARM_FEATURE_CRYPTO) || \
     (defined(__GNUC__) && !defined(__clang__)) || \
     (defined(__clang__) && !defined(__apple_build_version__) && __clang_major__ >= 16))
#define MK_SHA_ARM 1
#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(__ARM_FEATURE_SHA2) || defined(__ARM_FEATURE_CRYPTO)
#define MK_SHA_TARGET
#elif defined(__clang__)
#define MK_SHA_TARGET __attribute__((target("sha2")))
#else
#define MK_SHA_TARGET __attribute__((target("+crypto")))
#endif
#endif

/* Whether this processor has the instructions for both SHA-1 and SHA-256. */
static inline int mk_sha_supported(void) {
#if defined(MK_SHA_X86) && defined(__GNUC__)
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 9)) || !(c & (1u << 19))) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29)) != 0;
#elif defined(MK_SHA_X86)
    int r[4];
    __cpuid(r, 0);
    if (r[0] < 7) return 0;
    __cpuid(r, 1);
    if (!(r[2] & (1 << 9)) || !(r[2] & (1 << 19))) return 0;
    __cpuidex(r, 7, 0);
    return (r[1] & (1 << 29)) != 0;
#elif defined(MK_SHA_ARM) && defined(__linux__)
    /* HWCAP_SHA1 and HWCAP_SHA2 of the kernel's <asm/hwcap.h>. */
    return (getauxval(AT_HWCAP) & 0x60) == 0x60;
#elif defined(MK_SHA_ARM)
    return 1; /* every Mac with such a processor */
#else
    return 0;
#endif
}

static inline uint32_t mk_rotl32(uint32_t x, int n) { return (x << n) | (x >> (32 - n)); }
static inline uint32_t mk_rotr32(uint32_t x, int n) { return (x >> n) | (x << (32 - n)); }

static inline uint32_t mk_load_be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void mk_store_be32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

/* Fills the part of HMAC's second and later blocks that is the same in each: a digest of `words`
 * words was put at the front of `w`, behind one block that is hashed already. */
static inline void mk_sha_pad_digest(uint32_t w[16], int words) {
    int i;
    w[words] = 0x80000000u;
    for (i = words + 1; i < 15; i++) w[i] = 0;
    w[15] = (uint32_t)(64 + 4 * words) * 8;
}

#endif
