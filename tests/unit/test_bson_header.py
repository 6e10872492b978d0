"""include/mongokey/bson.h and utf8.h, compiled and run as plain C by the system's compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from mongokey import bson

INCLUDE = Path(__file__).resolve().parents[2] / "include"
PROGRAM = Path(__file__).with_name("bson_header.c")
COMPILER = shutil.which((os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0])

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler")


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """What the C program prints; it checks the rest itself and fails with the line."""
    binary = tmp_path_factory.mktemp("header") / "bson_header"
    command = [COMPILER, "-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-I", str(INCLUDE)]
    command += ["-Wno-unused-function", "-o", str(binary), str(PROGRAM)]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    built = subprocess.run(command + sanitizers, capture_output=True, text=True, check=False)
    if built.returncode and "sanit" in built.stderr + built.stdout:
        built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    # An inherited LD_PRELOAD (a sanitizer run of Python) is not for this program.
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    run = subprocess.run(
        [str(binary)], capture_output=True, timeout=60, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout


def test_writers_make_the_bytes_that_the_codec_makes(output):
    document = {
        "i": -5,
        "l": bson.Int64(2**40),
        "d": 1.5,
        "b": True,
        "n": None,
        "s": "héllo",
        "bin": b"\x01\x02",
        "old": bson.Binary(b"\x01\x02", 2),
        "t": bson.Timestamp(7, 9),
        "doc": {"a": [1, 2.0]},
        "empty": "",
    }
    assert bson.decode(output) == document
    assert output == bson.encode(document)
