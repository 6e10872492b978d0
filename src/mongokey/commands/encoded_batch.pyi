class EncodedBatch:
    """The documents of a batch, not decoded yet. Made in C only."""

    @property
    def count(self) -> int:
        """How many documents there are, in all parts that are left."""
