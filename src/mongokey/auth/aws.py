"""MONGODB-AWS: the rules of its credential.

Knows which options an AWS IAM login takes (auth.md, "MONGODB-AWS", and PyMongo, which takes a
key pair from the URI); this version validates them and does not converse.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey.auth.mechanism import OPTIONAL, Mechanism, Property, text
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any


def _provider(value: Any) -> Any:
    if not callable(value) and not callable(getattr(value, "load", None)):
        raise ValueError("expected a callable or a botocore credential provider")
    return value


def _check(username: str | None, password: str | None, properties: Mapping[str, Any]) -> None:
    if (username is None) != (password is None):
        given, missing = ("username", "password") if password is None else ("password", "username")
        raise ConfigurationError(
            f"{missing} is missing: MONGODB-AWS takes the access key id as username and the secret "
            f"key as password, both or neither, and only the {given} was given"
        )
    if username is None and "AWS_SESSION_TOKEN" in properties:
        raise ConfigurationError(
            "authMechanismProperties: AWS_SESSION_TOKEN needs the username (access key id) and the "
            "password (secret key) that it belongs to"
        )
    if username is not None and "AWS_CREDENTIAL_PROVIDER" in properties:
        raise ConfigurationError(
            "authMechanismProperties: AWS_CREDENTIAL_PROVIDER cannot be used together with username"
        )


AWS = Mechanism(
    "MONGODB-AWS",
    username=OPTIONAL,
    password=OPTIONAL,
    external=True,
    properties={
        "AWS_SESSION_TOKEN": Property(text, secret=True),
        "AWS_CREDENTIAL_PROVIDER": Property(_provider, secret=True),
    },
    check=_check,
)
