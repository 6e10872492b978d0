"""include/mongokey/pbkdf2.h, sha1.h and sha256.h, compiled and run as plain C, with sanitizers."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

INCLUDE = Path(__file__).resolve().parents[2] / "include"
PROGRAM = Path(__file__).with_name("sha_header.c")
COMPILER = shutil.which((os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0])

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler")


SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]


def run(directory: Path, options: list[str], sanitizers: list[str]) -> str:
    """Compile the program so, run it, and give its word for what the processor has."""
    binary = directory / "sha_header"
    command = [str(COMPILER), "-std=c99", "-g", "-Wall", "-Wextra", "-Werror", "-I", str(INCLUDE)]
    command += ["-Wno-unused-function", *options, "-o", str(binary), str(PROGRAM)]
    built = subprocess.run(command + sanitizers, capture_output=True, text=True, check=False)
    if built.returncode and "sanit" in built.stderr + built.stdout:
        built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    # An inherited LD_PRELOAD (a sanitizer run of Python) is not for this program.
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    result = subprocess.run(
        [str(binary)], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def has_instructions() -> bool:
    """Whether Linux says that this processor has SHA instructions (and SSE 4.1, on x86)."""
    text = Path("/proc/cpuinfo").read_text()
    if platform.machine() == "x86_64":
        return " sha_ni" in text and " sse4_1" in text
    return platform.machine() == "aarch64" and " sha1" in text and " sha2" in text


def test_the_published_vectors(tmp_path):
    said = run(tmp_path, ["-O1"], SANITIZERS)
    if Path("/proc/cpuinfo").exists():
        assert said == ("cpu" if has_instructions() else "portable")


def test_the_published_vectors_without_the_processors_instructions(tmp_path):
    assert run(tmp_path, ["-O0", "-DMK_SHA_PORTABLE"], []) == "portable"
