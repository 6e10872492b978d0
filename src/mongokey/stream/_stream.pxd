# A connected byte stream to a server: what TCP, Unix sockets and TLS have in common.
from libc.stdint cimport int64_t, uint8_t


cdef class Stream:
    # Times are CLOCK_MONOTONIC nanoseconds; a deadline of 0 means "no deadline of this call":
    # then the stream's own `timeout_ns` (socketTimeoutMS; 0: wait for ever) bounds each wait.
    cdef readonly str peer                  # "host:port" or the Unix socket's path, for errors
    cdef readonly int64_t timeout_ns
    cdef readonly bint closed

    # Sends all of data[0:size]. Raises NetworkTimeout or AutoReconnect, and then is closed.
    cdef int write(self, const uint8_t *data, size_t size, int64_t deadline_ns) except -1
    # Reads 1..capacity bytes; end of stream raises AutoReconnect. Waits with the GIL released.
    cdef Py_ssize_t read(self, uint8_t *into, size_t capacity, int64_t deadline_ns) except -1
    cdef int set_timeout(self, int64_t timeout_ns) except -1
    # True if the peer has closed, or sent bytes nobody asked for; never waits. For pool checks.
    cdef bint stale(self)
    cpdef close(self)


cdef int64_t monotonic_ns() noexcept nogil
