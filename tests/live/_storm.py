"""An application of many threads, and a deployment that fails under it again and again.

Knows how to insert, count and read with a client of PyMongo's names, what has to be true
afterwards, and what to do to a fleet meanwhile. Must not know which driver it is.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.servers.fleet import Fleet

#: A short pause between two calls of a thread: the machine has other work too.
PAUSE = 0.004
JOIN_TIMEOUT = 60.0
RECOVERY = 20.0
LONGER = 60.0


class Application:
    """16 threads that write and read until `stop`; `check` says what became of it.

    `errors` are those that the specifications let the driver hide, and that it did not hide.
    `forgiven` are classes of errors that this driver is known to show.
    """

    def __init__(
        self, client: Any, errors: Any, database: str, forgiven: tuple[type[Exception], ...] = ()
    ) -> None:
        self.client = client
        self.database = client[database]
        self.errors: list[str] = []
        #: Calls by what they do.
        self.calls: Counter[str] = Counter()
        #: Errors that no driver may hide: of calls that may not be sent twice.
        self.tolerated: Counter[str] = Counter()
        self.longest = 0.0
        #: By thread, when its last call that has ended began.
        self._began: dict[int, float] = {}
        self._forgiven = forgiven
        #: Forgiven errors of writes: they may be done or not.
        self._in_doubt = 0
        self._unsafe = (errors.AutoReconnect, errors.CursorNotFound)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._inserted: list[Any] = []
        self._increased: Counter[str] = Counter()
        self._attempted: Counter[str] = Counter()
        self._clock = 0
        self._seen: Counter[int] = Counter()
        work: list[Callable[[int], None]] = [
            *[self._insert] * 3,
            *[self._insert_many] * 2,
            *[self._increase] * 3,
            *[self._find_and_increase] * 2,
            self._increase_all,
            self._tick,
            *[self._read_clock] * 3,
            self._read_all,
        ]
        self._threads = [
            threading.Thread(target=self._run, args=(each, number), name=f"application-{number}")
            for number, each in enumerate(work)
        ]

    def start(self) -> None:
        self.database.clock.insert_one({"_id": "clock", "n": 0})
        for number in range(len(self._threads)):
            self.database.counters.insert_one({"_id": f"update-{number}", "n": 0, "kind": "safe"})
            self.database.counters.insert_one({"_id": f"modify-{number}", "n": 0, "kind": "safe"})
        self.database.counters.insert_one({"_id": "unsafe", "n": 0, "kind": "unsafe"})
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the threads end, and wait for them."""
        self._stop.set()
        for thread in self._threads:
            thread.join(JOIN_TIMEOUT)
        alive = [thread.name for thread in self._threads if thread.is_alive()]
        assert not alive, f"these hang: {alive}"

    def recovered(self, since: float) -> bool:
        """Whether each thread has ended a call that it began after this time."""
        alive = [n for n, thread in enumerate(self._threads) if thread.is_alive()]
        return all(self._began.get(number, 0.0) > since for number in alive)

    def check(self) -> None:
        """Every acknowledged write is there exactly once, and no call failed that need not."""
        assert not self.errors, "\n".join(self.errors[:10])
        found = Counter(each["mark"] for each in self.database.inserted.find())
        twice = [mark for mark, count in found.items() if count > 1]
        assert not twice, f"inserted more than once: {twice[:10]}"
        lost = [mark for mark in self._inserted if mark not in found]
        assert not lost, f"acknowledged and lost: {lost[:10]}"
        assert len(found) <= len(self._inserted) + 3 * self._in_doubt
        counters = {each["_id"]: each["n"] for each in self.database.counters.find()}
        unsafe = counters.pop("unsafe")
        for name, n in counters.items():
            assert 0 <= n - self._increased[name] <= self._in_doubt, (name, n, self._increased)
        assert self._attempted["unsafe ok"] <= unsafe <= self._attempted["unsafe"]
        clock = self.database.clock.find_one({"_id": "clock"})["n"]
        assert 0 <= clock - self._clock <= self._in_doubt, (clock, self._clock)
        assert self.busy(), self.calls

    def busy(self) -> bool:
        """Whether each kind of call was made often enough to have met a fault."""
        kinds = ("insert", "insert_many", "update", "modify", "tick", "read")
        return all(self.calls[kind] > 10 for kind in kinds)

    def _run(self, work: Callable[[int], None], number: int) -> None:
        try:
            while not self._stop.is_set():
                started = time.monotonic()
                try:
                    work(number)
                except self._forgiven as error:
                    with self._lock:
                        self._in_doubt += 1
                        self.tolerated[type(error).__name__] += 1
                self.longest = max(self.longest, time.monotonic() - started)
                self._began[number] = started
                time.sleep(PAUSE)
        except BaseException as error:
            with self._lock:
                self.errors.append(f"{threading.current_thread().name}: {error!r}")

    def _count(self, kind: str) -> int:
        with self._lock:
            self.calls[kind] += 1
            return self.calls[kind]

    # Writes

    def _insert(self, number: int) -> None:
        mark = f"{number}-{self._count('insert')}"
        assert self.database.inserted.insert_one({"mark": mark}).acknowledged
        with self._lock:
            self._inserted.append(mark)

    def _insert_many(self, number: int) -> None:
        batch = self._count("insert_many")
        marks = [f"{number}-{batch}-{each}" for each in range(3)]
        result = self.database.inserted.insert_many([{"mark": mark} for mark in marks])
        assert len(result.inserted_ids) == 3
        with self._lock:
            self._inserted += marks

    def _increase(self, number: int) -> None:
        name = f"update-{number}"
        result = self.database.counters.update_one({"_id": name}, {"$inc": {"n": 1}})
        assert result.modified_count == 1
        self._count("update")
        self._increased[name] += 1

    def _find_and_increase(self, number: int) -> None:
        name = f"modify-{number}"
        before = self.database.counters.find_one_and_update({"_id": name}, {"$inc": {"n": 1}})
        # This thread is the only one that counts here: what it gets is what it has counted.
        more = before["n"] - self._increased[name]
        assert 0 <= more <= self._in_doubt, (before, self._increased[name])
        self._count("modify")
        self._increased[name] += 1

    def _increase_all(self, number: int) -> None:
        """A write that may not be sent twice: it fails where the first attempt does."""
        self._attempted["unsafe"] += 1
        try:
            self.database.counters.update_many({"kind": "unsafe"}, {"$inc": {"n": 1}})
        except self._unsafe as error:
            self.tolerated[type(error).__name__] += 1
        else:
            self._attempted["unsafe ok"] += 1

    def _tick(self, number: int) -> None:
        self.database.clock.update_one({"_id": "clock"}, {"$inc": {"n": 1}})
        self._count("tick")
        self._clock += 1

    # Reads

    def _read_clock(self, number: int) -> None:
        """What has been acknowledged is read, and nothing older than what was read before."""
        acknowledged = self._clock
        seen = self.database.clock.find_one({"_id": "clock"})["n"]
        self._count("read")
        local = self._seen[number]
        assert seen >= local, f"read {seen} after {local}"
        # An old primary that is cut off may not have it; a client that has written to its
        # successor reads there.
        assert seen >= acknowledged, f"read {seen}, {acknowledged} was acknowledged"
        self._seen[number] = seen

    def _read_all(self, number: int) -> None:
        """A cursor of several batches ends with its server: no driver can hide that."""
        try:
            list(self.database.inserted.find({}, batch_size=50).limit(200))
        except self._unsafe as error:
            self.tolerated[type(error).__name__] += 1
        self._count("read_all")


