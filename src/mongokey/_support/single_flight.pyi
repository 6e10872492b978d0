from collections.abc import Callable, Hashable
from typing import Any

from mongokey._support.deadline import Deadline

class Flight:
    """A value that is being made; `SingleFlight.join` gives it.

    Whoever began it, or inherited it, ends it with `finish`, `fail` or `give_up`. `ended` says that
    there is a value or an error, `owner` is what whoever began it gave as such.
    """

    @property
    def key(self) -> Hashable: ...
    @property
    def owner(self) -> Any: ...
    @property
    def ended(self) -> bool: ...
    @property
    def own(self) -> bool:
        """Whether this very thread makes the value, so that it must not wait for it."""
    def hand_over(self) -> None:
        """Say that another thread makes the value: who began the flight may wait for it too."""
    def finish(self, value: Any) -> int:
        """The value is made: all who wait get it. An ended flight stays as it is."""
    def fail(self, error: BaseException) -> int:
        """Making it failed. With `shares_errors` all who wait get a copy of `error`; without, the
        next one tries."""
    def give_up(self) -> int:
        """The value is not made here any more: who waits longest is to make it."""
    def wait(
        self, deadline: Deadline | None = None, cancelled: Callable[[], bool] | None = None
    ) -> bool:
        """Wait for the end; True when the flight has become the caller's, who is to make the value.

        Raises TimeoutError when `deadline` passes, and `Cancelled` soon after `cancelled()` has
        become true.
        """
    def result(self) -> Any:
        """The value of a flight that has ended; raises its error, each caller its own copy."""

class SingleFlight:
    """Lets one thread at a time make the value of a key.

    :param shares_errors: what a failure means to those who wait. False: nothing, the next one
        tries, in the order in which they came. True: it is theirs too, each raises a copy of its
        own. An exception that is no `Exception` (Ctrl-C, a thread that is ended) is never shared.
    """

    def __init__(self, *, shares_errors: bool = False) -> None: ...
    @property
    def _flights(self) -> dict[Hashable, Flight]: ...
    @property
    def shares_errors(self) -> bool: ...
    def reset_after_fork(self) -> None:
        """In a forked child: those who made values in the parent do not exist."""
    def join(self, key: Hashable, owner: object = None) -> tuple[Flight, bool]:
        """(the flight of `key`, whether the caller has begun it). Who has is to end it."""
    def run(
        self,
        key: Hashable,
        make: Callable[[], Any],
        deadline: Deadline | None = None,
        cancelled: Callable[[], bool] | None = None,
        owner: object = None,
    ) -> Any:
        """What `make()` gives, to this thread or to the one that calls it for `key` already.

        Raises what `make` raises, its own or, with `shares_errors`, another thread's; TimeoutError
        when `deadline` passes while it waits and `Cancelled` as `Flight.wait` does. `owner` is
        what `abandon` knows it by.
        """
    def abandon(self, key: Hashable, owner: object) -> int:
        """No thread that comes from now on waits for what `owner` makes; those who do get it."""
    def waiting(self, key: Hashable) -> int:
        """How many threads wait for the value of `key`."""
