"""What tests of connections on asyncio loops share: loops that nothing may be left in.

Knows asyncio's selector loops, uvloop, one that is like Windows' proactor, and how connections are
configured.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from mongokey._support.deadline import Timeout
from mongokey.auth.credential import MongoCredential
from mongokey.connection.settings import ConnectionSettings
from mongokey.handshake import ClientMetadata
from mongokey.transport import loop_readiness


def settings(**options: Any) -> ConnectionSettings:
    return ConnectionSettings(metadata=ClientMetadata(), **options)


def logging_in(password: str = "pencil", **options: Any) -> ConnectionSettings:
    return settings(
        credential=MongoCredential("SCRAM-SHA-256", "admin", "user", password), **options
    )


def ms(number: int, option: str = "connectTimeoutMS") -> Timeout:
    return Timeout(number * 1_000_000, option)


def eager_tasks(loop: Any, work: Any, **options: Any) -> asyncio.Task[Any]:
    """A factory of tasks that begin at once, as `asyncio.eager_task_factory`: that of Python 3.13.0
    does not take the arguments of uvloop's loops."""
    return asyncio.Task(work, loop=loop, **{**options, "eager_start": True})


class Received(asyncio.Future):  # type: ignore[type-arg]
    """A receive of no bytes; cancelling it forgets the socket at once, as CancelIoEx does."""

    def __init__(self, loop: Any, number: int) -> None:
        super().__init__(loop=loop)
        self.forget: Callable[[], Any] = lambda: loop._remove_reader(number)
        loop._add_reader(number, self.come)

    def come(self) -> None:
        self.forget()
        if not self.done():
            self.set_result(None)

    def cancel(self, msg: Any = None) -> bool:
        if not self.done():
            self.forget()
        return super().cancel(msg)


class ProactorLike(asyncio.SelectorEventLoop):
    """A loop without readers and writers, as Windows' proactor is: a receive of no bytes is over
    when there is something to receive."""

    def add_reader(self, *_: Any) -> None:
        raise NotImplementedError

    remove_reader = add_writer = remove_writer = add_reader  # type: ignore[assignment]

    async def sock_recv(self, sock: Any, size: int) -> bytes:
        assert size == 0
        assert sock.gettimeout() == 0
        await Received(self, sock.fileno())
        return b""


def uvloop_loop() -> Any:
    import uvloop

    return uvloop.new_event_loop()


KINDS: dict[str, Callable[[], Any]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop_loop,
    "proactor-like": ProactorLike,
}
_make: list[Callable[[], Any]] = [asyncio.SelectorEventLoop]


@pytest.fixture(params=list(KINDS))
def each_loop(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have `run` make loops of each kind."""
    _make.append(KINDS[request.param])
    try:
        yield request.param
    finally:
        _make.pop()


def new_loop() -> Any:
    """A loop of the kind that is tested."""
    return _make[-1]()


def registered() -> list[Any]:
    """The sockets that the running loop watches, but for its own; uvloop does not tell."""
    loop: Any = asyncio.get_running_loop()
    asked = list(loop_readiness._asked.get(loop, {}))
    if not hasattr(loop, "_selector"):
        return asked
    watched = {key.fd for key in loop._selector.get_map().values()} - {loop._ssock.fileno()}
    return asked + sorted(watched - set(asked))


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` in a loop of its own, in debug mode; nothing may be left to the loop's handler of
    exceptions, nor in its list of what it watches."""
    told: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, what: told.append(what))
        try:
            await main()
        finally:
            gc.collect()
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert registered() == []
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left

    loop = new_loop()
    loop.set_debug(True)
    try:
        loop.run_until_complete(watched())
    finally:
        loop.close()
    gc.collect()
    assert told == []
