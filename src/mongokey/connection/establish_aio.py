"""Opens a connection and logs in, on an asyncio loop: connect, TLS, hello and login within one
deadline.

It has the steps of `establish_steps`, and of a later login, carried out by `aio_step_loop`, and
makes an `AsyncConnection` of what they come to. It must not know how a mechanism works, nor what
the connection is used for.
"""

from __future__ import annotations

from asyncio import get_running_loop
from contextvars import copy_context
from functools import partial

from mongokey._support.awaiting import InLoop
from mongokey._support.callers import act_for, caller_number
from mongokey._support.deadline import earliest
from mongokey._support.tasks import in_thread
from mongokey._support.waiting import Cancelled
from mongokey.auth.conversation import OffloadedCall
from mongokey.auth.login import Command
from mongokey.auth.login import reauthenticate as reauthentication_steps
from mongokey.connection.aio_step_loop import AioStepLoop
from mongokey.connection.async_connection import AsyncConnection
from mongokey.connection.establish_steps import establish, run_work, too_slow
from mongokey.errors import AutoReconnect, NetworkTimeout, ProtocolError
from mongokey.transport.loop_stream import stream_of
from mongokey.transport.stream import Stream

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Callable, Generator
    from typing import Any, TypeVar

    from mongokey._support.address import AddressLike
    from mongokey._support.deadline import Deadline
    from mongokey.auth.login import LoginResult
    from mongokey.connection.channel import Channel
    from mongokey.connection.openings import Opening, Openings
    from mongokey.connection.settings import ConnectionSettings
    from mongokey.connection.step_loop import Serving, Task
    from mongokey.handshake import HelloReply
    from mongokey.transport.loop_stream import LoopStream

    T = TypeVar("T")


async def open_connection(
    address: AddressLike,
    settings: ConnectionSettings,
    judge: Callable[[HelloReply], None] | None = None,
    *,
    to_be_used: bool = True,
    opening: Opening | None = None,
) -> tuple[AsyncConnection, LoginResult]:
    """A connection to `address`, in the running loop, that has said hello and is logged in.

    Arguments and errors are those of `establish.open_connection`. Cancelling the caller ends it,
    and closes what was opened.
    """
    openings: Openings = settings.openings
    if opening is not None:
        opening.begin(openings)
        openings = opening
    if openings.is_closed():
        raise openings.refuse()
    work = _Establishing(get_running_loop(), settings, openings)
    steps = establish(
        address, settings, settings.limit, judge=judge, to_be_used=to_be_used, opening=opening
    )
    try:
        connection, result = await work.drive(steps)
    except (AutoReconnect, ProtocolError, Cancelled) as error:
        if openings.is_closed():
            raise openings.refuse() from error
        raise
    if openings.is_closed():
        connection.close()
        raise openings.refuse()
    if result.mechanism is not None:
        connection.login, connection.settings = result, settings
    return connection, result


async def reauthenticate(connection: AsyncConnection, deadline: Deadline | None = None) -> None:
    """Log in once more on a connection in use whose server asks for it (error 391); no hello.

    Deadline and errors are those of `establish.reauthenticate`; the connection is closed after an
    error, and when the caller is cancelled.
    """
    settings, login = connection.settings, connection.login
    assert settings is not None, "only a connection of open_connection's can be logged in again"
    assert login is not None, "nobody was logged in"
    credential = settings.credential
    assert credential is not None, "nobody was logged in"
    if settings.limit is not None:
        deadline = earliest(settings.limit.start(), deadline)
    openings = settings.openings
    loop = get_running_loop()
    given_up = False
    steps = reauthentication_steps(
        credential, connection.address, login.mechanism, login.saved_state, settings.server_api
    )

    def is_over() -> bool:
        return given_up or openings.is_closed()

    openings.add(connection.stream)
    try:
        answer: Any = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as ended:
                login.saved_state = ended.value
                return
            answer = None
            if isinstance(step, Command):
                try:
                    answer = await connection.command(step.database, step.document, deadline)
                except NetworkTimeout as error:
                    raise too_slow(error, step, settings) from error
            else:
                work = partial(run_work, step, settings, deadline, is_over, InLoop(loop))
                deadline = await _in_thread(
                    partial(copy_context().run, work), f"mongokey: {step.what}"
                )
    except BaseException as error:
        given_up = True
        connection.close()
        if openings.is_closed() and isinstance(error, (AutoReconnect, Cancelled)):
            raise openings.refuse() from error
        raise
    finally:
        # A login that is given up ends here and now: others may be waiting for its outcome.
        steps.close()
        openings.remove(connection.stream)


