"""The type of plans: calls that take several operations.

A plan is a generator: it yields a step, gets its result sent in (or its error thrown in), and
returns the result of the call. It does no I/O, so that every face can run it. The steps are:

- an operation; the result is what it means;
- a `CursorCommand`; the result is a cursor over its documents, with the first batch at hand;
- such a cursor: its next batch is fetched;
- `Documents`; the result is a cursor over them;
- `GIVE_WAY`; there is no result. The plan has computed for a while, and others may want a turn.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, TypeVar

    from mongokey.commands.command import CursorCommand

    _Result = TypeVar("_Result")
    Plan = Generator[Any, Any, _Result]


class Documents:
    """The step that makes a cursor over documents that are all here."""

    __slots__ = ("documents",)

    def __init__(self, documents: list[Any]) -> None:
        self.documents = documents


class GiveWay:
    """The class of `GIVE_WAY`."""

    __slots__ = ()


GIVE_WAY = GiveWay()


def all_documents(command: CursorCommand) -> Plan[list[Any]]:
    """The documents of a command's cursor, to the last."""
    cursor = yield command
    documents: list[Any] = cursor._take_batch()
    while cursor._has_more:
        yield cursor
        documents += cursor._take_batch()
    return documents
