"""Commands that read a collection and answer with one value: counts and distinct values."""

from __future__ import annotations

from mongokey.commands import arguments
from mongokey.commands.command import Command, FieldCommand
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mongokey.commands.inherited_options import InheritedOptions
    from mongokey.execution.operation import Namespace, Operation


def count_documents(
    namespace: Namespace,
    options: InheritedOptions,
    filter: Any,
    comment: Any,
    further: dict[str, Any],
) -> Operation:
    """How many documents `filter` matches, counted by an aggregation (crud, "Count API")."""
    arguments.check_mapping("filter", filter)
    further = dict(further)
    pipeline: list[dict[str, Any]] = [{"$match": filter}]
    for stage in ("skip", "limit"):
        if stage in further:
            pipeline.append({f"${stage}": further.pop(stage)})
    pipeline.append({"$group": {"_id": 1, "n": {"$sum": 1}}})
    document: dict[str, Any] = {
        "aggregate": namespace.collection,
        "pipeline": pipeline,
        "cursor": {},
    }
    return _count(namespace, options, document, further, comment, _counted)


def estimated_document_count(
    namespace: Namespace, options: InheritedOptions, comment: Any, further: dict[str, Any]
) -> Operation:
    """About how many documents there are, from the collection's metadata."""
    further = dict(further)
    if "session" in further:
        raise ConfigurationError(
            "estimated_document_count takes no session: count_documents({}, session=...) does"
        )
    document: dict[str, Any] = {"count": namespace.collection}
    return _count(namespace, options, document, further, comment, lambda reply: int(reply["n"]))


def _counted(reply: dict[str, Any]) -> int:
    return sum(each["n"] for each in reply["cursor"]["firstBatch"])


def _count(
    namespace: Namespace,
    options: InheritedOptions,
    document: dict[str, Any],
    further: dict[str, Any],
    comment: Any,
    parse: Callable[[dict[str, Any]], int],
) -> Operation:
    arguments.add_options(document, further, comment)
    command = Command(namespace, document, parse=parse, options=options.codec_options)
    return command.for_reading(options)


def distinct(
    namespace: Namespace,
    options: InheritedOptions,
    key: str,
    filter: Any,
    comment: Any,
    further: dict[str, Any],
) -> Operation:
    """The distinct values of the field `key`, a list."""
    arguments.check_string("key", key)
    document: dict[str, Any] = {"distinct": namespace.collection, "key": key}
    if filter is not None:
        arguments.check_mapping("filter", filter)
        document["query"] = filter
    arguments.add_options(document, further, comment)
    command = FieldCommand(
        namespace, document, b"values", array=True, options=options.codec_options
    )
    return command.for_reading(options)
