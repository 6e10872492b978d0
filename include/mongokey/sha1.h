/* SHA-1's compression (FIPS 180-4, section 6.1.2), and PBKDF2's inner loop over it.
 *
 * For SCRAM-SHA-1 only, where HMAC needs no resistance to collisions. Laid out as sha256.h; the
 * arrays have eight words so that both hashes fit one type, and SHA-1 uses five of them.
 */
#ifndef MONGOKEY_SHA1_H
#define MONGOKEY_SHA1_H

#include "sha.h"

static const uint32_t mk_sha1_start[8] = {0x67452301, 0xefcdab89, 0x98badcfe,
                                          0x10325476, 0xc3d2e1f0, 0,          0, 0};

/* A round with function `f` and constant `k`; the caller renames the working variables. */
#define MK_SHA1_ROUND(a, b, c, d, e, f, k, x)         \
    do {                                              \
        e += mk_rotl32(a, 5) + (f) + (k) + (x);       \
        b = mk_rotl32(b, 30);                         \
    } while (0)

#define MK_SHA1_CHOOSE(b, c, d) (d ^ (b & (c ^ d)))
#define MK_SHA1_PARITY(b, c, d) (b ^ c ^ d)
#define MK_SHA1_MAJORITY(b, c, d) ((b & c) | (d & (b | c)))

/* Word `i` of the schedule, made in the place of word i - 16. */
#define MK_SHA1_WORD(i)                                                                      \
    ((i) < 16 ? w[(i)&15]                                                                    \
              : (w[(i)&15] = mk_rotl32(w[((i) + 13) & 15] ^ w[((i) + 8) & 15] ^              \
                                           w[((i) + 2) & 15] ^ w[(i)&15],                    \
                                       1)))

#define MK_SHA1_FIVE_ROUNDS(i, F, k)                                        \
    do {                                                                    \
        MK_SHA1_ROUND(a, b, c, d, e, F(b, c, d), k, MK_SHA1_WORD(i));       \
        MK_SHA1_ROUND(e, a, b, c, d, F(a, b, c), k, MK_SHA1_WORD((i) + 1)); \
        MK_SHA1_ROUND(d, e, a, b, c, F(e, a, b), k, MK_SHA1_WORD((i) + 2)); \
        MK_SHA1_ROUND(c, d, e, a, b, F(d, e, a), k, MK_SHA1_WORD((i) + 3)); \
        MK_SHA1_ROUND(b, c, d, e, a, F(c, d, e), k, MK_SHA1_WORD((i) + 4)); \
    } while (0)

#define MK_SHA1_TWENTY_ROUNDS(i, F, k)         \
    do {                                       \
        MK_SHA1_FIVE_ROUNDS(i, F, k);          \
        MK_SHA1_FIVE_ROUNDS((i) + 5, F, k);    \
        MK_SHA1_FIVE_ROUNDS((i) + 10, F, k);   \
        MK_SHA1_FIVE_ROUNDS((i) + 15, F, k);   \
    } while (0)

/* Compresses one block into `state`; `w` is the block's words and is used up. */
static inline void mk_sha1_rounds(uint32_t state[8], uint32_t w[16]) {
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    MK_SHA1_TWENTY_ROUNDS(0, MK_SHA1_CHOOSE, 0x5a827999u);
    MK_SHA1_TWENTY_ROUNDS(20, MK_SHA1_PARITY, 0x6ed9eba1u);
    MK_SHA1_TWENTY_ROUNDS(40, MK_SHA1_MAJORITY, 0x8f1bbcdcu);
    MK_SHA1_TWENTY_ROUNDS(60, MK_SHA1_PARITY, 0xca62c1d6u);
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

static void mk_sha1_compress(uint32_t state[8], const uint32_t block[16]) {
    uint32_t w[16];
    memcpy(w, block, sizeof w);
    mk_sha1_rounds(state, w);
    mk_wipe(w, sizeof w);
}

/* As mk_sha256_iterate. */
static void mk_sha1_iterate(const uint32_t inner[8], const uint32_t outer[8], uint32_t u[8],
                            uint32_t t[8], uint64_t count) {
    uint32_t w[16], state[8];
    int i;
    for (; count > 0; count--) {
        memcpy(w, u, 20);
        mk_sha_pad_digest(w, 5);
        memcpy(state, inner, 20);
        mk_sha1_rounds(state, w);
        memcpy(w, state, 20);
        mk_sha_pad_digest(w, 5);
        memcpy(u, outer, 20);
        mk_sha1_rounds(u, w);
        for (i = 0; i < 5; i++) t[i] ^= u[i];
    }
    mk_wipe(w, sizeof w);
    mk_wipe(state, sizeof state);
}

#if defined(MK_SHA_X86)

/* The instructions want words in falling order, e in the highest lane of a vector of its own. */
#define MK_SHA1_REVERSED(words) \
    _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(words)), 0x1B)
