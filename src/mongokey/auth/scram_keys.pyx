# cython: language_level=3, nonecheck=True
"""What a SCRAM login computes with a password: the derivation, the proof, the signature.

Knows PBKDF2 (RFC 8018), HMAC (RFC 2104), the clock and the interpreter lock. Must not know SCRAM's
messages. Derived secrets stay in C and are wiped.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint8_t, uint64_t

from mongokey._support.deadline cimport Deadline

from mongokey._support.waiting import Cancelled

cdef enum:
    # How long a derivation may hold the interpreter lock: others bear a few milliseconds, and to
    # get the lock back from a busy thread takes 5 ms.
    HELD_NS = 3000000
    # How often the deadline is looked at, and how often signal handlers may run.
    CHUNK_NS = 1000000
    SIGNALS_NS = 50000000
    # The first chunk, from which the speed is known: less than a millisecond.
    FIRST_CHUNK = 2048
    DONE = 0
    LATE = 1
    HOPELESS = 2
    PAUSED = 3

# A derivation is given up beforehand when so much of what it needs at the best speed ever seen
# exceeds the time left; the margin is for processors that speed up meanwhile.
cdef double CERTAIN = 0.75

cdef int cpu = mk_sha_supported()
# The least nanoseconds an iteration took in this process; 0 before the first derivation.
cdef double best_ns[2]
best_ns[0] = best_ns[1] = 0.0


cdef int advance(
    mk_pbkdf2 *p, double *best, int64_t deadline_ns, int64_t pause_ns
) noexcept nogil:
    """Go on until the end, the deadline (0: none) or `pause_ns`; `best` is kept up to date."""
    cdef int64_t began = mk_monotonic_ns(), now
    cdef uint64_t left = p.left, count
    cdef double took
    while left:
        if deadline_ns:
            if began >= deadline_ns:
                return LATE
            if <double>left * best[0] * CERTAIN > <double>(deadline_ns - began):
                return HOPELESS
        if began >= pause_ns:
            return PAUSED
        count = FIRST_CHUNK
        if best[0] > 0 and CHUNK_NS / best[0] > FIRST_CHUNK:
            count = <uint64_t>(CHUNK_NS / best[0])
        if count > left:
            count = left
        left = mk_pbkdf2_advance(p, count)
        now = mk_monotonic_ns()
        took = <double>(now - began) / <double>count
        # Too few iterations measure the clock.
        if count >= FIRST_CHUNK and took > 0 and (best[0] == 0 or took < best[0]):
            best[0] = took
        began = now
    return DONE


cdef int derive(
    const mk_hash *hash, int kind, bytes password, bytes salt, uint64_t iterations,
    Deadline deadline, object cancelled, uint8_t *out
) except -1:
    """PBKDF2's first block into `out`. Raises TimeoutError when the deadline does not allow it,
    `Cancelled` when `cancelled()` is true meanwhile."""
    cdef mk_pbkdf2 p
    cdef double best = best_ns[kind]
    cdef int64_t pause_ns, deadline_ns = 0
    cdef int state
    if deadline is not None:
        deadline_ns = max(1, deadline.at_ns)
    try:
        mk_pbkdf2_start(
            &p, hash, <const uint8_t *><const char *>password, <size_t>len(password),
            <const uint8_t *><const char *>salt, <size_t>len(salt), iterations)
        pause_ns = mk_monotonic_ns()
        # A long one lets go of the lock at once; one of unknown length does after a while.
        if <double>iterations * best <= HELD_NS:
            pause_ns += HELD_NS
        state = advance(&p, &best, deadline_ns, pause_ns)
        while state == PAUSED:
            with nogil:
                state = advance(&p, &best, deadline_ns, mk_monotonic_ns() + SIGNALS_NS)
            PyErr_CheckSignals()
            if state == PAUSED and cancelled is not None and cancelled():
                raise Cancelled
        if best > 0 and (best_ns[kind] == 0 or best < best_ns[kind]):
            best_ns[kind] = best
        if state == LATE:
            raise TimeoutError(deadline.timed_out("the login"))
        if state == HOPELESS:
            of = "" if deadline.timeout.option is None else f" of {deadline.timeout}"
            raise TimeoutError(
                f"it takes this machine {p.left * best / 1e9:.1f} s more, and {deadline.left_s:.1f}"
                f" s{of} are left"
            )
        mk_pbkdf2_bytes(&p, out)
    finally:
        mk_wipe(&p, sizeof(p))
    return 0


cdef int kind_of(str digest) except -1:
    if digest == "sha256":
        return MK_SHA256
    if digest == "sha1":
        return MK_SHA1
    raise ValueError(f"digest must be 'sha256' or 'sha1', not {digest!r}")


cdef class Keys:
    """The keys of RFC 5802 section 3, made by `derive_keys` only; may be shared by threads."""

    def __init__(self):
        raise TypeError("derive_keys makes Keys")

    def __dealloc__(self):
        mk_wipe(self.client_key, sizeof(self.client_key))
        mk_wipe(&self.stored_key, sizeof(self.stored_key))
        mk_wipe(&self.server_key, sizeof(self.server_key))

    cdef int _fill(self, const mk_hash *hash, const uint8_t *salted) noexcept:
        cdef mk_hmac_key key
        cdef uint8_t digest[32]
        cdef size_t size = <size_t>hash.words * 4
        self.size = <int>size
        mk_hmac_key_init(&key, hash, salted, size)
        mk_hmac(&key, <const uint8_t *>b"Client Key", 10, self.client_key)
        mk_hash_bytes(hash, self.client_key, size, digest)
        mk_hmac_key_init(&self.stored_key, hash, digest, size)
        mk_hmac(&key, <const uint8_t *>b"Server Key", 10, digest)
        mk_hmac_key_init(&self.server_key, hash, digest, size)
        mk_wipe(&key, sizeof(key))
        mk_wipe(digest, sizeof(digest))
        return 0

    cpdef bytes prove(self, bytes message):
        """ClientProof for the AuthMessage `message`, in base64."""
        cdef uint8_t proof[32]
        cdef uint8_t text[44]
        cdef size_t size
        cdef int i
        if self.size == 0:
            raise TypeError("derive_keys makes Keys")
        mk_hmac(
            &self.stored_key, <const uint8_t *><const char *>message, <size_t>len(message), proof)
        for i in range(self.size):
            proof[i] ^= self.client_key[i]
        size = mk_base64_encode(proof, <size_t>self.size, text)
        return PyBytes_FromStringAndSize(<const char *>text, <Py_ssize_t>size)

    cpdef bint verify(self, bytes message, bytes signature):
        """Whether `signature` is the ServerSignature for `message`, in base64."""
        return self.signed(
            message, <const uint8_t *><const char *>signature, <size_t>len(signature))

    cdef bint signed(self, bytes message, const uint8_t *signature, size_t signature_size):
        """`verify` of a signature that lies in a message."""
        cdef uint8_t expected[32]
        cdef uint8_t text[44]
        cdef size_t size
        if self.size == 0:
            raise TypeError("derive_keys makes Keys")
        mk_hmac(
            &self.server_key, <const uint8_t *><const char *>message, <size_t>len(message),
            expected)
        size = mk_base64_encode(expected, <size_t>self.size, text)
        return size == signature_size and same(text, signature, size)

    def __repr__(self):
        return "<Keys>"


cpdef Keys derive_keys(
    str digest, bytes password, bytes salt, uint64_t iterations, Deadline deadline=None,
    object cancelled=None
):
    """The keys for a password as the mechanism takes it; `digest` is "sha256" or "sha1".

    Computes without the interpreter lock unless it is done in a few milliseconds; signal handlers
    run meanwhile. Raises TimeoutError when the deadline passes, or as soon as it is certain that it
    will, and `Cancelled` soon after `cancelled()` has become true.
    """
    cdef uint8_t salted[32]
    cdef int kind = kind_of(digest)
    cdef const mk_hash *hash = mk_hash_find(kind, cpu)
    cdef Keys keys = Keys.__new__(Keys)
    if password is None or salt is None or iterations < 1:
        raise ValueError("a derivation needs a password, a salt and at least one iteration")
    try:
        derive(hash, kind, password, salt, iterations, deadline, cancelled, salted)
        keys._fill(hash, salted)
    finally:
        mk_wipe(salted, sizeof(salted))
    return keys


cdef bint same(const uint8_t *a, const uint8_t *b, size_t size) noexcept nogil:
    """Whether these bytes are the same, in a time that depends on nothing but their number."""
    cdef uint8_t difference = 0
    cdef size_t i
    for i in range(size):
        difference |= a[i] ^ b[i]
    return difference == 0


cpdef bint equal(bytes one, bytes two):
    """Whether the two are the same, in a time that depends on nothing but their lengths."""
    cdef Py_ssize_t size = len(one)
    if len(two) != size:
        return False
    return same(
        <const uint8_t *><const char *>one, <const uint8_t *><const char *>two, <size_t>size)


def pbkdf2(
    str digest not None, bytes password not None, bytes salt not None, uint64_t iterations,
    Deadline deadline=None, *, bint portable=False
):
    """PBKDF2-HMAC with one block of output, as `derive_keys` computes it; for tests.

    `portable` leaves the processor's own instructions unused.
    """
    cdef uint8_t salted[32]
    cdef int kind = kind_of(digest)
    cdef const mk_hash *hash = mk_hash_find(kind, 0 if portable else cpu)
    if iterations < 1:
        raise ValueError("a derivation needs at least one iteration")
    try:
        derive(hash, kind, password, salt, iterations, deadline, None, salted)
        return (<const char *>salted)[:hash.words * 4]
    finally:
        mk_wipe(salted, sizeof(salted))


def hmac(
    str digest not None, bytes key not None, bytes message not None, *, bint portable=False
):
    """HMAC of `message`; for tests, as `pbkdf2`."""
    cdef mk_hmac_key k
    cdef uint8_t out[32]
    cdef const mk_hash *hash = mk_hash_find(kind_of(digest), 0 if portable else cpu)
    mk_hmac_key_init(
        &k, hash, <const uint8_t *><const char *>key, <size_t>len(key))
    mk_hmac(&k, <const uint8_t *><const char *>message, <size_t>len(message), out)
    mk_wipe(&k, sizeof(k))
    return (<const char *>out)[:hash.words * 4]
