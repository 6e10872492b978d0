# Carries out the steps of one connection in a task of an asyncio loop.
from mongokey._support.deadline cimport Deadline
from mongokey.auth.login cimport Command
from mongokey.connection.async_connection cimport AsyncConnection
from mongokey.connection.settings cimport ConnectionSettings, Openings
from mongokey.connection.steps cimport Connect
from mongokey.transport.loop_stream cimport LoopStream
from mongokey.transport.polling cimport PolledSocket


cdef class AsyncDriver:
    cdef readonly object loop
    cdef ConnectionSettings settings
    cdef Openings openings                  # told of the stream, and whether to go on
    cdef readonly Deadline deadline         # bounds all of it; None: nothing does
    cdef Deadline until                     # the operation's that it is for, or None
    cdef readonly AsyncConnection connection
    cdef PolledSocket begun                 # to the first address, connecting; or None
    cdef bint given_up
    cdef int ended                          # the steps have

    cdef int close(self) except -1
    cdef int leave(self) except -1
    cdef AsyncConnection connect_now(self, Connect step)
    cdef AsyncConnection connection_of(self, LoopStream stream, Connect step)
