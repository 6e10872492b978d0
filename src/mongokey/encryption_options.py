"""Options of client-side encryption, under PyMongo's import path.

This version has no encryption: programs that import the name run, and those that use it are told.
"""

from __future__ import annotations

from mongokey.encryption_shared import refuse

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

__all__ = ["AutoEncryptionOpts"]


class AutoEncryptionOpts:
    """What a client is to encrypt and decrypt by itself. Always raises `ConfigurationError`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        refuse(type(self).__name__)
