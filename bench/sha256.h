/* SHA-256 (FIPS 180-4), HMAC (RFC 2104) and base64, for the canned server's SCRAM logins. */
#ifndef MONGOKEY_BENCH_SHA256_H
#define MONGOKEY_BENCH_SHA256_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint32_t state[8];
    uint64_t size;
    uint8_t block[64];
} sha256;

static const uint32_t SHA256_K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t sha256_rotate(uint32_t x, int n) { return (x >> n) | (x << (32 - n)); }

static void sha256_compress(sha256 *s, const uint8_t *p) {
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        uint32_t s0 = sha256_rotate(a, 7) ^ sha256_rotate(a, 18) ^ (a >> 3);
        uint32_t s1 = sha256_rotate(b, 17) ^ sha256_rotate(b, 19) ^ (b >> 10);
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    memcpy(v, s->state, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t s1 = sha256_rotate(v[4], 6) ^ sha256_rotate(v[4], 11) ^ sha256_rotate(v[4], 25);
        uint32_t t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + SHA256_K[i] + w[i];
        uint32_t s0 = sha256_rotate(v[0], 2) ^ sha256_rotate(v[0], 13) ^ sha256_rotate(v[0], 22);
        uint32_t t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof v[0]);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) s->state[i] += v[i];
}

static void sha256_init(sha256 *s) {
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->state, start, sizeof start);
    s->size = 0;
}

static void sha256_add(sha256 *s, const void *data, size_t n) {
    const uint8_t *p = data;
    while (n > 0) {
        size_t at = s->size % 64, take = 64 - at < n ? 64 - at : n;
        memcpy(s->block + at, p, take);
        s->size += take;
        p += take;
        n -= take;
        if (s->size % 64 == 0) sha256_compress(s, s->block);
    }
}

static void sha256_end(sha256 *s, uint8_t out[32]) {
    uint64_t bits = s->size * 8;
    uint8_t tail[8];
    sha256_add(s, "\x80", 1);
    while (s->size % 64 != 56) sha256_add(s, "", 1);
    for (int i = 0; i < 8; i++) tail[i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_add(s, tail, 8);
    for (int i = 0; i < 32; i++) out[i] = (uint8_t)(s->state[i / 4] >> (24 - 8 * (i % 4)));
}

/* The key is 32 bytes: all that SCRAM-SHA-256 needs behind the derivation. */
static void hmac_sha256(const uint8_t key[32], const void *data, size_t n, uint8_t out[32]) {
    uint8_t inner[64], outer[64];
    sha256 s;
    memset(inner, 0x36, sizeof inner);
    memset(outer, 0x5c, sizeof outer);
    for (int i = 0; i < 32; i++) {
        inner[i] ^= key[i];
        outer[i] ^= key[i];
    }
    sha256_init(&s);
    sha256_add(&s, inner, sizeof inner);
    sha256_add(&s, data, n);
    sha256_end(&s, out);
    sha256_init(&s);
    sha256_add(&s, outer, sizeof outer);
    sha256_add(&s, out, 32);
    sha256_end(&s, out);
}

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Writes 4 * ceil(n / 3) characters, and returns how many. */
static size_t base64_encode(const uint8_t *p, size_t n, char *out) {
    size_t o = 0;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16;
        if (i + 1 < n) v |= (uint32_t)p[i + 1] << 8;
        if (i + 2 < n) v |= p[i + 2];
        out[o++] = BASE64[v >> 18];
        out[o++] = BASE64[v >> 12 & 63];
        out[o++] = i + 1 < n ? BASE64[v >> 6 & 63] : '=';
        out[o++] = i + 2 < n ? BASE64[v & 63] : '=';
    }
    return o;
}

/* Decodes a SHA-256 sized value (44 characters). Returns 0 if it is none. */
static int base64_decode32(const char *p, size_t n, uint8_t out[32]) {
    uint32_t v = 0;
    size_t o = 0;
    if (n != 44 || p[43] != '=') return 0;
    for (size_t i = 0; i < 43; i++) {
        const char *found = p[i] ? strchr(BASE64, p[i]) : NULL;
        if (!found) return 0;
        v = v << 6 | (uint32_t)(found - BASE64);
        if (i % 4 == 3) {
            out[o++] = (uint8_t)(v >> 16);
            out[o++] = (uint8_t)(v >> 8);
            out[o++] = (uint8_t)v;
            v = 0;
        }
    }
    out[o++] = (uint8_t)(v >> 10);
    out[o++] = (uint8_t)(v >> 2);
    return o == 32;
}

#endif
