"""The monitors of one client: one thread, however many servers, in which nothing waits but the one
wait for all of them.

Knows which servers are watched, what is done now and then, and how the thread begins and ends. What
a check is stands in `server_monitor`, how its steps are carried out in `connection.step_loop`.
"""

from __future__ import annotations

import atexit
import sys
import threading
import weakref
from collections import deque

from mongokey._support.deadline import Timeout
from mongokey._support.fork import call_after_fork
from mongokey.connection.step_loop import StepLoop, report_error
from mongokey.connection.steps import Sleep
from mongokey.errors import AutoReconnect
from mongokey.handshake.environment import in_function_service
from mongokey.topology.server_monitor import ServerMonitor

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.connection.settings import ConnectionSettings
    from mongokey.connection.step_loop import Task
    from mongokey.connection.steps import Steps
    from mongokey.topology.server_description import ServerDescription

# When the interpreter ends, it waits no longer for all monitors together than this, in seconds.
_LAST_WAIT_S = 1.0


class Monitors:
    """The monitors of one client. Every method may be called from any thread, and from signal
    handlers and destructors: none waits, and none takes a lock that its caller may hold.

    :param settings: what the client's connections share; the credential in it is not used
    :param on_check: called in the thread with each `ServerDescription`, an Unknown one with its
        `error` too; it must not raise, wait, or keep the client or its topology alive
    :param heartbeat_ns: `heartbeatFrequencyMS`
    :param mode: `serverMonitoringMode`: "stream", "poll", or "auto": "poll" in a function service
    :param publisher: what heartbeats are told to, or None

    The thread starts with the first `watch`, `call_every` or `request_check`, which raise
    `AutoReconnect` where the system has no thread to give; it ends with `close`, or when this
    object is collected. In a forked child the same servers are watched, and the same jobs done,
    from the first such call on.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        on_check: Callable[[ServerDescription], object],
        *,
        heartbeat_ns: int,
        mode: str = "auto",
        publisher: Any = None,
    ) -> None:
        if mode not in ("auto", "stream", "poll"):
            raise ValueError(f"a monitoring mode is 'auto', 'stream' or 'poll', not {mode!r}")
        self._settings = settings
        self._on_check = on_check
        self._heartbeat = Timeout(heartbeat_ns, "heartbeatFrequencyMS")
        self._streaming = mode == "stream" or (mode == "auto" and not in_function_service())
        self._publisher = publisher
        self._closed = False
        # What is to be done, also by another thread after a fork.
        self._watched: dict[AddressLike, None] = {}
        self._jobs: dict[PeriodicJob, None] = {}
        self._beside = _Beside()
        self._prepare()
        call_after_fork(self)

    def _prepare(self) -> None:
        self._checks: _Checks | None = None
        # Whoever takes the only item starts the thread: that is one step, and no lock.
        self._unstarted = [True]

    # -- servers ----------------------------------------------------------------------------------

    def watch(self, address: AddressLike) -> None:
        """Begin to check a server, at once; nothing where it is watched already."""
        self._watched[address] = None
        self._do(lambda checks: checks.watch(address))

    def unwatch(self, address: AddressLike) -> None:
        """Stop checking a server and close its connections; nothing where it is not watched."""
        self._watched.pop(address, None)
        checks = self._checks
        if checks is not None:
            checks.call(lambda: checks.unwatch(address))

    def request_check(self, address: AddressLike) -> None:
        """Have a server checked soon: at once, but 500 ms after its last check at the earliest."""
        self._do(lambda checks: checks.request_check(address))

    def cancel_check(self, address: AddressLike) -> None:
        """Give up the check under way and close the monitor's connections: an operation found that
        the server cannot be reached."""
        checks = self._checks
        if checks is not None:
            checks.call(lambda: checks.cancel_check(address))

    # -- other work -------------------------------------------------------------------------------

    def call_every(self, period_ns: int, job: Callable[[], object]) -> PeriodicJob:
        """Call `job`, which must not wait, in the thread every `period_ns`; first after that time.
        What it raises is shown by `sys.excepthook`."""
        periodic = PeriodicJob(self, period_ns, job)
        self._jobs[periodic] = None
        self._do(lambda checks: checks.begin(periodic))
        return periodic

    def run_beside(self, job: Callable[[], object]) -> bool:
        """Call `job`, which may wait, in a thread that is made for it; one after the other, in the
        order given, those given before `close` too.

        False where no thread can be had: it is done when somebody asks again.
        """
        return self._beside.run(job)

    def restart(self) -> None:
        """In a forked child: begin at once, if there is anything to be done."""
        if self._watched or self._jobs:
            self._do(lambda checks: None)

    def _cancel(self, periodic: PeriodicJob) -> None:
        self._jobs.pop(periodic, None)
        checks = self._checks
        if checks is not None:
            checks.call(lambda: checks.end(periodic))

    # -- beginning and end ------------------------------------------------------------------------

    def _do(self, what: Callable[[_Checks], object]) -> None:
        """Have `what` done in the thread, which is started if it does not run."""
        if self._closed:
            return
        checks = self._checks
        if checks is None or checks.ended:
            checks = self._start()
            if checks is None:
                return  # whoever starts it does all that is to be done
        checks.call(lambda: what(checks))

    def _start(self) -> _Checks | None:
        try:
            self._unstarted.pop()
        except IndexError:
            return self._checks
        try:
            checks = _Checks(
                self._settings,
                self._on_check,
                self._heartbeat,
                self._streaming,
                self._publisher,
                self._unstarted,
            )
            # First of all: who comes from here on gives it what is to be done, and who came before
            # is in these lists.
            self._checks = checks
            for address in list(self._watched):
                checks.watch_soon(address)
            for periodic in list(self._jobs):
                checks.begin_soon(periodic)
            checks.start()
        except BaseException as error:
            self._checks = None
            self._unstarted.append(True)
            if isinstance(error, (OSError, RuntimeError)):
                raise AutoReconnect(
                    f"the thread that monitors the servers cannot be started: {error}"
                ) from error
            raise
        if self._closed:
            checks.close()
        return checks

    def close(self) -> None:
        """Have the thread end soon, its connections closed; does not wait for it."""
        self._closed = True
        checks = self._checks
        if checks is not None:
            checks.close()

    def reset_after_fork(self) -> None:
        """In a forked child: the thread does not exist, and its connections are the parent's."""
        checks = self._checks
        self._prepare()
        self._beside.reset_after_fork()
        if checks is not None:
            checks.abandon()

    def __del__(self) -> None:
        # None where the constructor refused its arguments.
        checks = getattr(self, "_checks", None)
        if checks is not None:
            checks.close()


