# TLS by Python's ssl, without a socket.
from libc.stdint cimport int64_t, uint8_t

from mongokey._support.deadline cimport Deadline


# What a step comes to, where it does not come to a number of bytes.
cdef enum:
    FAILED = -2                             # `failure` says why
    WANTS_INPUT = -1                        # bytes of the server's are needed first


cdef class SSLEngine:
    # ssl works on two buffers in memory: whoever moves the bytes fills one and empties the other.
    cdef readonly object ssl_object         # the ssl.SSLObject
    cdef object source                      # ssl.MemoryBIO: bytes of the server's, not decrypted
    cdef object sink                        # ssl.MemoryBIO: bytes for the server, encrypted
    cdef object want_read                   # ssl's exception, at hand without an import
    cdef object tls                         # ClientTLS, for errors; None: not known
    cdef readonly str host                  # None: not to be checked
    cdef readonly str peer
    cdef readonly bytes first_received      # the first bytes of the server's; None: none yet
    cdef object cancelled                   # () -> whether the handshake was given up; or None
    cdef bint approved                      # the server's certificate was checked for revocation
    cdef readonly bint handshake_done
    cdef bint drained                       # nothing is left to decrypt
    cdef bint broken                        # an error or the end was met: no close_notify any more
    cdef bint fresh                         # no session was kept of this connection yet
    cdef int64_t expires_s                  # of the sessions that this connection makes: Unix
    cdef int64_t resumable_until_ns         # time, and monotonic; 0: none is kept
    cdef readonly bint resumed              # the handshake was an abbreviated one
    cdef readonly object last_error         # ssl's, of the last step that failed

    # 0: over; WANTS_INPUT or FAILED. Bytes may be pending after each, an alert too.
    cdef Py_ssize_t handshake(self, Deadline deadline) except? -100
    cdef int take_in(self, const uint8_t *data, size_t size) except -1
    # Bytes encrypted or decrypted, 0 of the latter: the end; WANTS_INPUT or FAILED.
    cdef Py_ssize_t write(self, const uint8_t *data, Py_ssize_t size) except? -100
    cdef Py_ssize_t read(self, uint8_t *into, Py_ssize_t capacity) except? -100
    cdef bytes take_pending(self)
    cdef int say_goodbye(self) except -1
    # The exception for the step that FAILED, or for a stream that broke before the handshake's end,
    # in the `words` of the system.
    cdef object failure(self)
    cdef object ended(self, str words)

    cdef Py_ssize_t _attempt(self, method, first, second) except? -100
    cdef int _approve(self, bint over, Deadline deadline) except -1
    cdef int _keep_session(self) except -1
    cdef int _expect_done(self) except -1
