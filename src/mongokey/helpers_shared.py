"""PyMongo's import path of the forms of sorts, indexes and projections.

Undocumented there, and imported by others all the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey.commands import arguments
from mongokey.commands.arguments import index_document as _index_document

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__: list[str] = ["_index_document"]


def _index_list(key_or_list: Any, direction: Any = None) -> Sequence[tuple[str, Any]]:
    """Keys in any form as a list of pairs."""
    pairs = arguments.index_pairs(key_or_list, direction)
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return [(each, arguments.ASCENDING) if isinstance(each, str) else each for each in items]


def _gen_index_name(keys: Sequence[tuple[str, Any]]) -> str:
    """The name that MongoDB's tools give to an index: ``a_1_b_-1``."""
    return arguments.index_name(_index_document(keys))


def _fields_list_to_dict(fields: Any, option_name: str) -> Mapping[str, Any]:
    """A projection in any form as a mapping; `option_name` is for errors."""
    found = arguments.projection_document(fields)
    if found is None:
        arguments.refuse_type(option_name, "a mapping or a list of field names", fields)
    return found
