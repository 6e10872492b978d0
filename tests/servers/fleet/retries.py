"""The table by which a write that comes a second time is done once.

Knows, for each session, its last txnNumber and what became of that write, as a replica set
keeps it in config.transactions (retryable-writes specification). SecantusDB has such a table too,
but runs a second attempt that arrives while the first is still at work, and does a batch anew of
which one document failed. Pure: must not know connections.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

MAX_SESSIONS = 20_000


class Write:
    """A write with a txnNumber: at work, done (`reply` is the first answer), or failed."""

    __slots__ = ("failed", "number", "reply", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        self.failed = False
        self.reply: bytes | None = None
        self.waiting: list[Callable[[], None]] = []


class TooOld(Exception):
    """The session has used a higher number since."""


class Retries:
    """By session, the last write; `replayed` counts the attempts that were not done again."""

    def __init__(self) -> None:
        self._writes: OrderedDict[bytes, Write] = OrderedDict()
        self.replayed = 0

    def find(self, session: bytes, number: int) -> Write | None:
        """The write of that number if it has come before and has not failed.

        Raises TooOld when the session has used a higher number.
        """
        write = self._writes.get(session)
        if write is not None and write.number > number:
            raise TooOld(f"{number} is older than {write.number}")
        return None if write is None or write.number < number or write.failed else write

    def begin(self, session: bytes, number: int) -> Write:
        """Note that a write is at work from now on."""
        write = Write(number)
        self._writes[session] = write
        self._writes.move_to_end(session)
        if len(self._writes) > MAX_SESSIONS:
            self._writes.popitem(last=False)
        return write

    def end(self, write: Write, reply: bytes | None) -> None:
        """Note its reply; None when it was not done, so that another attempt does it."""
        write.reply = reply
        write.failed = reply is None
        waiting, write.waiting = write.waiting, []
        for each in waiting:
            each()


def session_of(command: Mapping[str, Any]) -> bytes | None:
    """The id of a command's session."""
    session = command.get("lsid")
    identity = session.get("id") if isinstance(session, Mapping) else None
    return bytes(identity.bytes if hasattr(identity, "bytes") else identity) if identity else None
