"""One driver in one process, pinned to a core: it sets a case up and times slices of it.

The worker knows how to measure (CPU time of the whole process, the core's speed before and after
each slice) and obeys lines of JSON on standard input; what is measured stands in `cases`, and
which slices count is for `compare` to say. It must know nothing of the other driver.

    {"do": "setup", "case": NAME, "uri": URI}      {"do": "run", "n": N}
    {"do": "slices", "n": N, "slices": S}          {"do": "teardown"}         {"do": "about"}
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import importlib
import json
import os
import signal
import sys
import time
from importlib import metadata
from typing import Any

from bench.case import APIS, LOOPS, Api, Operation
from bench.cases import BY_NAME

#: So long should a slice take, in nanoseconds: the cores change speed within milliseconds.
SLICE_NS = 3_000_000
WARM_UP_NS = 150_000_000


def without_c_extensions() -> None:
    """Make PyMongo's imports of its C extensions fail, as where they were not built."""
    for name in ("bson._cbson", "pymongo._cmessage"):
        sys.modules[name] = None  # type: ignore[assignment]


def prepare_api(name: str, loop: str = "asyncio") -> Api:
    """The driver's `Api`, with PyMongo's C extensions as the name says they are.

    `loop` is the event loop of the asyncio cases.
    """
    api = dataclasses.replace(APIS[name], loop=loop)
    if api.plain:
        without_c_extensions()
    if api.module == "pymongo":
        extensions = importlib.import_module("pymongo").has_c(), api.bson.has_c()
        if extensions != (not api.plain, not api.plain):
            raise RuntimeError(f"PyMongo's C extensions, in use: {extensions}")
    return api


class Worker:
    """The state between two lines of input: at most one case that is set up."""

    def __init__(self, api: Api, library: str) -> None:
        self.api = api
        self.stack = contextlib.ExitStack()
        self.operation: Operation | None = None
        self.calibrate = ctypes.CDLL(library).calibrate
        self.calibrate.restype = ctypes.c_int64

    def obey(self, order: dict[str, Any]) -> Any:
        return getattr(self, order.pop("do"))(**order)

    def about(self) -> dict[str, Any]:
        """The driver's and the interpreter's versions."""
        module = importlib.import_module(self.api.module)
        # mongojet has no `__version__`.
        version = getattr(module, "__version__", None) or metadata.version(self.api.module)
        return {"version": version, "python": sys.version.split()[0]}

    def setup(self, case: str, uri: str) -> dict[str, Any]:
        """Set a case up and find out how often it goes into one slice."""
        operation = self.stack.enter_context(BY_NAME[case].setup(self.api, uri))
        self.operation = operation
        self.timed(1)
        if operation.per_slice is not None:
            _, wall = self.timed(operation.per_slice)
            return {"n": operation.per_slice, "each": operation.each, "slice_ns": wall}
        # Warm caches and pools, and double n until a slice is long enough.
        n, best = 1, 0.0
        until = time.monotonic_ns() + WARM_UP_NS
        while time.monotonic_ns() < until:
            cpu, wall = self.timed(n)
            best = max(cpu, wall) / n
            if best * n < SLICE_NS / 2:
                n *= 2
        n = max(1, int(SLICE_NS / best))
        return {"n": n, "each": operation.each, "slice_ns": int(n * best)}

    def timed(self, n: int) -> tuple[int, int]:
        """CPU and wall nanoseconds of n times the operation."""
        operation = self.operation
        assert operation is not None
        if operation.prepare is not None:
            operation.prepare()
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        own = operation.run(n)
        wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
        return (cpu, wall) if own is None else own

    def run(self, n: int) -> None:
        """Do the operation n times, untimed."""
        self.timed(n)

    def slices(self, n: int, slices: int) -> list[tuple[int, int, int, int]]:
        """Time slices: CPU, wall, and the calibration work's time before and after, each in ns."""
        result = []
        before = self.calibrate()
        for _ in range(slices):
            cpu, wall = self.timed(n)
            after = self.calibrate()
            result.append((cpu, wall, before, after))
            before = after
        return result

    def teardown(self) -> None:
        self.operation = None
        self.stack.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.worker")
    parser.add_argument("--api", choices=sorted(APIS), required=True)
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    parser.add_argument("--core", type=int)
    parser.add_argument("--library", required=True, help="the compiled calibrate.c")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to handle
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    worker = Worker(prepare_api(arguments.api, arguments.loop), arguments.library)
    for line in sys.stdin:
        try:
            answer = {"result": worker.obey(json.loads(line))}
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
