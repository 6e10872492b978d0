# TLS by OpenSSL itself, without a socket.
from libc.stdint cimport int64_t, uint8_t

from mongokey._support.deadline cimport Deadline


# What a step comes to, where it does not come to a number of bytes.
cdef enum:
    FAILED = -2                             # `failure` says why
    WANTS_INPUT = -1                        # bytes of the server's are needed first
    DONE = 1                                # the handshake is over


cdef class OpenSSLContext:
    # An SSL_CTX of `cryptography`'s OpenSSL, and the sessions that its connections left behind.
    cdef void *pointer
    cdef object owner                       # frees the SSL_CTX with the last reference
    cdef readonly bint check_hosts
    cdef set plain_x25519                   # peers that agreed on keys of X25519 alone
    cdef dict sessions                      # peer -> list of TLSSession, the newest last
    cdef dict names                         # host -> what its certificate must be for
    cdef int64_t pid                        # process that the sessions belong to
    cdef readonly int64_t full_handshakes
    cdef readonly int64_t resumed_handshakes

    cdef TLSSession take(self, str peer)
    cdef int keep(self, str peer, TLSSession session) except -1
    cdef int forget(self, str peer) except -1
    cdef tuple certified(self, str host)


cdef class TLSSession:
    # An SSL_SESSION: with TLS 1.3 a ticket, which is used once; with TLS 1.2 used until it fails.
    cdef void *pointer
    cdef bint once
    # Until when what its first handshake proved holds: both ends count, as clocks are set back.
    cdef int64_t expires_s                  # Unix time
    cdef int64_t limit_ns                   # monotonic


cdef class OpenSSLEngine:
    # OpenSSL works on two buffers in memory: whoever moves the bytes fills one and empties the
    # other.
    cdef void *ssl                          # NULL once it is freed, and with it both buffers
    cdef void *source                       # BIO: bytes of the server's, not yet decrypted
    cdef void *sink                         # BIO: bytes for the server, encrypted
    cdef void *seen_session                 # the session last looked at; only its address counts
    cdef int64_t expires_s                  # of the sessions that this connection makes, as
    cdef int64_t limit_ns                   # TLSSession has them; 0: none is kept
    cdef int64_t resumed_expires_s          # the same of the session that is offered
    cdef int64_t resumed_limit_ns
    cdef Deadline deadline                  # of the handshake; None: none
    cdef object cancelled                   # whether it was given up: a callable, or None
    cdef list chain                         # verified, in DER, while the handshake lasts
    cdef object answered_until              # Unix time to which an answer about it holds, or None
    cdef object refusal                     # the error of a check inside the handshake
    cdef readonly OpenSSLContext context
    cdef object tls                         # ClientTLS: trust, revocation; its options for errors
    cdef readonly str host
    cdef readonly str peer
    cdef readonly bytes first_received      # the first bytes of the server's; None: none yet
    cdef bint begun                         # the handshake is
    cdef readonly bint handshake_done
    cdef bint drained                       # nothing is left to decrypt
    cdef bint broken                        # an error or the end was met: no close_notify any more
    cdef bint data_received                 # the server has sent application data
    cdef readonly bint resumed              # the handshake was an abbreviated one
    # Of the last step that failed: SSL_get_error's and ERR_get_error's.
    cdef int last_code
    cdef unsigned long last_error

    # begin_handshake; then, watched, handshake until it is DONE, moving bytes between;
    # end_handshake.
    cdef int begin_handshake(self, Deadline deadline) except -1
    cdef int handshake(self) noexcept       # DONE, WANTS_INPUT or FAILED; lets other threads run
    cdef int end_handshake(self) except -1

    cdef int take_in(self, const uint8_t *data, size_t size) except -1
    # The bytes to be sent, where they lie, and how many.
    cdef long pending_data(self, char **data) noexcept
    # Takes at most `capacity` of them: how many, 0 or less for none.
    cdef int take_pending(self, uint8_t *into, int capacity) noexcept
    # Bytes encrypted, or FAILED; `big` lets other threads run.
    cdef int write(self, const uint8_t *data, int size, bint big) noexcept
    # Bytes decrypted, WANTS_INPUT (unless `drained` is false: call again) or FAILED.
    cdef int read(self, uint8_t *into, int capacity) except? -100
    cdef int say_goodbye(self) noexcept
    # The exception for the step that FAILED; with `ended`, for a stream that broke with the
    # system's (negated) error number, 0: that the server closed.
    cdef object failure(self, int64_t system, bint ended)
    cdef bint alert_received(self)
    cdef void free(self) noexcept

    cdef int _start(self) except -1
    cdef int _approve(self) except -1
    cdef bint _ticket(self) noexcept
    cdef int _collect(self) except -1
    cdef int _open(self) except -1
    cdef int _expect_done(self) except -1
    cdef int _refuse_closed(self) except -1


# While the handshake is gone on with, OpenSSL's call to check the server finds the engine.
cdef int watch(OpenSSLEngine engine) except -1
cdef int unwatch(OpenSSLEngine engine) except -1
