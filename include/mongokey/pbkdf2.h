/* HMAC (RFC 2104) and PBKDF2 with one block of output (RFC 8018), over sha1.h and sha256.h.
 *
 * What SCRAM computes with a password. A derivation can be done in parts, so that a caller can
 * look at the clock in between. Plain C, static inline, free of CPython. Every structure holds
 * secrets: wipe it with `mk_wipe` when it is done with.
 */
#ifndef MONGOKEY_PBKDF2_H
#define MONGOKEY_PBKDF2_H

#include "sha1.h"
#include "sha256.h"

#define MK_SHA_BLOCK 64
#define MK_SHA_MAX_SIZE 32

/* One hash in one implementation. `words` is the size of its digest in 32-bit words. */
typedef struct {
    int words;
    const uint32_t *start;
    void (*compress)(uint32_t state[8], const uint32_t block[16]);
    void (*iterate)(const uint32_t inner[8], const uint32_t outer[8], uint32_t u[8],
                    uint32_t t[8], uint64_t count);
} mk_hash;

enum { MK_SHA1, MK_SHA256 };

static const mk_hash mk_hashes[2] = {
    {5, mk_sha1_start, mk_sha1_compress, mk_sha1_iterate},
    {8, mk_sha256_start, mk_sha256_compress, mk_sha256_iterate},
};

#if defined(MK_SHA_X86) || defined(MK_SHA_ARM)
static const mk_hash mk_hashes_cpu[2] = {
    {5, mk_sha1_start, mk_sha1_compress_cpu, mk_sha1_iterate_cpu},
    {8, mk_sha256_start, mk_sha256_compress_cpu, mk_sha256_iterate_cpu},
};
#endif

/* The hash MK_SHA1 or MK_SHA256; `cpu` (which mk_sha_supported must have allowed) chooses the
 * processor's instructions. */
static inline const mk_hash *mk_hash_find(int kind, int cpu) {
#if defined(MK_SHA_X86) || defined(MK_SHA_ARM)
    if (cpu) return &mk_hashes_cpu[kind];
#else
    (void)cpu;
#endif
    return &mk_hashes[kind];
}

/* A hash of bytes that come in pieces. */
typedef struct {
    const mk_hash *hash;
    uint32_t state[8];
    uint64_t size; /* bytes so far */
    uint8_t block[MK_SHA_BLOCK];
} mk_digest;

static inline void mk_digest_block(mk_digest *d, const uint8_t *block) {
    uint32_t w[16];
    int i;
    for (i = 0; i < 16; i++) w[i] = mk_load_be32(block + 4 * i);
    d->hash->compress(d->state, w);
    mk_wipe(w, sizeof w);
}

static inline void mk_digest_start(mk_digest *d, const mk_hash *hash) {
    d->hash = hash;
    memcpy(d->state, hash->start, sizeof d->state);
    d->size = 0;
}

/* Goes on from `state`, which one whole block led to. */
static inline void mk_digest_resume(mk_digest *d, const mk_hash *hash, const uint32_t state[8]) {
    d->hash = hash;
    memcpy(d->state, state, sizeof d->state);
    d->size = MK_SHA_BLOCK;
}

static inline void mk_digest_add(mk_digest *d, const uint8_t *data, size_t size) {
    size_t held = (size_t)(d->size % MK_SHA_BLOCK), part;
    if (size == 0) return;
    d->size += size;
    if (held > 0) {
        part = MK_SHA_BLOCK - held < size ? MK_SHA_BLOCK - held : size;
        memcpy(d->block + held, data, part);
        if (held + part < MK_SHA_BLOCK) return;
        mk_digest_block(d, d->block);
        data += part;
        size -= part;
    }
    for (; size >= MK_SHA_BLOCK; data += MK_SHA_BLOCK, size -= MK_SHA_BLOCK)
        mk_digest_block(d, data);
    if (size > 0) memcpy(d->block, data, size);
}

/* Leaves the digest in `d->state`, as words. */
static inline void mk_digest_end(mk_digest *d) {
    uint64_t bits = d->size * 8;
    size_t held = (size_t)(d->size % MK_SHA_BLOCK);
    d->block[held++] = 0x80;
    if (held > MK_SHA_BLOCK - 8) {
        memset(d->block + held, 0, MK_SHA_BLOCK - held);
        mk_digest_block(d, d->block);
        held = 0;
    }
    memset(d->block + held, 0, MK_SHA_BLOCK - 8 - held);
    mk_store_be32(d->block + MK_SHA_BLOCK - 8, (uint32_t)(bits >> 32));
    mk_store_be32(d->block + MK_SHA_BLOCK - 4, (uint32_t)bits);
    mk_digest_block(d, d->block);
}

