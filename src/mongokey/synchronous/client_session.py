"""PyMongo's import path of the blocking sessions."""

from mongokey.client_session import ClientSession, SessionOptions, TransactionOptions

__all__ = ["ClientSession", "SessionOptions", "TransactionOptions"]
