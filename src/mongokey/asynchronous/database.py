"""PyMongo's import path of the asyncio databases."""

from mongokey.aio.database import AsyncDatabase

__all__ = ["AsyncDatabase"]
