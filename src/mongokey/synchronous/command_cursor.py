"""PyMongo's import path of the blocking cursors of commands."""

from mongokey.cursor import CommandCursor, RawBatchCommandCursor

__all__ = ["CommandCursor", "RawBatchCommandCursor"]
