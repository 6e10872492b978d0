from collections.abc import Callable

from mongokey._support.deadline import Deadline, Timeout

# Anything with the buffer protocol and contiguous bytes.
_Bytes = bytes | bytearray | memoryview

def monotonic_ns() -> int:
    """The clock of all deadlines, in nanoseconds; the same as `time.monotonic_ns` on POSIX."""

def wait_cooperatively(wait: Callable[[int, int, float | None], bool] | None) -> None:
    """Have every wait for a socket done by `wait`; None: by the system, as at first.

    `wait` gets the socket's number, POLLIN or POLLOUT, and the seconds it may take (None: any), and
    returns whether the socket is ready.
    """

class Stream:
    """A connected stream to a server; its errors close it.

    A call without a deadline is bounded by `timeout` (None: not bounded), each wait on its own. A
    stream is for one thread at a time; only `close` may come from any thread. In a forked child,
    `close` leaves the parent's connection alone.
    """

    @property
    def peer(self) -> str:
        """The server, as ``host:port`` or as the path of its Unix socket."""
    @property
    def timeout(self) -> Timeout | None:
        """The longest wait of a call without a deadline; None: not bounded."""
    @property
    def closed(self) -> bool:
        """Whether the stream is closed."""
    @property
    def lost(self) -> bool:
        """Whether the server, or the network between, has ended it."""
    @property
    def last_words(self) -> bytes:
        """What the server had said, unread, when a write to it failed: at most 64 bytes."""
    def set_timeout(self, timeout: Timeout | None) -> int:
        """Set `timeout`; it holds from the next call on."""
    def stale(self) -> bool:
        """Whether the peer has closed, or sent bytes nobody asked for. Never waits."""
    def close(self) -> None:
        """Close the stream; more than once is allowed.

        From another thread it ends a call that waits, which then raises `AutoReconnect`.
        """
    def send_all(self, data: _Bytes, deadline: Deadline | None = None) -> None:
        """Send all of `data`.

        Raises `NetworkTimeout` when the time is over and `AutoReconnect` when the connection is
        lost; the stream is closed then, for how much was sent is not known.
        """
    def receive(self, max: int, deadline: Deadline | None = None) -> bytes:
        """Wait for bytes and return 1 to `max` of them.

        Raises `NetworkTimeout` when the time is over and `AutoReconnect` when the server has
        closed or the connection is lost; the stream is closed then.
        """
    def fileno(self) -> int:
        """The socket's number; -1 once the stream is closed."""

class SocketStream(Stream):
    """A stream over the connected socket `fd`, which it owns from now on; `peer` names the server.

    Raises `OSError` when `fd` is no socket; it is not owned then.
    """

    def __init__(self, fd: int, peer: str) -> None: ...
