"""The `aggregate` command, for collections and databases.

Knows pipelines; must not know how the command is sent.
"""

from __future__ import annotations

from mongokey.commands import arguments
from mongokey.commands.command import CursorCommand

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.commands.inherited_options import InheritedOptions
    from mongokey.execution.operation import Namespace


def aggregate(
    namespace: Namespace,
    options: InheritedOptions,
    pipeline: Any,
    further: dict[str, Any],
    comment: Any = None,
) -> CursorCommand:
    """An aggregation over the collection or, without one in `namespace`, the database.

    `further` are the command's other fields. Raises what `aggregate_command` does.
    """
    document, batch_size, writes, extras = aggregate_command(
        namespace.collection or 1, pipeline, further, comment
    )
    command = CursorCommand(
        namespace,
        document,
        options=options.codec_options,
        batch_size=batch_size,
        get_more_extras=extras,
    )
    return command.for_aggregation(options, writes)


def aggregate_command(
    target: str | int, pipeline: Any, options: dict[str, Any], comment: Any = None
) -> tuple[dict[str, Any], int, bool, dict[str, Any] | None]:
    """``(document, batch_size, writes, get_more_extras)`` of an aggregation.

    `target` is the collection's name, or 1 for the database; `options` are the command's other
    fields, with PyMongo's ``batchSize`` and ``maxAwaitTimeMS``. `writes` says whether the
    pipeline ends in ``$out`` or ``$merge``. Raises `TypeError`, `ValueError` and
    `ConfigurationError` for what cannot be sent.
    """
    arguments.check_pipeline("pipeline", pipeline)
    options = dict(options)
    batch_size = _whole_number("batchSize", options.pop("batchSize", None))
    await_time = _whole_number("maxAwaitTimeMS", options.pop("maxAwaitTimeMS", None))
    cursor = options.pop("cursor", None)
    if cursor is None:
        cursor = {}
    arguments.check_mapping("cursor", cursor)
    cursor = dict(cursor)
    last = pipeline[-1] if pipeline else {}
    writes = "$out" in last or "$merge" in last
    if batch_size and not writes:
        cursor["batchSize"] = batch_size
    document: dict[str, Any] = {"aggregate": target, "pipeline": pipeline}
    arguments.add_options(document, options, comment)
    if "explain" not in document:
        document["cursor"] = cursor
    extras: dict[str, Any] = {}
    if "comment" in document:
        extras["comment"] = document["comment"]
    if await_time:
        extras["maxTimeMS"] = await_time
    return document, batch_size, writes, extras or None


def _whole_number(option: str, value: Any) -> int:
    """An option that is a number, 0 or more; None stands for 0."""
    if value is None:
        return 0
    if not isinstance(value, int):
        arguments.refuse_type(option, "an integer", value)
    if value < 0:
        raise ValueError(f"{option} must not be negative")
    return value
