"""What the monitors of both faces share: which servers are watched, what is done now and then, and
the tasks of a `StepLoop` that do so.

Knows neither threads nor event loops. What a check is stands in `server_monitor`, how its steps are
carried out in `connection.step_loop`; when and where that loop begins, the subclasses say.
"""

from __future__ import annotations

import weakref

from mongokey._support.deadline import Timeout
from mongokey._support.fork import call_after_fork
from mongokey.connection.step_loop import report_error
from mongokey.connection.steps import Sleep
from mongokey.handshake.environment import in_function_service
from mongokey.topology.server_monitor import ServerMonitor

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.connection.establish import BegunConnection
    from mongokey.connection.settings import ConnectionSettings
    from mongokey.connection.step_loop import StepLoop, Task
    from mongokey.connection.steps import Steps
    from mongokey.topology.server_description import ServerDescription


class WatchedServers:
    """The monitors of one client, but for where their work is done. Every method may be called from
    any thread, and from signal handlers and destructors: none waits, and none takes a lock that its
    caller may hold.

    :param settings: what the client's connections share; the credential in it is not used
    :param on_check: called with each `ServerDescription`, an Unknown one with its `error` too; it
        must not raise, wait, or keep the client or its topology alive
    :param heartbeat_ns: `heartbeatFrequencyMS`
    :param mode: `serverMonitoringMode`: "stream", "poll", or "auto": "poll" in a function service
    :param publisher: what heartbeats are told to, or None

    Work begins with the first `watch`, `call_every` or `request_check`, and ends with `close`, or
    when this object is collected. In a forked child the same servers are watched, and the same jobs
    done, from the first such call on.
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
        # What is to be done, also elsewhere later. Of a server: what was found out for these checks
        # by whom they begin for, or None.
        self._watched: dict[AddressLike, ServerDescription | None] = {}
        self._jobs: dict[PeriodicJob, None] = {}
        self._prepare()
        call_after_fork(self)

    def _prepare(self) -> None:
        self._checks: Checks | None = None
        # Whoever takes the only item starts the work: that is one step, and no lock.
        self._unstarted = [True]

    # -- servers ----------------------------------------------------------------------------------

    def watch(self, address: AddressLike, last: ServerDescription | None = None) -> None:
        """Begin to check a server; nothing where it is watched already. At once, but where it was
        found to be `last` just now when the next check is due."""
        self._watched[address] = last
        self._do(lambda checks: checks.watch(address, last))

    def unwatch(self, address: AddressLike) -> None:
        """Stop checking a server and close its connections; nothing where it is not watched."""
        self._watched.pop(address, None)
        checks = self._checks
        if checks is not None:
            checks.call(lambda: checks.unwatch(address))

    def request_check(self, address: AddressLike) -> None:
        """Have a server checked soon: at once, but 500 ms after its last check at the earliest.
        Nothing where its first check is still to come, or under way."""
        checks = self._checks
        if checks is None or checks.ended or address in checks.checked:
            self._do(lambda checks: checks.request_check(address))

    def cancel_check(self, address: AddressLike) -> None:
        """Give up the check under way and close the monitor's connections: an operation found that
        the server cannot be reached."""
        checks = self._checks
        if checks is not None:
            checks.call(lambda: checks.cancel_check(address))

    def is_own_thread(self) -> bool:
        """Whether the calling thread is one of these checks' own, which must not wait for them."""
        return False

    # -- the first checks -------------------------------------------------------------------------

    def hold(self) -> bool:
        """Before the first `watch`: what is to be done may wait for `carry_out` and `let_go`, which
        the calling thread calls soon. Whether it does."""
        return False

    def expect(self, address: AddressLike) -> None:
        """After `hold`, in place of `watch`: the calling thread is about to find out what the
        server is, and says so by `found`. Raises nothing, and nothing is done meanwhile."""
        raise NotImplementedError(type(self).__name__)

    def found(self, server: ServerDescription, begun: BegunConnection | None) -> None:
        """After `expect`: `server` is what was found out, by the connection `begun`,
        which the operation is to have that it was made for."""
        raise NotImplementedError(type(self).__name__)

    def carry_out(self, done: Callable[[], bool], until_ns: int) -> None:
        """After `hold`: do the work in the calling thread until `done()` or the time `until_ns`,
        but not for long."""

    def let_go(self) -> None:
        """After `hold`: have all done that is left, from now on. More than once is allowed."""

    # -- other work -------------------------------------------------------------------------------

    def call_every(self, period_ns: int, job: Callable[[], object]) -> PeriodicJob:
        """Call `job`, which must not wait, every `period_ns`; first after that time. What it raises
        is shown by `sys.excepthook`."""
        periodic = PeriodicJob(self, period_ns, job)
        self._jobs[periodic] = None
        self._do(lambda checks: checks.begin(periodic))
        return periodic

    def run_beside(self, job: Callable[[], object]) -> bool:
        """Do `job` (see `_support.jobs`), which may wait; one after the other, in the order given,
        those given before `close` too.

        False where there is nobody to do it: it is done when somebody asks again.
        """
        raise NotImplementedError(type(self).__name__)

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

    def _do(self, what: Callable[[Checks], object]) -> None:
        """Have `what` done where the checks are, which begin if they do not run."""
        if self._closed:
            return
        checks = self._checks
        if checks is None or checks.ended:
            checks = self._start()
            if checks is None:
                return  # whoever starts it does all that is to be done
        checks.call(lambda: what(checks))

    def _start(self, begin: Callable[[Any], object] | None = None) -> Checks | None:
        """Begin with all that is to be done, by `begin` or `Checks.start`; None where nothing more
        has to be said. Others may have begun meanwhile: the checks, to be told."""
        try:
            self._unstarted.pop()
        except IndexError:
            return self._checks
        try:
            checks = self._make_checks()
            # First of all: who comes from here on gives it what is to be done, and who came before
            # is in these lists.
            self._checks = checks
            for address, last in list(self._watched.items()):
                checks.watch_soon(address, last)
            for periodic in list(self._jobs):
                checks.begin_soon(periodic)
            if begin is None:
                checks.start()
            else:
                begin(checks)
        except BaseException as error:
            self._checks = None
            self._unstarted.append(True)
            self._cannot_start(error)
            raise
        if self._closed:
            checks.close()
        return None

    def _make_checks(self) -> Checks:
        """Checks that are yet to begin."""
        raise NotImplementedError(type(self).__name__)

    def _cannot_start(self, error: BaseException) -> None:
        """Raise what is to be raised for `error`, if that is another one."""

    def close(self) -> None:
        """End soon, all connections closed; does not wait for it. More than once is allowed."""
        if self._closed:
            return
        self._closed = True
        checks = self._checks
        if checks is not None:
            checks.close()

    def reset_after_fork(self) -> None:
        """In a forked child: nobody does the work, and its connections are the parent's."""
        checks = self._checks
        self._watched = dict.fromkeys(self._watched)
        self._prepare()
        if checks is not None:
            checks.abandon()

    def __del__(self) -> None:
        # None where the constructor refused its arguments.
        checks = getattr(self, "_checks", None)
        if checks is not None and not self._closed:
            checks.close()


