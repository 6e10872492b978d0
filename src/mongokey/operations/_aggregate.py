"""The `aggregate` command document, for collections and databases.

Knows pipelines; must not know how the command is sent.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey import _arguments as arguments

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any


def aggregate_command(
    target: str | int, pipeline: Any, options: dict[str, Any]
) -> tuple[dict[str, Any], int, bool]:
    """``(document, batch_size, writes)`` of an aggregation.

    `target` is the collection's name, or 1 for the database; `options` are the command's other
    fields, with PyMongo's ``batchSize`` and ``maxAwaitTimeMS``. `writes` says whether the
    pipeline ends in ``$out`` or ``$merge``.
    """
    arguments.check_list("pipeline", pipeline)
    options = dict(options)
    batch_size = options.pop("batchSize", 0) or 0
    options.pop("maxAwaitTimeMS", None)
    options.pop("useCursor", None)
    cursor = dict(options.pop("cursor", None) or {})
    last = pipeline[-1] if pipeline else {}
    writes = isinstance(last, Mapping) and ("$out" in last or "$merge" in last)
    if batch_size and not writes:
        cursor["batchSize"] = batch_size
    document: dict[str, Any] = {"aggregate": target, "pipeline": pipeline}
    for name, value in options.items():
        if value is None:
            continue
        if name == "hint":
            value = arguments.hint_value(value)
        elif name == "collation":
            value = arguments.collation_document(value)
        document[name] = value
    if "explain" not in document:
        document["cursor"] = cursor
    return document, batch_size, writes