#define MK_SHA1_E(word) _mm_set_epi32((int)(word), 0, 0, 0)

/* Four rounds of kind `f` with the words in `m`; `e` is abcd before the last four rounds. */
#define MK_SHA1_FOUR(f, m)                               \
    do {                                                 \
        __m128i x_ = _mm_sha1nexte_epu32(e, m);          \
        e = abcd;                                        \
        abcd = _mm_sha1rnds4_epu32(abcd, x_, f);         \
    } while (0)

/* The next four words of the schedule, from the sixteen before, into the oldest four. */
#define MK_SHA1_NEXT(m0, m1, m2, m3) \
    (m0 = _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32(m0, m1), m2), m3))

#define MK_SHA1_NEXT_FOUR(f, m0, m1, m2, m3) \
    do {                                     \
        MK_SHA1_NEXT(m0, m1, m2, m3);        \
        MK_SHA1_FOUR(f, m0);                 \
    } while (0)

/* The 80 rounds over block m0 to m3 (used up) from abcd and e0, the state; afterwards `e` stands
 * for the new e as sha1nexte takes it. */
#define MK_SHA1_ALL(e0, m0, m1, m2, m3)          \
    do {                                         \
        e = abcd;                                \
        abcd = _mm_sha1rnds4_epu32(abcd, _mm_add_epi32(e0, m0), 0); \
        MK_SHA1_FOUR(0, m1);                     \
        MK_SHA1_FOUR(0, m2);                     \
        MK_SHA1_FOUR(0, m3);                     \
        MK_SHA1_NEXT_FOUR(0, m0, m1, m2, m3);    \
        MK_SHA1_NEXT_FOUR(1, m1, m2, m3, m0);    \
        MK_SHA1_NEXT_FOUR(1, m2, m3, m0, m1);    \
        MK_SHA1_NEXT_FOUR(1, m3, m0, m1, m2);    \
        MK_SHA1_NEXT_FOUR(1, m0, m1, m2, m3);    \
        MK_SHA1_NEXT_FOUR(1, m1, m2, m3, m0);    \
        MK_SHA1_NEXT_FOUR(2, m2, m3, m0, m1);    \
        MK_SHA1_NEXT_FOUR(2, m3, m0, m1, m2);    \
        MK_SHA1_NEXT_FOUR(2, m0, m1, m2, m3);    \
        MK_SHA1_NEXT_FOUR(2, m1, m2, m3, m0);    \
        MK_SHA1_NEXT_FOUR(2, m2, m3, m0, m1);    \
        MK_SHA1_NEXT_FOUR(3, m3, m0, m1, m2);    \
        MK_SHA1_NEXT_FOUR(3, m0, m1, m2, m3);    \
        MK_SHA1_NEXT_FOUR(3, m1, m2, m3, m0);    \
        MK_SHA1_NEXT_FOUR(3, m2, m3, m0, m1);    \
        MK_SHA1_NEXT_FOUR(3, m3, m0, m1, m2);    \
    } while (0)

MK_SHA_TARGET static void mk_sha1_compress_cpu(uint32_t state[8], const uint32_t block[16]) {
    const __m128i abcd0 = MK_SHA1_REVERSED(state), e0 = MK_SHA1_E(state[4]);
    __m128i abcd = abcd0, e;
    __m128i m0 = MK_SHA1_REVERSED(block), m1 = MK_SHA1_REVERSED(block + 4);
    __m128i m2 = MK_SHA1_REVERSED(block + 8), m3 = MK_SHA1_REVERSED(block + 12);
    MK_SHA1_ALL(e0, m0, m1, m2, m3);
    abcd = _mm_add_epi32(abcd, abcd0);
    _mm_storeu_si128((__m128i *)state, _mm_shuffle_epi32(abcd, 0x1B));
    state[4] = (uint32_t)_mm_extract_epi32(_mm_sha1nexte_epu32(e, e0), 3);
}

