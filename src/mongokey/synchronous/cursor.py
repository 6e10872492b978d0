"""PyMongo's import path of the blocking cursors of `find`."""

from mongokey.cursor import Cursor, CursorType

__all__ = ["Cursor", "CursorType"]
