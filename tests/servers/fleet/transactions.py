"""Which server a transaction is open on: on any other, and after a step-down, it is gone.

Knows sessions, transaction numbers and their owners. What a transaction did is SecantusDB's to
hold; must not know sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.servers.fleet.retries import session_of

if TYPE_CHECKING:
    from tests.servers.fleet.connection import Connection

#: The number of a member, and what else tells its process and service from others.
Owner = tuple[int, object, object]


@dataclass
class _Open:
    number: int
    owner: Owner
    connection: Connection
    command: Mapping[str, Any]


class Transactions:
    """By session, the transaction that was begun last, until it ends."""

    def __init__(self) -> None:
        self._open: dict[bytes, _Open] = {}
        self._committing: dict[bytes, int] = {}

    def holds(self, connection: Connection, name: str, command: Mapping[str, Any]) -> bool:
        """Whether this statement's transaction is open where it was sent; notes a first one.

        A commit may be asked for again anywhere: SecantusDB knows what became of it.
        """
        session, number = session_of(command), int(command.get("txnNumber", -1))
        if session is None:
            return True
        if command.get("startTransaction"):
            owner = connection.member.cursor_owner(connection)
            self._open[session] = _Open(number, owner, connection, command)
            self._committing.pop(session, None)
            return True
        if name == "commitTransaction" and self._committing.get(session) == number:
            return True
        found = self._open.get(session)
        if found is None or found.number != number:
            return False
        if found.owner != connection.member.cursor_owner(connection):
            if command.get("recoveryToken"):
                # A mongos that recovers it finds no commit, and has it aborted.
                del self._open[session]
                found.connection.abort_transaction(found.command)
            return False
        if name in ("commitTransaction", "abortTransaction"):
            del self._open[session]
            self._committing[session] = number
        else:
            found.connection = connection
        return True

    def lose(self, owned: Callable[[Owner], bool]) -> None:
        """Abort those of which `owned` says that their server has given up."""
        lost = {session: each for session, each in self._open.items() if owned(each.owner)}
        for session, each in lost.items():
            del self._open[session]
            each.connection.abort_transaction(each.command)
