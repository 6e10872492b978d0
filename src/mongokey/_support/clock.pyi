def monotonic() -> float:
    """Seconds of the clock that `time.monotonic` reads."""

def monotonic_ns() -> int:
    """Nanoseconds of the same clock."""
