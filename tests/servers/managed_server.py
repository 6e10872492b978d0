"""How a test's server lives: from `start` to `stop`, or as long as a `with`.

Knows what becomes of a start that fails, and which of two failures is the one to see. Must not
know what is started.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class ManagedServer:
    """What `start` begins and `stop` ends; a context manager.

    `stop` may be called after a start that failed half way, and raises what went wrong meanwhile.
    Behind a `with` whose own body failed that is not raised: the test's failure is the one to see.
    """

    def start(self) -> Self:
        """Begin; gives itself."""
        raise NotImplementedError

    def stop(self) -> None:
        """End, and wait until all has ended."""
        raise NotImplementedError

    def wait_for(self, condition: Callable[[], bool], timeout: float = 30.0) -> bool:
        """Wait until `condition` holds; False if it does not in time."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            with contextlib.suppress(Exception):
                self.stop()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.stop()
        else:
            with contextlib.suppress(Exception):
                self.stop()
