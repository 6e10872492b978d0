"""Ends a server that a benchmark started: it stops when its standard input does."""

from __future__ import annotations

import subprocess
from typing import Any

from tests.servers.child import wait_or_kill


def end(process: subprocess.Popen[Any]) -> None:
    """Close the process's input, wait for it, and close its output."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    wait_or_kill(process, 10)
    process.stdout.close()
