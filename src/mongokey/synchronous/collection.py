"""PyMongo's import path of the blocking collections."""

from mongokey.collection import Collection, ReturnDocument

__all__ = ["Collection", "ReturnDocument"]
