"""`python -m bench.fairness`: what a large read does to those who share its event loop.

A hundred tasks ping on one client, first alone, then while another task reads 100 000 documents (in
batches of 16 MB) again and again. A reply is decoded in the loop's thread, so meanwhile all others
wait: the figures are the pings' latencies, and the longest time for which the loop served nobody.
This module knows the cases' methods and clocks; it must not know how a driver reads.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.async_cases import TASKS, Methods
from bench.case import LOOPS, MOST
from bench.runner import worker_environment
from bench.server import CannedServer
from bench.worker import prepare_api

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 300.0
DRIVERS = ("mongokey", "pymongo", "mongojet")
#: Each of the two parts takes so long.
SECONDS = 5.0
#: How often a task pings: all together are no load worth mentioning.
EVERY_S = 1.0


async def _pauses(found: list[float]) -> None:
    """Note for how long the loop did not come back to this task, in milliseconds."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        found.append((time.perf_counter() - before) * 1e3 - 1)


async def _ping(methods: Methods, found: list[float], delay: float) -> None:
    ping = methods.ping
    await asyncio.sleep(delay)
    while True:
        before = time.perf_counter()
        await ping()
        found.append((time.perf_counter() - before) * 1e3)
        await asyncio.sleep(EVERY_S)


async def _read(methods: Methods) -> int:
    read = methods.to_list(methods.collection(f"docs{MOST}"))
    documents = 0
    while True:
        documents += len(await read())
        # A reader that does something with what it read comes back to the loop.
        await asyncio.sleep(0)


async def _part(methods: Methods, reads: bool) -> dict[str, float]:
    """Latencies and pauses, in milliseconds."""
    latencies: list[float] = []
    pauses: list[float] = []
    work = [_ping(methods, latencies, number * EVERY_S / TASKS) for number in range(TASKS)]
    work.append(_pauses(pauses))
    if reads:
        work.append(_read(methods))  # type: ignore[arg-type]
    tasks = [asyncio.ensure_future(each) for each in work]
    done, _ = await asyncio.wait(tasks, timeout=SECONDS, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
    latencies.sort()
    return {
        "median": statistics.median(latencies),
        "p99": latencies[int(len(latencies) * 0.99)],
        "worst": latencies[-1],
        "pause": max(pauses),
    }


async def _measure(methods: Methods, uri: str) -> dict[str, dict[str, float]]:
    await methods.connect(f"{uri}?maxPoolSize={TASKS + 1}")
    try:
        await asyncio.gather(*(methods.ping() for _ in range(TASKS)))
        return {"alone": await _part(methods, False), "beside": await _part(methods, True)}
    finally:
        await methods.client.close()


def measure(api: str, loop: str, server: CannedServer, python: str) -> dict[str, Any]:
    """The figures of one driver, from a process of its own. Raises `RuntimeError` if it fails."""
    command = [python, "-m", "bench.fairness", "--work", api, loop, server.uri()]
    answer = subprocess.run(
        command, cwd=ROOT, env=worker_environment(python), capture_output=True, text=True,
        timeout=TIMEOUT,
    )  # fmt: skip
    if answer.returncode:
        raise RuntimeError(f"{api} failed:\n{answer.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(answer.stdout)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fairness")
    parser.add_argument("--drivers", nargs="+", choices=DRIVERS, default=DRIVERS)
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=LOOPS)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work is not None:
        name, loop_name, uri = arguments.work
        api = prepare_api(name, loop_name)
        loop = api.new_loop()
        try:
            print(json.dumps(loop.run_until_complete(_measure(Methods(api), uri))))
        finally:
            loop.close()
        sys.stdout.flush()
        # mongojet's threads may still have the read's last reply for the interpreter that ends.
        os._exit(0)
    print(f"Pings of {TASKS} tasks, alone and beside a task that reads {MOST} documents; in ms.")
    print(f"{'':<20}{'median':>17}{'p99':>17}{'worst':>17}{'longest pause':>17}")
    with CannedServer() as server:
        for api_name in arguments.drivers:
            for loop_name in arguments.loops:
                figures = measure(api_name, loop_name, server, arguments.python)
                cells = [
                    f"{figures['alone'][what]:.2f} {figures['beside'][what]:>8.2f}".rjust(17)
                    for what in ("median", "p99", "worst", "pause")
                ]
                print(f"{api_name + ', ' + loop_name:<20}{''.join(cells)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
