# What all connections of a client share, and those that it is making.
from mongokey._support.deadline cimport Deadline, Timeout
from mongokey.transport.stream cimport Stream


# The connections that a client is making just now.
cdef class Openings:
    cdef set _streams
    cdef readonly bint closed

    # Whether nothing more is to be opened.
    cdef bint ended(self) except -1
    cpdef int add(self, Stream stream) except -1
    cpdef int remove(self, Stream stream) except -1


cdef class Opening(Openings):
    # One of them, which a pool may give up alone.
    cdef Openings client                    # those of the client, or None before `begin`
    # The operation's that it is made for, in place of the client's timeoutMS; None: of none.
    cdef public Deadline until
    cdef readonly object hello              # HelloReply once the server has said it, or None

    cpdef int begin(self, Openings client) except -1
    cpdef int hello_received(self, hello) except -1


# What all connections of a client share. A timeout of None means no limit.
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
