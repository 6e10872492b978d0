"""PyMongo's import path of the asyncio cursors of commands."""

from mongokey.aio.cursor import AsyncCommandCursor, AsyncRawBatchCommandCursor

__all__ = ["AsyncCommandCursor", "AsyncRawBatchCommandCursor"]
