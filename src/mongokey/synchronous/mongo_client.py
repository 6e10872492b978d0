"""PyMongo's import path of the blocking clients."""

from mongokey.mongo_client import MongoClient

__all__ = ["MongoClient"]
