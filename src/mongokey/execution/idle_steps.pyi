class OnIdle:
    """An operation on an idle connection, or on none."""

class Turn:
    """One at a time."""
