"""Commands about the databases of a deployment: list and drop them."""

from __future__ import annotations

from mongokey.commands import arguments
from mongokey.commands.command import Command
from mongokey.commands.plan import Documents
from mongokey.execution.operation import Namespace

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.commands.inherited_options import InheritedOptions
    from mongokey.commands.plan import Plan
    from mongokey.execution.operation import Operation


def list_databases(comment: Any, further: dict[str, Any]) -> Plan[Any]:
    """A cursor over the databases, a document for each (enumerate-databases)."""
    return (yield Documents((yield _list_databases(comment, further))))


def list_database_names(comment: Any) -> Plan[list[str]]:
    """The names of the databases."""
    databases = yield _list_databases(comment, {"nameOnly": True})
    return [each["name"] for each in databases]


def _list_databases(comment: Any, further: dict[str, Any]) -> Command:
    document = arguments.add_options({"listDatabases": 1}, further, comment)
    return Command(Namespace("admin"), document, parse=_databases, retryable_read=True)


def _databases(reply: dict[str, Any]) -> list[dict[str, Any]]:
    databases = reply["databases"]
    if not isinstance(databases, list):
        raise TypeError("databases is not an array")
    return databases


def drop_database(options: InheritedOptions, name: str, comment: Any) -> Operation:
    """Drop the database `name`; no error if there is none."""
    arguments.check_string("name_or_database", name)
    arguments.check_database_name(name)
    document: dict[str, Any] = {"dropDatabase": 1}
    if comment is not None:
        document["comment"] = comment
    return Command(Namespace(name), document).for_writing(options)