/* The digest's bytes, 4 * hash->words of them. */
static inline void mk_digest_bytes(const mk_hash *hash, const uint32_t *words, uint8_t *out) {
    int i;
    /* The constant bound is for compilers, which cannot see that `words` is 5 or 8. */
    for (i = 0; i < MK_SHA_MAX_SIZE / 4 && i < hash->words; i++)
        mk_store_be32(out + 4 * i, words[i]);
}

/* The hash of some bytes. */
static inline void mk_hash_bytes(const mk_hash *hash, const uint8_t *data, size_t size,
                                 uint8_t *out) {
    mk_digest d;
    mk_digest_start(&d, hash);
    mk_digest_add(&d, data, size);
    mk_digest_end(&d);
    mk_digest_bytes(hash, d.state, out);
    mk_wipe(&d, sizeof d);
}

/* A key of HMAC: the states after its two padded blocks, so that they are hashed once only. */
typedef struct {
    const mk_hash *hash;
    uint32_t inner[8];
    uint32_t outer[8];
} mk_hmac_key;

static inline void mk_hmac_key_init(mk_hmac_key *k, const mk_hash *hash, const uint8_t *key,
                                    size_t size) {
    uint8_t block[MK_SHA_BLOCK];
    mk_digest d;
    size_t i;
    memset(block, 0, sizeof block);
    if (size > MK_SHA_BLOCK)
        mk_hash_bytes(hash, key, size, block);
    else if (size > 0)
        memcpy(block, key, size);
    k->hash = hash;
    for (i = 0; i < MK_SHA_BLOCK; i++) block[i] ^= 0x36;
    mk_digest_start(&d, hash);
    mk_digest_block(&d, block);
    memcpy(k->inner, d.state, sizeof k->inner);
    for (i = 0; i < MK_SHA_BLOCK; i++) block[i] ^= 0x36 ^ 0x5c;
    mk_digest_start(&d, hash);
    mk_digest_block(&d, block);
    memcpy(k->outer, d.state, sizeof k->outer);
    mk_wipe(block, sizeof block);
    mk_wipe(&d, sizeof d);
}

/* Ends an HMAC whose message was added to `d`, begun by mk_digest_resume with `k->inner`; leaves
 * the HMAC in `d->state`, as words. */
static inline void mk_hmac_end(const mk_hmac_key *k, mk_digest *d) {
    uint8_t digest[MK_SHA_MAX_SIZE];
    mk_digest_end(d);
    mk_digest_bytes(k->hash, d->state, digest);
    mk_digest_resume(d, k->hash, k->outer);
    mk_digest_add(d, digest, 4 * (size_t)k->hash->words);
    mk_digest_end(d);
    mk_wipe(digest, sizeof digest);
}

/* HMAC of a message. */
static inline void mk_hmac(const mk_hmac_key *k, const uint8_t *message, size_t size,
                           uint8_t *out) {
    mk_digest d;
    mk_digest_resume(&d, k->hash, k->inner);
    mk_digest_add(&d, message, size);
    mk_hmac_end(k, &d);
    mk_digest_bytes(k->hash, d.state, out);
    mk_wipe(&d, sizeof d);
}

/* A derivation under way: its first block, T_1, which is as long as the hash's digest. */
typedef struct {
    mk_hmac_key key;
    uint32_t u[8];
    uint32_t t[8];
    uint64_t left; /* iterations still to do */
} mk_pbkdf2;

/* The first iteration; `iterations` is at least 1. */
static inline void mk_pbkdf2_start(mk_pbkdf2 *p, const mk_hash *hash, const uint8_t *password,
                                   size_t password_size, const uint8_t *salt, size_t salt_size,
                                   uint64_t iterations) {
    static const uint8_t first_block[4] = {0, 0, 0, 1};
    mk_digest d;
    mk_hmac_key_init(&p->key, hash, password, password_size);
    mk_digest_resume(&d, hash, p->key.inner);
    mk_digest_add(&d, salt, salt_size);
    mk_digest_add(&d, first_block, 4);
    mk_hmac_end(&p->key, &d);
    memcpy(p->u, d.state, sizeof p->u);
    memcpy(p->t, d.state, sizeof p->t);
    p->left = iterations - 1;
    mk_wipe(&d, sizeof d);
}

/* At most `most` iterations more; how many are still to do. */
static inline uint64_t mk_pbkdf2_advance(mk_pbkdf2 *p, uint64_t most) {
    uint64_t count = p->left < most ? p->left : most;
    p->key.hash->iterate(p->key.inner, p->key.outer, p->u, p->t, count);
    p->left -= count;
    return p->left;
}

/* The derived key, 4 * hash->words bytes, once nothing is left to do. */
static inline void mk_pbkdf2_bytes(const mk_pbkdf2 *p, uint8_t *out) {
    mk_digest_bytes(p->key.hash, p->t, out);
}

#endif
