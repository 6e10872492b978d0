/* SHA-256's compression (FIPS 180-4, section 6.2.2), and PBKDF2's inner loop over it.
 *
 * In portable C and on the processor's SHA instructions; pbkdf2.h chooses. Words are in the
 * host's order. Plain C, static inline, free of CPython.
 */
#ifndef MONGOKEY_SHA256_H
#define MONGOKEY_SHA256_H

#include "sha.h"

static const uint32_t mk_sha256_start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                            0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static const uint32_t mk_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* One round; the caller renames the working variables instead of moving them. */
#define MK_SHA256_ROUND(a, b, c, d, e, f, g, h, k, w)                                           \
    do {                                                                                        \
        uint32_t t_ = h + (mk_rotr32(e, 6) ^ mk_rotr32(e, 11) ^ mk_rotr32(e, 25)) +             \
                      (g ^ (e & (f ^ g))) + (k) + (w);                                          \
        d += t_;                                                                                \
        h = t_ + (mk_rotr32(a, 2) ^ mk_rotr32(a, 13) ^ mk_rotr32(a, 22)) +                      \
            ((a & b) | (c & (a | b)));                                                          \
    } while (0)

#define MK_SHA256_EIGHT_ROUNDS(i)                                                               \
    do {                                                                                        \
        MK_SHA256_ROUND(a, b, c, d, e, f, g, h, mk_sha256_k[(i) + 0], w[((i) + 0) & 15]);       \
        MK_SHA256_ROUND(h, a, b, c, d, e, f, g, mk_sha256_k[(i) + 1], w[((i) + 1) & 15]);       \
        MK_SHA256_ROUND(g, h, a, b, c, d, e, f, mk_sha256_k[(i) + 2], w[((i) + 2) & 15]);       \
        MK_SHA256_ROUND(f, g, h, a, b, c, d, e, mk_sha256_k[(i) + 3], w[((i) + 3) & 15]);       \
        MK_SHA256_ROUND(e, f, g, h, a, b, c, d, mk_sha256_k[(i) + 4], w[((i) + 4) & 15]);       \
        MK_SHA256_ROUND(d, e, f, g, h, a, b, c, mk_sha256_k[(i) + 5], w[((i) + 5) & 15]);       \
        MK_SHA256_ROUND(c, d, e, f, g, h, a, b, mk_sha256_k[(i) + 6], w[((i) + 6) & 15]);       \
        MK_SHA256_ROUND(b, c, d, e, f, g, h, a, mk_sha256_k[(i) + 7], w[((i) + 7) & 15]);       \
    } while (0)

/* Compresses one block into `state`; `w` is the block's words and is used up. */
static inline void mk_sha256_rounds(uint32_t state[8], uint32_t w[16]) {
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    int i, j;
    MK_SHA256_EIGHT_ROUNDS(0);
    MK_SHA256_EIGHT_ROUNDS(8);
    for (i = 16; i < 64; i += 16) {
        for (j = 0; j < 16; j++) {
            uint32_t x = w[(j + 1) & 15], y = w[(j + 14) & 15];
            w[j] += (mk_rotr32(x, 7) ^ mk_rotr32(x, 18) ^ (x >> 3)) + w[(j + 9) & 15] +
                    (mk_rotr32(y, 17) ^ mk_rotr32(y, 19) ^ (y >> 10));
        }
        MK_SHA256_EIGHT_ROUNDS(i);
        MK_SHA256_EIGHT_ROUNDS(i + 8);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

static void mk_sha256_compress(uint32_t state[8], const uint32_t block[16]) {
    uint32_t w[16];
    memcpy(w, block, sizeof w);
    mk_sha256_rounds(state, w);
    mk_wipe(w, sizeof w);
}

/* RFC 8018 section 5.2: `count` times u = HMAC(key, u), t ^= u; `inner` and `outer` are the
 * states after HMAC's two padded keys. */
static void mk_sha256_iterate(const uint32_t inner[8], const uint32_t outer[8], uint32_t u[8],
                              uint32_t t[8], uint64_t count) {
    uint32_t w[16], state[8];
    int i;
    for (; count > 0; count--) {
        memcpy(w, u, 32);
        mk_sha_pad_digest(w, 8);
        memcpy(state, inner, 32);
        mk_sha256_rounds(state, w);
        memcpy(w, state, 32);
        mk_sha_pad_digest(w, 8);
        memcpy(u, outer, 32);
        mk_sha256_rounds(u, w);
        for (i = 0; i < 8; i++) t[i] ^= u[i];
    }
    mk_wipe(w, sizeof w);
    mk_wipe(state, sizeof state);
}

#if defined(MK_SHA_X86)

/* The instructions want the state as two vectors, their lanes (lowest first) f, e, b, a and
 * h, g, d, c. */
#define MK_SHA256_LOAD(words, abef, cdgh)                                                       \
    do {                                                                                        \
        __m128i x_ = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(words)), 0xB1);        \
        __m128i y_ = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)((words) + 4)), 0x1B);  \
        abef = _mm_alignr_epi8(x_, y_, 8);                                                      \
        cdgh = _mm_blend_epi16(y_, x_, 0xF0);                                                   \
    } while (0)

