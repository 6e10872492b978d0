"""Commands about the indexes of a collection (index-management specification)."""

from __future__ import annotations

from mongokey._support.server_codes import NAMESPACE_NOT_FOUND
from mongokey.commands import arguments
from mongokey.commands.command import Command, CursorCommand
from mongokey.commands.index_model import index_documents
from mongokey.commands.plan import Documents, all_documents
from mongokey.errors import OperationFailure

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from mongokey.commands.index_model import IndexModel
    from mongokey.commands.inherited_options import InheritedOptions
    from mongokey.commands.plan import Plan
    from mongokey.execution.operation import Namespace, Operation

# Options of `create_index` that are not the index's.
COMMAND_OPTIONS = ("commitQuorum", "maxTimeMS")


def create_indexes(
    namespace: Namespace,
    options: InheritedOptions,
    indexes: Sequence[IndexModel],
    comment: Any,
    further: dict[str, Any],
) -> Plan[list[str]]:
    """Create `indexes`; the result is their names."""
    documents = index_documents(indexes)
    document = {"createIndexes": namespace.collection, "indexes": documents}
    arguments.add_options(document, further, comment)
    yield Command(namespace, document).for_writing(options)
    return [each["name"] for each in documents]


def drop_index(
    namespace: Namespace,
    options: InheritedOptions,
    index_or_name: Any,
    comment: Any,
    further: dict[str, Any],
) -> Operation:
    """Drop one index, by its name or its keys, or all but the one on ``_id`` (``"*"``)."""
    name = index_or_name
    if not isinstance(name, str):
        name = arguments.index_name(arguments.index_document(arguments.index_pairs(index_or_name)))
    arguments.check_string("index_or_name", name)
    document = {"dropIndexes": namespace.collection, "index": name}
    arguments.add_options(document, further, comment)
    command = Command(namespace, document).for_writing(options)
    command.allow_errors([NAMESPACE_NOT_FOUND, "ns not found"])
    return command


def list_indexes(namespace: Namespace, comment: Any) -> Plan[Any]:
    """A cursor over the indexes, a document for each (enumerate-indexes)."""
    try:
        return (yield _list_indexes(namespace, comment))
    except OperationFailure as error:
        if error.code != NAMESPACE_NOT_FOUND:
            raise
        # A collection that is not there has no indexes.
        return (yield Documents([]))


def index_information(namespace: Namespace, comment: Any) -> Plan[dict[str, dict[str, Any]]]:
    """The indexes: name -> their facts, with ``key`` as a list of pairs."""
    information = {}
    try:
        indexes = yield from all_documents(_list_indexes(namespace, comment))
    except OperationFailure as error:
        if error.code != NAMESPACE_NOT_FOUND:
            raise
        return {}
    for index in indexes:
        index["key"] = list(index["key"].items())
        name = index.pop("name")
        information[name] = dict(index)
    return information


def _list_indexes(namespace: Namespace, comment: Any) -> CursorCommand:
    document: dict[str, Any] = {"listIndexes": namespace.collection, "cursor": {}}
    arguments.add_options(document, {}, comment)
    return CursorCommand(namespace, document, retryable_read=True)