class PeriodicJob:
    """What `Monitors.call_every` returns."""

    def __init__(self, monitors: Monitors, period_ns: int, job: Callable[[], object]) -> None:
        self._monitors = weakref.ref(monitors)
        self.period_ns = period_ns
        self.job = job
        self.cancelled = False

    def cancel(self) -> None:
        """Do not call it again. More than once is allowed."""
        self.cancelled = True
        monitors = self._monitors()
        if monitors is not None:
            monitors._cancel(self)

    def steps(self) -> Steps:
        """Call the job now and then."""
        while not self.cancelled:
            yield Sleep(self.period_ns, self.period_ns)
            if self.cancelled:
                return
            try:
                self.job()
            except Exception:
                report_error()


class _Checks:
    """What the thread has. It refers to nobody that a client or topology is kept alive by."""

    def __init__(
        self,
        settings: ConnectionSettings,
        on_check: Callable[[ServerDescription], object],
        heartbeat: Timeout,
        streaming: bool,
        publisher: Any,
        unstarted: list[bool],
    ) -> None:
        self._settings = settings
        self._on_check = on_check
        self._heartbeat = heartbeat
        self._streaming = streaming
        self._publisher = publisher
        self._unstarted = unstarted
        self._loop = StepLoop()
        self._servers: dict[AddressLike, tuple[Task, list[Task]]] = {}
        self._periodic: dict[PeriodicJob, Task] = {}
        self.ended = False
        self.thread: threading.Thread | None = None

    # From anywhere.

    def start(self) -> None:
        """Start the thread."""
        self.thread = threading.Thread(target=self._run, name="mongokey-monitor", daemon=True)
        _running.add(self)
        self.thread.start()

    def call(self, function: Callable[[], object]) -> None:
        """Have `function` called in the thread."""
        self._loop.call(function)

    def close(self) -> None:
        """Have the thread end soon."""
        self._loop.close()

    def abandon(self) -> None:
        """In a forked child: close the copies of the parent's connections."""
        self.ended = True
        self._loop.abandon()

    def watch_soon(self, address: AddressLike) -> None:
        self.call(lambda: self.watch(address))

    def begin_soon(self, periodic: PeriodicJob) -> None:
        self.call(lambda: self.begin(periodic))

    # In the thread.

    def _run(self) -> None:
        try:
            self._loop.run()
        finally:
            # After an error that nobody foresaw the next call starts another thread.
            self.ended = True
            self._unstarted.append(True)

    def watch(self, address: AddressLike) -> None:
        if address in self._servers:
            return
        measuring: list[Task] = []

        def measure() -> None:
            if not measuring:
                measuring.append(self._loop.start(monitor.measure_steps()))

        monitor = ServerMonitor(
            address,
            self._settings,
            self._report,
            self._heartbeat,
            streaming=self._streaming,
            measure=measure,
            publisher=self._publisher,
        )
        task = self._loop.prepare(monitor.steps())
        self._servers[address] = task, measuring
        self._loop.begin(task)

    def unwatch(self, address: AddressLike) -> None:
        found = self._servers.pop(address, None)
        if found is not None:
            task, measuring = found
            for each in (task, *measuring):
                self._loop.stop(each)

    def request_check(self, address: AddressLike) -> None:
        found = self._servers.get(address)
        if found is not None:
            self._loop.hurry(found[0])

    def cancel_check(self, address: AddressLike) -> None:
        found = self._servers.get(address)
        if found is not None:
            task, measuring = found
            for each in (task, *measuring):
                self._loop.cancel(each)

    def begin(self, periodic: PeriodicJob) -> None:
        if periodic not in self._periodic and not periodic.cancelled:
            self._periodic[periodic] = self._loop.start(periodic.steps())

    def end(self, periodic: PeriodicJob) -> None:
        task = self._periodic.pop(periodic, None)
        if task is not None:
            self._loop.stop(task)

    def _report(self, description: ServerDescription) -> None:
        if description.address in self._servers:
            try:
                self._on_check(description)
            except Exception:
                report_error()


