/* SHA-1, SHA-256, HMAC and PBKDF2 of include/mongokey, run as plain C.
 *
 * Checks published vectors with the portable code and with the processor's instructions, and that
 * both agree on generated inputs; prints "cpu" where the processor has them, else "portable".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mongokey/pbkdf2.h"

#define MEGA 1000000

static int failures = 0;

static void check(const char *what, const uint8_t *found, size_t size, const char *expected) {
    char text[2 * MK_SHA_MAX_SIZE + 1];
    size_t i;
    for (i = 0; i < size; i++) sprintf(text + 2 * i, "%02x", found[i]);
    if (strncmp(text, expected, 2 * size)) {
        fprintf(stderr, "%s: %s, expected %s\n", what, text, expected);
        failures++;
    }
}

/* FIPS 180 example messages, NIST "Examples with Intermediate Values". */
static void digests(int cpu) {
    static const struct {
        const char *message, *sha1, *sha256;
    } vectors[] = {
        {"", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
         "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "a9993e364706816aba3e25717850c26c9cd0d89d",
         "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    uint8_t out[MK_SHA_MAX_SIZE], *many = (uint8_t *)malloc(MEGA);
    size_t i, at, part;
    mk_digest d;
    for (i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const uint8_t *message = (const uint8_t *)vectors[i].message;
        mk_hash_bytes(mk_hash_find(MK_SHA1, cpu), message, strlen(vectors[i].message), out);
        check("SHA-1", out, 20, vectors[i].sha1);
        mk_hash_bytes(mk_hash_find(MK_SHA256, cpu), message, strlen(vectors[i].message), out);
        check("SHA-256", out, 32, vectors[i].sha256);
    }
    if (many == NULL) exit(2);
    memset(many, 'a', MEGA);
    mk_hash_bytes(mk_hash_find(MK_SHA1, cpu), many, MEGA, out);
    check("SHA-1 of a million", out, 20, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    /* In pieces of growing size, so that blocks are filled in every way. */
    mk_digest_start(&d, mk_hash_find(MK_SHA256, cpu));
    for (at = 0, part = 0; at < MEGA; at += part, part++) {
        if (part > MEGA - at) part = MEGA - at;
        mk_digest_add(&d, many + at, part);
    }
    mk_digest_end(&d);
    mk_digest_bytes(d.hash, d.state, out);
    check("SHA-256 of a million", out, 32,
          "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(many);
}

/* RFC 2202 section 3 and RFC 4231. */
static void hmacs(int cpu) {
    uint8_t key[131], data[64], out[MK_SHA_MAX_SIZE];
    const char *long_key = "Test Using Larger Than Block-Size Key - Hash Key First";
    const char *jefe = "what do ya want for nothing?";
    mk_hmac_key k;
    mk_hmac_key_init(&k, mk_hash_find(MK_SHA1, cpu), (const uint8_t *)"Jefe", 4);
    mk_hmac(&k, (const uint8_t *)jefe, strlen(jefe), out);
    check("HMAC-SHA-1 2", out, 20, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    memset(key, 0xaa, sizeof key);
    memset(data, 0xdd, sizeof data);
    mk_hmac_key_init(&k, mk_hash_find(MK_SHA1, cpu), key, 20);
    mk_hmac(&k, data, 50, out);
    check("HMAC-SHA-1 3", out, 20, "125d7342b9ac11cd91a39af48aa17b4f63f175d3");
    mk_hmac_key_init(&k, mk_hash_find(MK_SHA1, cpu), key, 80);
    mk_hmac(&k, (const uint8_t *)long_key, strlen(long_key), out);
    check("HMAC-SHA-1 6", out, 20, "aa4ae5e15272d00e95705637ce8a3b55ed402112");
    mk_hmac_key_init(&k, mk_hash_find(MK_SHA256, cpu), (const uint8_t *)"Jefe", 4);
    mk_hmac(&k, (const uint8_t *)jefe, strlen(jefe), out);
    check("HMAC-SHA-256 2", out, 32,
          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    mk_hmac_key_init(&k, mk_hash_find(MK_SHA256, cpu), key, 20);
    mk_hmac(&k, data, 50, out);
    check("HMAC-SHA-256 3", out, 32,
          "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    mk_hmac_key_init(&k, mk_hash_find(MK_SHA256, cpu), key, 131);
    mk_hmac(&k, (const uint8_t *)long_key, strlen(long_key), out);
    check("HMAC-SHA-256 6", out, 32,
          "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* RFC 6070 (SHA-1), RFC 7914 section 11 and RFC 7677 section 3 (SHA-256), one block each. */
static void derivations(int cpu) {
    static const struct {
        int kind;
        const char *password;
        size_t password_size;
        const char *salt;
        size_t salt_size;
        uint64_t iterations;
        size_t size;
        const char *expected;
    } vectors[] = {
        {MK_SHA1, "password", 8, "salt", 4, 1, 20, "0c60c80f961f0e71f3a9b524af6012062fe037a6"},
        {MK_SHA1, "password", 8, "salt", 4, 2, 20, "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"},
        {MK_SHA1, "password", 8, "salt", 4, 4096, 20, "4b007901b765489abead49d926f721d065a429c1"},
        {MK_SHA1, "passwordPASSWORDpassword", 24, "saltSALTsaltSALTsaltSALTsaltSALTsalt", 36, 4096,
         20, "3d2eec4fe41c849b80c8d83662c0e44a8b291a96"},
        {MK_SHA1, "pass\0word", 9, "sa\0lt", 5, 4096, 16, "56fa6aa75548099dcc37d7f03425e0c3"},
        {MK_SHA256, "passwd", 6, "salt", 4, 1, 32,
         "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"},
        {MK_SHA256, "Password", 8, "NaCl", 4, 80000, 32,
         "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"},
        {MK_SHA256, "pencil", 6, "\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81",
         16, 4096, 32, "c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d"},
    };
    uint8_t out[MK_SHA_MAX_SIZE];
    size_t i;
    mk_pbkdf2 p;
    for (i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint64_t part = 0;
        mk_pbkdf2_start(&p, mk_hash_find(vectors[i].kind, cpu),
                        (const uint8_t *)vectors[i].password, vectors[i].password_size,
                        (const uint8_t *)vectors[i].salt, vectors[i].salt_size,
                        vectors[i].iterations);
        while (mk_pbkdf2_advance(&p, part++)) continue;
        mk_pbkdf2_bytes(&p, out);
        check(vectors[i].password, out, vectors[i].size, vectors[i].expected);
    }
}

/* Both implementations, on lengths around every border and in parts of any size. */
static void comparison(void) {
    uint8_t data[300], one[MK_SHA_MAX_SIZE], two[MK_SHA_MAX_SIZE];
    uint32_t random = 1;
    size_t n, i;
    int kind;
    for (i = 0; i < sizeof data; i++) data[i] = (uint8_t)((random = random * 1103515245 + 12345) >> 16);
    for (kind = 0; kind < 2; kind++) {
        for (n = 0; n < sizeof data; n++) {
            const mk_hash *plain = mk_hash_find(kind, 0), *cpu = mk_hash_find(kind, 1);
            mk_pbkdf2 p, q;
            mk_hash_bytes(plain, data, n, one);
            mk_hash_bytes(cpu, data, n, two);
            if (memcmp(one, two, 4 * (size_t)plain->words)) failures++;
            mk_pbkdf2_start(&p, plain, data, n, data, sizeof data - n, n + 1);
            mk_pbkdf2_start(&q, cpu, data, n, data, sizeof data - n, n + 1);
            while (mk_pbkdf2_advance(&p, 7)) continue;
            while (mk_pbkdf2_advance(&q, 13)) continue;
            mk_pbkdf2_bytes(&p, one);
            mk_pbkdf2_bytes(&q, two);
            if (memcmp(one, two, 4 * (size_t)plain->words)) failures++;
            mk_wipe(&p, sizeof p);
            for (i = 0; i < sizeof p; i++)
                if (((const uint8_t *)&p)[i]) failures++;
        }
    }
    if (failures) fputs("the two implementations differ, or a wipe left something\n", stderr);
}

int main(void) {
    int cpu = mk_sha_supported(), i;
    for (i = 0; i <= cpu; i++) {
        digests(i);
        hmacs(i);
        derivations(i);
    }
    if (cpu) comparison();
    puts(cpu ? "cpu" : "portable");
    return failures > 0;
}
