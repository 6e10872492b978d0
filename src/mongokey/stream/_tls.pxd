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

    cdef int _handshake(self, int64_t deadline_ns) except -1
    # One call of a method of the socket: bytes moved, or a negated POLL* event to wait for.
    cdef Py_ssize_t _attempt(self, method, argument) except? -32768
