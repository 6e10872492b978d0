"""PyMongo's import path of the cursors of commands."""

from mongokey.cursor import CommandCursor

__all__ = ["CommandCursor"]
