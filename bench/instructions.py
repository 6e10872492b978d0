"""`python -m bench.instructions`: instructions per operation, counted by callgrind and stored.

A count does not depend on the core's speed, so a change that costs instructions is seen where
times are too noisy to show it. Each operation is counted as the difference between a long and a
short run, so that start-up and set-up fall out. This module knows valgrind and the stored file; it
must not know what the cases do.

    python -m bench.instructions            count, and print beside what is stored
    python -m bench.instructions --store    count, and store
    python -m bench.instructions --check    count, and fail where it is more than what is stored
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.async_cases import TASKS
from bench.case import APIS
from bench.cases import BY_NAME
from bench.compare import machine
from bench.runner import worker_environment
from bench.server import CannedServer
from bench.worker import prepare_api

STORED = Path(__file__).resolve().parent / "instructions.json"
TIMEOUT = 600.0
#: So much more is a change and not chance: garbage collections and waits fall differently.
TOLERANCE = 0.02
#: Operations in one of those that a case counts, where they are more than one.
EACH = {"aio_tasks": TASKS}
#: By case, the short and the long run's number of operations.
RUNS = {
    "ping": (300, 1300),
    "find_one": (300, 1300),
    "insert_one": (300, 1300),
    "update_one": (300, 1300),
    "insert_many": (2, 6),
    "bulk_mixed": (2, 6),
    "client_bulk": (2, 6),
    "find_many": (2, 6),
    "new_connection": (20, 70),
    "cold_login": (4, 12),
    "second_client": (20, 70),
    "new_client": (20, 70),
    "parse_uri": (200, 1200),
    "get_collection": (2000, 12000),
    "encode_small": (2000, 22000),
    "decode_small": (2000, 22000),
    "encode_large": (50, 250),
    "decode_large": (50, 250),
    "aio_ping": (300, 1300),
    "aio_find_one": (300, 1300),
    "aio_insert_one": (300, 1300),
    "aio_find_many": (2, 6),
    "aio_iterate": (2, 6),
    "aio_insert_many": (2, 6),
    "aio_new_connection": (20, 70),
    "aio_tasks": (20, 70),
}


def work(api: str, case: str, uri: str, times: int) -> None:
    """What runs under valgrind: a case's operation, so many times."""
    with BY_NAME[case].setup(prepare_api(api), uri) as operation:
        step = operation.per_slice or times
        for _ in range(0, times, step):
            if operation.prepare is not None:
                operation.prepare()
            operation.run(step)


def _total(api: str, case: str, uri: str, times: int, python: str) -> int:
    """The instructions of a whole process that does the operation so many times."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "callgrind"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", python]
        command += ["-m", "bench.instructions", "--work", api, case, uri, str(times)]
        result = subprocess.run(
            command,
            cwd=Path(__file__).resolve().parents[1],
            env=worker_environment(python),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr[-2000:]}")
        # One line for each part and thread; "summary" stands where there is but one.
        totals = re.findall(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
        return max(map(int, totals))


def count(api: str, case: str, server: CannedServer, python: str) -> float:
    """Instructions of one operation of a case."""
    server.require_login(BY_NAME[case].login)
    # Under valgrind a run takes so long that checks of the server would count for some runs only.
    uri = server.uri(login=BY_NAME[case].login, heartbeatFrequencyMS=3_600_000)
    short, long = RUNS[case]
    first = _total(api, case, uri, short, python)
    operations = (long - short) * EACH.get(case, 1)
    return (_total(api, case, uri, long, python) - first) / operations


def image(python: str) -> dict[str, Any]:
    """What counts may be compared across: the interpreter and the kind of processor."""
    version = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True)
    return {"python": version.stdout.strip(), "cpu": machine()["cpu"]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.instructions")
    parser.add_argument("--cases", nargs="+", choices=sorted(RUNS), default=list(RUNS))
    parser.add_argument("--api", choices=sorted(APIS), default="mongokey")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--store", action="store_true", help=f"write {STORED.name}")
    parser.add_argument("--check", action="store_true", help="fail where the count has grown")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work is not None:
        api, case, uri, times = arguments.work
        work(api, case, uri, int(times))
        return 0

    here = image(arguments.python)
    stored: dict[str, Any] = {"image": here, "instructions": {}}
    if STORED.exists():
        stored = json.loads(STORED.read_text())
    if stored["image"] != here:
        if arguments.check:
            print(f"stored on {stored['image']}, this is {here}: store anew", file=sys.stderr)
            return 2
        stored = {"image": here, "instructions": {}}
    known: dict[str, float] = stored["instructions"].setdefault(arguments.api, {})
    grown = []
    with CannedServer() as server:
        for case in arguments.cases:
            found = count(arguments.api, case, server, arguments.python)
            before = known.get(case)
            change = "" if before is None else f"{(found / before - 1) * 100:+.1f} %"
            print(f"{case:<16}{found:>16,.0f}{before or 0:>16,.0f}  {change}", flush=True)
            if before is None or found > before * (1 + arguments.tolerance):
                grown.append(case)
            if arguments.store:
                known[case] = round(found)
    if arguments.store:
        STORED.write_text(json.dumps(stored, indent=1) + "\n")
    elif arguments.check and grown:
        print(f"more instructions than stored, or not stored: {', '.join(grown)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
