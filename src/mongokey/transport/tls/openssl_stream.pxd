# TLS by OpenSSL itself, over a connected socket.
from libc.stdint cimport int64_t, uint8_t

from mongokey._support.deadline cimport Deadline
from mongokey.transport.stream cimport SocketStream, mk_socket
from mongokey.transport.tls.openssl_engine cimport OpenSSLEngine


cdef enum:
    # What came between commands, or before the end, is looked at in parts of this size.
    LOOKED_AT = 4096


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


# Whether the peer has closed, or sent data nobody asked for; takes in tickets.
cdef bint is_stale(OpenSSLEngine engine, mk_socket s) except -1
# The error for a connection that broke before any data came, with the system's negated error
# number (0: the end of the stream): an alert that came before, or the break itself.
cdef object error_of_break(OpenSSLEngine engine, mk_socket s, int64_t code)
# Sends what is encrypted, such as an alert, where it fits.
cdef int send_pending(OpenSSLEngine engine, mk_socket s) except -1
# close_notify, where that is due; then the engine is of no use any more.
cdef int say_goodbye(OpenSSLEngine engine, mk_socket s, bint own_process) except -1
