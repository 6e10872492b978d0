"""Deadlines for tests, in the milliseconds that options are in."""

from __future__ import annotations

from mongokey._support.deadline import Deadline, Timeout


def timeout_of(ms: float, option: str | None = None) -> Timeout:
    """A timeout of so many milliseconds, of the option if one is named."""
    return Timeout(round(ms * 1_000_000), option)


def within(ms: float, option: str | None = None) -> Deadline:
    """The deadline in so many milliseconds from now."""
    return timeout_of(ms, option).start()
