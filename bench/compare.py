"""`python -m bench.compare`: mongokey beside PyMongo in one run, ratio first.

With `--face async` its asyncio face beside PyMongo's and mongojet, in asyncio's own event loop and
in uvloop's.

Client and server are pinned to one core (with `--two-cores` the server also to another), rounds
alternate, and only slices of like speed are compared; see `runner`. This module knows the command
line, the table and the JSON file; it must not know how a figure came about.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.async_cases import ASYNC_CASES
from bench.case import APIS, FEW, LOOPS, MOST
from bench.cases import BY_NAME, CASES
from bench.memory import QUESTIONS
from bench.runner import Driver, Failed, Ratio, Result, Runner, measure_memory
from bench.server import CannedServer

#: By face, the table's columns, and how wide they are.
COLUMNS = {
    "blocking": {
        "case": 43, "share": 7, "(of rounds)": 15, "target": 7, "mongokey": 12, "PyMongo": 12,
        "floor": 7, "wall": 6, "plain": 6, "2 cores": 8, "rounds": 7, "": 0,
    },
    "async": {
        "case": 45, "share": 7, "(of rounds)": 15, "target": 7, "mongokey": 12, "PyMongo": 12,
        "mongojet": 12, "of mongojet": 11, "floor": 7, "wall": 6, "2 cores": 8, "rounds": 7, "": 0,
    },
}  # fmt: skip


def _show(value: float | None, unit: str = "us") -> str:
    if value is None:
        return ""
    if unit == "bytes":
        return f"{value / 2**20:.1f} MB"
    if value >= 10_000:
        return f"{value / 1000:.1f} ms"
    return f"{value:.0f} us" if value >= 100 else f"{value:.2f} us"


def _share(ratio: Ratio | None) -> str:
    return "" if ratio is None else f"{ratio.median:.3f}"


def _line(face: str, cells: Mapping[str, str]) -> str:
    """A line of the table; a column without a cell is left empty."""
    parts: list[str] = []
    for name, width in COLUMNS[face].items():
        cell = cells.get(name, "")
        parts.append(cell.rjust(width) if parts else cell.ljust(width))
    return "  ".join(parts).rstrip()


def row(
    result: Result, two_cores: Result | None, subject: str, baseline: str, face: str = "blocking"
) -> str:
    """The table's line for a case."""
    if result.problems:
        return _line(face, {"case": result.title, "share": "FAILED", "": result.problems[0]})
    ratio = result.ratios[baseline]
    figures = result.figures
    floor, mongojet = figures.get("floor"), figures.get("mongojet")
    marks = []
    if result.target is not None:
        marks.append("met" if ratio.median <= result.target else "MISSED")
    if result.speed != "full":
        marks.append("(at half speed)")
    second = ""
    if two_cores is not None:
        second = "FAILED" if two_cores.problems else _share(two_cores.ratios[baseline])
    return _line(
        face,
        {
            "case": result.title,
            "share": f"{ratio.median:.3f}",
            "(of rounds)": f"{ratio.low:.3f}..{ratio.high:.3f}",
            "target": "" if result.target is None else f"{result.target:.2f}",
            "mongokey": _show(figures[subject].cpu, result.unit),
            "PyMongo": _show(figures[baseline].cpu, result.unit),
            "mongojet": "" if mongojet is None else _show(mongojet.cpu, result.unit),
            "of mongojet": _share(result.ratios.get("mongojet")),
            "floor": "" if floor is None else f"{floor.cpu / figures[baseline].cpu:.3f}",
            "wall": _share(result.wall_ratio),
            "plain": _share(result.ratios.get("pymongo-plain")),
            "2 cores": second,
            "rounds": f"{ratio.rounds}/{result.attempts}",
            "": " ".join(marks),
        },
    )


def machine() -> dict[str, Any]:
    """What a reader must know about the machine."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
    }


def about(api: str, core: int, python: str) -> dict[str, Any]:
    """The versions that a driver's worker runs with. Raises `Failed` if it cannot start."""
    driver = Driver(api, core, python)
    try:
        versions: dict[str, Any] = driver.ask("about")
    finally:
        driver.process.close()
    return versions


def note_threads(results: dict[str, Result], subject: str) -> None:
    """Say what a command of 64 threads costs beside one of 16: it should cost no more."""
    few, many = results.get("threads16"), results.get("threads64")
    if few is not None and many is not None and subject in few.figures and subject in many.figures:
        share = many.figures[subject].cpu / few.figures[subject].cpu
        many.notes.append(f"{share:.2f} of what it is with 16 threads")


def note_growth(results: dict[str, Result], subject: str, baseline: str) -> None:
    """Say what a document costs among many, beside one among few: it should cost little more."""
    few, most = results.get("find_few"), results.get("find_most")
    if few is None or most is None or few.problems or most.problems:
        return
    for name in (subject, baseline, "floor"):
        if name in few.figures and name in most.figures:
            cost = few.figures[name].cpu / FEW, most.figures[name].cpu / MOST
            most.notes.append(
                f"{name}: {cost[1]:.2f} us for a document among {MOST}, {cost[0]:.2f} us among"
                f" {FEW}: {cost[1] / cost[0]:.2f} times"
            )


