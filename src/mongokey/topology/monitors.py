"""The monitors of one client of the blocking face: one thread, however many servers, in which
nothing waits but the one wait for all of them.

The first checks of a client are carried out by the thread that waits for them, where they are
quick: handing over to a thread and back costs more than they do. The thread that is started then
becomes one of Python's when there is something to be done, which a client that is closed soon never
has.

Knows how the thread begins and ends, and the one beside it for jobs that may wait. What is done
there stands in `checks`.
"""

from __future__ import annotations

import _thread
import atexit
import sys
import threading
import weakref
from collections import deque
from functools import partial

from mongokey._support.jobs import run_job
from mongokey.connection.settings import Opening
from mongokey.connection.step_loop import report_error
from mongokey.connection.thread_step_loop import ThreadStepLoop
from mongokey.errors import AutoReconnect
from mongokey.topology.checks import Checks, WatchedServers
from mongokey.transport.polling import Alarm
from mongokey.transport.stream import monotonic_ns

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.connection.establish import BegunConnection
    from mongokey.topology.checks import PeriodicJob
    from mongokey.topology.server_description import ServerDescription

# When the interpreter ends, it waits no longer for all monitors together than this, in seconds.
_LAST_WAIT_S = 1.0
_NAME = "mongokey-monitor"
# So long at most does a thread that waits for the first checks carry them out, in nanoseconds.
_HELD_NS = 5_000_000
# So long can the connection be had by which the first server was found, and so long is a program
# that ends soon spared the monitor's own.
_BEGUN_NS = 100_000_000


