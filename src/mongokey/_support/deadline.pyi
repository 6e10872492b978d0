class Timeout:
    """How long something may take, in nanoseconds, and the option that says so.

    `option` is the name that users know, such as ``connectTimeoutMS``, for errors; None: of no
    option. ``str(timeout)`` is ``connectTimeoutMS=20000``, in the option's own unit. Raises
    `ValueError` below 0; more than a hundred years count as that.
    """

    def __init__(self, ns: int, option: str | None = None) -> None: ...
    @property
    def ns(self) -> int: ...
    @property
    def option(self) -> str | None: ...
    @staticmethod
    def from_seconds(seconds: float | None, option: str | None = None) -> Timeout | None:
        """The timeout of so many seconds; None, which is no bound, for None and 0.

        Raises `ValueError` below 0.
        """
    def start(self, now_ns: int = 0) -> Deadline:
        """The deadline of what begins now, or began at `now_ns`."""

class Deadline:
    """A time of the monotonic clock at which a wait ends; `Timeout.start` makes one.

    What has no bound has None in its place. Immutable, and for any thread.
    """

    @property
    def at_ns(self) -> int:
        """When it is over, in nanoseconds of the monotonic clock."""
    @property
    def began_ns(self) -> int:
        """Since when it is waited for."""
    @property
    def timeout(self) -> Timeout:
        """Where it comes from."""
    def left_ns(self, now_ns: int = 0) -> int:
        """The nanoseconds until then, 0 once it has passed; `now_ns` is now if it is known."""
    @property
    def left_s(self) -> float:
        """The seconds until then, 0.0 once it has passed; at most what any lock can wait."""
    def passed(self, now_ns: int = 0) -> bool:
        """Whether it is over; `now_ns` is now if it is known."""
    def extended(self, by_ns: int) -> Deadline:
        """The same deadline for one who was held up for `by_ns`, a time that does not count."""
    def begun(self, now_ns: int) -> Deadline:
        """The same deadline for a wait that begins at `now_ns`."""
    def timed_out(self, doing: str | None = None) -> str:
        """What an error says of it; `doing` is what it was about.

        Such as ``timed out after 1.500 s of resolving the host name (connectTimeoutMS=1500)``.
        """

def earliest(one: Deadline | None, other: Deadline | None) -> Deadline | None:
    """The deadline that comes first; None is no bound."""

def shortest(one: Timeout | None, other: Timeout | None) -> Timeout | None:
    """The shorter timeout, the first if they are the same; None is no bound."""
