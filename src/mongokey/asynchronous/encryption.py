"""PyMongo's import path of client-side encryption for asyncio; see `mongokey.encryption`."""

from __future__ import annotations

from mongokey.encryption import ClientEncryption
from mongokey.encryption_shared import Algorithm, QueryType, RewrapManyDataKeyResult

__all__ = ["Algorithm", "AsyncClientEncryption", "QueryType", "RewrapManyDataKeyResult"]


class AsyncClientEncryption(ClientEncryption):
    """Explicit encryption and data keys. Always raises `ConfigurationError`."""
