"""The environment that boto3's chain looks at, and the one place for the keys found in it.

Knows which variables and files lead the chain; must not know what it finds by them. Loads no boto3.
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


def file_stamp(path: str) -> tuple[int, int, int] | None:
    """What changes with a file's content; None where there is no file."""
    try:
        found = os.stat(os.path.expanduser(os.path.expandvars(path)))
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def chain_store() -> KeyStore:
    """The store of all clients of the process that see the environment and AWS's files as they are
    now: a metadata service or STS is asked once for all of them, also of clients that follow one
    another."""
    variables = aws_environment()
    files = [file_stamp(variables.get(name) or default) for name, default in _FILES]
    return shared_cache("MONGODB-AWS keys", [sorted(variables.items()), files], KeyStore)


# Where profiles are: the variable that names the file, and where it is without.
_FILES = (
    ("AWS_CONFIG_FILE", "~/.aws/config"),
    ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
)

__all__ = ["aws_environment", "chain_store", "file_stamp"]
