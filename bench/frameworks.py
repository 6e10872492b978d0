"""`python -m bench.frameworks`: what frameworks cost with mongokey, as a share of PyMongo's CPU.

Each case runs in two processes, one with PyMongo and one with `mongokey run`, in the environment
that `tools.frameworks` keeps for its library; both are pinned to one core, and take turns: a round
is one run of each, and the figure is the median of the rounds' ratios. SecantusDB has the other
core. This module knows the libraries' calls; it must not know the drivers.

    python -m bench.frameworks                      all cases
    python -m bench.frameworks --write              and the table into docs/frameworks.md
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COUNT = 10_000
RESULTS = 200
ROUNDS = 15
PATIENCE_S = 300.0


# -- in the workers, where the library is ---------------------------------------------------------


def prepare_mongoengine(uri: str) -> Callable[[], None]:
    import mongoengine

    class Movie(mongoengine.Document):  # type: ignore[misc]
        title = mongoengine.StringField()
        year = mongoengine.IntField()
        rating = mongoengine.FloatField()
        genres = mongoengine.ListField(mongoengine.StringField())

    mongoengine.connect("bench", host=uri, uuidRepresentation="standard")
    Movie.drop_collection()
    Movie.objects.insert([Movie(**each) for each in movies()], load_bulk=False)

    def run() -> None:
        found = list(Movie.objects)
        assert len(found) == COUNT, len(found)

    return run


def prepare_beanie(uri: str) -> Callable[[], None]:
    from beanie import Document, init_beanie
    from pymongo import AsyncMongoClient

    # The annotations are read by name, from the module.
    class Movie(Document):
        title: str
        year: int
        rating: float
        genres: list[str]

        class Settings:
            name = "movies"

    loop = asyncio.new_event_loop()

    async def begin() -> None:
        client: Any = AsyncMongoClient(uri)
        await init_beanie(database=client["bench"], document_models=[Movie])
        await Movie.delete_all()
        await Movie.insert_many([Movie(**each) for each in movies()])

    async def find() -> None:
        found = await Movie.find().to_list()
        assert len(found) == COUNT, len(found)

    loop.run_until_complete(begin())
    return lambda: loop.run_until_complete(find())


def prepare_celery(uri: str) -> Callable[[], None]:
    import celery

    app = celery.Celery("bench", backend=f"{uri.rstrip('/')}/bench")
    backend = app.backend

    def run() -> None:
        for number in range(RESULTS):
            backend.store_result(f"task-{number}", {"value": number}, "SUCCESS")
            assert backend.get_result(f"task-{number}") == {"value": number}

    return run


def movies() -> list[dict[str, Any]]:
    """The documents of a case."""
    return [
        {
            "title": f"The film number {number}",
            "year": 1950 + number % 75,
            "rating": number % 100 / 10,
            "genres": ["drama", "comedy", "crime"][: 1 + number % 3],
        }
        for number in range(COUNT)
    ]


#: The library's key in `tools.frameworks` -> what is measured, and what prepares it.
CASES: dict[str, tuple[str, Callable[[str], Callable[[], None]]]] = {
    "mongoengine": (f"`Document.objects`, {COUNT:,} documents", prepare_mongoengine),
    "beanie": (f"`find().to_list()`, {COUNT:,} documents", prepare_beanie),
    "celery": ("a result stored and loaded", prepare_celery),
}


def work(case: str, uri: str) -> None:
    """A worker: a run for each line on standard input, answered with its CPU time, in ns."""
    # This file's folder has modules that are called as PyMongo's are.
    sys.path[:] = [each for each in sys.path if Path(each).resolve() != Path(__file__).parent]
    run = CASES[case][1](uri)
    for _ in range(2):
        run()
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.process_time_ns()
        run()
        print(time.process_time_ns() - began, flush=True)
    os._exit(0)  # what the drivers have to say of clients that nobody closed is not asked for


# -- in the runner ------------------------------------------------------------------------------


class Worker:
    """The process of one driver."""

    def __init__(self, python: Path, case: str, uri: str, driver: str, core: int) -> None:
        run = ("-m", "mongokey", "run") if driver == "mongokey" else ()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        environment["PYTHONPATH"] = str(ROOT / "src")
        self._process = subprocess.Popen(
            [str(python), *run, str(Path(__file__).resolve()), "--worker", case, "--uri", uri],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        pin(self._process.pid, core)
        self._read("ready")

    def run(self) -> int:
        """The CPU time of one run, in nanoseconds."""
        assert self._process.stdin is not None, "it is a pipe"
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return int(self._read())

    def _read(self, wanted: str | None = None) -> str:
        assert self._process.stdout is not None, "it is a pipe"
        line = self._process.stdout.readline().strip()
        if not line or (wanted is not None and line != wanted):
            raise RuntimeError(f"the worker said {line!r} and ended with {self._process.wait(60)}")
        return line

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=PATIENCE_S)


def pin(pid: int, core: int) -> None:
    """Keep a process on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, {core})


def measure(case: str, python: Path, uri: str, rounds: int, core: int) -> tuple[list[float], int]:
    """mongokey's share of PyMongo's CPU in each round, and the median of PyMongo's time, in ns."""
    workers = [Worker(python, case, uri, driver, core) for driver in ("pymongo", "mongokey")]
    try:
        # Which one is first changes, as the first one has the colder caches.
        found = []
        for number in range(rounds):
            order = workers if number % 2 else workers[::-1]
            times = {id(each): each.run() for each in order}
            found.append([times[id(each)] for each in workers])
    finally:
        for each in workers:
            each.close()
    shares = sorted(mongokey / pymongo for pymongo, mongokey in found)
    return shares, round(statistics.median(pymongo for pymongo, _ in found))


def write(rows: list[str]) -> None:
    """Put the table into docs/frameworks.md."""
    page = ROOT / "docs" / "frameworks.md"
    begin, end = "<!-- begin: python -m bench.frameworks --write -->", "<!-- end of figures -->"
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    page.write_text("\n".join([before + begin, *rows, end]) + after)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.frameworks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--worker", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--uri", help=argparse.SUPPRESS)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--core", type=int, default=0, help="the client's (default 0)")
    parser.add_argument("--cache", type=Path, help="as of tools.frameworks")
    parser.add_argument("--write", action="store_true", help="the table into docs/frameworks.md")
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker, arguments.uri)
        return 0

    from tests.servers.secantus import SecantusServer
    from tools.frameworks.environments import Environment, cache_folder
    from tools.frameworks.libraries import LIBRARIES

    rows = [
        "| Library | Case | CPU, share of PyMongo's | Spread | With PyMongo |",
        "| --- | --- | --: | --: | --: |",
    ]
    with SecantusServer(require_auth=False) as server:
        pin(server.pid, (arguments.core + 1) % (os.cpu_count() or 1))
        for key in arguments.cases:
            library = LIBRARIES[key]
            environment = Environment(library, arguments.cache or cache_folder())
            environment.make()
            shares, pymongo_ns = measure(
                key, environment.python, server.uri(), arguments.rounds, arguments.core
            )
            runs = RESULTS if key == "celery" else 1
            rows.append(
                f"| {library.name} | {CASES[key][0]} | **{statistics.median(shares):.2f}** "
                f"| {shares[0]:.2f}..{shares[-1]:.2f} | {pymongo_ns / runs / 1e6:.2f} ms |"
            )
            print(rows[-1], flush=True)
    if arguments.write:
        write(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
