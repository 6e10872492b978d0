"""PyMongo's import path of the blocking cursors of `find`."""

from mongokey.cursor import Cursor, CursorType, RawBatchCursor

__all__ = ["Cursor", "CursorType", "RawBatchCursor"]
