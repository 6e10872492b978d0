from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from mongokey._support.portable import Portable
from mongokey.transport.names import SocketAddress

# What the methods of a socket answer.
CONNECTED: int
IN_PROGRESS: int
BUSY: int

# What is waited for.
READ: int
WRITE: int

_Waiter = TypeVar("_Waiter", bound=Waiter)

class SocketFailed(Portable, Exception):
    """A system call on a socket failed; `code` is the negated error number, `reason` the system's
    word for it."""

    code: int
    reason: str
    def __init__(self, code: int) -> None: ...
    @property
    def refused(self) -> bool:
        """Whether nobody listens there."""

def is_ready(number: int, events: int) -> bool:
    """Whether the socket of that number is, for READ or WRITE, or has failed; never waits."""

class PolledSocket:
    """A socket that is yet to be connected, and never waits. It is closed when it is collected.

    Each method raises `SocketFailed` when the system refuses.
    """

    @property
    def ready(self) -> bool:
        """Whether what was waited for came, or an error did, in the last `Poller.wait`."""
    @property
    def closed(self) -> bool:
        """Whether it is closed, or was not opened yet."""
    def connect(self, to: SocketAddress) -> int:
        """Begin to connect: CONNECTED, IN_PROGRESS (wait until it can be written to, then
        `finish`), or BUSY: a Unix socket's server has too many who wait, try again soon."""
    def finish(self, to: SocketAddress) -> None:
        """The attempt to connect has ended: raises `SocketFailed` unless it has succeeded."""
    def send(self, data: bytes) -> int:
        """Send as many bytes of `data` as fit now; how many these are."""
    def receive(self) -> bytes | None:
        """Bytes that are there; None when there are none now, b"" at the end of the stream."""
    @property
    def events(self) -> int:
        """What is waited for: READ, WRITE or 0."""
    #: Told before the number is given back, by `forget(number)`; None: nobody.
    watcher: Any
    def look(self) -> bool:
        """Whether what is waited for came, or an error did; never waits."""
    def wait_for(self, events: int) -> None:
        """Have the next `Poller.wait` wait for READ or WRITE; 0: for nothing."""
    def send_last(self, data: bytes) -> None:
        """Send `data` if it fits now, and the end of the stream; not in a forked child."""
    def close(self) -> None:
        """Close it; more than once is allowed."""
    def fileno(self) -> int:
        """The socket's number, -1 while there is none."""

class Waiter:
    """What a poller waits for, for one of those it serves: sockets, a time, or both."""

    socket: PolledSocket | Sequence[PolledSocket] | None
    due_ns: int

class Apart:
    """What waits without a thread of Python's. It lives until its function is called, or until
    `recall`."""

    def recall(self) -> bool:
        """Whether the function will not be called any more. False where it is about to be, and
        where there is none. Safe in signal handlers and destructors."""
    def abandon(self) -> None:
        """In a forked child: what waits is in the parent."""

class Alarm(Apart):
    """Calls `function()` in a new thread at `due_ns` of the monotonic clock.

    Raises `RuntimeError` where the system has no thread to give.
    """

    def __init__(self, due_ns: int, function: Callable[[], object]) -> None: ...

class Poller(Apart):
    """The one wait of a thread. `wake` may be called from anywhere, all else in that thread.

    Raises `OSError` where the system has no descriptor left for the wake-up.
    """

    def wake(self) -> None:
        """End the wait that is under way, or the next one. Safe in signal handlers and
        destructors; it does nothing in a forked child."""
    def close(self) -> None:
        """Close what it owns; `wake` does nothing from now on."""
    def wait(self, waiters: Iterable[_Waiter]) -> list[_Waiter]:
        """Wait until one of `waiters` is ready or due, or somebody calls `wake`; those that are.

        A signal's handler may raise here.
        """
    def wait_apart(self, waiters: Iterable[Waiter], function: Callable[[], object]) -> None:
        """As `wait`, by a thread that waits for all pollers of the process and is none of Python's;
        then `function()` is called in a new one. Nothing else may be called but `wake` and `recall`
        until then.

        Raises `RuntimeError` where the system has no thread to give.
        """
