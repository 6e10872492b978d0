# One SCRAM login, message by message (RFC 5802, section 5).
from mongokey.auth.sasl cimport SaslReply
from mongokey.auth.scram_keys cimport Keys


# Which message of the server's comes next.
cdef enum Expected:
    NOTHING = 0                             # not begun, or over
    SERVER_FIRST
    SERVER_FINAL
    SERVER_EMPTY


cdef class ScramState:
    # What the logins of one credential by one mechanism share.
    cdef readonly object keys             # KeyCache
    cdef bytes name                         # `n=<user>,r=`, None until the first login


cdef class ScramSteps:
    cdef readonly str mechanism
    cdef readonly object source           # str
    cdef readonly object credential
    cdef readonly ScramState state
    cdef unsigned long long max_iterations
    cdef bytes test_nonce                   # None: a random one
    cdef Expected expected
    # What was said so far.
    cdef bytes nonce                        # ours
    cdef bytes first_bare                   # client-first-message-bare
    cdef bytes continued                    # the nonce as the server continued it
    cdef SaslReply first                    # the answer that the derivation was asked for
    cdef object work                        # that derivation, while it is under way
    # What the server's signature is checked by.
    cdef Keys keys
    cdef bytes message                      # AuthMessage

    cdef dict _client_first(self)
    cdef object _next_step(self, object reply)
    cdef object _server_first(self, SaslReply reply)
    cdef dict _client_final(self, Keys keys)
    cdef object _server_final(self, SaslReply reply)
    cdef object _server_empty(self, SaslReply reply)
