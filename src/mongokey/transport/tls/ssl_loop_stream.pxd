# TLS by Python's ssl, over a socket whose readiness an asyncio loop tells.
from mongokey.transport.loop_stream cimport LoopStream
from mongokey.transport.tls.ssl_engine cimport SSLEngine


cdef class SSLLoopStream(LoopStream):
    cdef readonly SSLEngine engine
    cdef bytes unsent                       # encrypted; b"": nothing

    cdef object _failed(self)
    cdef int _send_last(self) except -1
