# TLS over a connected socket, by Python's ssl.
from libc.stdint cimport int64_t, uint8_t

from mongokey._support.deadline cimport Deadline
from mongokey.transport.stream cimport SocketStream


cdef class SSLStream(SocketStream):
    # ssl works on two buffers in memory; what they hold goes over the socket as a plain stream's
    # bytes do, with its waits, deadlines and signals.
    cdef readonly object ssl_object         # the ssl.SSLObject
    cdef object _source                     # ssl.MemoryBIO: bytes of the server's, not decrypted
    cdef object _sink                       # ssl.MemoryBIO: bytes for the server, encrypted
    cdef object _want_read                  # ssl's exception, at hand without an import
    cdef object _tls                        # ClientTLS, for errors; None: not known
    cdef str _host
    cdef bytes _first_received                       # the first bytes of the server's
    cdef bint _dry                          # nothing is left to decrypt
    cdef bint _approved                     # the server's certificate was checked for revocation
    cdef bint _handshake_done                       # the handshake is over
    cdef bint _broken                       # an error was met: no close_notify any more
    cdef bint _fresh                        # no session was kept of this connection yet
    cdef int64_t _expires_s                 # of the sessions that this connection makes: Unix
    cdef int64_t _resumable_until_ns        # time, and monotonic; 0: none is kept
    cdef readonly bint resumed              # the handshake was an abbreviated one

    cdef int _keep_session(self) except -1
    cdef int _handshake(self, Deadline deadline) except -1
    cdef int _approve(self, bint over, Deadline deadline) except -1
    cdef int _flush(self, int64_t limit_ns, Deadline deadline) except -1
    cdef int _fill(self, Deadline deadline) except -1
    cdef int _take_in(self, const uint8_t *data, size_t size) except -1
    cdef int _send_last(self) except -1
    # One call of a method of the object: bytes moved, or WANT_READ.
    cdef Py_ssize_t _attempt(self, method, first, second) except? -32768
    cdef object _failure(self, error)
