"""Carries out the steps of many generators in one thread, each with a connection of its own.

It knows sockets that never wait, name look-ups in threads that end with them, and deadlines. It
must not know what the steps are for, nor how the thread waits: `thread_step_loop` has a thread for
it, `aio_step_loop` an asyncio loop. Nothing that a server does or leaves undone, and no slow name
server, holds up another generator.
"""

from __future__ import annotations

import sys
import threading

from mongokey._support.address import format_address
from mongokey._support.lazy import late_imports
from mongokey._support.shared_errors import own_copy
from mongokey.auth.conversation import OffloadedCall
from mongokey.auth.login import Command
from mongokey.connection.channel import ANSWER, SENDING, Channel
from mongokey.connection.steps import (
    Beside,
    Connect,
    Disconnect,
    Exchange,
    NextReply,
    Now,
    Sleep,
    StartTLS,
    StepCancelled,
)
from mongokey.errors import AutoReconnect, ConnectionFailure, NetworkTimeout
from mongokey.transport.connecting import (
    check_target,
    is_unix,
    raise_lost_race,
    unresolved,
)
from mongokey.transport.happy_eyeballs import Race
from mongokey.transport.names import SocketAddress, in_order, known_addresses, look_up, unix_address
from mongokey.transport.polling import (
    BUSY,
    CONNECTED,
    IN_PROGRESS,
    READ,
    WRITE,
    PolledSocket,
    SocketFailed,
    Waiter,
)
from mongokey.transport.stream import monotonic_ns

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey._support.deadline import Deadline

    # What serves a step: each `yield` waits for what the task's `socket` and `due_ns` say.
    Serving = Generator[None, None, Any]

# A Unix socket's server that has too many who wait is asked again after so long.
_BUSY_PAUSE_NS = 10_000_000


class Task(Waiter):
    """A generator of steps that a loop carries out, and its connection."""

    def __init__(self, steps: Generator[Any, Any, Any]) -> None:
        self.steps = steps
        self.channel: Channel | None = None
        #: Where what serves its steps is; None once it is over.
        self.serving: Serving | None = None
        #: Somebody asked it to hurry, and it has not slept since.
        self.hurried = False
        self.sleeping = False
        #: It is being gone on with, further up on the stack.
        self.running = False
        #: The names it waits for, so that it can be told.
        self.answer: Any = None

    @property
    def peer(self) -> str:
        """The server it is connected to, for errors."""
        return "" if self.channel is None else self.channel.peer

    def disconnect(self) -> None:
        """Close the connection, if there is one."""
        channel, self.channel = self.channel, None
        if channel is not None:
            channel.close()
        sockets = self.socket
        self.socket = None
        if isinstance(sockets, list):
            for each in sockets:
                each.close()