class Faults:
    """Does something to the primary every `period` seconds; `done` are the faults so far.

    Where the application needs longer to recover the next fault waits: a call that fails twice is
    one that no driver has to save.
    """

    def __init__(self, fleet: Fleet, application: Application, seed: int, period: float) -> None:
        self.fleet = fleet
        self.application = application
        self.period = period
        self.done: list[str] = []
        self._random = random.Random(seed)
        self._kinds: list[Callable[[int], None]] = []

    def run(self, seconds: float, enough: Callable[[], bool]) -> None:
        """Go on for so long, and on a slow machine longer, until it is `enough`; at the end all
        members are well."""
        ends = time.monotonic() + seconds
        at_the_latest = ends + LONGER
        while (left := ends - time.monotonic()) > self.period or (
            time.monotonic() < at_the_latest and not enough()
        ):
            if not self._kinds:
                # Each kind once before any comes again.
                self._kinds = [self._kill, self._silence, self._step_down, self._cut_off]
                self._kinds += [self._shut_down, self._cut_writes]
                self._random.shuffle(self._kinds)
            fault = self._kinds.pop()
            primary = self._settled()
            self.done.append(f"{fault.__name__[1:]}({primary})")
            started = time.monotonic()
            fault(primary)
            self._recover()
            time.sleep(max(0.0, self.period - (time.monotonic() - started)))
        time.sleep(max(0.0, left))
        self._settled()

    def _recover(self) -> None:
        since = time.monotonic()
        assert self.fleet.wait_for(lambda: self.application.recovered(since), RECOVERY), self.done

    def _settled(self) -> int:
        assert self.fleet.wait_for(lambda: self.fleet.primary is not None)
        primary = self.fleet.primary
        assert primary is not None
        return primary

    def _pause(self) -> None:
        time.sleep(self.period * self._random.uniform(0.1, 0.6))

    def _kill(self, primary: int) -> None:
        self.fleet.kill(primary, reset=self._random.random() < 0.7)
        self._pause()
        self.fleet.restart(primary)

    def _silence(self, primary: int) -> None:
        self.fleet.silence(primary)
        # Shorter or longer than what the client waits for an answer.
        time.sleep(self._random.uniform(0.2, 2.5))
        self.fleet.resume(primary)

    def _step_down(self, primary: int) -> None:
        self.fleet.step_down()

    def _cut_off(self, primary: int) -> None:
        """Another is elected, and the old primary does not know."""
        self.fleet.elect(unaware=True)
        self._pause()
        self.fleet.inform(primary)

    def _shut_down(self, primary: int) -> None:
        self.fleet.shut_down(primary, quiesce_ms=100)
        self._pause()
        assert self.fleet.wait_for(lambda: not self.fleet.member(primary)["alive"])
        self.fleet.restart(primary)

    def _cut_writes(self, primary: int) -> None:
        self.fleet.cut_writes(primary)
