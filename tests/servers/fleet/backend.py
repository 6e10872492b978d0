"""A client connection's way to the SecantusDB behind the fleet: a connection of its own.

Knows messages in order: what is sent is answered in the same order. Must not know roles or hello.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.servers.fleet.wire import more_to_come, take_message


class Forwarded:
    """A message that SecantusDB is to answer.

    `on_reply` gets the last reply, or None when the connection was lost; `on_part` those that
    come before it (an exhaust cursor's).
    """

    __slots__ = ("on_part", "on_reply")

    def __init__(
        self,
        on_reply: Callable[[bytes | None], None],
        on_part: Callable[[bytes], None],
    ) -> None:
        self.on_reply = on_reply
        self.on_part = on_part


class Backend(asyncio.Protocol):
    """The connection; opened by the first message. `close` waits for the answers still due."""

    def __init__(self, address: tuple[str, int], on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost
        self._due: deque[Forwarded] = deque()
        self._unsent: list[bytes] = []
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._ended = False
        self._closing = False
        self._connecting = asyncio.ensure_future(self._connect(address))

    async def _connect(self, address: tuple[str, int]) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, *address)
        except OSError:
            self._end()

    def send(self, raw: bytes, forwarded: Forwarded | None = None) -> None:
        """Send a message; without `forwarded` it is one that gets no answer."""
        if self._ended:
            if forwarded is not None:
                forwarded.on_reply(None)
            return
        if forwarded is not None:
            self._due.append(forwarded)
        if self._transport is None:
            self._unsent.append(raw)
        else:
            self._transport.write(raw)

    def close(self) -> None:
        """Close as soon as nothing is due any more: what has been sent may have been done."""
        self._closing = True
        if not self._due:
            self._close_now()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._close_now()

    def _close_now(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        else:
            self._connecting.cancel()
            self._end()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        due, self._due = self._due, deque()
        for each in due:
            each.on_reply(None)
        self._on_lost()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if self._ended:
            transport.abort()
            return
        transport.writelines(self._unsent)
        self._unsent.clear()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (message := take_message(self._buffer)) is not None:
            if more_to_come(message):
                self._due[0].on_part(message)
            else:
                self._due.popleft().on_reply(message)
        if self._closing and not self._due:
            self._close_now()

    def connection_lost(self, error: BaseException | None) -> None:
        self._end()

    async def wait_closed(self) -> None:
        """Wait until an attempt to connect has ended."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._connecting
