"""PyMongo's import path of the asyncio cursors of commands."""

from mongokey.aio.cursor import AsyncCommandCursor

__all__ = ["AsyncCommandCursor"]
