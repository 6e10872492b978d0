"""The rules of a MONGODB-OIDC credential, and the entry of the mechanism.

Knows which options an OpenID Connect login takes (auth.md, "MONGODB-OIDC"). Loads neither
conversation nor providers: a client that is only made needs none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mongokey._support.lazy import late_imports
from mongokey.auth.mechanism import (
    FORBIDDEN,
    OPTIONAL,
    WHOLE_LOGIN,
    Mechanism,
    Property,
    one_of,
    text,
)
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.auth.conversation import Conversation
    from mongokey.auth.credential import MongoCredential

ENVIRONMENTS = ("test", "azure", "gcp", "k8s")
# Environments whose tokens are made out for a resource that must be named.
WITH_RESOURCE = ("azure", "gcp")


def _callback(value: Any) -> Any:
    if not callable(getattr(value, "fetch", None)) or isinstance(value, type):
        raise ValueError("expected an OIDCCallback object, given by keyword and not in the URI")
    return value


def _hosts(value: Any) -> tuple[str, ...]:
    if isinstance(value, Iterable) and not isinstance(value, str | Mapping):
        hosts = tuple(value)
        if all(isinstance(host, str) for host in hosts):
            return hosts
    raise ValueError("expected a list of host names, given by keyword and not in the URI")


def _check(username: str | None, password: str | None, properties: Mapping[str, Any]) -> None:
    environment = properties.get("ENVIRONMENT")
    sources = [
        name
        for name in ("ENVIRONMENT", "OIDC_CALLBACK", "OIDC_HUMAN_CALLBACK")
        if name in properties
    ]
    if len(sources) != 1:
        raise ConfigurationError(
            "authMechanismProperties: MONGODB-OIDC needs exactly one of ENVIRONMENT, OIDC_CALLBACK "
            f"and OIDC_HUMAN_CALLBACK, not {' and '.join(sources) or 'none of them'}"
        )
    if environment == "test" and username is not None:
        raise ConfigurationError("username was given, but OIDC's ENVIRONMENT:test takes none")
    if ("TOKEN_RESOURCE" in properties) != (environment in WITH_RESOURCE):
        wants = " and ".join(WITH_RESOURCE)
        raise ConfigurationError(
            "authMechanismProperties: TOKEN_RESOURCE belongs to ENVIRONMENT "
            f"{wants}, which require it; ENVIRONMENT is {environment or 'not set'}"
        )
    if "ALLOWED_HOSTS" in properties and "OIDC_HUMAN_CALLBACK" not in properties:
        raise ConfigurationError(
            "authMechanismProperties: ALLOWED_HOSTS is only for OIDC_HUMAN_CALLBACK"
        )


def _converse(credential: MongoCredential, address: AddressLike) -> Conversation:
    with late_imports:
        from mongokey.auth.oidc.conversation import OIDCConversation

    return OIDCConversation(credential, address)


OIDC = Mechanism(
    "MONGODB-OIDC",
    username=OPTIONAL,
    password=FORBIDDEN,
    external=True,
    properties={
        "ENVIRONMENT": Property(one_of(*ENVIRONMENTS)),
        "TOKEN_RESOURCE": Property(text),
        # An application's callback may have a client secret among its fields, and a repr.
        "OIDC_CALLBACK": Property(_callback, secret=True),
        "OIDC_HUMAN_CALLBACK": Property(_callback, secret=True),
        "ALLOWED_HOSTS": Property(_hosts),
    },
    check=_check,
    conversation=_converse,
    speculates=WHOLE_LOGIN,
    shown_in_plaintext="the access token",
)
