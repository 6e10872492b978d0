"""Code that runs in a forked child of a test."""

from __future__ import annotations

import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable

CHILD_SECONDS = 30.0


def in_child(target: Callable[[], None]) -> None:
    """Run `target` in a forked child; what it raises fails the test here."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of forks in processes with threads: that is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        said = b""
        try:
            target()
        except BaseException:
            said = traceback.format_exc().encode() or b"failed"
        finally:
            os.write(writing, said[:60_000])
            os._exit(1 if said else 0)
    os.close(writing)
    timer = threading.Timer(CHILD_SECONDS, os.kill, (pid, signal.SIGKILL))
    timer.start()
    try:
        with open(reading, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(pid, 0)
    finally:
        timer.cancel()
    assert status == 0, said.decode() or f"the child ended with status {status}"
