# TLS by OpenSSL itself, over a socket whose readiness an asyncio loop tells.
from mongokey.transport.loop_stream cimport LoopStream
from mongokey.transport.tls.openssl_engine cimport OpenSSLEngine


cdef class OpenSSLLoopStream(LoopStream):
    cdef readonly OpenSSLEngine engine

    cdef object _failed(self)
    cdef object _closed_with(self, object error)
