# What both streams over OpenSSL do with their sockets, blocking or not: none of this waits.
from libc.stdint cimport int64_t

from mongokey.transport.stream cimport mk_socket
from mongokey.transport.tls.openssl_engine cimport OpenSSLEngine

cdef enum:
    # What came between commands, or before the end, is looked at in parts of this size.
    LOOKED_AT = 4096


# Whether the peer has closed, or sent data nobody asked for; takes in tickets.
cdef bint is_stale(OpenSSLEngine engine, mk_socket s) except -1
# The error for a connection that broke before any data came, with the system's negated error
# number (0: the end of the stream): an alert that came before, or the break itself.
cdef object error_of_break(OpenSSLEngine engine, mk_socket s, int64_t code)
# Sends what is encrypted, such as an alert, where it fits.
cdef int send_pending(OpenSSLEngine engine, mk_socket s) except -1
# close_notify, where that is due; then the engine is of no use any more.
cdef int say_goodbye(OpenSSLEngine engine, mk_socket s, bint own_process) except -1
