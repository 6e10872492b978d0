# The keys of one SCRAM user: what its password, a salt and an iteration count derive to.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from mongokey._support.deadline cimport Deadline


cdef extern from "mongokey/pbkdf2.h" nogil:
    ctypedef struct mk_hash:
        int words
    ctypedef struct mk_hmac_key:
        const mk_hash *hash
    ctypedef struct mk_pbkdf2:
        uint64_t left
    int MK_SHA1, MK_SHA256, MK_SHA_MAX_SIZE
    int mk_sha_supported()
    const mk_hash *mk_hash_find(int kind, int cpu)
    void mk_hash_bytes(const mk_hash *hash, const uint8_t *data, size_t size, uint8_t *out)
    void mk_hmac_key_init(mk_hmac_key *k, const mk_hash *hash, const uint8_t *key, size_t size)
    void mk_hmac(const mk_hmac_key *k, const uint8_t *message, size_t size, uint8_t *out)
    void mk_pbkdf2_start(
        mk_pbkdf2 *p, const mk_hash *hash, const uint8_t *password, size_t password_size,
        const uint8_t *salt, size_t salt_size, uint64_t iterations)
    uint64_t mk_pbkdf2_advance(mk_pbkdf2 *p, uint64_t most)
    void mk_pbkdf2_bytes(const mk_pbkdf2 *p, uint8_t *out)
    void mk_wipe(void *p, size_t size)


cdef extern from "mongokey/base64.h" nogil:
    size_t mk_base64_encode(const uint8_t *data, size_t size, uint8_t *out)


cdef extern from "mongokey/clock.h" nogil:
    int64_t mk_monotonic_ns()


cdef class Keys:
    # RFC 5802 section 3: ClientKey, and HMAC's states for StoredKey and ServerKey.
    cdef uint8_t client_key[32]
    cdef mk_hmac_key stored_key
    cdef mk_hmac_key server_key
    cdef int size                   # of a digest, in bytes

    cdef int _fill(self, const mk_hash *hash, const uint8_t *salted) noexcept
    cpdef bytes prove(self, bytes message)
    cpdef bint verify(self, bytes message, bytes signature)
    cdef bint signed(self, bytes message, const uint8_t *signature, size_t signature_size)


cpdef Keys derive_keys(
    str digest, bytes password, bytes salt, uint64_t iterations, Deadline deadline=*,
    object cancelled=*)
cdef bint same(const uint8_t *a, const uint8_t *b, size_t size) noexcept nogil
cpdef bint equal(bytes one, bytes two)
