# cython: language_level=3
"""The steps that connections are made and used in, where who wants it and who does it are two.

A generator yields them and is sent what each comes to: by a blocking driver (`establish`), by a
loop that serves many connections (`step_loop`), or by a test that opens no socket. Each generator
has one connection at a time. This module knows names only: no socket, no clock.
"""

from mongokey._support.deadline cimport Deadline, Timeout, earliest

from mongokey._support.portable import Portable


cdef class Connect:
    """Open a connection to `address` within `limit`, and not beyond `until`."""

    def __init__(self, address, Timeout limit, Deadline until=None):
        self.address = address
        self.limit = limit
        self.until = until

    cpdef Deadline begin(self):
        """The deadline of the connection: one that is made anew has what is left of the first."""
        if self.deadline is None:
            if self.limit is not None:
                self.deadline = self.limit.start()
            self.deadline = earliest(self.until, self.deadline)
        return self.deadline


cdef class StartTLS:
    """Do the TLS handshake as `tls` has it, with the server called `host`."""

    def __init__(self, tls, str host not None):
        self.tls = tls
        self.host = host


cdef class Pause:
    """The server has said `hello`; what is left is the login."""

    def __init__(self, hello):
        self.hello = hello


cdef class Exchange:
    """Send a command to the database `admin`."""

    def __init__(self, document, Timeout limit, *, bint exhaust=False):
        self.document = document
        self.limit = limit
        self.exhaust = exhaust


cdef class NextReply:
    """Wait for the reply that the server said is to come."""

    def __init__(self, Timeout limit):
        self.limit = limit


cdef refuse_pickling(step):
    """Classes with fields refuse by themselves."""
    raise TypeError(f"cannot pickle {type(step).__name__!r} object")


cdef class Disconnect:
    """Close the connection, if there is one."""

    def __reduce__(self):
        refuse_pickling(self)


cdef class Sleep:
    """Wait for so many nanoseconds."""

    def __init__(self, ns, at_least_ns):
        self.ns = ns
        self.at_least_ns = at_least_ns


cdef class Now:
    """Answered with the monotonic clock, in nanoseconds."""

    def __reduce__(self):
        refuse_pickling(self)


cdef class Beside:
    """Call `function`, which may wait, where it holds up nobody."""

    def __init__(self, function):
        self.function = function


class StepCancelled(Portable, Exception):
    """Thrown into a generator whose step was given up; its connection is closed."""


__all__ = [
    "Beside",
    "Connect",
    "Disconnect",
    "Exchange",
    "NextReply",
    "Now",
    "Pause",
    "Sleep",
    "StartTLS",
    "StepCancelled",
]
