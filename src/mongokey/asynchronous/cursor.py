"""PyMongo's import path of the asyncio cursors of `find`."""

from mongokey.aio.cursor import AsyncCursor, AsyncRawBatchCursor, CursorType

__all__ = ["AsyncCursor", "AsyncRawBatchCursor", "CursorType"]
