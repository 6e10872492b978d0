# What all connections of a client share. Times are seconds; None or 0 means no limit.
from mongokey.connection.openings cimport Openings


cdef class ConnectionSettings:
    cdef public object metadata             # ClientMetadata
    cdef public object credential           # MongoCredential
    cdef public object connect_timeout_s
    cdef public object socket_timeout_s
    cdef public object tls                  # ClientTLS
    cdef public object server_api
    cdef public bint load_balanced
    # timeoutMS, which bounds also what logins wait for besides the server.
    cdef public object timeout_s
    # What bounds the making of a connection, and where that is from, for errors.
    cdef public object limit_s
    cdef public str deadline_text
    cdef public object pausable_clock       # PausableClock
    cdef readonly Openings openings
    # Warns before a login shows a secret; None where no login of this client can.
    cdef public object plaintext_warner
    # Servers that have said hello: TLS is not why they hang up.
    cdef public set hello_seen
