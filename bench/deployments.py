"""Clients of whole deployments, beside PyMongo's: how soon they write again after a primary has
gone, and what they cost while they do nothing.

Both drivers are connected to the same fleet (`tests.servers.fleet`) at the same time, each in a
process of its own, so that a fault is one and the same for both; the ratio of a round is what
counts. Knows the fleet, and lines of JSON to the two processes. No figure needs a quiet machine
but the times after a fault: those are wall time.

    python -m bench.deployments [--rounds 9] [--idle 20] [--only failover idle] [--json FILE]
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.fleet import Fleet
from tests.servers.secantus import SecantusServer

from bench.case import APIS
from bench.child import end
from bench.memory import process_status
from bench.worker import prepare_api

ROOT = Path(__file__).resolve().parents[1]
DRIVERS = ("mongokey", "pymongo")
#: Between a fault and the election of another primary; it is part of what is measured.
ELECTION_MS = 100
FEW, MANY = 3, 50
TIMEOUT = 30.0


@dataclass
class Figure:
    """A question's answer: by driver, a value for each round. `target` is for the ratio."""

    title: str
    unit: str
    target: float | None = None
    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in DRIVERS})
    problems: list[str] = field(default_factory=list)

    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(*self.values.values(), strict=True)]

    def row(self) -> str:
        """The table's line: the ratio first."""
        title = f"{self.title:<43}"
        if self.problems:
            return f"{title}  FAILED  {'; '.join(self.problems)}"
        ratios = self.ratios()
        ratio = statistics.median(ratios)
        spread = f"{min(ratios):.2f}..{max(ratios):.2f}"
        medians = [f"{statistics.median(each):.3g} {self.unit}" for each in self.values.values()]
        verdict = ""
        if self.target is not None:
            verdict = f"{self.target:.2f} {'met' if ratio <= self.target else 'MISSED'}"
        return (
            f"{title}  {ratio:>6.3f}  {spread:>13}  {medians[0]:>13}  {medians[1]:>13}  {verdict}"
        )


HEADER = (
    f"{'case':<43}  {'share':>6}  {'(of rounds)':>13}  {'mongokey':>13}  {'PyMongo':>13}  target"
)


# --- a driver's process ------------------------------------------------------------------


class Worker:
    """One driver with at most one client, and a thread that writes."""

    def __init__(self, name: str) -> None:
        self._api = prepare_api(name)
        self._client: Any = None
        self._writer: threading.Thread | None = None
        self._ends = threading.Event()
        #: When each acknowledged write ended, in monotonic ns, which all processes share.
        self._acknowledged: list[int] = []
        self._errors: list[str] = []

    def obey(self, order: dict[str, Any]) -> Any:
        return getattr(self, order.pop("do"))(**order)

    def connect(self, uri: str) -> None:
        self._client = self._api.client(uri)
        self._client.admin.command("ping")

    def close(self) -> None:
        self._client.close()
        self._client = None
        gc.collect()

    def warm_up(self, uri: str) -> None:
        """Have a client once, so that what all clients share is there: modules, free memory."""
        self.connect(uri)
        self.close()

    def resources(self) -> dict[str, int]:
        """Threads and resident bytes of the process."""
        gc.collect()
        threads = len(list(Path("/proc/self/task").iterdir()))
        return {"threads": threads, "memory": process_status("VmRSS")}

    def idle(self, seconds: float) -> float:
        """Microseconds of CPU per second while nothing is asked of the client."""
        before, started = time.process_time_ns(), time.monotonic_ns()
        time.sleep(seconds)
        spent, lasted = time.process_time_ns() - before, time.monotonic_ns() - started
        return spent * 1e6 / lasted

    def write(self) -> None:
        """Begin to insert documents one by one."""
        self._ends.clear()
        self._acknowledged.clear()
        self._errors.clear()
        self._writer = threading.Thread(target=self._write)
        self._writer.start()

    def _write(self) -> None:
        collection = self._client.bench.failover
        while not self._ends.is_set():
            try:
                collection.insert_one({})
            except Exception as error:  # it is the table that tells
                self._errors.append(repr(error)[:200])
            else:
                self._acknowledged.append(time.monotonic_ns())
            time.sleep(0.001)

    def first_write(self, after: int) -> dict[str, Any]:
        """Wait for a write that is acknowledged after this time; end the writing."""
        deadline = time.monotonic() + TIMEOUT
        while not (self._acknowledged and self._acknowledged[-1] > after):
            if time.monotonic() > deadline:
                break
            time.sleep(0.001)
        self._ends.set()
        assert self._writer is not None
        self._writer.join()
        first = next((each for each in self._acknowledged if each > after), None)
        return {"first": first, "errors": self._errors}

    def written(self) -> int:
        return len(self._acknowledged)


def work(name: str) -> None:
    worker = Worker(name)
    for line in sys.stdin:
        print(json.dumps({"answer": worker.obey(json.loads(line))}), flush=True)


class Driver:
    """A driver's process, seen from outside."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.deployments", "--worker", name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, order: str, **arguments: Any) -> None:
        """Give an order, whose answer `answer` takes."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": order, **arguments}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with status {self._process.wait()}")
        return json.loads(line)["answer"]

    def ask(self, order: str, **arguments: Any) -> Any:
        self.tell(order, **arguments)
        return self.answer()

    def close(self) -> None:
        end(self._process)


