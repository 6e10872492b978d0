"""Whether the tests run under the address sanitizer, and what cannot be tried under it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

#: The library has to be loaded before Python, so that is how it comes.
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")


def no_forks_beside_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that forks while other threads run is skipped.

    Before GCC 13 the sanitizer's allocator is not locked around a fork: a child whose parent's
    thread was in it waits for ever.
    """
    fork = os.fork

    def fork_alone(*args: Any) -> int:
        if len(list(Path("/proc/self/task").iterdir())) > 1:
            pytest.skip("ASan's allocator may stay locked in a child forked beside threads")
        return fork(*args)

    monkeypatch.setattr(os, "fork", fork_alone)
