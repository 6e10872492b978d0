"""GSSAPI (Kerberos): the rules of its credential, and the way to its conversation.

Knows which options a Kerberos login takes (auth.md, "GSSAPI"). Must not load the conversation, nor
a Kerberos library: a client that is only made needs none.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey._support.lazy import late_imports
from mongokey.auth.kerberos import canonical_host
from mongokey.auth.mechanism import OPTIONAL, REQUIRED, Mechanism, Property
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.auth.conversation import Conversation
    from mongokey.auth.credential import MongoCredential

_CANONICALIZE = {
    "none": canonical_host.NONE,
    "forward": canonical_host.FORWARD,
    "forwardAndReverse": canonical_host.FORWARD_AND_REVERSE,
    # The older boolean forms.
    "true": canonical_host.FORWARD_AND_REVERSE,
    "false": canonical_host.NONE,
    True: canonical_host.FORWARD_AND_REVERSE,
    False: canonical_host.NONE,
}


def _canonicalize(value: Any) -> str:
    chosen = _CANONICALIZE.get(value) if isinstance(value, str | bool) else None
    if chosen is None:
        raise ValueError(f"{value!r} is not one of none, forward, forwardAndReverse, true, false")
    return chosen


def _part(value: Any) -> str:
    """A part of a service's principal, which is put together as `name/host@REALM`."""
    if not isinstance(value, str) or not value:
        raise ValueError("expected a string that is not empty")
    if any(sign in value for sign in "/@\0"):
        raise ValueError("expected one part of a principal, without / and @")
    return value


def _check(username: str | None, password: str | None, properties: Mapping[str, Any]) -> None:
    for option, value in (("username", username), ("password", password)):
        if value is not None and "\0" in value:
            raise ConfigurationError(f"{option} contains a NUL character, which Kerberos has not")


def _converse(credential: MongoCredential, address: AddressLike) -> Conversation:
    with late_imports:
        from mongokey.auth.kerberos.conversation import GssapiConversation

    return GssapiConversation(credential, address)


GSSAPI = Mechanism(
    "GSSAPI",
    username=REQUIRED,
    password=OPTIONAL,
    external=True,
    properties={
        "SERVICE_NAME": Property(_part),
        "SERVICE_REALM": Property(_part),
        "SERVICE_HOST": Property(_part),
        "CANONICALIZE_HOST_NAME": Property(_canonicalize),
    },
    default_properties={"SERVICE_NAME": "mongodb"},
    check=_check,
    conversation=_converse,
)
