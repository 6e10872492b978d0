"""PyMongo's import path of credentials and mechanisms."""

from mongokey.auth import MongoCredential
from mongokey.auth.registry import DEFAULT
from mongokey.auth.registry import MECHANISMS as _OWN

__all__ = ["MECHANISMS", "MongoCredential"]

#: What the option authMechanism may be.
MECHANISMS = frozenset({*_OWN, DEFAULT})
