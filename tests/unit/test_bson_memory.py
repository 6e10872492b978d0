"""Decoding 16 MB takes no more memory, at its highest, than PyMongo's decoder does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sanitizers import SANITIZED

BATCH = 16 * 1024 * 1024
#: Run in a process of its own: by how many bytes decoding raises what was resident at most.
PROGRAM = f"""
import importlib, re, sys
import bson
from pathlib import Path

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

package, kind = sys.argv[1:]
small = {{"_id": bson.ObjectId(), "name": "a name", "n": 5, "big": 2**40, "on": True}}
wide = {{f"field-{{n}}": "value" for n in range(200)}}
inner = {{"user": small, "tags": ["a", "b", "c"], "place": {{"at": [1.5, 2.5]}}}}
one = bson.encode({{"small": small, "wide": wide, "inner": inner}}[kind])
data = one * ({BATCH} // len(one))
decode_all = importlib.import_module(package).decode_all
before = peak()
documents = decode_all(data)
print(peak() - before)
"""


def rise(package: str, kind: str) -> int:
    source = Path(__file__).resolve().parents[2] / "src"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), *sys.path])}
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM, package, kind],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    return int(output)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.skipif(SANITIZED, reason="ASan keeps freed memory")
@pytest.mark.parametrize("kind", ["small", "wide", "inner"])
def test_decoding_16_mb_peaks_no_higher_than_pymongos(kind):
    ours, theirs = rise("mongokey.bson", kind), rise("bson", kind)
    assert 0 < ours <= theirs
