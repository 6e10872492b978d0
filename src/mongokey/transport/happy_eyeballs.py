"""Which of a host's addresses to try when: the schedule of RFC 8305 ("Happy Eyeballs").

It knows address families, the head start and which attempts are under way; times come in as
arguments, in nanoseconds. It must not open sockets, resolve names or read a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")

# RFC 8305 section 8: the recommended Connection Attempt Delay.
HEAD_START_NS = 250_000_000


def interleave(addresses: Sequence[T], family: Callable[[T], object]) -> list[T]:
    """`addresses` without repeats, families taking turns (RFC 8305 section 4).

    The resolver's order is kept within a family, and its first choice stays first.
    """
    families: dict[object, list[T]] = {}
    for address in addresses:
        members = families.setdefault(family(address), [])
        if address not in members:
            members.append(address)
    longest = max(map(len, families.values()), default=0)
    return [
        members[turn]
        for turn in range(longest)
        for members in families.values()
        if turn < len(members)
    ]


class Race:
    """Attempts on `count` addresses, by index; the first to succeed wins, the caller sees to that.

    An attempt may start when the one before it has failed, or has had its head start.
    """

    def __init__(self, count: int, head_start_ns: int = HEAD_START_NS) -> None:
        self._count = count
        self._head_start_ns = head_start_ns
        self._next = 0
        self._not_before = 0
        self.running: dict[int, int] = {}
        self.failed: dict[int, str] = {}

    def start(self, now: int) -> int | None:
        """The index to start on at `now`, which then counts as running; None: none is due."""
        if self._next == self._count or now < self._not_before:
            return None
        index = self._next
        self._next += 1
        self._not_before = now + self._head_start_ns
        self.running[index] = now
        return index

    def fail(self, index: int, reason: str) -> None:
        """Attempt `index` has failed, for `reason`; the next one may start at once."""
        del self.running[index]
        self.failed[index] = reason
        if index == self._next - 1:
            self._not_before = 0

    def next_start(self) -> int | None:
        """When the next attempt is due; None when all have been started."""
        return None if self._next == self._count else self._not_before

    @property
    def lost(self) -> bool:
        """Whether every attempt has been made and has failed."""
        return self._next == self._count and not self.running

    def report(self, now: int) -> dict[int, str]:
        """What became of each address, for the error at `now`."""
        return {
            index: self.failed.get(index)
            or (
                f"timed out after {(now - self.running[index]) / 1e9:.3f} s"
                if index in self.running
                else "was not tried"
            )
            for index in range(self._count)
        }
