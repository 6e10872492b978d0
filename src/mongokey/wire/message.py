"""The value that a decoded wire message is, for use of this package alone.

It knows the fields of a message and nothing of how they are read or sent. The driver's own path
does not come through here: it reads replies in place, from C.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Message(NamedTuple):
    """One wire message, decoded.

    `flags` are OP_MSG's flagBits, OP_REPLY's responseFlags or OP_QUERY's flags; `sections` maps
    the identifier of each kind-1 section to its documents; `collection` is OP_QUERY's
    fullCollectionName, None for the other opcodes.
    """

    request_id: int
    response_to: int
    opcode: int
    flags: int
    body: Any
    sections: dict[str, list[Any]]
    collection: str | None = None
