# The steps of a login, and what it comes to.
from mongokey.handshake.reply cimport HelloReply


cdef class Command:
    cdef readonly str database
    cdef readonly dict document


cdef class LoginResult:
    cdef public object hello            # HelloReply
    cdef public object mechanism      # str, or None
    cdef public int round_trips
    cdef public bint speculative
    cdef public object saved_state


cdef class Greeting:
    cdef readonly HelloReply hello
    cdef readonly object credential
    cdef readonly object address
    cdef readonly object server_api
    cdef readonly object subject
    # The conversation that speculated, None where none did; and what the server answered it.
    cdef readonly object conversation
    cdef readonly object reply
