"""The environment that boto3's chain looks at, and the one place for the keys found in it.

Knows which variables lead the chain; must not know what it finds by them. Loads no boto3.
"""

from __future__ import annotations

import os

from mongokey.auth.aws.keys import KeyStore
from mongokey.auth.shared_login import shared_cache


def aws_environment() -> dict[str, str]:
    """The variables that decide where keys come from; some hold secrets."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("AWS_") or name in ("HOME", "USERPROFILE", "BOTO_CONFIG")
    }


def chain_store() -> KeyStore:
    """The store of all clients of the process that see the environment as it is now: a metadata
    service or STS is asked once for all of them, also of clients that follow one another."""
    return shared_cache("MONGODB-AWS keys", sorted(aws_environment().items()), KeyStore)


__all__ = ["aws_environment", "chain_store"]
