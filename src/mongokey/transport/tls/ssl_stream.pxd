# TLS over a connected socket, by Python's ssl.
from libc.stdint cimport int64_t, uint8_t

from mongokey._support.deadline cimport Deadline
from mongokey.transport.stream cimport SocketStream
from mongokey.transport.tls.ssl_engine cimport SSLEngine


cdef class SSLStream(SocketStream):
    # What the engine's two buffers hold goes over the socket as a plain stream's bytes do, with its
    # waits, deadlines and signals.
    cdef SSLEngine engine

    cdef int _handshake(self, Deadline deadline) except -1
    cdef int _flush(self, int64_t limit_ns, Deadline deadline) except -1
    cdef int _fill(self, Deadline deadline) except -1
    cdef int _take_in(self, const uint8_t *data, size_t size) except -1
    cdef int _send_last(self) except -1
    cdef Py_ssize_t _attempt(
        self, int what, uint8_t *data, Py_ssize_t size, Deadline deadline
    ) except? -100
    cdef object _failed(self)
