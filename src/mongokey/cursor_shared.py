"""PyMongo's import path of what its cursors of both faces share."""

from mongokey.commands.choices import CursorType

__all__ = ["CursorType"]

# The flags of OP_QUERY, which commands have as fields: for programs that know them by these names.
_QUERY_OPTIONS = {
    "tailable_cursor": 2,
    "secondary_okay": 4,
    "oplog_replay": 8,
    "no_timeout": 16,
    "await_data": 32,
    "exhaust": 64,
    "partial": 128,
}
