def monotonic() -> float:
    """Seconds of the clock that `time.monotonic` reads."""

def monotonic_ns() -> int:
    """Nanoseconds of the same clock."""

def any_is_set(names: tuple[bytes, ...]) -> bool:
    """Whether one of the variables `names`, a tuple of bytes, is set, be it to nothing."""