MK_SHA_TARGET static void mk_sha1_iterate_cpu(const uint32_t inner[8], const uint32_t outer[8],
                                              uint32_t u[8], uint32_t t[8], uint64_t count) {
    /* Behind a digest's fifth word: HMAC's padding, as in mk_sha_pad_digest, in falling order. */
    const __m128i pad = _mm_set_epi32(0, (int)0x80000000u, 0, 0);
    const __m128i size = _mm_set_epi32(0, 0, 0, (64 + 20) * 8);
    const __m128i inner0 = MK_SHA1_REVERSED(inner), inner1 = MK_SHA1_E(inner[4]);
    const __m128i outer0 = MK_SHA1_REVERSED(outer), outer1 = MK_SHA1_E(outer[4]);
    __m128i u0 = MK_SHA1_REVERSED(u), u1 = MK_SHA1_E(u[4]);
    __m128i t0 = MK_SHA1_REVERSED(t), t1 = MK_SHA1_E(t[4]);
    __m128i abcd, e, m1, m2, m3;
    for (; count > 0; count--) {
        m1 = _mm_blend_epi16(pad, u1, 0xC0);
        m2 = _mm_setzero_si128();
        m3 = size;
        abcd = inner0;
        MK_SHA1_ALL(inner1, u0, m1, m2, m3);
        u0 = _mm_add_epi32(abcd, inner0);
        u1 = _mm_sha1nexte_epu32(e, inner1);
        m1 = _mm_blend_epi16(pad, u1, 0xC0);
        m2 = _mm_setzero_si128();
        m3 = size;
        abcd = outer0;
        MK_SHA1_ALL(outer1, u0, m1, m2, m3);
        u0 = _mm_add_epi32(abcd, outer0);
        u1 = _mm_sha1nexte_epu32(e, outer1);
        t0 = _mm_xor_si128(t0, u0);
        t1 = _mm_xor_si128(t1, u1);
    }
    _mm_storeu_si128((__m128i *)u, _mm_shuffle_epi32(u0, 0x1B));
    u[4] = (uint32_t)_mm_extract_epi32(u1, 3);
    _mm_storeu_si128((__m128i *)t, _mm_shuffle_epi32(t0, 0x1B));
    t[4] = (uint32_t)_mm_extract_epi32(t1, 3);
}

#undef MK_SHA1_REVERSED
#undef MK_SHA1_E
#undef MK_SHA1_FOUR
#undef MK_SHA1_NEXT
#undef MK_SHA1_NEXT_FOUR
#undef MK_SHA1_ALL

#elif defined(MK_SHA_ARM)

/* Four rounds of kind `f` (c, p or m) with constant `k` and the words in `m`. */
#define MK_SHA1_FOUR(f, k, m)                                                \
    do {                                                                     \
        uint32_t next_ = vsha1h_u32(vgetq_lane_u32(abcd, 0));                \
        abcd = vsha1##f##q_u32(abcd, e, vaddq_u32(m, vdupq_n_u32(k)));       \
        e = next_;                                                           \
    } while (0)

/* Four rounds with the next words of the schedule, made from the sixteen before in m0. */
#define MK_SHA1_NEXT_FOUR(f, k, m0, m1, m2, m3)                      \
    do {                                                             \
        m0 = vsha1su1q_u32(vsha1su0q_u32(m0, m1, m2), m3);           \
        MK_SHA1_FOUR(f, k, m0);                                      \
    } while (0)

