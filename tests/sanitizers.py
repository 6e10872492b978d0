"""Whether the tests run under the address sanitizer, and what cannot be tried under it."""

from __future__ import annotations

import gc
import os
import warnings
from pathlib import Path
from typing import Any

import pytest

#: The library has to be loaded before Python, so that is how it comes.
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")


#: A test was left where it wanted to fork: what it had open is still to be collected.
_left: list[bool] = []


def no_forks_beside_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that forks while other threads run is skipped.

    Before GCC 13 the sanitizer's allocator is not locked around a fork: a child whose parent's
    thread was in it waits for ever.
    """
    fork = os.fork
    if _left:
        _left.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    def fork_alone(*args: Any) -> int:
        if len(list(Path("/proc/self/task").iterdir())) > 1:
            _left.append(True)
            pytest.skip("ASan's allocator may stay locked in a child forked beside threads")
        return fork(*args)

    monkeypatch.setattr(os, "fork", fork_alone)
