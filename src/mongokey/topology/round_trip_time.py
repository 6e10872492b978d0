"""The round trip times of one server's hello: their moving average, and the least of the last ten.

Knows server-selection.md ("Calculation of Average Round Trip Times") and server-monitoring.md
("Measuring RTT"). A value: it holds no clock.
"""

from __future__ import annotations

from collections import deque

_WEIGHT = 0.2
_KEPT = 10


class RoundTripTime:
    """Measurements of one server, in any unit; the results are in the same one."""

    __slots__ = ("_average", "_latest")

    def __init__(self) -> None:
        self._average: float | None = None
        self._latest: deque[float] = deque(maxlen=_KEPT)

    def add(self, measured: float) -> None:
        """Take in one more measurement, at least 0."""
        if self._average is None:
            self._average = measured
        else:
            self._average += _WEIGHT * (measured - self._average)
        self._latest.append(measured)

    def reset(self) -> None:
        """Forget all: the server was not to be reached."""
        self._average = None
        self._latest.clear()

    @property
    def average(self) -> float | None:
        """The exponentially weighted average; None before the first measurement."""
        return self._average

    @property
    def minimum(self) -> float:
        """The least of the last ten measurements; 0.0 while there are fewer than two."""
        return min(self._latest) if len(self._latest) > 1 else 0.0


__all__ = ["RoundTripTime"]
