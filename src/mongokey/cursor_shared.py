"""PyMongo's import path of what its cursors of both faces share."""

from mongokey.commands.choices import CursorType

__all__ = ["CursorType"]
