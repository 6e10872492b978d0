"""PyMongo's import path of client-side encryption for asyncio; see `mongokey.encryption`."""

from mongokey.aio.encryption import (
    Algorithm,
    AsyncClientEncryption,
    QueryType,
    RewrapManyDataKeyResult,
)

__all__ = ["Algorithm", "AsyncClientEncryption", "QueryType", "RewrapManyDataKeyResult"]
