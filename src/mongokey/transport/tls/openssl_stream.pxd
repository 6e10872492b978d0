# TLS by OpenSSL itself, over a connected socket.
from libc.stdint cimport int64_t, uint8_t

from mongokey._support.deadline cimport Deadline
from mongokey.transport.stream cimport SocketStream
from mongokey.transport.tls.openssl_engine cimport OpenSSLEngine


cdef class OpenSSLStream(SocketStream):
    # What the engine's two buffers hold goes over the socket as a plain stream's bytes do, with its
    # waits, deadlines and signals.
    cdef OpenSSLEngine engine
    cdef bint holds_last_flight             # its last message waits for the first bytes to send

    cdef int _handshake(self, Deadline deadline) except -1
    cdef int _flush(self, int64_t limit_ns, Deadline deadline) except -1
    cdef int _fill(self, uint8_t *spare, size_t size, Deadline deadline) except -1
    cdef int _take_in(self, const uint8_t *data, size_t size) except -1
    cdef object _failed(self)
    cdef object _closed_with(self, object error)
