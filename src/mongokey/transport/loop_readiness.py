"""Has an asyncio loop call when a socket is ready: by its readers and writers, or, on loops that
have none (Windows' proactor), by other means.

Knows loops and numbers of sockets. Must not know what is sent or received.

A proactor tells when an operation is over, not when one may begin. A receive of no bytes is over
when there are some; whether bytes can be sent is asked again and again, which is seldom needed.
"""

from __future__ import annotations

import socket
from contextvars import Context
from weakref import WeakKeyDictionary

from mongokey.transport.polling import WRITE, is_ready

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future, TimerHandle
    from collections.abc import Callable
    from typing import Any

# So long between two looks whether bytes can be sent: at first, and at most.
_FIRST_LOOK_S = 0.001
_LAST_LOOK_S = 0.02


def add_reader(
    loop: AbstractEventLoop, number: int, callback: Callable[..., Any], *args: Any
) -> None:
    """Have `loop` call whenever there is something to receive, or the end, in a context of its own:
    it would keep that of who happens to be running."""
    try:
        Context().run(loop.add_reader, number, callback, *args)
    except NotImplementedError:
        _of(loop, number).read_by(callback, args)


def remove_reader(loop: AbstractEventLoop, number: int) -> None:
    """Do not call any more. To be done before the socket is closed."""
    try:
        loop.remove_reader(number)
    except NotImplementedError:
        _of(loop, number).read_by(None, ())


def add_writer(
    loop: AbstractEventLoop, number: int, callback: Callable[..., Any], *args: Any
) -> None:
    """Have `loop` call whenever something can be sent, or an attempt to connect has ended."""
    try:
        Context().run(loop.add_writer, number, callback, *args)
    except NotImplementedError:
        _of(loop, number).write_by(callback, args)


def remove_writer(loop: AbstractEventLoop, number: int) -> None:
    """Do not call any more. To be done before the socket is closed."""
    try:
        loop.remove_writer(number)
    except NotImplementedError:
        _of(loop, number).write_by(None, ())


class _Asked:
    """A socket of a loop without readers and writers."""

    def __init__(self, loop: AbstractEventLoop, number: int) -> None:
        self._loop = loop
        self._number = number
        self._socket: socket.socket | None = None
        self._reader: tuple[Callable[..., Any], tuple[Any, ...]] | None = None
        self._writer: tuple[Callable[..., Any], tuple[Any, ...]] | None = None
        self._receiving: Future[Any] | None = None
        self._timer: TimerHandle | None = None

    def read_by(self, callback: Callable[..., Any] | None, args: tuple[Any, ...]) -> None:
        self._reader = None if callback is None else (callback, args)
        if callback is None:
            receiving, self._receiving = self._receiving, None
            if receiving is not None:
                receiving.cancel()
            self._forget()
        elif self._receiving is None:
            self._receive()

    def _receive(self) -> None:
        if self._socket is None:
            self._socket = socket.socket(fileno=self._number)
            self._socket.setblocking(False)
        self._receiving = Context().run(
            self._loop.create_task, self._loop.sock_recv(self._socket, 0)
        )
        self._receiving.add_done_callback(self._received, context=Context())

    def _received(self, receiving: Future[Any]) -> None:
        if receiving.cancelled() or receiving is not self._receiving:
            return
        # What went wrong is for who receives to find; here it counts as looked at.
        receiving.exception()
        self._receiving = None
        if self._reader is not None:
            callback, args = self._reader
            callback(*args)
        if self._reader is not None and self._receiving is None:
            self._receive()

    def write_by(self, callback: Callable[..., Any] | None, args: tuple[Any, ...]) -> None:
        self._writer = None if callback is None else (callback, args)
        if callback is None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._forget()
        elif self._timer is None:
            self._look(_FIRST_LOOK_S)

    def _look(self, wait_s: float) -> None:
        self._timer = self._loop.call_later(wait_s, self._looked, wait_s, context=Context())

    def _looked(self, waited_s: float) -> None:
        self._timer = None
        if self._writer is None:
            return
        ready = is_ready(self._number, WRITE)
        if ready:
            callback, args = self._writer
            callback(*args)
        if self._writer is not None and self._timer is None:
            self._look(_FIRST_LOOK_S if ready else min(2 * waited_s, _LAST_LOOK_S))

    def _forget(self) -> None:
        if self._reader is None and self._writer is None:
            if self._socket is not None:
                self._socket.detach()
                self._socket = None
            _asked.get(self._loop, {}).pop(self._number, None)


_asked: WeakKeyDictionary[AbstractEventLoop, dict[int, _Asked]] = WeakKeyDictionary()


def _of(loop: AbstractEventLoop, number: int) -> _Asked:
    numbers = _asked.setdefault(loop, {})
    found = numbers.get(number)
    if found is None:
        found = numbers[number] = _Asked(loop, number)
    return found


__all__ = ["add_reader", "add_writer", "remove_reader", "remove_writer"]
