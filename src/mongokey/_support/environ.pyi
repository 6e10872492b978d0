def any_is_set(names: tuple[bytes, ...]) -> bool:
    """Whether one of the variables `names`, a tuple of bytes, is set, be it to nothing."""
