"""Measures one case: both drivers (and plain PyMongo, and the floor) in alternating rounds.

This module owns the processes, decides which slices ran at like speed, and checks the server's
counts against what was asked. It must not know what a case does, nor how results are shown.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.case import Case, Seen
from bench.native import compiled, temporary
from bench.server import CannedServer, Counts

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 120.0
ROUND_NS = 60_000_000
#: Calibration work up to this much slower than the fastest seen is full speed ...
FULL_SPEED = 1.06
#: ... and from here on it is the speed with a neighbour on the core's other hardware thread.
HALF_SPEED = 1.30
#: What drivers may send beside what was asked for.
SIDE_COMMANDS = frozenset({"endSessions", "killCursors"})


class Failed(RuntimeError):
    """A worker could not do what it was asked."""


def worker_environment(python: str) -> dict[str, str]:
    """The environment in which a worker finds the bench, mongokey's sources, and PyMongo."""
    paths = [str(ROOT), str(ROOT / "src")]
    if python != sys.executable:
        paths.append(sysconfig.get_path("platlib"))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0"}


class _Process:
    """A child that answers each line of input with a line of JSON."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        self.name = Path(command[0]).name
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def exchange(self, line: str) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(TIMEOUT, process.kill)
        timer.start()
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            timer.cancel()
        if not answer:
            raise Failed(f"{self.name} ended with status {process.wait(TIMEOUT)}")
        return json.loads(answer)

    def close(self) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.close()
            process.wait(10)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            process.kill()
            process.wait(10)
        process.stdout.close()

    def pin(self, core: int) -> None:
        os.sched_setaffinity(self._process.pid, {core})


@dataclass
class Slice:
    """One timed slice: nanoseconds, of all its operations together."""

    cpu: int
    wall: int
    before: int
    after: int


class Participant:
    """One of those that are compared: `n` operations of `each` go into a slice."""

    checked = True

    def __init__(self, name: str, process: _Process) -> None:
        self.name = name
        self.process = process
        self.n = self.each = 1
        self.slice_count = 3
        self.rounds: list[list[Slice]] = []
        self.counts: Counts | None = None
        self.problems: list[str] = []

    def set_sizes(self, n: int, each: int, slice_ns: int) -> None:
        self.n, self.each = n, each
        self.slice_count = max(3, min(20, ROUND_NS // max(slice_ns, 1)))

    @property
    def operations(self) -> int:
        """How many operations a round is."""
        return self.n * self.each * self.slice_count

    def measure(self) -> list[Slice]:
        raise NotImplementedError


class Driver(Participant):
    """A worker with one driver, in which one case is set up."""

    def __init__(self, api: str, core: int, python: str, loop: str = "asyncio") -> None:
        library = compiled("calibrate", shared=True)
        command = [python, "-m", "bench.worker", "--api", api, "--core", str(core)]
        command += ["--loop", loop, "--library", str(library)]
        super().__init__(api, _Process(command, worker_environment(python)))

    def ask(self, do: str, **order: Any) -> Any:
        answer = self.process.exchange(json.dumps({"do": do, **order}))
        if "failed" in answer:
            raise Failed(f"{self.name}: {answer['failed']}")
        return answer["result"]

    def set_up(self, case: Case, uri: str) -> None:
        self.set_sizes(**self.ask("setup", case=case.name, uri=uri))

    def measure(self) -> list[Slice]:
        return [Slice(*s) for s in self.ask("slices", n=self.n, slices=self.slice_count)]

    def close(self) -> None:
        try:
            self.ask("teardown")
        finally:
            self.process.close()


class Floor(Participant):
    """The bare C socket loop over the bytes of one operation."""

    checked = False

    def __init__(self, port: int, record: Path, mode: str, core: int) -> None:
        super().__init__("floor", _Process([str(compiled("floor")), str(port), str(record), mode]))
        self.process.pin(core)

    def set_up(self, n: int) -> None:
        # The floor is several times faster than a driver: as many again make a slice as long.
        wall = min(s.wall for s in self._slices(n, 3))
        more = max(1, int(3_000_000 / max(wall / n, 1)))
        self.set_sizes(more, 1, int(more * wall / n))

    def _slices(self, n: int, slices: int) -> list[Slice]:
        return [Slice(*s) for s in self.process.exchange(f"{n} {slices}")]

    def measure(self) -> list[Slice]:
        return self._slices(self.n, self.slice_count)


class Speed:
    """How fast the core can be (the fastest calibration seen), and how fast a slice ran."""

    def __init__(self) -> None:
        self.fastest = 1 << 62

    def learn(self, slices: list[Slice]) -> None:
        self.fastest = min([self.fastest, *(min(s.before, s.after) for s in slices)])

    def of(self, s: Slice) -> str | None:
        """ "full", "half", or None for a slice during which the speed changed."""
        low, high = sorted((s.before, s.after))
        if high <= self.fastest * FULL_SPEED:
            return "full"
        return "half" if low >= self.fastest * HALF_SPEED else None


@dataclass
class Ratio:
    """The median of the rounds' ratios, and the smallest and largest of them."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, ratios: list[float]) -> Ratio:
        return cls(statistics.median(ratios), min(ratios), max(ratios), len(ratios))


