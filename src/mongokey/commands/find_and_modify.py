"""The `findAndModify` command: delete, replace or update one document and return it."""

from __future__ import annotations

from mongokey.commands import arguments
from mongokey.commands.collection_operations import is_raw
from mongokey.commands.command import FieldCommand

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.commands.inherited_options import InheritedOptions
    from mongokey.execution.operation import Namespace, Operation

#: crud, "hint" of findAndModify: older servers would pass over it, and nobody would learn it.
_HINT_NEEDS = (9, "hint", "4.4")


def replacement_change(replacement: Any) -> dict[str, Any]:
    """What `find_one_and_replace` puts into the command."""
    if not is_raw(replacement):
        arguments.check_replacement(replacement)
    return {"update": replacement}


def update_change(update: Any, array_filters: Any) -> dict[str, Any]:
    """What `find_one_and_update` puts into the command."""
    arguments.check_update(update)
    change = {"update": update}
    if array_filters is not None:
        arguments.check_list("array_filters", array_filters)
        change["arrayFilters"] = array_filters
    return change


def find_and_modify(
    namespace: Namespace,
    options: InheritedOptions,
    change: dict[str, Any],
    filter: Any,
    *,
    projection: Any,
    sort: Any,
    hint: Any,
    let: Any,
    comment: Any,
    further: dict[str, Any],
    upsert: bool | None = None,
    return_document: bool | None = None,
) -> Operation:
    """`change` is ``{"remove": True}``, or what the functions above made; the result is the
    document, as it was before or (`return_document`) after, or None if none matched or
    the write is unacknowledged."""
    unacknowledged = options.unacknowledged
    arguments.check_mapping("filter", filter)
    document = {"findAndModify": namespace.collection, "query": filter, **change}
    if return_document is not None:
        document["new"] = arguments.check_bool("return_document", return_document)
    if upsert is not None and arguments.check_bool("upsert", upsert):
        document["upsert"] = True
    if projection is not None:
        document["fields"] = arguments.projection_document(projection)
    if sort is not None:
        document["sort"] = arguments.index_document(arguments.index_pairs(sort))
    arguments.add_options(document, {**further, "hint": hint, "let": let}, comment)
    if "writeConcern" in document:
        unacknowledged = document["writeConcern"].get("w") == 0
    if unacknowledged:
        arguments.refuse_unacknowledged(document, "collation", "arrayFilters")
    command = FieldCommand(
        namespace,
        document,
        b"value",
        array=False,
        options=options.codec_options,
        retryable_write=not unacknowledged,
    )
    if unacknowledged:
        command.without_answer(_HINT_NEEDS if "hint" in document else None)
    return command.for_writing(options)
