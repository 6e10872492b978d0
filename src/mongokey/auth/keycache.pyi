from collections.abc import Callable, Hashable
from typing import Any

from mongokey._support.deadline import Deadline
from mongokey._support.single_flight import SingleFlight

MAX_ENTRIES: int

class KeyCache:
    """Maps what identifies a derivation to what it gave; at most `limit` entries, oldest out."""

    def __init__(self, limit: int = ...) -> None: ...
    @property
    def _entries(self) -> dict[Hashable, Any]: ...
    @property
    def _flights(self) -> SingleFlight: ...
    def get(self, key: Hashable) -> Any:
        """The cached value, or None."""
    def derive(
        self,
        key: Hashable,
        compute: Callable[[], Any],
        deadline: Deadline | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Any:
        """The cached value, or what `compute` gives; waits while another thread computes it.

        Raises TimeoutError when `deadline` passes while it waits, `Cancelled` soon after
        `cancelled()` has become true, and whatever `compute` raises; then nothing is kept.
        """
