"""PyMongo's import path of the asyncio sessions."""

from mongokey.aio.client_session import AsyncClientSession, SessionOptions, TransactionOptions

__all__ = ["AsyncClientSession", "SessionOptions", "TransactionOptions"]