@dataclass
class Figures:
    """What one participant needs for an operation, in microseconds (medians over slices)."""

    cpu: float
    wall: float


@dataclass
class Result:
    """All that is known about one case. `problems` make it a failure."""

    name: str
    title: str
    target: float | None
    loop: str = "asyncio"
    unit: str = "us"
    speed: str = "full"
    attempts: int = 0
    figures: dict[str, Figures] = field(default_factory=dict)
    ratios: dict[str, Ratio] = field(default_factory=dict)
    wall_ratio: Ratio | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_counts(counts: Counts, seen: Seen, operations: int) -> list[str]:
    """What is wrong with what the server saw of so many operations; nothing is best."""
    problems = []

    def compare(what: str, found: int, wanted: int) -> None:
        if found != wanted:
            problems.append(f"{operations} operations: {found} {what}, not {wanted}")

    for name, each in seen.commands.items():
        compare(name, counts.commands.get(name, 0), each * operations)
    for name in sorted(set(counts.commands) - set(seen.commands) - seen.free - SIDE_COMMANDS):
        compare(name, counts.commands[name], 0)
    compare("logins", counts.logins, seen.logins * operations)
    compare("documents", counts.documents, seen.documents * operations)
    compare("failed logins", counts.failed_logins, 0)
    compare("commands without a login", counts.unauthenticated, 0)
    compare("messages that were not understood", counts.errors, 0)
    if counts.accepted < seen.connections * operations:
        compare("connections", counts.accepted, seen.connections * operations)
    if seen.connections_at_most is not None and counts.accepted > seen.connections_at_most:
        compare("new connections", counts.accepted, seen.connections_at_most)
    return problems


def _without_hellos(record: Path) -> None:
    """Leave out of a record the hellos: on a connection that is kept they are not repeated."""
    data, kept, at = record.read_bytes(), b"", 0
    while at < len(data):
        size = 8 + int.from_bytes(data[at : at + 4], "little")
        message = data[at + 8 : at + size]
        name = message[26:].split(b"\0", 1)[0].lower()
        if name not in (b"hello", b"ismaster") and message[12:16] != (2004).to_bytes(4, "little"):
            kept += data[at : at + size]
        at += size
    record.write_bytes(kept)


