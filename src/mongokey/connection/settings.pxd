# What all connections of a client share. A timeout of None means no limit.
from mongokey._support.deadline cimport Timeout
from mongokey.connection.openings cimport Openings


cdef class ConnectionSettings:
    cdef public object metadata             # ClientMetadata
    cdef public object credential           # MongoCredential, or ProvidedCredential
    # Where the secret of a ProvidedCredential comes from (ProvidedSecrets); None without one.
    cdef public object secrets
    cdef public Timeout socket_timeout
    # connectTimeoutMS, which is what bounds a monitor's connections and exchanges.
    cdef public Timeout connect_timeout
    cdef public object tls                  # ClientTLS
    # Says whether the files changed that `tls` was made of (WatchedTLS); None where there are none.
    cdef public object tls_watch
    cdef public object server_api
    cdef public bint load_balanced
    cdef public object compression          # wire.compression.Compression; None without one
    # timeoutMS, which bounds also what logins wait for besides the server.
    cdef public Timeout timeout
    # What bounds the making of a connection: the lesser of that and connectTimeoutMS.
    cdef public Timeout limit
    cdef readonly Openings openings
    # Warns before a login shows a secret; None where no login of this client can.
    cdef public object plaintext_warner
    # Servers that have said hello: TLS is not why they hang up.
    cdef public set hello_seen