def names_of(face: str) -> list[str]:
    """The names of a face's cases."""
    if face == "async":
        return [case.name for case in ASYNC_CASES]
    return [*(case.name for case in CASES), *QUESTIONS]


def parse_arguments() -> argparse.Namespace:
    names = [*names_of("blocking"), *names_of("async")]
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description="Compare mongokey's client CPU and wall time with PyMongo's.",
        epilog=f"cases: {', '.join(names)}",
    )
    parser.add_argument("--face", choices=sorted(COLUMNS), default="blocking")
    parser.add_argument("--cases", nargs="+", metavar="NAME", choices=names)
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=LOOPS, help="of --face async")
    parser.add_argument("--rounds", type=int, default=15, help="of each case (default 15)")
    parser.add_argument("--two-cores", action="store_true", help="also with the server elsewhere")
    parser.add_argument("--core", type=int, default=0, help="the client's core (default 0)")
    parser.add_argument(
        "--python",
        default=sys.executable,
        help="the workers' interpreter; one built with optimizations (a distribution's) says most",
    )
    parser.add_argument("--subject", choices=sorted(APIS), default="mongokey")
    parser.add_argument("--baseline", choices=sorted(APIS), default="pymongo")
    parser.add_argument("--replica-set", action="store_true", help="the server is a primary")
    parser.add_argument("--no-sessions", action="store_true", help="the server has no sessions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = parser.parse_args()
    own = names_of(arguments.face)
    if arguments.cases is None:
        arguments.cases = own
    foreign = [name for name in arguments.cases if name not in own]
    if foreign:
        parser.error(f"not of --face {arguments.face}: {', '.join(foreign)}")
    return arguments


def main() -> int:
    arguments = parse_arguments()
    subject, baseline, face = arguments.subject, arguments.baseline, arguments.face
    # In the asyncio face's table stands mongojet too, whoever is compared with whom.
    others = {"mongojet"} - {subject, baseline} if face == "async" else set()
    core, python = arguments.core, arguments.python
    other_core = next((c for c in sorted(os.sched_getaffinity(0)) if c != core), None)
    if arguments.two_cores and other_core is None:
        print("--two-cores needs a second core", file=sys.stderr)
        return 2
    try:
        versions = {api: about(api, core, python) for api in (subject, baseline, *others)}
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 2
    results: list[tuple[Result, Result | None]] = []
    for api, version in versions.items():
        print(f"{api} {version['version']}, Python {version['python']}", end="; ")
    print(f"{machine()['cpu']}, {datetime.date.today()}")
    print("Client CPU of one operation; share = mongokey / PyMongo, floor = bare C loop / PyMongo.")
    print("\n" + _line(face, {name: name for name in COLUMNS[face]}))

    loops = arguments.loops if face == "async" else ["asyncio"]
    questions = [(name, loop) for name in arguments.cases for loop in loops]
    server = CannedServer(
        core=core,
        replica_set=arguments.replica_set,
        sessions=not arguments.no_sessions,
        files=any("gridfs_" in name for name in arguments.cases),
    )
    with server:
        runner = Runner(
            server, subject=subject, baseline=baseline, core=core, python=python,
            rounds=arguments.rounds, others=sorted(others),
        )  # fmt: skip
        for name, loop in questions:
            second = None
            if name in BY_NAME:
                case = BY_NAME[name]
                result = runner.measure(case, loop=loop)
                if arguments.two_cores and case.seen is not None:
                    second = runner.measure(case, server_core=other_core, loop=loop)
            else:
                title, _ = QUESTIONS[name]
                result = measure_memory(name, title, server, [subject, baseline], core, python)
            results.append((result, second))
            print(row(result, second, subject, baseline, face), flush=True)
    note_threads({result.name: result for result, _ in results}, subject)
    note_growth({result.name: result for result, _ in results}, subject, baseline)
    # With the server on a core of its own nothing but the client's work is in the figures.
    note_growth(
        {second.name: second for _, second in results if second is not None}, subject, baseline
    )
    for result, second in results:
        name = result.name if result.loop == "asyncio" else f"{result.name}, {result.loop}"
        for text in [*result.problems, *result.notes]:
            print(f"{name}: {text}")
        for text in second.notes if second is not None else []:
            print(f"{name}, 2 cores: {text}")
    if arguments.json is not None:
        report = {
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "machine": machine(),
            "face": face,
            "versions": versions,
            "subject": subject,
            "baseline": baseline,
            "server": {
                "replica_set": arguments.replica_set,
                "sessions": not arguments.no_sessions,
            },
            "cases": [
                {
                    **dataclasses.asdict(result),
                    "two_cores": None if second is None else dataclasses.asdict(second),
                }
                for result, second in results
            ],
        }
        arguments.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    failed = any(r.problems or (s is not None and s.problems) for r, s in results)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
