# TLS by OpenSSL itself, over a connected socket.
from libc.stdint cimport int64_t, uint8_t

from mongokey._support.deadline cimport Deadline
from mongokey.transport.stream cimport SocketStream


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
    cdef tuple certified(self, str host)


cdef class TLSSession:
    # An SSL_SESSION: with TLS 1.3 a ticket, which is used once; with TLS 1.2 used until it fails.
    cdef void *pointer
    cdef bint once
    # Until when what its first handshake proved holds: both ends count, as clocks are set back.
    cdef int64_t expires_s                  # Unix time
    cdef int64_t limit_ns                   # monotonic


cdef class OpenSSLStream(SocketStream):
    # OpenSSL works on two buffers in memory; what they hold goes over the socket as a plain
    # stream's bytes do, with its waits, deadlines and signals.
    cdef void *ssl                          # freed with the socket, and with it both buffers
    cdef void *source                       # BIO: bytes of the server's, not yet decrypted
    cdef void *sink                         # BIO: bytes for the server, encrypted
    cdef void *seen_session                 # the session last looked at; only its address counts
    cdef int64_t expires_s                  # of the sessions that this connection makes, as
    cdef int64_t limit_ns                   # TLSSession has them; 0: none is kept
    cdef Deadline handshake_deadline        # None: none
    cdef list chain                         # verified, in DER, while the handshake lasts
    cdef object answered_until              # Unix time to which an answer about it holds, or None
    cdef object refusal                     # the error of a check inside the handshake
    cdef OpenSSLContext context
    cdef object tls                         # ClientTLS, for errors
    cdef str host
    cdef bytes first_received                        # the first bytes of the server's
    cdef bint handshake_done                        # the handshake is over
    cdef bint holds_last_flight             # its last message waits for the first bytes to send
    cdef bint drained                           # nothing is left to decrypt
    cdef bint broken                        # an error was met: no close_notify any more
    cdef bint data_received                 # the server has sent application data
    cdef readonly bint resumed              # the handshake was an abbreviated one

    cdef int _handshake(self, Deadline deadline) except -1
    cdef int _start(self) except -1
    cdef int _approve(self) except -1
    cdef object _refused(self)
    cdef int _send_alert(self) except -1
    cdef int _collect(self) except -1
    cdef int _flush(self, int64_t limit_ns, Deadline deadline) except -1
    cdef int _fill(self, uint8_t *spare, size_t size, Deadline deadline) except -1
    cdef int _take_in(self, const uint8_t *data, size_t size) except -1
    cdef bint _ticket(self) noexcept
    cdef object _said_before_the_end(self, int64_t code)
    cdef object _failure(self, int code, unsigned long error, int64_t system)
    cdef int _open(self) except -1
