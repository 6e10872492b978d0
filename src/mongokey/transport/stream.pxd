# A connected byte stream to a server: what TCP, Unix sockets and TLS have in common.
from libc.stdint cimport int64_t, uint8_t

from mongokey._support.deadline cimport Deadline, Timeout


cdef extern from "mongokey/net.h" nogil:
    ctypedef int mk_socket
    ctypedef int mk_socklen
    ctypedef struct mk_pollfd:
        mk_socket fd
        short events
        short revents
    ctypedef struct mk_address:
        mk_socklen size

    mk_socket MK_NO_SOCKET
    int MK_EAGAIN, MK_EINTR, MK_ECONNREFUSED, MK_ETIMEDOUT
    bint MK_KERNEL_WAITS, MK_UNIX_SOCKETS
    short POLLIN, POLLOUT
    int mk_net_init()
    int64_t mk_monotonic_ns()
    void mk_close(mk_socket s)
    void mk_shutdown(mk_socket s)
    int mk_set_stream_mode(mk_socket s)
    int mk_poll(mk_pollfd *sockets, unsigned count, int64_t timeout_ns)
    int64_t mk_send_now(mk_socket s, const void *data, size_t size)
    int64_t mk_receive(mk_socket s, void *data, size_t size, bint wait)
    int mk_set_receive_timeout(mk_socket s, int64_t timeout_ns)

cdef extern from "mongokey/turn.h" nogil:
    int mk_current_core()
    void mk_let_holder_run(const int *holder)


cdef class Stream:
    # A call without a deadline (None) is bounded by the stream's own `timeout` (socketTimeoutMS;
    # None: not bounded): each write, and all reads together since `expect_message`.
    cdef readonly str peer                  # "host:port" or the Unix socket's path, for errors
    cdef readonly Timeout timeout
    cdef int64_t timeout_ns                 # its nanoseconds; 0: none
    cdef readonly bint closed
    cdef readonly bint lost                 # the server, or the network, ended it
    # What the server had said, unread, when a write to it failed; b"": nothing, or not known.
    cdef readonly bytes last_words
    # Whether the last read may have left bytes behind that are at hand already.
    cdef readonly bint unread

    # What a timeout may mean, added to its text; None: nothing.
    cdef str _timeout_hint

    # For subclasses. The socket's number is given back only when no call is inside one of its
    # system calls, so that a close from another thread never lets a call meet a reused number.
    cdef mk_socket _socket
    cdef int _inside                        # calls inside a system call; guarded by the GIL
    cdef int64_t _pid                       # process that made it: a forked child only closes
    # The end of the message being read by `timeout` (CLOCK_MONOTONIC nanoseconds, 0: none); nothing
    # of it was read yet.
    cdef int64_t _limit_ns
    cdef bint _first

    # Sends all of data[0:size]. Raises NetworkTimeout or AutoReconnect, and then is closed.
    cdef int write(self, const uint8_t *data, size_t size, Deadline deadline) except -1
    # Reads 1..capacity bytes; end of stream raises AutoReconnect. Waits with the GIL released.
    cdef Py_ssize_t read(self, uint8_t *into, size_t capacity, Deadline deadline) except -1
    cpdef int set_timeout(self, Timeout timeout) except -1
    # True if the peer has closed, or sent bytes nobody asked for; never waits. For pool checks.
    cpdef bint stale(self) except -1
    cpdef close(self)

    # Waits for POLLIN or POLLOUT until `limit_ns` (0: for ever), the GIL released; that is the end
    # of `deadline`, or without one by `timeout`.
    cdef int _wait(self, short events, int64_t limit_ns, Deadline deadline) except -1
    cdef bint _wait_cooperatively(self, short events, int64_t left_ns) except -1
    cdef int _leave(self) except -1
    cdef int _interrupted(self) except -1
    cdef int _refuse(self) except -1
    cdef int _lost(self, int64_t code, str doing) except -1
    cdef int _timed_out(self, short events, int64_t limit_ns, Deadline deadline) except -1
    cdef int _release(self) except -1
    cdef int _close_successor(self) except -1


cdef class SocketStream(Stream):
    # A plain socket: TCP or Unix. Owns its number.
    cdef bint _detached                     # its socket was given away, to `_successor` if known
    cdef bint _unwanted                     # it was closed before the successor was known
    cdef Stream _successor
    cdef bint _is_kernel_limited            # the kernel ends its waits by itself
    cdef int64_t _own_limit(self) noexcept
    cdef bint _kernel_may_wait(self, int64_t limit_ns) noexcept
    # As `write`, until `limit_ns` (0: for ever); without a deadline that is by `timeout`.
    cdef int _put(
        self, const uint8_t *data, size_t size, int64_t limit_ns, Deadline deadline
    ) except -1
    cdef int _write_rest(
        self, const uint8_t *data, size_t size, int64_t sent, int64_t limit_ns, Deadline deadline
    ) except -1
    # Gives the socket away; the stream is closed then, the socket is not. `_pass_on` tells to whom,
    # so that a thread that closes this stream ends a TLS handshake too.
    cdef mk_socket _detach(self) except? -1
    cdef int _pass_on(self, Stream successor) except -1


# A message is read from here on: `timeout` bounds all of it, however many reads it takes.
cdef inline void expect_message(Stream stream) noexcept:
    stream._first = True
    stream._limit_ns = mk_monotonic_ns() + stream.timeout_ns if stream.timeout_ns else 0


cpdef int64_t monotonic_ns() noexcept nogil
# Waits until the socket of a number is ready, while others run: (number, events, seconds or None)
# -> whether it is. None in a program that has threads of the system.
cdef object cooperative_wait
cdef str error_text(int64_t code)
# A stream of a subclass of SocketStream on the socket of `stream`, for a TLS handshake.
cdef SocketStream take_over(SocketStream stream, type kind, str timeout_hint)