async def _in_thread(function: Callable[[], T], name: str) -> T:
    try:
        return await in_thread(function, name)
    except RuntimeError:
        # The system has no thread left, or Python is ending.
        raise AutoReconnect(f"no thread can be started ({name})") from None


class _Establishing(AioStepLoop):
    """Carries out the steps of one connection."""

    def __init__(
        self, loop: AbstractEventLoop, settings: ConnectionSettings, openings: Openings
    ) -> None:
        super().__init__(loop)
        self._settings = settings
        self._openings = openings
        self._over: Future[None] = loop.create_future()
        self._error: BaseException | None = None
        self._made: tuple[AsyncConnection, LoginResult] | None = None
        self._task: Task | None = None
        self._given_up = False
        # For whom it is done: the loop calls back for nobody.
        self._caller = caller_number()
        self._context = copy_context()

    async def drive(self, steps: Generator[Any, Any, Any]) -> tuple[AsyncConnection, LoginResult]:
        """Carry out all steps: the connection, and what the login came to."""
        handle = _UnderWay(self)
        self._openings.add(handle)
        try:
            self._task = self.prepare(self._ending(steps))
            self.begin(self._task)
            await self._over
        except BaseException:
            self._given_up = True
            if self._made is not None:
                self._made[0].close()
            raise
        finally:
            if self._task is not None:
                self.stop(self._task)
            self._openings.remove(handle)
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error
        assert self._made is not None, "what ends without an error has made a connection"
        return self._made

    def _ending(self, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, None]:
        """`steps`, and what they come to is kept."""
        try:
            channel, result = yield from steps
            self._made = self._take_over(channel), result
        except GeneratorExit:
            raise
        except BaseException as error:
            self._error = error
        if not self._over.done():
            self._over.set_result(None)

    def _take_over(self, channel: Channel) -> AsyncConnection:
        """The connection that goes on with the socket of `channel`."""
        assert self._task is not None
        assert channel.hello is not None, "the steps end after hello"
        channel.socket.watcher.hand_over()
        tls, engine = self._settings.tls, channel.engine
        stream: LoopStream
        if engine is None:
            stream = stream_of(channel.socket, channel.peer, self.loop)
        else:
            assert tls is not None, "it made the engine"
            stream = tls.loop_stream(channel.socket, channel.peer, self.loop, engine)
        self._task.channel = None
        try:
            stream.set_timeout(self._settings.socket_timeout)
            connection = AsyncConnection(stream, channel.address)
            connection.accept_hello(channel.hello)
        except BaseException:
            stream.close()
            raise
        return connection

    def give_up(self) -> None:
        """The pool or the client wants nothing of it any more."""
        self._given_up = True
        if self._task is not None:
            words = "the connection was closed here while it was being made"
            self._go_on(self._task, AutoReconnect(f"{self._task.peer}: {words}"))

    def _go_on(self, task: Task, error: BaseException | None = None) -> None:
        before = act_for(self._caller)
        try:
            super()._go_on(task, error)
        finally:
            act_for(before)

    def _carry_out(self, task: Task, step: object) -> Serving:
        if isinstance(step, Command):
            try:
                answer = yield from super()._carry_out(task, step)
            except NetworkTimeout as error:
                raise too_slow(error, step, self._settings) from error
            return answer
        if isinstance(step, OffloadedCall):
            channel = self._channel(task)
            work = partial(
                run_work,
                step,
                self._settings,
                channel.deadline,
                self._is_over,
                InLoop(self.loop),
            )
            # The application's context variables (a trace's id) are those of its callback too.
            channel.deadline = yield from self._beside(
                task, partial(self._context.copy().run, work)
            )
            return None
        answer = yield from super()._carry_out(task, step)
        return answer

    def _is_over(self) -> bool:
        return self._given_up or self._openings.is_closed()


class _UnderWay(Stream):
    """What a pool or a client closes to end the making of a connection; from any thread."""

    def __init__(self, work: _Establishing) -> None:
        self._work = work

    def close(self) -> None:
        self._work.call(self._work.give_up)


__all__ = ["open_connection", "reauthenticate"]