class Monitors(WatchedServers):
    """`WatchedServers` in a thread, with one more for jobs that may wait while there are any.

    What starts the thread raises `AutoReconnect` where the system has no thread to give.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._beside = _Beside()
        # The thread that carries out what there is to do at first, and until when.
        self._holder: int | None = None
        self._held_until_ns = 0
        # The server that a thread finds out about, in place of its monitor, by `finding`; the
        # connection by which one was found, and until when it can be had; and what begins the
        # checks then. Each is taken out in one step, by whoever is first.
        self._expected: AddressLike | None = None
        self.finding = Opening()
        self.begun: dict[AddressLike, tuple[BegunConnection, int]] = {}
        self._alarm: Alarm | None = None
        super().__init__(*args, **kwargs)

    def is_own_thread(self) -> bool:
        """Whether the calling thread is the one that checks the servers."""
        checks = self._checks
        return isinstance(checks, _ThreadChecks) and checks.thread == _thread.get_ident()

    def run_beside(self, job: Callable[[], object]) -> bool:
        """Do `job` in a thread that is made for it; False where no thread can be had."""
        return self._beside.run(job)

    def hold(self) -> bool:
        if (
            self._checks is not None
            or _has_onlookers(self._publisher)
            or "gevent.monkey" in sys.modules
        ):
            return False
        self._holder = _thread.get_ident()
        self._held_until_ns = monotonic_ns() + _HELD_NS
        return True

    # -- the first server -------------------------------------------------------------------------

    def expect(self, address: AddressLike) -> None:
        self._watched[address] = None
        self.finding = Opening()
        self._expected = address

    def found(self, server: ServerDescription, begun: BegunConnection | None) -> None:
        address = server.address
        if self._expected != address:
            # The checks have begun meanwhile, and know better.
            if begun is not None:
                begun.close()
            return
        self._expected = None
        if begun is not None:
            if server.is_readable and not self._closed:
                self.begun[address] = begun, monotonic_ns() + _BEGUN_NS
            else:
                begun.close()
        self._watched[address] = server
        self._on_check(server)
        if self._checks is not None or self._jobs:
            self.watch(address, server)
        elif not self._closed:
            streams = self._streaming and server.topology_version is not None
            self._begin_at(monotonic_ns() + (_BEGUN_NS if streams else self._heartbeat.ns))
        if self._closed:
            # By another thread, meanwhile.
            self._end_alarm()
            self._end_begun()

    def take_begun(self, address: AddressLike) -> BegunConnection | None:
        """The connection by which the server was found just now, to be used by whom it was found
        for; None where there is none."""
        found = self.begun.pop(address, None)
        if found is None:
            return None
        begun, until_ns = found
        if monotonic_ns() < until_ns:
            return begun
        begun.close()
        return None

    def _begin_at(self, due_ns: int) -> None:
        """Have all that is to be done begin then, if it has not by then."""
        try:
            self._alarm = Alarm(due_ns, partial(_begin_here, weakref.ref(self)))
        except RuntimeError as error:
            self._cannot_start(error)
        _alarms.add(self._alarm)

    def _end_alarm(self) -> None:
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.recall()
            _alarms.discard(alarm)

    def _end_begun(self) -> None:
        for address in list(self.begun):
            found = self.begun.pop(address, None)
            if found is not None:
                found[0].close()

    def _start(self, begin: Callable[[Any], object] | None = None) -> Checks | None:
        self._end_alarm()
        return super()._start(begin)

    def _begin_for_thread(self) -> _ThreadChecks | None:
        """Checks that the calling thread is to carry out; None where there are some already."""
        made: list[_ThreadChecks] = []

        def begin(checks: _ThreadChecks) -> None:
            checks.note_start()
            made.append(checks)

        if not self._closed:
            self._start(begin)
        return made[0] if made else None

    def watch(self, address: AddressLike, last: ServerDescription | None = None) -> None:
        if address == self._expected:
            self._expected = None
        super().watch(address, last)

    def call_every(self, period_ns: int, job: Callable[[], object]) -> PeriodicJob:
        if self._expected is None:
            return super().call_every(period_ns, job)
        # It begins with the checks, once the server is found.
        periodic = PeriodicJob(self, period_ns, job)
        self._jobs[periodic] = None
        return periodic

    def request_check(self, address: AddressLike) -> None:
        # A signal handler or destructor in the thread that finds it out cannot wait for that.
        if address == self._expected:
            if self._holder != _thread.get_ident():
                return
            self._expected = None
            self.finding.end()
        last = self._watched.get(address) if self._checks is None else None
        super().request_check(address)
        checks = self._checks
        if last is not None and checks is not None:
            # They have just begun, with a check that is due later.
            checks.call(lambda: checks.request_check(address))

    def cancel_check(self, address: AddressLike) -> None:
        self._end_begun()
        if self._checks is None and self._watched.get(address) is not None:
            # What was found out does not hold any more, and nothing is under way.
            self.watch(address)
        else:
            super().cancel_check(address)

    def unwatch(self, address: AddressLike) -> None:
        self._end_begun()
        super().unwatch(address)

    def close(self) -> None:
        if not self._closed:
            super().close()
            self._end_alarm()
            self._end_begun()

    def __del__(self) -> None:
        super().__del__()
        # Not there where the constructor refused its arguments.
        if self.__dict__.get("_alarm") is not None:
            self._end_alarm()
        if self.__dict__.get("begun"):
            self._end_begun()

    # -- the first checks -------------------------------------------------------------------------

    def carry_out(self, done: Callable[[], bool], until_ns: int) -> None:
        checks = self._held_checks()
        if checks is None:
            return
        if checks.busy:
            # In a signal handler or destructor, in the middle of it: only another thread can go on.
            self._begin_anew(checks)
            return
        try:
            checks.carry_out(done, min(until_ns, self._held_until_ns))
        except BaseException:
            # A signal handler's, such as a Ctrl-C: what it has left half done begins anew.
            self._holder = None
            self.restart()
            raise
        if not done():
            self.let_go()

    def let_go(self) -> None:
        checks = self._held_checks()
        if self._holder == _thread.get_ident():
            self._holder = None
            if self._expected is not None:
                # Something was raised before it was found.
                self._expected = None
                self.restart()
                return
        if checks is None:
            return
        if checks.busy:
            self._begin_anew(checks)
            return
        try:
            checks.begin_apart()
        except BaseException as error:
            self._cannot_start(error)
            raise

    def _held_checks(self) -> _ThreadChecks | None:
        """What the calling thread is to carry out, or to let go."""
        checks = self._checks
        if self._holder != _thread.get_ident() or not isinstance(checks, _ThreadChecks):
            return None
        return checks if checks.held else None

    def _begin_anew(self, checks: _ThreadChecks) -> None:
        """Have a thread do all that is to be done, in place of `checks`, which end when the code
        goes on that is in the middle of them."""
        self._holder = None
        self._unstarted = [True]
        self._checks = None
        checks.close()
        self.restart()

    def _make_checks(self) -> Checks:
        return _ThreadChecks(self, self._unstarted, self._holder == _thread.get_ident())

    def _cannot_start(self, error: BaseException) -> None:
        if isinstance(error, (OSError, RuntimeError)):
            raise AutoReconnect(
                f"the thread that monitors the servers cannot be started: {error}"
            ) from error

    def reset_after_fork(self) -> None:
        """In a forked child: the threads do not exist."""
        self._holder = self._expected = None
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.abandon()
            _alarms.discard(alarm)
        self._end_begun()
        self._beside.reset_after_fork()
        super().reset_after_fork()


class _ThreadChecks(Checks):
    """The checks, and the thread that carries them out."""

    _loop: ThreadStepLoop

    def __init__(self, monitors: Monitors, unstarted: list[bool], held: bool) -> None:
        super().__init__(monitors, ThreadStepLoop())
        self._unstarted = unstarted
        self._ended = False
        #: There is no thread yet; the one that has made this carries it out, and starts one.
        self.held = held
        #: It is being carried out by that one.
        self.busy = False
        #: Which thread it is, once it runs.
        self.thread: int | None = None
        # Released once the thread is over.
        self._over = _thread.allocate_lock()

    @property
    def ended(self) -> bool:
        """Whether the thread is over."""
        return self._ended

    def start(self) -> None:
        """Start the thread, unless it is to wait."""
        self.note_start()
        if self.held:
            return
        try:
            if _has_onlookers(self._publisher):
                threading.Thread(target=self._run, name=_NAME, daemon=True).start()
            else:
                # An eighth of a client's first operation, and two changes of threads, go into
                # what a `Thread` is more: a name, and that its starter waits until it runs.
                _thread.start_new_thread(self._run, ())
        except BaseException:
            _running.discard(self)
            self._over.release()
            raise

    def note_start(self) -> None:
        """Some thread is to carry it out from now on."""
        self._over.acquire()
        _running.add(self)

    def watch_soon(self, address: AddressLike, last: ServerDescription | None) -> None:
        self._loop.call_first(lambda: self.watch(address, last))

    def begin_soon(self, periodic: PeriodicJob) -> None:
        self._loop.call_first(lambda: self.begin(periodic))

    def carry_out(self, done: Callable[[], bool], until_ns: int) -> None:
        """Carry out what there is, until `done()` or that time."""
        self.busy = True
        try:
            self._loop.run_until(done, until_ns)
        except BaseException:
            self._loop.close()
            raise
        finally:
            self.busy = False
            if self._loop.closed and self.held:
                self._end_held()

    def begin_apart(self) -> None:
        """Start the thread that goes on. Raises RuntimeError or OSError where there is none."""
        if self._loop.closed:
            self._end_held()
            return
        try:
            self._loop.run_apart(self._run)
        except BaseException:
            self._end_held()
            raise
        self.held = False
        if self._loop.closed:
            self.close()  # somebody closed it meanwhile, who left that to this one

    def close(self) -> None:
        """End soon; at once where the thread has nothing to do."""
        if self._ended:
            return
        if not self.held and self._loop.recall():
            self._note_end()
        else:
            super().close()

    def join(self, timeout_s: float) -> None:
        """Wait until the thread is over, at most so long."""
        if self._over.acquire(timeout=timeout_s):
            self._over.release()

    def abandon(self) -> None:
        """In a forked child: there is no thread any more."""
        self._ended = True
        self.held = False
        _running.discard(self)
        super().abandon()

    def _run(self) -> None:
        self.thread = _thread.get_ident()
        try:
            self._loop.run()
        finally:
            self.thread = None  # another one may get its number
            self._note_end()

    def _end_held(self) -> None:
        self.held = False
        self._loop.end()
        self._note_end()

    def _note_end(self) -> None:
        # After an error that nobody foresaw the next call starts another thread.
        self._ended = True
        self._unstarted.append(True)
        _running.discard(self)
        self._over.release()


def _has_onlookers(publisher: Any) -> bool:
    """Whether code that is not the driver's runs in the thread, and may ask which one it is: of
    listeners, loggers, debuggers and profilers."""
    return (
        (publisher is not None and publisher.tells_anybody)
        or threading.gettrace() is not None
        or threading.getprofile() is not None
    )


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
                    run_job(job)
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


def _begin_here(monitors: Callable[[], Monitors | None]) -> None:
    """In a thread of its own, when the time has come: carry out all that is to be done, until these
    checks end. `monitors` is a weak reference."""
    found = monitors()
    checks = None if found is None else found._begin_for_thread()
    del found  # or its client would never be garbage
    if checks is not None:
        checks._run()


# Those whose threads run, which hold them anyway; and what waits for its time.
_running: set[_ThreadChecks] = set()
_alarms: set[Alarm | None] = set()


@atexit.register
def _end_all() -> None:
    """Before the interpreter ends: have no thread of ours in the middle of something then."""
    for alarm in list(_alarms):
        if alarm is not None:
            alarm.recall()
    running = list(_running)
    for each in running:
        each.close()
    for each in running:
        each.join(_LAST_WAIT_S / len(running))


__all__ = ["Monitors"]