class Runner:
    """Measures cases with one server; `core` is the client's, and the server's by default.

    `others` take part beside the baseline.
    """

    def __init__(
        self,
        server: CannedServer,
        *,
        subject: str,
        baseline: str,
        core: int,
        python: str,
        rounds: int,
        others: Sequence[str] = (),
    ) -> None:
        self.server = server
        self.subject = subject
        self.baseline = baseline
        self.core = core
        self.python = python
        self.rounds = rounds
        self.others = others
        self.speed = Speed()

    @contextmanager
    def participants(self, case: Case, loop: str) -> Iterator[list[Participant]]:
        """All that take part in a case, set up, the subject first."""
        others = (name for name in self.others if name not in case.without)
        names = [self.subject, self.baseline, *others]
        if case.plain and "pymongo-plain" not in names:
            names.append("pymongo-plain")
        uri = self.server.uri(login=case.login)
        self.server.require_login(case.login)
        taking_part: list[Participant] = []
        with ExitStack() as stack:
            for name in names:
                driver = Driver(name, self.core, self.python, loop)
                stack.callback(driver.close)
                driver.set_up(case, uri)
                taking_part.append(driver)
                # The record is made before another driver's monitor can write into it.
                if case.floor is not None and name == self.subject:
                    record = temporary(f"record-{case.name}")
                    with self.server.recording(record):
                        driver.ask("run", n=1)
                    if case.floor == "keep":
                        _without_hellos(record)
                    floor = Floor(self.server.port, record, case.floor, self.core)
                    stack.callback(floor.process.close)
                    floor.set_up(driver.n)
            if case.floor is not None:
                taking_part.append(floor)
            yield taking_part

    def measure(
        self, case: Case, *, server_core: int | None = None, loop: str = "asyncio"
    ) -> Result:
        """Measure a case; with `server_core` the server runs there meanwhile.

        `loop` is the event loop of an asyncio case.
        """
        title = case.title if loop == "asyncio" else f"{case.title}, {loop}"
        result = Result(case.name, title, case.target, loop)
        self.server.pin(self.core if server_core is None else server_core)
        try:
            with self.participants(case, loop) as taking_part:
                self._play_rounds(case, taking_part, result)
                self._evaluate(taking_part, result)
        except Failed as failure:
            result.problems.append(str(failure))
        return result

    def _play_rounds(self, case: Case, taking_part: list[Participant], result: Result) -> None:
        good = 0
        while good < self.rounds and result.attempts < 4 * self.rounds:
            result.attempts += 1
            # Whoever began the last round ends this one.
            order = taking_part if result.attempts % 2 else taking_part[::-1]
            for participant in order:
                self.server.reset()
                slices = participant.measure()
                participant.counts = self.server.counts()
                if case.seen is not None and participant.checked:
                    problems = check_counts(participant.counts, case.seen, participant.operations)
                    if problems:
                        result.problems += [f"{participant.name}: {p}" for p in problems]
                        return
                self.speed.learn(slices)
                participant.rounds.append(slices)
            subject, baseline = taking_part[0], taking_part[1]
            good += bool(
                self._at(subject.rounds[-1], "full") and self._at(baseline.rounds[-1], "full")
            )

    def _at(self, slices: list[Slice], speed: str) -> list[Slice]:
        return [s for s in slices if self.speed.of(s) == speed]

    def _evaluate(self, taking_part: list[Participant], result: Result) -> None:
        subject = taking_part[0]
        if result.problems or not subject.rounds:
            return
        for speed in ("full", "half"):
            ratios: dict[str, list[float]] = {}
            walls: list[float] = []
            for index in range(len(subject.rounds)):
                mine = self._at(subject.rounds[index], speed)
                for other in taking_part[1:]:
                    theirs = self._at(other.rounds[index], speed)
                    if mine and theirs:
                        ratios.setdefault(other.name, []).append(
                            _per_operation(subject, mine, "cpu")
                            / _per_operation(other, theirs, "cpu")
                        )
                        if other is taking_part[1]:
                            walls.append(
                                _per_operation(subject, mine, "wall")
                                / _per_operation(other, theirs, "wall")
                            )
            if self.baseline in ratios:
                break
        else:
            result.problems.append("no round in which both ran at one speed: try again")
            return
        result.speed = speed
        result.ratios = {name: Ratio.of(values) for name, values in ratios.items()}
        result.wall_ratio = Ratio.of(walls)
        for participant in taking_part:
            slices = self._at([s for part in participant.rounds for s in part], speed)
            if slices:
                result.figures[participant.name] = Figures(
                    _per_operation(participant, slices, "cpu") / 1e3,
                    _per_operation(participant, slices, "wall") / 1e3,
                )
        self._note_differences(taking_part, result)

    def _note_differences(self, taking_part: list[Participant], result: Result) -> None:
        """Say so if they did not send the same: then the figures are not of one work."""
        mine = taking_part[0]
        assert mine.counts is not None
        for theirs in taking_part[1:]:
            if not theirs.checked:
                continue
            assert theirs.counts is not None
            for what in ("sessions", "transactions"):
                a = getattr(mine.counts, what) / mine.operations
                b = getattr(theirs.counts, what) / theirs.operations
                if round(a, 2) != round(b, 2):
                    name = {"sessions": "lsid", "transactions": "txnNumber"}[what]
                    result.notes.append(
                        f"{name} per operation: {mine.name} {a:.2f}, {theirs.name} {b:.2f}"
                    )


def _per_operation(participant: Participant, slices: list[Slice], what: str) -> float:
    """Nanoseconds for one operation: the median over slices."""
    median: float = statistics.median(getattr(s, what) for s in slices)
    return median / (participant.n * participant.each)


def measure_memory(
    question: str, title: str, server: CannedServer, apis: list[str], core: int, python: str
) -> Result:
    """Ask each driver's own fresh processes, in turns, how much memory they need (in bytes)."""
    result = Result(question, title, 1.0, unit="bytes")
    server.require_login(False)
    found: dict[str, list[int]] = {api: [] for api in apis}
    for _ in range(3):
        for api in apis:
            command = [python, "-m", "bench.memory", "--api", api, "--question", question]
            answer = subprocess.run(
                [*command, "--uri", server.uri()],
                cwd=ROOT,
                env=worker_environment(python),
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
            if answer.returncode:
                result.problems.append(f"{api}: {answer.stderr.strip().splitlines()[-1]}")
                return result
            found[api].append(int(answer.stdout))
            result.attempts += 1
    subject, baseline = (found[api] for api in apis)
    result.ratios[apis[1]] = Ratio.of([a / b for a, b in zip(subject, baseline, strict=True)])
    for api in apis:
        size = statistics.median(found[api])
        result.figures[api] = Figures(size, size)
    return result
