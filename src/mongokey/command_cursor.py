"""PyMongo's import path of the cursors of commands."""

from mongokey.cursor import CommandCursor, RawBatchCommandCursor

__all__ = ["CommandCursor", "RawBatchCommandCursor"]
