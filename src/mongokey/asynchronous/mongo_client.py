"""PyMongo's import path of the asyncio clients."""

from mongokey.aio.mongo_client import AsyncMongoClient

__all__ = ["AsyncMongoClient"]