class _Beside:
    """Jobs that may wait, one after the other, in a thread that ends when there are none."""

    def __init__(self) -> None:
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """In a forked child: what was to be done is the parent's."""
        self._jobs: deque[Callable[[], object]] = deque()
        self._idle = [True]

    def run(self, job: Callable[[], object]) -> bool:
        """Have `job` done; False without a thread."""
        self._jobs.append(job)
        if sys.is_finalizing():
            return False
        try:
            self._idle.pop()
        except IndexError:
            return True  # the thread that is there does it
        try:
            threading.Thread(
                target=_work_off,
                args=(self._jobs, self._idle),
                name="mongokey-background",
                daemon=True,
            ).start()
        except RuntimeError:
            self._idle.append(True)
            return False
        return True


def _work_off(jobs: deque[Callable[[], object]], idle: list[bool]) -> None:
    while True:
        try:
            while jobs:
                job = jobs.popleft()
                try:
                    job()
                except Exception:
                    report_error()
                del job  # or what it holds would live until the next one
        finally:
            idle.append(True)
        # Who came after the last look and before that saw a thread that was there.
        if not jobs:
            return
        try:
            idle.pop()
        except IndexError:
            return


_running: weakref.WeakSet[_Checks] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """Before the interpreter ends: have no thread of ours in the middle of something then."""
    threads = []
    for each in list(_running):
        each.close()
        if each.thread is not None and not each.ended:
            threads.append(each.thread)
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(_LAST_WAIT_S / len(threads))


__all__ = ["Monitors", "PeriodicJob"]
