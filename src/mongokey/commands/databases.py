"""Commands about the databases of a deployment: list and drop them."""

from __future__ import annotations

from mongokey.commands import arguments as arguments
from mongokey.commands.command import Command
from mongokey.execution.operation import Namespace

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.commands.inherited_options import InheritedOptions
    from mongokey.execution.operation import Operation


def drop_database(options: InheritedOptions, name: str, session: None, comment: Any) -> Operation:
    """Drop the database `name`; no error if there is none."""
    arguments.check_string("name_or_database", name)
    arguments.refuse_session(session)
    arguments.check_database_name(name)
    document: dict[str, Any] = {"dropDatabase": 1}
    if comment is not None:
        document["comment"] = comment
    return Command(Namespace(name), document).for_writing(options)