class StepLoop:
    """What carries out steps in one thread. `call` and `close` may be called from anywhere, all
    else in that thread.

    A subclass waits: it has `_go_on` called when a task's `socket` is ready or its `due_ns` has
    come, with `_woken_ns` the time of that.
    """

    #: An attempt on the first address of the next `Connect`, which is under way; or None.
    begun: PolledSocket | None = None

    def __init__(self) -> None:
        self._tasks: list[Task] = []
        self._look_ups: dict[tuple[str, int], list[Task]] = {}
        self._woken_ns = 0
        self._closed = False

    def call(self, function: Callable[[], object]) -> None:
        """Have `function` called soon in the loop's thread; it must not wait."""
        raise NotImplementedError

    def close(self) -> None:
        """Have all connections closed, soon, and nothing carried out any more."""
        raise NotImplementedError

    def interrupted(self) -> None:
        """While what the program's own code raised is handled, in the middle of steps: these go on.
        It is shown; a thread of ours has nobody else to tell, and no Ctrl-C comes there."""
        report_error()

    def _end_all(self) -> None:
        self._closed = True
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            self._end(task)

    def abandon(self) -> None:
        """In a forked child, where nobody carries anything out: close what there is, telling
        nobody."""
        self._closed = True
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            if task.channel is not None:
                task.channel.abandon()
            task.disconnect()

    def prepare(self, steps: Generator[Any, Any, Any]) -> Task:
        """A task for `steps`, of which nothing is done before `begin`."""
        task = self._new_task(steps)
        task.serving = self._serve(task)
        return task

    def _new_task(self, steps: Generator[Any, Any, Any]) -> Task:
        return Task(steps)

    def begin(self, task: Task) -> None:
        """Carry it out from now on."""
        self._tasks.append(task)
        self._go_on(task)

    def start(self, steps: Generator[Any, Any, Any]) -> Task:
        """`prepare` and `begin`."""
        task = self.prepare(steps)
        self.begin(task)
        return task

    def stop(self, task: Task) -> None:
        """Give `task` up, and close its connection. More than once is allowed."""
        if task in self._tasks:
            self._tasks.remove(task)
        self._end(task)

    def hurry(self, task: Task) -> None:
        """Have `task` end its sleep soon, or the next one."""
        task.hurried = True
        if task.sleeping:
            self._go_on(task)

    def cancel(self, task: Task) -> None:
        """Give up the step under way and close the connection: `StepCancelled` is thrown into the
        steps. Of a task that sleeps, only the connection is closed."""
        if task.serving is None:
            return
        if task.sleeping:
            task.disconnect()
            return
        words = "given up, as the connection of an operation to the same server broke"
        self._go_on(task, StepCancelled(words))

    def _end(self, task: Task) -> None:
        serving, task.serving = task.serving, None
        if serving is not None:
            guarded(serving.close)
            guarded(task.steps.close)
        task.disconnect()

    def _go_on(self, task: Task, error: BaseException | None = None) -> None:
        serving = task.serving
        if serving is None or task.running:
            return
        task.running = True
        try:
            if error is None:
                next(serving)
            else:
                serving.throw(error)
        except StopIteration:
            self.stop(task)
        except Exception:
            report_error()
            self.stop(task)
        except BaseException:
            self.stop(task)
            raise
        finally:
            task.running = False

    # -- steps ------------------------------------------------------------------------------------

    def _serve(self, task: Task) -> Serving:
        """Carry out the steps of `task`, one after the other."""
        steps = task.steps
        answer: Any = None
        failed: Exception | None = None
        while True:
            try:
                step = steps.send(answer) if failed is None else steps.throw(failed)
            except StopIteration:
                return
            answer = failed = None
            if type(step) is Now:
                # Asked for at both ends of each check, and never waited for.
                answer = monotonic_ns()
                continue
            try:
                answer = yield from self._carry_out(task, step)
            except Exception as error:
                # What a step comes to is for the generator, whatever it is.
                failed = error
                if type(step) is not Beside:
                    task.disconnect()
            task.due_ns = 0

    def _carry_out(self, task: Task, step: object) -> Serving:
        """What carries `step` out, as a generator."""
        service = _SERVICES.get(type(step))
        if service is None and isinstance(step, OffloadedCall):
            # A provider is asked for the certificate that a monitor's connection needs too.
            deadline = self._channel(task).deadline
            self._prepare_work(step)
            return self._beside(task, lambda: step.run(deadline))
        if service is None:
            raise TypeError(f"{step!r} is no step that a loop knows")
        return service(self, task, step)

    def _prepare_work(self, work: OffloadedCall) -> None:
        """Say how `work`, which is done in a thread, has coroutines awaited."""

    def _carry_out_exchange(self, task: Task, step: Exchange) -> Serving:
        limit = None if step.limit is None else step.limit.start()
        channel = self._channel(task)
        return self._exchange(task, channel, "admin", step.document, limit, step.exhaust)

    def _carry_out_next_reply(self, task: Task, step: NextReply) -> Serving:
        limit = None if step.limit is None else step.limit.start()
        return self._receive(task, self._channel(task), limit, monotonic_ns())

    def _carry_out_command(self, task: Task, step: Command) -> Serving:
        channel = self._channel(task)
        return self._exchange(task, channel, step.database, step.document, channel.deadline, False)

    def _carry_out_connect(self, task: Task, step: Connect) -> Serving:
        task.disconnect()
        task.channel = yield from self._connect(task, step.address, step.begin())
        return task.channel

    def _carry_out_disconnect(self, task: Task, step: Disconnect) -> Serving:
        task.disconnect()
        yield from ()

    def _carry_out_beside(self, task: Task, step: Beside) -> Serving:
        return self._beside(task, step.function)

    def _channel(self, task: Task) -> Channel:
        channel = task.channel
        if channel is None or channel.closed:
            raise AutoReconnect("the connection is closed")
        return channel

    def _sleep(self, task: Task, step: Sleep) -> Serving:
        began = monotonic_ns()
        task.sleeping = True
        try:
            while True:
                wait_ns = step.at_least_ns if task.hurried else step.ns
                task.due_ns = began + min(wait_ns, step.ns)
                if task.due_ns <= monotonic_ns():
                    return
                yield
        finally:
            task.sleeping = task.hurried = False

    def _exchange(
        self,
        task: Task,
        channel: Channel,
        database: str,
        document: Any,
        deadline: Deadline | None,
        exhaust: bool,
    ) -> Serving:
        data = channel.request(database, document, exhaust=exhaust)
        began = monotonic_ns()
        sent = channel.send(data)
        if sent < len(data):
            yield from self._send(task, channel, data[sent:], deadline)
        answer = yield from self._receive(task, channel, deadline, began)
        return answer

    def _send(
        self, task: Task, channel: Channel, data: bytes, deadline: Deadline | None
    ) -> Serving:
        while data:
            data = data[channel.send(data) :]
            if data:
                yield from self._wait(task, channel, WRITE, deadline, SENDING)

    def _receive(
        self, task: Task, channel: Channel, deadline: Deadline | None, began: int
    ) -> Serving:
        first = True
        while channel.exchange.missing_bytes:
            # Others are served between any two parts of a message, and a deadline that has passed
            # counts although bytes are there: a server may send one at a time for ever.
            yield from self._wait(task, channel, READ, deadline, ANSWER)
            first = False
            if channel.receive() and channel.engine is not None:
                # An answer of TLS's own, such as to a change of keys.
                yield from self._send(task, channel, channel.engine.pending(), deadline)
        if first:
            # The reply came together with the one before: others first.
            task.due_ns = self._woken_ns or 1
            yield
        channel.duration_ns = max(0, self._woken_ns - began)
        return channel.reply()

    def _wait(
        self,
        task: Task,
        channel: Channel,
        events: int,
        deadline: Deadline | None,
        doing: str,
        *,
        tls: Any = None,
    ) -> Serving:
        """Wait until the socket is ready for `events`; `tls` is given while the server has not
        answered the greeting of TLS at all."""
        socket = channel.socket
        socket.wait_for(events)
        task.socket = socket
        task.due_ns = 0 if deadline is None else deadline.at_ns
        try:
            yield
        finally:
            socket.wait_for(0)
            task.socket = None
        if deadline is not None and deadline.passed(self._woken_ns):
            what = "waiting for the server to take data" if events == WRITE else doing
            more = _unanswered_greeting(tls) if tls is not None else ""
            raise NetworkTimeout(f"{channel.peer}: {deadline.timed_out(what)}{more}")

    # -- connecting -------------------------------------------------------------------------------

    def _connect(self, task: Task, address: AddressLike, deadline: Deadline | None) -> Serving:
        peer = format_address(address)
        host, port = address
        check_target(host, port)
        if is_unix(host):
            addresses = [unix_address(host)]
        else:
            assert port is not None, "it was checked"
            found = known_addresses(host, port)
            if found is None:
                found = yield from self._look_up(task, (host, port), peer, deadline)
            addresses = in_order(found, peer)
        socket: PolledSocket | None = None
        if len(addresses) == 1 and self.begun is None:
            socket = self._connect_at_once(addresses[0])
        if socket is None:
            socket = yield from self._race(task, addresses, peer, deadline)
        return Channel(address, socket, deadline)

    def _look_up(
        self, task: Task, address: tuple[str, int], peer: str, deadline: Deadline | None
    ) -> Serving:
        """The addresses of a name, by a thread that ends with the look-up: one for each name."""
        waiting = self._look_ups.get(address)
        if waiting is None:
            waiting = self._look_ups[address] = []
            self._run_beside(lambda: look_up(*address), lambda found: self._found(address, found))
        waiting.append(task)
        task.answer = None
        task.due_ns = 0 if deadline is None else deadline.at_ns
        try:
            while task.answer is None:
                yield
                if task.answer is None and deadline is not None and deadline.passed():
                    late = deadline.timed_out("resolving the host name")
                    raise unresolved(NetworkTimeout(f"{peer}: {late}"), address[0])
        finally:
            if task in waiting:
                waiting.remove(task)
        found, task.answer = task.answer, None
        if isinstance(found, ConnectionFailure):
            raise unresolved(found, address[0])
        if isinstance(found, BaseException):
            raise found
        return found

    def _found(self, address: tuple[str, int], found: object) -> None:
        for task in list(self._look_ups.pop(address, ())):
            task.answer = own_copy(found) if isinstance(found, Exception) else found
            self._go_on(task)

    def _connect_at_once(self, address: SocketAddress) -> PolledSocket | None:
        """The socket, where nobody else is to be tried and the connection is made at once, as to a
        server on this machine; None where it is to be waited for, or was refused."""
        socket = PolledSocket()
        try:
            answer = socket.connect(address)
        except SocketFailed:
            return None
        if answer == IN_PROGRESS:
            # The race goes on with it.
            self.begun = socket
        return socket if answer == CONNECTED else None

    def _race(
        self,
        task: Task,
        addresses: list[SocketAddress],
        peer: str,
        deadline: Deadline | None,
    ) -> Serving:
        """The socket of the first address that can be connected to (RFC 8305)."""
        race = Race(len(addresses))
        sockets = [PolledSocket() for _ in addresses]
        begun, self.begun = self.begun, None
        if begun is not None:
            sockets[0] = begun
        running: list[PolledSocket] = []
        busy: set[int] = set()
        winner: PolledSocket | None = None
        task.socket = running
        try:
            while winner is None:
                now = monotonic_ns()
                if race.lost or (deadline is not None and deadline.passed(now)):
                    raise_lost_race(race, [each.text for each in addresses], peer, now, deadline)
                index = race.start(now)
                if index is None:
                    due = [at for at in (race.next_start(),) if at is not None]
                    if deadline is not None:
                        due.append(deadline.at_ns)
                    if busy:
                        due.append(now + _BUSY_PAUSE_NS)
                    task.due_ns = min(due, default=0)
                    running[:] = [sockets[each] for each in race.running if each not in busy]
                    yield
                    tried = [i for i in race.running if i in busy or sockets[i].ready]
                else:
                    tried = [index]
                for each in tried:
                    try:
                        if each == 0 and begun is not None:
                            answer, begun = IN_PROGRESS, None
                        elif each == index or each in busy:
                            busy.discard(each)
                            answer = sockets[each].connect(addresses[each])
                            if answer == BUSY:
                                busy.add(each)
                        else:
                            sockets[each].finish(addresses[each])
                            answer = CONNECTED
                    except SocketFailed as failed:
                        reason = "refused" if failed.refused else f"failed: {failed.reason}"
                        race.fail(each, reason)
                        continue
                    if answer == CONNECTED:
                        winner = sockets[each]
                        break
        finally:
            task.socket = None
            for socket in sockets:
                if socket is not winner:
                    socket.close()
        return winner

    def _start_tls(self, task: Task, step: StartTLS) -> Serving:
        channel = self._channel(task)
        deadline = channel.deadline
        channel.tls = step.tls
        engine = channel.engine = step.tls.make_engine(step.host, channel.peer)
        try:
            done = engine.do_handshake(deadline)
            while True:
                if done:
                    # Its last message goes with the first bytes of the hello: one packet less.
                    return
                yield from self._send(task, channel, engine.pending(), deadline)
                unanswered = step.tls if engine.first_received is None else None
                yield from self._wait(task, channel, READ, deadline, ANSWER, tls=unanswered)
                data = channel.receive_raw()
                if data is None:
                    continue
                engine.feed(data)
                if step.tls.may_ask:
                    channel.engine_in_use = True
                    done = yield from self._beside(
                        task, lambda: engine.do_handshake(deadline), deadline
                    )
                    channel.engine_in_use = False
                else:
                    done = engine.do_handshake(deadline)
        except AutoReconnect:
            # A session that the server chokes on is not tried again.
            engine.forget_session()
            raise

    # -- beside -----------------------------------------------------------------------------------

    def _beside(
        self, task: Task, function: Callable[[], object], deadline: Deadline | None = None
    ) -> Serving:
        outcome: list[object] = []

        def done(found: object) -> None:
            outcome.append(found)
            self._go_on(task)

        self._run_beside(function, done)
        task.due_ns = 0 if deadline is None else deadline.at_ns
        while not outcome:
            yield
            if not outcome and deadline is not None and deadline.passed():
                raise NetworkTimeout(f"{task.peer}: {deadline.timed_out()}")
        found = outcome[0]
        if isinstance(found, BaseException):
            raise found
        return found

    def _run_beside(self, function: Callable[[], object], done: Callable[[object], object]) -> None:
        """Call `function` in a thread of its own, then `done` in the loop with what it returned or
        raised."""

        def work() -> None:
            found: object
            try:
                found = function()
            except BaseException as error:
                found = error
            self.call(lambda: done(found))

        try:
            threading.Thread(target=work, name="mongokey-look-up", daemon=True).start()
        except RuntimeError:
            # The system has no thread left, or Python is ending.
            error = AutoReconnect("no thread can be started to look a name up")
            self.call(lambda: done(error))


# Step -> what carries it out.
_SERVICES: dict[type, Callable[[StepLoop, Task, Any], Serving]] = {
    Exchange: StepLoop._carry_out_exchange,
    NextReply: StepLoop._carry_out_next_reply,
    Command: StepLoop._carry_out_command,
    Sleep: StepLoop._sleep,
    Connect: StepLoop._carry_out_connect,
    StartTLS: StepLoop._start_tls,
    Disconnect: StepLoop._carry_out_disconnect,
    Beside: StepLoop._carry_out_beside,
}


def _unanswered_greeting(tls: Any) -> str:
    """What a timeout adds then."""
    with late_imports:
        from mongokey.transport.tls.errors import silence

    return silence(tls)


def guarded(call: Callable[[], object]) -> None:
    try:
        call()
    except Exception:
        report_error()


def report_error() -> None:
    """An error of a callback that must not raise: shown, and the loop goes on."""
    kind, error, traceback = sys.exc_info()
    if kind is not None and error is not None:
        sys.excepthook(kind, error, traceback)


__all__ = ["StepLoop", "Task", "guarded", "report_error"]