/* The 80 rounds over block m0 to m3 (used up) from the state in abcd, e. */
#define MK_SHA1_ALL(m0, m1, m2, m3)                              \
    do {                                                         \
        MK_SHA1_FOUR(c, 0x5a827999u, m0);                        \
        MK_SHA1_FOUR(c, 0x5a827999u, m1);                        \
        MK_SHA1_FOUR(c, 0x5a827999u, m2);                        \
        MK_SHA1_FOUR(c, 0x5a827999u, m3);                        \
        MK_SHA1_NEXT_FOUR(c, 0x5a827999u, m0, m1, m2, m3);       \
        MK_SHA1_NEXT_FOUR(p, 0x6ed9eba1u, m1, m2, m3, m0);       \
        MK_SHA1_NEXT_FOUR(p, 0x6ed9eba1u, m2, m3, m0, m1);       \
        MK_SHA1_NEXT_FOUR(p, 0x6ed9eba1u, m3, m0, m1, m2);       \
        MK_SHA1_NEXT_FOUR(p, 0x6ed9eba1u, m0, m1, m2, m3);       \
        MK_SHA1_NEXT_FOUR(p, 0x6ed9eba1u, m1, m2, m3, m0);       \
        MK_SHA1_NEXT_FOUR(m, 0x8f1bbcdcu, m2, m3, m0, m1);       \
        MK_SHA1_NEXT_FOUR(m, 0x8f1bbcdcu, m3, m0, m1, m2);       \
        MK_SHA1_NEXT_FOUR(m, 0x8f1bbcdcu, m0, m1, m2, m3);       \
        MK_SHA1_NEXT_FOUR(m, 0x8f1bbcdcu, m1, m2, m3, m0);       \
        MK_SHA1_NEXT_FOUR(m, 0x8f1bbcdcu, m2, m3, m0, m1);       \
        MK_SHA1_NEXT_FOUR(p, 0xca62c1d6u, m3, m0, m1, m2);       \
        MK_SHA1_NEXT_FOUR(p, 0xca62c1d6u, m0, m1, m2, m3);       \
        MK_SHA1_NEXT_FOUR(p, 0xca62c1d6u, m1, m2, m3, m0);       \
        MK_SHA1_NEXT_FOUR(p, 0xca62c1d6u, m2, m3, m0, m1);       \
        MK_SHA1_NEXT_FOUR(p, 0xca62c1d6u, m3, m0, m1, m2);       \
    } while (0)

MK_SHA_TARGET static void mk_sha1_compress_cpu(uint32_t state[8], const uint32_t block[16]) {
    uint32x4_t abcd = vld1q_u32(state);
    uint32_t e = state[4];
    uint32x4_t m0 = vld1q_u32(block), m1 = vld1q_u32(block + 4);
    uint32x4_t m2 = vld1q_u32(block + 8), m3 = vld1q_u32(block + 12);
    MK_SHA1_ALL(m0, m1, m2, m3);
    vst1q_u32(state, vaddq_u32(abcd, vld1q_u32(state)));
    state[4] += e;
}

MK_SHA_TARGET static void mk_sha1_iterate_cpu(const uint32_t inner[8], const uint32_t outer[8],
                                              uint32_t u[8], uint32_t t[8], uint64_t count) {
    static const uint32_t padding[8] = {0, 0x80000000u, 0, 0, 0, 0, 0, (64 + 20) * 8};
    const uint32x4_t pad = vld1q_u32(padding), size = vld1q_u32(padding + 4);
    const uint32x4_t inner0 = vld1q_u32(inner), outer0 = vld1q_u32(outer);
    uint32x4_t u0 = vld1q_u32(u), t0 = vld1q_u32(t), abcd, m1, m2, m3;
    uint32_t u1 = u[4], t1 = t[4], e;
    for (; count > 0; count--) {
        m1 = vsetq_lane_u32(u1, pad, 0);
        m2 = vdupq_n_u32(0);
        m3 = size;
        abcd = inner0;
        e = inner[4];
        MK_SHA1_ALL(u0, m1, m2, m3);
        u0 = vaddq_u32(abcd, inner0);
        u1 = e + inner[4];
        m1 = vsetq_lane_u32(u1, pad, 0);
        m2 = vdupq_n_u32(0);
        m3 = size;
        abcd = outer0;
        e = outer[4];
        MK_SHA1_ALL(u0, m1, m2, m3);
        u0 = vaddq_u32(abcd, outer0);
        u1 = e + outer[4];
        t0 = veorq_u32(t0, u0);
        t1 ^= u1;
    }
    vst1q_u32(u, u0);
    u[4] = u1;
    vst1q_u32(t, t0);
    t[4] = t1;
}

#undef MK_SHA1_FOUR
#undef MK_SHA1_NEXT_FOUR
#undef MK_SHA1_ALL

#endif

#undef MK_SHA1_ROUND
#undef MK_SHA1_CHOOSE
#undef MK_SHA1_PARITY
#undef MK_SHA1_MAJORITY
#undef MK_SHA1_WORD
#undef MK_SHA1_FIVE_ROUNDS
#undef MK_SHA1_TWENTY_ROUNDS

#endif
