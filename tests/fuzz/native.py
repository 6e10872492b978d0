"""`python -m tests.fuzz.native`: coverage-guided fuzzing of the codec, in C and through Python.

Targets: `bson_header`, `utf8_header` and `wire_header` are libFuzzer on the C headers alone,
`codec` is atheris on the compiled codec (needs the extra `fuzz`), all four under the address and
undefined-behaviour sanitizers; `beside_pymongo` is atheris without the address sanitizer and
compares with PyMongo's decoder. This module builds each in a folder that goes with it, makes the
seed corpus, runs, and prints how many inputs there were and how many edges of the code they
reached; what was found is kept under --artifacts.

    python -m tests.fuzz.native [--targets NAME ...] [--seconds N | --inputs N]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz import seeds

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent / "targets"
C_TARGETS = ("bson_header", "utf8_header", "wire_header")
PYTHON_TARGETS = ("codec", "beside_pymongo")
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
#: Longer inputs are slower and find nothing that these do not.
MAX_LENGTH = {
    "bson_header": 1024,
    "utf8_header": 256,
    "wire_header": 512,
    "codec": 512,
    "beside_pymongo": 512,
}


def clang() -> str:
    """The compiler that has libFuzzer. Raises `SystemExit` without one."""
    for name in (os.environ.get("CLANG", "clang"), *(f"clang-{n}" for n in range(21, 10, -1))):
        if shutil.which(name):
            return name
    raise SystemExit("no clang: apt-get install clang-14 libclang-rt-14-dev, or set CLANG")


def build_c(name: str, into: Path) -> list[str]:
    """Compile a C target; the command that runs it."""
    program = into / name
    command = [clang(), "-g", "-O1", *SANITIZERS, "-fsanitize=fuzzer", "-Wno-unused-function"]
    command += ["-I", str(ROOT / "include"), str(HERE / f"{name}.c"), "-o", str(program)]
    subprocess.run(command, check=True)
    return [str(program)]


def build_codec(into: Path, sanitizers: list[str]) -> Path:
    """Build the codec in a copy, with libFuzzer's counters; the copy's folder of sources."""
    copy = Path(tempfile.mkdtemp(dir=into))
    shutil.copytree(
        ROOT / "src",
        copy / "src",
        ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__", "*.egg-info"),
    )
    shutil.copytree(ROOT / "include", copy / "include")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    compiler = clang()
    flags = ["-g", "-O1", "-fno-omit-frame-pointer", "-fsanitize=fuzzer-no-link", *sanitizers]
    environment = {
        **os.environ,
        "CC": compiler,
        # Whatever Python itself was linked with, clang is to link these.
        "LDSHARED": f"{compiler} -shared",
        "CFLAGS": " ".join(flags),
        "MONGOKEY_MODULES": "mongokey.bson.*",
    }
    environment.pop("MONGOKEY_SANITIZE", None)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    built = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    if built.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{built.stdout}{built.stderr}")
    return copy / "src"


def python_target(name: str, into: Path) -> tuple[list[str], dict[str, str]]:
    """The command that runs a Python target, and its environment."""
    if importlib.util.find_spec("atheris") is None:
        raise SystemExit("no atheris: pip install 'mongokey[fuzz]' (CPython 3.11 to 3.13, Linux)")
    import atheris

    # PyMongo's decoder reads beyond the end of some broken arrays: no address sanitizer beside it.
    sanitizers, runtime = SANITIZERS, "asan_with_fuzzer.so"
    if name == "beside_pymongo":
        sanitizers = ["-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
        runtime = "ubsan_with_fuzzer.so"
    sources = build_codec(into, sanitizers)
    # libFuzzer and the sanitizers' runtime in one, made by atheris for this use.
    environment = {
        **os.environ,
        "LD_PRELOAD": str(Path(atheris.path()) / runtime),
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(sources),
    }
    command = [sys.executable, str(HERE / "codec.py")]
    if name == "beside_pymongo":
        command.append("--beside-pymongo")
    return command, environment


def run(name: str, work: Path, artifacts: Path, seconds: int, inputs: int) -> tuple[int, int]:
    """Build and run one target: how many inputs it saw and edges it reached; 0 after a fault."""
    environment = dict(os.environ)
    if name in C_TARGETS:
        command = build_c(name, work)
    else:
        command, environment = python_target(name, work)
    # Python keeps memory until the end by design.
    environment["ASAN_OPTIONS"] = "detect_leaks=0:allocator_may_return_null=1:abort_on_error=1"
    environment["UBSAN_OPTIONS"] = "print_stacktrace=1"
    if name in C_TARGETS:
        environment["ASAN_OPTIONS"] = "abort_on_error=1"
    corpus = work / f"corpus-{name}"
    corpus.mkdir()
    limits = [f"-max_total_time={seconds}"] if seconds else [f"-runs={inputs}"]
    command += [*limits, f"-max_len={MAX_LENGTH[name]}", "-timeout=20", "-rss_limit_mb=2560"]
    command += ["-print_final_stats=1", f"-artifact_prefix={artifacts}/{name}-"]
    command += [str(corpus), str(work / "seeds")]
    done = subprocess.run(
        command, cwd=work, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = done.stdout.decode("utf-8", "replace")
    found = re.search(r"^stat::number_of_executed_units:\s*(\d+)", output, re.MULTILINE)
    edges = re.findall(r"\bcov: (\d+)", output)
    if done.returncode or found is None or not edges:
        print(output[-6000:])
        return 0, 0
    return int(found[1]), int(edges[-1])


def main() -> int:
    targets = (*C_TARGETS, *PYTHON_TARGETS)
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.native")
    parser.add_argument("--targets", nargs="+", choices=targets, default=targets, metavar="NAME")
    parser.add_argument("--seconds", type=int, default=10, help="of each target (default 10)")
    parser.add_argument("--inputs", type=int, default=0, help="of each target, instead")
    parser.add_argument("--artifacts", type=Path, default=Path("fuzz-artifacts"))
    arguments = parser.parse_args()
    arguments.artifacts.mkdir(parents=True, exist_ok=True)
    total, well = 0, True
    with tempfile.TemporaryDirectory(prefix="mongokey-fuzz-") as directory:
        work = Path(directory)
        print(f"{seeds.write(work / 'seeds')} seeds")
        for name in arguments.targets:
            seconds = 0 if arguments.inputs else arguments.seconds
            inputs, edges = run(
                name, work, arguments.artifacts.resolve(), seconds, arguments.inputs
            )
            total, well = total + inputs, well and inputs > 0
            print(
                f"{name}: {inputs} inputs, {edges} edges{'' if inputs else ': FAILED'}", flush=True
            )
    print(f"{total} inputs in all")
    if well and not any(arguments.artifacts.iterdir()):
        arguments.artifacts.rmdir()
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
