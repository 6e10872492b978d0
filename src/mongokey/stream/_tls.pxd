# TLS over a connected socket.
from libc.stdint cimport int64_t

from mongokey.stream._stream cimport Stream


cdef class SSLStream(Stream):
    # The ssl.SSLSocket, non-blocking: every wait is this stream's. It owns the socket.
    cdef readonly object ssl_socket
    cdef object _want_read                  # ssl's exceptions, at hand without an import
    cdef object _want_write
    cdef object _tls                        # ClientTLS, for errors; None: not known
    cdef str _host
    cdef bint _shaken                       # the handshake is over
    cdef bint _broken                       # an error was met: no close_notify any more
    cdef bint _fresh                        # no session was kept of this connection yet
    cdef int64_t _expires_s                 # of the sessions that this connection makes
    cdef readonly bint resumed              # the handshake was an abbreviated one

    cdef int _keep_session(self) except -1
    cdef int _handshake(self, int64_t deadline_ns) except -1
    # One call of a method of the socket: bytes moved, or a negated POLL* event to wait for.
    cdef Py_ssize_t _attempt(self, method, argument) except? -32768
