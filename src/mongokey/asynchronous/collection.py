"""PyMongo's import path of the asyncio collections."""

from mongokey.aio.collection import AsyncCollection, ReturnDocument

__all__ = ["AsyncCollection", "ReturnDocument"]
