"""Establishes connections by an `AioStepLoop`: what `async_driver` does not do by itself.

These are connections with TLS, all of their steps; and, of others, what has to be waited for before
there is a stream: names, and the race of a host's addresses. And it has work done in threads. It
must not know how a mechanism works, nor what a connection is used for.
"""

from __future__ import annotations

from contextvars import copy_context
from functools import partial

from mongokey._support.awaiting import InLoop
from mongokey._support.tasks import NoThread, in_thread
from mongokey.auth.conversation import OffloadedCall
from mongokey.auth.login import Command
from mongokey.connection.aio_step_loop import AioStepLoop
from mongokey.connection.async_connection import AsyncConnection
from mongokey.connection.establish_steps import run_work, too_slow
from mongokey.errors import AutoReconnect, NetworkTimeout
from mongokey.transport.loop_stream import stream_of
from mongokey.transport.stream import Stream

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Callable, Generator
    from typing import Any

    from mongokey._support.deadline import Deadline
    from mongokey.connection.channel import Channel
    from mongokey.connection.settings import ConnectionSettings, Openings
    from mongokey.connection.step_loop import Serving, Task
    from mongokey.connection.steps import Connect
    from mongokey.transport.loop_stream import LoopStream
    from mongokey.transport.polling import PolledSocket


async def connected_stream(
    loop: AbstractEventLoop,
    settings: ConnectionSettings,
    openings: Openings,
    step: Connect,
    begun: PolledSocket | None,
) -> LoopStream:
    """What `step` comes to; `begun` is the attempt on the first address, where one was made."""
    work = Connecting(loop, settings, openings)
    work.begun = begun
    stream: LoopStream
    stream, _ = await work.drive(_connecting(step))
    return stream


def _connecting(step: Connect) -> Generator[Connect, Channel, tuple[Channel, None]]:
    channel = yield step
    return channel, None


async def work_in_thread(
    work: OffloadedCall,
    settings: ConnectionSettings,
    deadline: Deadline | None,
    is_over: Callable[[], bool],
    future: Future[Any],
    until: Deadline | None = None,
) -> Deadline | None:
    """Do `work` in a thread, until it is done or somebody ends `future`; returns the deadline that
    holds from now on."""
    do = partial(run_work, work, settings, deadline, is_over, InLoop(future.get_loop()), until)
    try:
        # The application's context variables (a trace's id) are those of its callback too.
        return await in_thread(partial(copy_context().run, do), f"mongokey: {work.what}", future)
    except NoThread:
        raise AutoReconnect(f"no thread can be started (mongokey: {work.what})") from None


class Establishing(AioStepLoop):
    """Carries out the steps of one connection."""

    def __init__(
        self, loop: AbstractEventLoop, settings: ConnectionSettings, openings: Openings
    ) -> None:
        super().__init__(loop)
        self._settings = settings
        self._openings = openings
        self._over: Future[None] = loop.create_future()
        self._error: BaseException | None = None
        self._made: Any = None
        self._task: Task | None = None
        self._given_up = False
        self._context = copy_context()

    async def drive(self, steps: Generator[Any, Any, Any]) -> Any:
        """Carry out all steps, and return what is made of what they come to: the connection, and
        what the login came to."""
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

    def _take_over(self, channel: Channel) -> Any:
        """The connection that goes on with the socket of `channel`."""
        assert channel.hello is not None, "the steps end after hello"
        stream = self._stream_of(channel)
        try:
            connection = AsyncConnection(stream, channel.address)
            if channel.exchange.compression is not None:
                connection.offer_compression(channel.exchange.compression)
            connection.accept_hello(channel.hello)
        except BaseException:
            stream.close()
            raise
        return connection

    def _stream_of(self, channel: Channel) -> LoopStream:
        """The stream that goes on with the socket of `channel`."""
        assert self._task is not None
        if channel.socket.watcher is not None:
            channel.socket.watcher.hand_over()
        tls, engine = channel.tls, channel.engine
        stream: LoopStream
        if engine is None:
            stream = stream_of(channel.socket, channel.peer, self.loop)
        else:
            assert tls is not None, "it made the engine"
            stream = tls.loop_stream(channel.socket, channel.peer, self.loop, engine)
        self._task.channel = None
        return stream

    def give_up(self) -> None:
        """The pool or the client wants nothing of it any more."""
        self._given_up = True
        if self._task is not None:
            words = "the connection was closed here while it was being made"
            self._go_on(self._task, AutoReconnect(f"{self._task.peer}: {words}"))

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
                getattr(self._openings, "until", None),
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


class Connecting(Establishing):
    """Carries out `Connect` alone; what it makes is a stream."""

    def _take_over(self, channel: Channel) -> LoopStream:
        return self._stream_of(channel)


class _UnderWay(Stream):
    """What a pool or a client closes to end the making of a connection; from any thread."""

    def __init__(self, work: Establishing) -> None:
        self._work = work

    def close(self) -> None:
        if self._work.loop.is_closed():
            self._work.close()  # nobody goes on there
        else:
            self._work.call(self._work.give_up)


__all__ = ["Establishing", "connected_stream", "work_in_thread"]
