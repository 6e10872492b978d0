"""Extended JSON for log records: relaxed, in one line, and no longer than is logged.

What is cut off is not made in the first place, so a large document costs no more than a small one
(logging specification, "Performance Considerations").
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from mongokey.events.documents import RawDocument, Sequence, Walk

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# Deeper than BSON documents of servers are nested.
_DEEPEST = 200


class _Full(Exception):
    """Enough is written."""


class _Writer:
    """Writes values one after another, until it has more than `limit` characters."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.parts: list[str] = []
        self.size = 0
        self.depth = 0

    def put(self, text: str) -> None:
        self.parts.append(text)
        self.size += len(text)
        if self.size > self.limit:
            raise _Full

    def text(self, value: str) -> None:
        # A character takes one at least, so what is beyond the limit cannot be seen.
        self.put(json.dumps(value[: self.limit + 1], ensure_ascii=False))

    def value(self, value: Any) -> None:
        if isinstance(value, str):
            self.text(value)
        elif isinstance(value, RawDocument):
            self.members(value.walk())
        elif isinstance(value, Walk | Sequence):
            if value.is_array:
                self.items(each for _, each in value)
            else:
                self.members(value)
        elif isinstance(value, Mapping):
            self.members(value.items())
        elif isinstance(value, list | tuple):
            self.items(value)
        else:
            self.scalar(value)

    def scalar(self, value: Any) -> None:
        from mongokey.bson.binary import Binary, UuidRepresentation
        from mongokey.bson.json_options import RELAXED_JSON_OPTIONS
        from mongokey.bson.json_util import default

        if isinstance(value, bytes) and len(value) > self.limit:
            value = Binary(value[: self.limit], getattr(value, "subtype", 0))
        options = RELAXED_JSON_OPTIONS.with_options(uuid_representation=UuidRepresentation.STANDARD)
        try:
            made = default(value, options)
        except (TypeError, ValueError):
            made = repr(value)  # an error, a description
        if isinstance(made, str | Mapping | list):
            self.value(made)
        else:
            self.put(json.dumps(made))

    def members(self, items: Iterable[tuple[str, Any]]) -> None:
        self.deeper()
        between = "{"
        for name, value in items:
            self.put(between)
            self.text(str(name))
            self.put(": ")
            self.value(value)
            between = ", "
        self.put("{}" if between == "{" else "}")
        self.depth -= 1

    def items(self, items: Iterable[Any]) -> None:
        self.deeper()
        between = "["
        for value in items:
            self.put(between)
            self.value(value)
            between = ", "
        self.put("[]" if between == "[" else "]")
        self.depth -= 1

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _Full


def relaxed_json(document: Any, limit: int) -> str:
    """`document` as relaxed Extended JSON; what is longer than `limit` bytes of UTF-8 is cut off,
    between two characters, and ends with ``...``."""
    from mongokey.bson.errors import BSONError

    writer = _Writer(limit)
    cut = False
    try:
        writer.value(document)
    except _Full:
        cut = True
    except (BSONError, IndexError, KeyError, ValueError):
        # A server's reply may be no valid BSON beyond what the driver looked at.
        writer.parts.append("<invalid BSON>")
    text = "".join(writer.parts)
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) > limit:
        text = encoded[:limit].decode("utf-8", "ignore")
        cut = True
    return f"{text}..." if cut else text
