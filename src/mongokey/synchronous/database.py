"""PyMongo's import path of the blocking databases."""

from mongokey.database import Database

__all__ = ["Database"]
