"""Compiles the benchmarks' C helpers, each once per process, into a directory that goes with it.

Knows the compiler (`$CC`, else `cc`) and its flags; must not know what the helpers do.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]


@cache
def _directory() -> Path:
    path = tempfile.mkdtemp(prefix="mongokey-bench-")
    owner = os.getpid()

    def remove() -> None:
        # A forked child runs this too, and the directory is not its own.
        if os.getpid() == owner:
            shutil.rmtree(path, ignore_errors=True)

    atexit.register(remove)
    return Path(path)


@cache
def compiled(name: str, *, shared: bool = False) -> Path:
    """The program (or with `shared` the library) made of `bench/<name>.c`.

    Raises `RuntimeError` with the compiler's words if it does not compile.
    """
    target = _directory() / (f"{name}.so" if shared else name)
    mode = ["-shared", "-fPIC"] if shared else []
    command = [
        os.environ.get("CC", "cc"), *FLAGS, *mode, "-o", str(target), str(HERE / f"{name}.c"),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr}")
    return target


def temporary(name: str) -> Path:
    """A path in the directory that the helpers are in."""
    return _directory() / name
