"""Until when a wait may last, and which option says so: one type for every wait.

Knows the monotonic clock, in nanoseconds, and the units that options are written in. Must not know
what is waited for, nor read options.
"""

from libc.stdint cimport int64_t

cdef extern from "mongokey/clock.h" nogil:
    int64_t mk_monotonic_ns()

# A hundred years: a longer time is no bound that anybody sees the end of, and could overflow.
cdef int64_t MOST_NS = 3_155_760_000 * 1_000_000_000
# 46 days: more is too long for locks where the system counts milliseconds in 32 bits.
cdef int64_t LONGEST_WAIT_NS = 4_000_000 * 1_000_000_000


cdef class Timeout:
    """How long something may take, and the option that says so."""

    def __init__(self, ns, str option=None):
        if ns < 0:
            raise ValueError(f"a timeout is 0 or more nanoseconds, not {ns}")
        self.ns = <int64_t>min(ns, MOST_NS)
        self.option = option

    @staticmethod
    def from_seconds(seconds, str option=None):
        """The timeout of so many seconds; None, which is no bound, for None and 0."""
        cdef Timeout made
        cdef double s
        if not seconds:
            return None
        s = seconds
        # A number that is none (NaN) is not 0 or more either.
        if not s >= 0:
            raise ValueError(f"a timeout is 0 or more seconds, not {seconds}")
        made = Timeout.__new__(Timeout)
        made.option = option
        # Below a nanosecond is still a bound.
        made.ns = max(1, <int64_t>(s * 1e9 + 0.5)) if s < MOST_NS / 1e9 else MOST_NS
        return made

    cpdef Deadline start(self, int64_t now_ns=0):
        """The deadline of what begins now, or began at `now_ns`."""
        cdef Deadline made = Deadline.__new__(Deadline)
        made.began_ns = now_ns if now_ns else mk_monotonic_ns()
        made.at_ns = made.began_ns + self.ns
        made.timeout = self
        return made

    def __str__(self):
        """``connectTimeoutMS=20000``: the option in its own unit."""
        if self.option is None:
            return f"{self.ns / 1e9:g} s"
        if self.option.endswith("MS"):
            if self.ns % 1_000_000 == 0:
                return f"{self.option}={self.ns // 1_000_000}"
            return f"{self.option}={self.ns / 1e6}"
        return f"{self.option}={self.ns / 1e9:g} s"

    def __repr__(self):
        return f"<Timeout {self}>"


cdef class Deadline:
    """A time of the monotonic clock at which a wait ends; `Timeout.start` makes one."""

    def __init__(self, *_):
        raise TypeError("a Deadline is made by Timeout.start")

    cpdef int64_t left_ns(self, int64_t now_ns=0) noexcept:
        """The nanoseconds until then, 0 once it has passed; `now_ns` is now if it is known."""
        cdef int64_t left = self.at_ns - (now_ns if now_ns else mk_monotonic_ns())
        return left if left > 0 else 0

    @property
    def left_s(self):
        """The seconds until then, 0.0 once it has passed; at most what any lock can wait."""
        return <double>min(self.left_ns(), LONGEST_WAIT_NS) / 1e9

    cpdef bint passed(self, int64_t now_ns=0) noexcept:
        """Whether it is over; `now_ns` is now if it is known."""
        return (now_ns if now_ns else mk_monotonic_ns()) >= self.at_ns

    cpdef Deadline extended(self, int64_t by_ns):
        """The same deadline for one who was held up for `by_ns`, a time that does not count."""
        cdef Deadline made = Deadline.__new__(Deadline)
        made.at_ns = self.at_ns + by_ns
        made.began_ns = self.began_ns + by_ns
        made.timeout = self.timeout
        return made

    cpdef Deadline begun(self, int64_t now_ns):
        """The same deadline for a wait that begins at `now_ns`."""
        cdef Deadline made = Deadline.__new__(Deadline)
        made.at_ns = self.at_ns
        made.began_ns = now_ns
        made.timeout = self.timeout
        return made

    cpdef str timed_out(self, str doing=None):
        """What an error says of it, such as ``timed out after 1.500 s of waiting for the server's
        answer (connectTimeoutMS=1500)``; `doing` is what it was about."""
        return describe_timeout(self.began_ns, doing, self.timeout)

    def __str__(self):
        return str(self.timeout)

    def __repr__(self):
        return f"<Deadline in {(self.at_ns - mk_monotonic_ns()) / 1e9:.3f} s: {self.timeout}>"


cpdef Deadline earliest(Deadline one, Deadline other):
    """The deadline that comes first; None is no bound."""
    if one is None:
        return other
    if other is None or one.at_ns <= other.at_ns:
        return one
    return other


cpdef Timeout shortest(Timeout one, Timeout other):
    """The shorter timeout; None is no bound."""
    if one is None:
        return other
    return one if other is None or one.ns <= other.ns else other


cdef str describe_timeout(int64_t began_ns, str doing, Timeout timeout):
    text = f"timed out after {(mk_monotonic_ns() - began_ns) / 1e9:.3f} s"
    if doing:
        text += f" of {doing}"
    return text if timeout is None or timeout.option is None else f"{text} ({timeout})"