class PeriodicJob:
    """What `call_every` returns."""

    def __init__(self, monitors: WatchedServers, period_ns: int, job: Callable[[], object]) -> None:
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

    def steps(self, interrupted: Callable[[], object] = report_error) -> Steps:
        """Call the job now and then; `interrupted` is called while what it raises is handled."""
        while not self.cancelled:
            yield Sleep(self.period_ns, self.period_ns)
            if self.cancelled:
                return
            try:
                self.job()
            except BaseException:
                interrupted()


class _Heartbeats:
    """Tells `publisher` of heartbeats: whatever a listener raises, the check goes on."""

    def __init__(self, publisher: Any, interrupted: Callable[[], object]) -> None:
        self._publisher = publisher
        self._interrupted = interrupted

    @property
    def heartbeats(self) -> bool:
        """Whether anybody wants to be told."""
        wanted: bool = self._publisher.heartbeats
        return wanted

    def heartbeat_started(self, *args: Any, **fields: Any) -> None:
        self._tell(self._publisher.heartbeat_started, args, fields)

    def heartbeat_succeeded(self, *args: Any, **fields: Any) -> None:
        self._tell(self._publisher.heartbeat_succeeded, args, fields)

    def heartbeat_failed(self, *args: Any, **fields: Any) -> None:
        self._tell(self._publisher.heartbeat_failed, args, fields)

    def _tell(self, method: Callable[..., object], args: Any, fields: Any) -> None:
        try:
            method(*args, **fields)
        except BaseException:
            self._interrupted()


