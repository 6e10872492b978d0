"""Client-side field level encryption, under PyMongo's import path.

This version has no encryption: programs that import the names run, and those that use them are
told.
"""

from __future__ import annotations

from mongokey.encryption_shared import Algorithm, QueryType, RewrapManyDataKeyResult, refuse

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Algorithm", "ClientEncryption", "QueryType", "RewrapManyDataKeyResult"]


class ClientEncryption:
    """Explicit encryption and data keys. Always raises `ConfigurationError`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        refuse(type(self).__name__)
