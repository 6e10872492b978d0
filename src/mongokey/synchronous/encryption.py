"""PyMongo's import path of client-side encryption; see `mongokey.encryption`."""

from mongokey.encryption import (
    Algorithm,
    ClientEncryption,
    QueryType,
    RewrapManyDataKeyResult,
)

__all__ = ["Algorithm", "ClientEncryption", "QueryType", "RewrapManyDataKeyResult"]