/* And back to words a to d and e to h. */
#define MK_SHA256_UNLOAD(abef, cdgh, low, high)                                                 \
    do {                                                                                        \
        __m128i x_ = _mm_shuffle_epi32(abef, 0x1B), y_ = _mm_shuffle_epi32(cdgh, 0xB1);         \
        low = _mm_blend_epi16(x_, y_, 0xF0);                                                    \
        high = _mm_alignr_epi8(y_, x_, 8);                                                      \
    } while (0)

/* Four rounds, with words 4 * i to 4 * i + 3. */
#define MK_SHA256_FOUR(i, m)                                                                    \
    do {                                                                                        \
        __m128i k_ = _mm_add_epi32(m, _mm_loadu_si128((const __m128i *)(mk_sha256_k + 4 * (i)))); \
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, k_);                                           \
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(k_, 0x0E));                  \
    } while (0)

/* The next four words of the schedule, from the sixteen before, into the oldest four. */
#define MK_SHA256_NEXT(m0, m1, m2, m3)                                                          \
    (m0 = _mm_sha256msg2_epu32(                                                                 \
         _mm_add_epi32(_mm_sha256msg1_epu32(m0, m1), _mm_alignr_epi8(m3, m2, 4)), m3))

/* The 64 rounds over block m0 to m3 (used up) from the state in abef, cdgh. */
#define MK_SHA256_ALL(m0, m1, m2, m3)                                                           \
    do {                                                                                        \
        int i_;                                                                                 \
        MK_SHA256_FOUR(0, m0);                                                                  \
        MK_SHA256_FOUR(1, m1);                                                                  \
        MK_SHA256_FOUR(2, m2);                                                                  \
        MK_SHA256_FOUR(3, m3);                                                                  \
        for (i_ = 4; i_ < 16; i_ += 4) {                                                        \
            MK_SHA256_NEXT(m0, m1, m2, m3);                                                     \
            MK_SHA256_FOUR(i_, m0);                                                             \
            MK_SHA256_NEXT(m1, m2, m3, m0);                                                     \
            MK_SHA256_FOUR(i_ + 1, m1);                                                         \
            MK_SHA256_NEXT(m2, m3, m0, m1);                                                     \
            MK_SHA256_FOUR(i_ + 2, m2);                                                         \
            MK_SHA256_NEXT(m3, m0, m1, m2);                                                     \
            MK_SHA256_FOUR(i_ + 3, m3);                                                         \
        }                                                                                       \
    } while (0)

