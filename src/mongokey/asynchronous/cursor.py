"""PyMongo's import path of the asyncio cursors of `find`."""

from mongokey.aio.cursor import AsyncCursor, CursorType

__all__ = ["AsyncCursor", "CursorType"]
