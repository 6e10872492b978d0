"""PyMongo's import path of the blocking cursors of commands."""

from mongokey.cursor import CommandCursor

__all__ = ["CommandCursor"]