def ask_all(drivers: Sequence[Driver], order: str, **arguments: Any) -> list[Any]:
    """Give all the same order at once, and wait for all answers."""
    for driver in drivers:
        driver.tell(order, **arguments)
    return [driver.answer() for driver in drivers]


# --- the questions -----------------------------------------------------------------------


def failover(server: SecantusServer, rounds: int) -> list[Figure]:
    """From a fault to the first write that the new primary acknowledges."""
    faults: dict[str, Callable[[Fleet], None]] = {
        "first write after a kill": lambda fleet: fleet.kill(fleet.primary or 0),
        "first write after a step-down": lambda fleet: fleet.step_down(),
    }
    figures = [Figure(title, "ms", 1.0) for title in faults]
    drivers = [Driver(name) for name in DRIVERS]
    try:
        for _ in range(rounds):
            for figure, fault in zip(figures, faults.values(), strict=True):
                with Fleet(server, 3, election_ms=ELECTION_MS) as fleet:
                    _fail(figure, fleet, drivers, fault)
    finally:
        for driver in drivers:
            driver.close()
    return figures


def _fail(
    figure: Figure, fleet: Fleet, drivers: Sequence[Driver], fault: Callable[[Fleet], None]
) -> None:
    ask_all(drivers, "connect", uri=fleet.uri(replicaSet="fleet"))
    ask_all(drivers, "write")
    # All servers are known, and both drivers are at work.
    fleet.wait_for(lambda: _seen(fleet) == 3 and min(ask_all(drivers, "written")) > 50)
    fault(fleet)
    done = time.monotonic_ns()
    # Nothing before the election can be the new primary's.
    earliest = done + ELECTION_MS * 800_000
    for driver, answer in zip(
        drivers, ask_all(drivers, "first_write", after=earliest), strict=True
    ):
        if answer["first"] is None:
            figure.problems.append(f"{driver.name} wrote nothing within {TIMEOUT:g} s")
        elif answer["errors"]:
            figure.problems.append(f"{driver.name}: {answer['errors'][0]}")
        else:
            figure.values[driver.name].append((answer["first"] - done) / 1e6)
    ask_all(drivers, "close")


def _seen(fleet: Fleet) -> int:
    """How many members have a connection."""
    return sum(each["connections"] > 0 for each in fleet.status()["members"])


def idle(server: SecantusServer, rounds: int, seconds: float, members: int) -> list[Figure]:
    """What a client costs that knows so many servers and is asked nothing."""
    cpu = Figure(f"CPU per second, idle, {members} servers", "us", 0.25)
    threads = Figure(f"threads, {members} servers", "")
    memory = Figure(f"memory that a client adds, {members} servers", "MB")
    with Fleet(server, members) as fleet:
        drivers = [Driver(name) for name in DRIVERS]
        try:
            uri = fleet.uri(seeds=[0], replicaSet="fleet")
            for driver in drivers:
                _connect(driver, fleet, uri, members, [cpu, threads, memory])
            for _ in range(rounds):
                for driver, spent in zip(
                    drivers, ask_all(drivers, "idle", seconds=seconds), strict=True
                ):
                    cpu.values[driver.name].append(spent)
            ask_all(drivers, "close")
        finally:
            for driver in drivers:
                driver.close()
    return [cpu, threads, memory]


def _connect(
    driver: Driver, fleet: Fleet, uri: str, members: int, figures: Sequence[Figure]
) -> None:
    """Connect a driver, and note its threads and memory once it watches every server."""
    _, threads, memory = figures
    driver.ask("warm_up", uri=fleet.uri(seeds=[0], directConnection=True))
    hellos = _hellos(fleet)
    before = driver.ask("resources")
    driver.ask("connect", uri=uri)

    def watched() -> int:
        # A first hello, and the one that waits for a change.
        return sum(now - then >= 2 for now, then in zip(_hellos(fleet), hellos, strict=True))

    if not fleet.wait_for(lambda: watched() == members, TIMEOUT):
        for figure in figures:
            figure.problems.append(f"{driver.name} watches {watched()} of {members} servers")
    time.sleep(0.5)
    after = driver.ask("resources")
    threads.values[driver.name].append(after["threads"])
    memory.values[driver.name].append((after["memory"] - before["memory"]) / 2**20)


def _hellos(fleet: Fleet) -> list[int]:
    return [each["commands"].get("hello", 0) for each in fleet.status()["members"]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.deployments", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--idle", type=float, default=20.0, help="seconds of each idle round")
    parser.add_argument("--idle-rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=MANY, help="servers of the large deployment")
    parser.add_argument("--only", nargs="+", choices=["failover", "idle"])
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--worker", choices=sorted(APIS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        work(arguments.worker)
        return
    wanted = arguments.only or ["failover", "idle"]
    figures: list[Figure] = []
    print(HEADER, flush=True)
    with SecantusServer(require_auth=False) as server:
        questions: list[Callable[[], list[Figure]]] = []
        if "failover" in wanted:
            questions.append(lambda: failover(server, arguments.rounds))
        if "idle" in wanted:
            for members in (FEW, arguments.many):
                questions.append(
                    lambda members=members: idle(  # type: ignore[misc]
                        server, arguments.idle_rounds, arguments.idle, members
                    )
                )
        for question in questions:
            for figure in question():
                figures.append(figure)
                print(figure.row(), flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(each) for each in figures], indent=2) + "\n")
    if any(figure.problems for figure in figures):
        sys.exit(1)


if __name__ == "__main__":
    main()