MK_SHA_TARGET static void mk_sha256_compress_cpu(uint32_t state[8], const uint32_t block[16]) {
    __m128i abef, cdgh, abef0, cdgh0;
    __m128i m0 = _mm_loadu_si128((const __m128i *)block);
    __m128i m1 = _mm_loadu_si128((const __m128i *)(block + 4));
    __m128i m2 = _mm_loadu_si128((const __m128i *)(block + 8));
    __m128i m3 = _mm_loadu_si128((const __m128i *)(block + 12));
    MK_SHA256_LOAD(state, abef0, cdgh0);
    abef = abef0;
    cdgh = cdgh0;
    MK_SHA256_ALL(m0, m1, m2, m3);
    abef = _mm_add_epi32(abef, abef0);
    cdgh = _mm_add_epi32(cdgh, cdgh0);
    MK_SHA256_UNLOAD(abef, cdgh, m0, m1);
    _mm_storeu_si128((__m128i *)state, m0);
    _mm_storeu_si128((__m128i *)(state + 4), m1);
}

MK_SHA_TARGET static void mk_sha256_iterate_cpu(const uint32_t inner[8], const uint32_t outer[8],
                                                uint32_t u[8], uint32_t t[8], uint64_t count) {
    /* HMAC's padding behind a digest, as in mk_sha_pad_digest. */
    const __m128i pad = _mm_set_epi32(0, 0, 0, (int)0x80000000u);
    const __m128i size = _mm_set_epi32((64 + 32) * 8, 0, 0, 0);
    __m128i inner0, inner1, outer0, outer1, abef, cdgh, m2, m3;
    __m128i u0 = _mm_loadu_si128((const __m128i *)u);
    __m128i u1 = _mm_loadu_si128((const __m128i *)(u + 4));
    __m128i t0 = _mm_loadu_si128((const __m128i *)t);
    __m128i t1 = _mm_loadu_si128((const __m128i *)(t + 4));
    MK_SHA256_LOAD(inner, inner0, inner1);
    MK_SHA256_LOAD(outer, outer0, outer1);
    for (; count > 0; count--) {
        m2 = pad;
        m3 = size;
        abef = inner0;
        cdgh = inner1;
        MK_SHA256_ALL(u0, u1, m2, m3);
        abef = _mm_add_epi32(abef, inner0);
        cdgh = _mm_add_epi32(cdgh, inner1);
        MK_SHA256_UNLOAD(abef, cdgh, u0, u1);
        m2 = pad;
        m3 = size;
        abef = outer0;
        cdgh = outer1;
        MK_SHA256_ALL(u0, u1, m2, m3);
        abef = _mm_add_epi32(abef, outer0);
        cdgh = _mm_add_epi32(cdgh, outer1);
        MK_SHA256_UNLOAD(abef, cdgh, u0, u1);
        t0 = _mm_xor_si128(t0, u0);
        t1 = _mm_xor_si128(t1, u1);
    }
    _mm_storeu_si128((__m128i *)u, u0);
    _mm_storeu_si128((__m128i *)(u + 4), u1);
    _mm_storeu_si128((__m128i *)t, t0);
    _mm_storeu_si128((__m128i *)(t + 4), t1);
}

#undef MK_SHA256_LOAD
#undef MK_SHA256_UNLOAD
#undef MK_SHA256_FOUR
#undef MK_SHA256_NEXT
#undef MK_SHA256_ALL

#elif defined(MK_SHA_ARM)

/* Four rounds, with words 4 * i to 4 * i + 3. */
#define MK_SHA256_FOUR(i, m)                                                                    \
    do {                                                                                        \
        uint32x4_t k_ = vaddq_u32(m, vld1q_u32(mk_sha256_k + 4 * (i))), before_ = abcd;         \
        abcd = vsha256hq_u32(abcd, efgh, k_);                                                   \
        efgh = vsha256h2q_u32(efgh, before_, k_);                                               \
    } while (0)

/* The next four words of the schedule, from the sixteen before, into the oldest four. */
#define MK_SHA256_NEXT(m0, m1, m2, m3) \
    (m0 = vsha256su1q_u32(vsha256su0q_u32(m0, m1), m2, m3))

