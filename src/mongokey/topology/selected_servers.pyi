from collections.abc import Sequence

from mongokey.pool.pool import Pool
from mongokey.read_preferences import _ServerMode

class ServerCriteria:
    """Which servers an operation may go to; there is no object for writes and reads of the primary.

    :param preference: a read preference
    :param element: it, as the element `$readPreference` of commands, or None
    :param output_stage: whether the operation is an aggregation that writes
    """

    preference: _ServerMode
    element: bytes | None
    output_stage: bool
    def __init__(
        self, preference: _ServerMode, element: bytes | None = None, *, output_stage: bool = False
    ) -> None: ...

class SelectedServers:
    writable: Pool | None
    mongoses: list[Pool] | None
    def change(self, writable: Sequence[Pool]) -> None:
        """The topology has changed: `writable` are the pools of those that take writes now. What
        was remembered for other criteria is forgotten."""
    def ask_each_time(self) -> None:
        """Nothing is remembered any more."""
    def remember(self, criteria: ServerCriteria | None, pools: Sequence[Pool]) -> None:
        """`pools` are what meets `criteria`, until the next `change`."""
    def choose(self, criteria: ServerCriteria | None) -> Pool | None:
        """What is remembered for `criteria`: of two pools at random the one with fewer operations
        under way; None where the topology is to be asked."""