class Checks:
    """The tasks of one `StepLoop`. They refer to nobody that keeps a client or topology alive."""

    def __init__(self, monitors: WatchedServers, steps: StepLoop) -> None:
        self._settings = monitors._settings
        self._on_check = monitors._on_check
        self._heartbeat = monitors._heartbeat
        self._streaming = monitors._streaming
        self._publisher = monitors._publisher
        self._loop = steps
        self._servers: dict[AddressLike, tuple[Task, list[Task]]] = {}
        #: The servers whose first check is over; read from anywhere.
        self.checked: set[AddressLike] = set()
        self._periodic: dict[PeriodicJob, Task] = {}

    # From anywhere.

    @property
    def ended(self) -> bool:
        """Whether nothing is done here any more."""
        raise NotImplementedError(type(self).__name__)

    def start(self) -> None:
        """Begin, with what was asked for by `watch_soon` and `begin_soon`."""
        raise NotImplementedError(type(self).__name__)

    def call(self, function: Callable[[], object]) -> None:
        """Have `function` called where the tasks are."""
        self._loop.call(function)

    def close(self) -> None:
        """End soon."""
        self._loop.close()

    def abandon(self) -> None:
        """In a forked child: close the copies of the parent's connections."""
        self._loop.abandon()

    def watch_soon(self, address: AddressLike, last: ServerDescription | None) -> None:
        self.call(lambda: self.watch(address, last))

    def begin_soon(self, periodic: PeriodicJob) -> None:
        self.call(lambda: self.begin(periodic))

    # Where the tasks are.

    def watch(self, address: AddressLike, last: ServerDescription | None = None) -> None:
        if address in self._servers:
            return
        if last is not None:
            self.checked.add(address)
        measuring: list[Task] = []

        # It refers to no monitor, which refers to it: what has ended is gone at once.
        def measure(steps: Callable[[], Steps]) -> None:
            if not measuring:
                measuring.append(self._loop.start(steps()))

        publisher = self._publisher
        monitor = ServerMonitor(
            address,
            self._settings,
            self._report,
            self._heartbeat,
            streaming=self._streaming,
            measure=measure,
            publisher=None if publisher is None else _Heartbeats(publisher, self._loop.interrupted),
            last=last,
        )
        task = self._loop.prepare(monitor.steps())
        self._servers[address] = task, measuring
        self._loop.begin(task)

    def unwatch(self, address: AddressLike) -> None:
        found = self._servers.pop(address, None)
        if found is not None:
            self.checked.discard(address)
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
            # The next one is not at once.
            self.checked.add(address)
            task, measuring = found
            for each in (task, *measuring):
                self._loop.cancel(each)

    def begin(self, periodic: PeriodicJob) -> None:
        if periodic not in self._periodic and not periodic.cancelled:
            self._periodic[periodic] = self._loop.start(periodic.steps(self._loop.interrupted))

    def end(self, periodic: PeriodicJob) -> None:
        task = self._periodic.pop(periodic, None)
        if task is not None:
            self._loop.stop(task)

    def _report(self, description: ServerDescription) -> None:
        if description.address in self._servers:
            # Before who waits is told: a request from then on asks for another check.
            self.checked.add(description.address)
            try:
                self._on_check(description)
            except BaseException:
                # A listener's too, such as a Ctrl-C that came in it: the monitor goes on.
                self._loop.interrupted()


__all__ = ["Checks", "PeriodicJob", "WatchedServers"]
