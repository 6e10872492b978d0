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
from collections import deque

from mongokey._support.jobs import run_job
from mongokey.connection.step_loop import report_error
from mongokey.connection.thread_step_loop import ThreadStepLoop
from mongokey.errors import AutoReconnect
from mongokey.topology.checks import Checks, WatchedServers
from mongokey.topology.server_monitor import OFFERED_NS
from mongokey.transport.stream import monotonic_ns

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.connection.channel import Channel
    from mongokey.handshake import HelloReply
    from mongokey.topology.checks import PeriodicJob
    from mongokey.topology.server_monitor import Offers
    from mongokey.transport.polling import PolledSocket

# When the interpreter ends, it waits no longer for all monitors together than this, in seconds.
_LAST_WAIT_S = 1.0
_NAME = "mongokey-monitor"
# So long at most does a thread that waits for the first checks carry them out, in nanoseconds.
_HELD_NS = 5_000_000


class Monitors(WatchedServers):
    """`WatchedServers` in a thread, with one more for jobs that may wait while there are any.

    What starts the thread raises `AutoReconnect` where the system has no thread to give.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._beside = _Beside()
        # The thread that carries out what there is to do at first, and until when.
        self._holder: int | None = None
        self._held_until_ns = 0
        super().__init__(*args, **kwargs)

    def is_own_thread(self) -> bool:
        """Whether the calling thread is the one that checks the servers."""
        checks = self._checks
        return isinstance(checks, _ThreadChecks) and checks.thread == _thread.get_ident()

    def run_beside(self, job: Callable[[], object]) -> bool:
        """Do `job` in a thread that is made for it; False where no thread can be had."""
        return self._beside.run(job)

    def hold(self) -> None:
        if (
            self._checks is None
            and not _has_onlookers(self._publisher)
            and "gevent.monkey" not in sys.modules
        ):
            self._holder = _thread.get_ident()
            self._held_until_ns = monotonic_ns() + _HELD_NS

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

    def take_offer(self, address: AddressLike) -> tuple[PolledSocket, HelloReply] | None:
        checks = self._checks
        return checks.take(address) if isinstance(checks, _ThreadChecks) else None

    def let_go(self) -> None:
        checks = self._held_checks()
        if self._holder == _thread.get_ident():
            self._holder = None
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
        self._holder = None
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
        # Connections that their monitors can do without, and until when they can be had. Each
        # is taken out in one step, by whoever is first.
        self._offered: dict[AddressLike, tuple[PolledSocket, HelloReply, int]] = monitors.offers

    @property
    def ended(self) -> bool:
        """Whether the thread is over."""
        return self._ended

    def start(self) -> None:
        """Start the thread, unless it is to wait."""
        self._over.acquire()
        _running.add(self)
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

    def watch_soon(self, address: AddressLike) -> None:
        self._loop.call_first(lambda: self.watch(address))

    def begin_soon(self, periodic: PeriodicJob) -> None:
        self._loop.call_first(lambda: self.begin(periodic))

    def _offers(self) -> Offers | None:
        settings = self._settings
        wanted = self.held and settings.tls is None and settings.credential is None
        return self if wanted else None

    def offer(self, channel: Channel) -> bool:
        """The first operation, which is what is carried out here, may have it for its pool."""
        if not self.held or channel.hello is None:
            return False
        found = channel.hand_over(), channel.hello, monotonic_ns() + OFFERED_NS
        self._offered[channel.address] = found
        return True

    def withdraw(self, channel: Channel) -> None:
        """The monitor goes on with it, unless somebody has it."""
        found = self._offered.pop(channel.address, None)
        if found is not None:
            channel.take_back(found[0])

    def take(self, address: AddressLike) -> tuple[PolledSocket, HelloReply] | None:
        """A connection to `address` that was offered, from any thread; or None."""
        found = self._offered.get(address)
        if found is None or found[2] < monotonic_ns():
            return None
        found = self._offered.pop(address, None)
        return None if found is None else found[:2]

    def _end_offers(self) -> None:
        for address in list(self._offered):
            self._end_offer(address)

    def _end_offer(self, address: AddressLike) -> None:
        found = self._offered.pop(address, None)
        if found is not None:
            found[0].close()

    def unwatch(self, address: AddressLike) -> None:
        self._end_offer(address)
        super().unwatch(address)

    def cancel_check(self, address: AddressLike) -> None:
        self._end_offer(address)
        super().cancel_check(address)

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
        self._end_offers()
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
        self._end_offers()
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
        self._end_offers()
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


# Those whose threads run, which hold them anyway.
_running: set[_ThreadChecks] = set()


@atexit.register
def _end_all() -> None:
    """Before the interpreter ends: have no thread of ours in the middle of something then."""
    running = list(_running)
    for each in running:
        each.close()
    for each in running:
        each.join(_LAST_WAIT_S / len(running))


__all__ = ["Monitors"]
