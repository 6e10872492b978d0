# cython: language_level=3, nonecheck=True
"""What the streams over OpenSSL do with a socket at the edges of a connection: between commands, at
a break, at the end.

Knows an `OpenSSLEngine` and a socket. Must not know who waits for the socket; nothing here waits.
"""

from libc.stdint cimport int64_t, uint8_t

from mongokey.transport.stream cimport (
    MK_EAGAIN,
    MK_EINTR,
    MK_NO_SOCKET,
    POLLIN,
    mk_poll,
    mk_pollfd,
    mk_receive,
    mk_socket,
)
from mongokey.transport.tls.openssl_engine cimport FAILED, OpenSSLEngine

cdef extern from "mongokey/net.h" nogil:
    void mk_send_last(mk_socket s, const void *data, size_t size)


cdef bint is_stale(OpenSSLEngine engine, mk_socket s) except -1:
    cdef mk_pollfd one
    cdef uint8_t part[LOOKED_AT]
    cdef int64_t got
    cdef int rc
    # TLS 1.3 sends tickets unasked: only data, an end or an error is bad news.
    while True:
        if engine.drained:
            one.fd = s
            one.events = POLLIN
            one.revents = 0
            if mk_poll(&one, 1, 0) == 0:
                return False
            got = mk_receive(s, part, LOOKED_AT, False)
            if got == -MK_EAGAIN or got == -MK_EINTR:
                return False
            if got <= 0:
                engine.broken = True
                return True
            engine.take_in(part, <size_t>got)
        rc = engine.read(part, 1)
        if rc > 0 or rc == FAILED:
            if rc == FAILED:
                engine.broken = True
            return True


cdef object error_of_break(OpenSSLEngine engine, mk_socket s, int64_t code):
    cdef uint8_t part[LOOKED_AT]
    cdef int64_t got
    if code != 0 and s != MK_NO_SOCKET:
        # A write that failed: what the server said may lie in the socket still.
        got = mk_receive(s, part, LOOKED_AT, False)
        if got > 0:
            engine.take_in(part, <size_t>got)
    if not engine.drained:
        if engine.read(part, 1) == FAILED and engine.alert_received():
            return engine.failure(0, False)
    return engine.failure(code, True)


cdef int send_pending(OpenSSLEngine engine, mk_socket s) except -1:
    cdef char *data = NULL
    cdef long size
    if s != MK_NO_SOCKET:
        size = engine.pending_data(&data)
        if size > 0:
            mk_send_last(s, data, <size_t>size)
    return 0


cdef int say_goodbye(OpenSSLEngine engine, mk_socket s, bint own_process) except -1:
    if engine is not None and engine.ssl != NULL:
        # The server can tell an end from a cut. Its own goodbye is not waited for.
        if engine.handshake_done and own_process and not engine.broken:
            engine.say_goodbye()
            send_pending(engine, s)
        engine.free()
    return 0