/* The 64 rounds over block m0 to m3 (used up) from the state in abcd, efgh. */
#define MK_SHA256_ALL(m0, m1, m2, m3)                                                           \
    do {                                                                                        \
        int i_;                                                                                 \
        MK_SHA256_FOUR(0, m0);                                                                  \
        MK_SHA256_FOUR(1, m1);                                                                  \
        MK_SHA256_FOUR(2, m2);                                                                  \
        MK_SHA256_FOUR(3, m3);                                                                  \
        for (i_ = 4; i_ < 16; i_ += 4) {                                                        \
            MK_SHA256_NEXT(m0, m1, m2, m3);                                                     \
            MK_SHA256_FOUR(i_, m0);                                                             \
            MK_SHA256_NEXT(m1, m2, m3, m0);                                                     \
            MK_SHA256_FOUR(i_ + 1, m1);                                                         \
            MK_SHA256_NEXT(m2, m3, m0, m1);                                                     \
            MK_SHA256_FOUR(i_ + 2, m2);                                                         \
            MK_SHA256_NEXT(m3, m0, m1, m2);                                                     \
            MK_SHA256_FOUR(i_ + 3, m3);                                                         \
        }                                                                                       \
    } while (0)

MK_SHA_TARGET static void mk_sha256_compress_cpu(uint32_t state[8], const uint32_t block[16]) {
    uint32x4_t abcd = vld1q_u32(state), efgh = vld1q_u32(state + 4);
    uint32x4_t m0 = vld1q_u32(block), m1 = vld1q_u32(block + 4);
    uint32x4_t m2 = vld1q_u32(block + 8), m3 = vld1q_u32(block + 12);
    MK_SHA256_ALL(m0, m1, m2, m3);
    vst1q_u32(state, vaddq_u32(abcd, vld1q_u32(state)));
    vst1q_u32(state + 4, vaddq_u32(efgh, vld1q_u32(state + 4)));
}

MK_SHA_TARGET static void mk_sha256_iterate_cpu(const uint32_t inner[8], const uint32_t outer[8],
                                                uint32_t u[8], uint32_t t[8], uint64_t count) {
    static const uint32_t padding[8] = {0x80000000u, 0, 0, 0, 0, 0, 0, (64 + 32) * 8};
    const uint32x4_t pad = vld1q_u32(padding), size = vld1q_u32(padding + 4);
    const uint32x4_t inner0 = vld1q_u32(inner), inner1 = vld1q_u32(inner + 4);
    const uint32x4_t outer0 = vld1q_u32(outer), outer1 = vld1q_u32(outer + 4);
    uint32x4_t u0 = vld1q_u32(u), u1 = vld1q_u32(u + 4);
    uint32x4_t t0 = vld1q_u32(t), t1 = vld1q_u32(t + 4);
    uint32x4_t abcd, efgh, m2, m3;
    for (; count > 0; count--) {
        m2 = pad;
        m3 = size;
        abcd = inner0;
        efgh = inner1;
        MK_SHA256_ALL(u0, u1, m2, m3);
        u0 = vaddq_u32(abcd, inner0);
        u1 = vaddq_u32(efgh, inner1);
        m2 = pad;
        m3 = size;
        abcd = outer0;
        efgh = outer1;
        MK_SHA256_ALL(u0, u1, m2, m3);
        u0 = vaddq_u32(abcd, outer0);
        u1 = vaddq_u32(efgh, outer1);
        t0 = veorq_u32(t0, u0);
        t1 = veorq_u32(t1, u1);
    }
    vst1q_u32(u, u0);
    vst1q_u32(u + 4, u1);
    vst1q_u32(t, t0);
    vst1q_u32(t + 4, t1);
}

#undef MK_SHA256_FOUR
#undef MK_SHA256_NEXT
#undef MK_SHA256_ALL

#endif

#undef MK_SHA256_ROUND
#undef MK_SHA256_EIGHT_ROUNDS

#endif
