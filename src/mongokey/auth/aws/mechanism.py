"""MONGODB-AWS: the rules of its credential, and the way to its conversation.

Knows which options an AWS IAM login takes (auth.md, "MONGODB-AWS", and PyMongo, which takes a
key pair from the URI). Must not load the conversation, as a client that is only made needs none.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey._support.lazy import late_imports
from mongokey.auth.mechanism import OPTIONAL, Mechanism, Property, text
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.auth.conversation import Conversation
    from mongokey.auth.credential import MongoCredential


def _provider(value: Any) -> Any:
    if not callable(value) and not callable(getattr(value, "load", None)):
        raise ValueError("expected a callable or a botocore credential provider")
    return value


def _check(username: str | None, password: str | None, properties: Mapping[str, Any]) -> None:
    if (username is None) != (password is None):
        given, missing = ("username", "password") if password is None else ("password", "username")
        raise _wrong(
            "AWS-SECRET-MISSING" if password is None else "AWS-KEY-MISSING",
            f"{missing} is missing: MONGODB-AWS takes the access key id as username and the secret "
            f"key as password, both or neither, and only the {given} was given",
        )
    if username is None and "AWS_SESSION_TOKEN" in properties:
        raise _wrong(
            "AWS-KEY-MISSING",
            "authMechanismProperties: AWS_SESSION_TOKEN needs the username (access key id) and the "
            "password (secret key) that it belongs to",
        )
    if username is not None and "AWS_CREDENTIAL_PROVIDER" in properties:
        raise ConfigurationError(
            "authMechanismProperties: AWS_CREDENTIAL_PROVIDER cannot be used together with username"
        )
    if username is not None:
        with late_imports:
            from mongokey.auth.aws.keys import oddity

        token = properties.get("AWS_SESSION_TOKEN")
        parts = {"username": username, "password": password, "AWS_SESSION_TOKEN": token}
        for name, value in parts.items():
            wrong = oddity(value or "")
            if wrong is not None:
                raise _wrong("AWS-KEY-ODD", f"{name} {wrong}")


def _wrong(code: str, text: str) -> ConfigurationError:
    with late_imports:
        from mongokey.diagnostics import CERTAIN, Diagnosis

    error = ConfigurationError(f"{text} [{code}]")
    error.diagnoses = (Diagnosis(code, CERTAIN, text),)
    return error


def _open(credential: MongoCredential, address: AddressLike) -> Conversation:
    with late_imports:
        from mongokey.auth.aws.conversation import AwsConversation

    return AwsConversation(credential, address)


def _mask(username: str) -> str:
    with late_imports:
        from mongokey.auth.aws.keys import mask

    return mask(username)


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
    conversation=_open,
    mask_user=_mask,
)
