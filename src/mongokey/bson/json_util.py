"""Extended JSON: BSON values as JSON text, and back (extended-json specification, version 2).

Three formats: canonical keeps every type, relaxed (the default) writes plain numbers and readable
dates, and legacy is what older tools wrote; all three are read. The text itself is the work of
Python's `json`, whose arguments `dumps` and `loads` pass on.
"""

from __future__ import annotations

import json
from typing import Any

from mongokey.bson.json_options import (
    CANONICAL_JSON_OPTIONS,
    DEFAULT_JSON_OPTIONS,
    LEGACY_JSON_OPTIONS,
    RELAXED_JSON_OPTIONS,
    DatetimeRepresentation,
    JSONMode,
    JSONOptions,
)
from mongokey.bson.json_reader import PARSERS, object_hook, object_pairs_hook
from mongokey.bson.json_writer import _json_convert, default

__all__ = [
    "CANONICAL_JSON_OPTIONS",
    "DEFAULT_JSON_OPTIONS",
    "LEGACY_JSON_OPTIONS",
    "RELAXED_JSON_OPTIONS",
    "DatetimeRepresentation",
    "JSONMode",
    "JSONOptions",
    "default",
    "dumps",
    "loads",
    "object_hook",
    "object_pairs_hook",
]


def dumps(obj: Any, *args: Any, **kwargs: Any) -> str:
    """`obj` as Extended JSON text.

    `json_options`, a JSONOptions, chooses the format; all other arguments are `json.dumps`'s.
    Mappings become objects and other iterables arrays. Raises `TypeError` for values that
    neither BSON nor JSON knows, and `ValueError` for a `uuid.UUID` without a
    `uuid_representation`.
    """
    options = kwargs.pop("json_options", DEFAULT_JSON_OPTIONS)
    return json.dumps(_json_convert(obj, options), *args, **kwargs)


def loads(s: str | bytes | bytearray, *args: Any, **kwargs: Any) -> Any:
    """The value of Extended JSON text.

    `json_options`, a JSONOptions, says what values become; all other arguments are
    `json.loads`'s. Raises `TypeError` or `ValueError` (`InvalidId` for an `$oid`) when the text
    is not JSON, or an object with a type's `$` key is not of that type's form.
    """
    options = kwargs.pop("json_options", DEFAULT_JSON_OPTIONS)
    if options.document_class is dict:
        names = PARSERS.keys()

        def hook(document: dict[str, Any]) -> Any:
            return document if names.isdisjoint(document) else object_hook(document, options)

        kwargs["object_hook"] = hook
    else:
        kwargs["object_pairs_hook"] = lambda pairs: object_pairs_hook(pairs, options)
    return json.loads(s, *args, **kwargs)
