"""Subinterpreters: the compiled modules are for one interpreter of a process, and say so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mongokey

PROGRAM = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import mongokey
mongokey.MongoClient
other = interpreters.create()
text = '''
import sys
sys.path[:0] = [{path!r}]
try:
    import mongokey
    mongokey.MongoClient
except ImportError as error:
    print("ImportError:", error)
'''
if hasattr(interpreters, "run_string"):
    interpreters.run_string(other, text)
else:
    interpreters.exec(other, text)
"""


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="CPython's modules")
def test_a_second_interpreter_gets_an_import_error() -> None:
    path = str(Path(mongokey.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(path=path)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": path},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("ImportError: ")
    assert "interpreter" in run.stdout
