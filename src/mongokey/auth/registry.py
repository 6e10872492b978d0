"""The one list of mechanism names: each leads to the module that knows the mechanism.

A new mechanism is one module with a `Mechanism` and one line here (two, if its failures have causes
of their own). Knows names, where their modules are, and how the default is negotiated; must not
know what mechanisms say or ask.
"""

from __future__ import annotations

from collections.abc import Collection

from mongokey._support.lazy import import_late
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.auth.conversation import Conversation
    from mongokey.auth.credential import MongoCredential
    from mongokey.auth.mechanism import Mechanism

# name -> "module:attribute"; modules are imported when their mechanism is first named.
MECHANISMS: dict[str, str] = {
    "SCRAM-SHA-256": "mongokey.auth.scram:SHA_256",
    "SCRAM-SHA-1": "mongokey.auth.scram:SHA_1",
    "MONGODB-X509": "mongokey.auth.x509:X509",
    "GSSAPI": "mongokey.auth.kerberos:GSSAPI",
    "PLAIN": "mongokey.auth.plain:PLAIN",
    "MONGODB-AWS": "mongokey.auth.aws:AWS",
    "MONGODB-OIDC": "mongokey.auth.oidc:OIDC",
}

# Which module tells the causes of failures that only this mechanism has, by `find_hints(code,
# context)`: the server's code (None when it never answered) and the `LoginContext`; its REPLACES
# are the codes of general causes that say less than its own.
HINTS: dict[str, str] = {
    "GSSAPI": "mongokey.auth.kerberos.hints",
    "PLAIN": "mongokey.auth.plain",
    "MONGODB-AWS": "mongokey.auth.aws.hints",
    "MONGODB-OIDC": "mongokey.auth.oidc.hints",
}

# The modules that a login by the mechanism loads when it first takes place, besides those of
# `MECHANISMS` and `HINTS`: a client then costs little to make. Where a login may hold nobody up,
# they are loaded before it (`load_ahead`).
LATE: dict[str, tuple[str, ...]] = {
    "GSSAPI": ("mongokey.auth.kerberos.conversation",),
    # The modules that need boto3 are loaded by its first login in a thread.
    "MONGODB-AWS": ("mongokey.auth.aws.conversation", "mongokey.auth.aws.keys"),
    "MONGODB-OIDC": (
        "mongokey.auth.oidc.conversation",
        "mongokey.auth.oidc.environments",
        "mongokey.auth_oidc",
    ),
}

# What authMechanism may say to ask for negotiation; the same as leaving it out.
DEFAULT = "DEFAULT"

# auth.md, "Default Authentication Methods": the first if the server lists it, else the second.
PREFERRED = "SCRAM-SHA-256"
FALLBACK = "SCRAM-SHA-1"

#: The mechanisms that were named already, for who asks often; `find_mechanism` fills it.
loaded: dict[str, Mechanism] = {}
# The rules of a login whose mechanism is negotiated, once they are needed.
_negotiated: list[Mechanism] = []


def find_mechanism(name: str) -> Mechanism:
    """The rules and conversations of the mechanism called `name`.

    Raises ConfigurationError when there is none of that name.
    """
    mechanism = loaded.get(name)
    if mechanism is None:
        module, _, attribute = _path(name).partition(":")
        mechanism = loaded[name] = getattr(import_late(module), attribute)
    return mechanism


def find_hints_module(name: str) -> Any:
    """The module that `HINTS` has for the mechanism, None for one without causes of its own."""
    module = HINTS.get(name)
    return None if module is None else import_late(module)


def load_ahead(name: str | None) -> None:
    """Load what a login by the mechanism would load when it takes place; None: it is negotiated."""
    for each in (PREFERRED, FALLBACK) if name is None else (name,):
        find_mechanism(each)
        for module in (*LATE.get(each, ()), *filter(None, (HINTS.get(each),))):
            import_late(module)


def find_rules(name: str | None) -> Mechanism:
    """As `find_mechanism`; None (negotiate) has the rules of the less strict mechanism it may end
    with, as what the stricter one refuses is known only once the server has chosen it."""
    if name is None:
        if not _negotiated:
            rules = find_mechanism(FALLBACK).renamed("a login by user name and password")
            _negotiated.append(rules)
        return _negotiated[0]
    return find_mechanism(name)


def property_names() -> dict[str, bool]:
    """The name of every mechanism property, and whether it is a secret of one of the mechanisms."""
    found: dict[str, bool] = {}
    for mechanism in MECHANISMS:
        for name, rule in find_rules(mechanism).properties.items():
            found[name] = found.get(name, False) or rule.secret
    return found


def negotiate(offered: Collection[Any] | None) -> str:
    """The mechanism to use when the user named none.

    `offered` is hello's saslSupportedMechs, or None when the server sent none; what else stands
    in it does not matter.
    """
    return PREFERRED if offered and PREFERRED in offered else FALLBACK


def open_conversation(
    credential: MongoCredential, mechanism: str, address: AddressLike
) -> Conversation:
    """A new conversation of `credential` by `mechanism` with the server at `address`."""
    known = loaded.get(mechanism) or find_mechanism(mechanism)
    return known.conversation(credential, address)


def _path(name: str) -> str:
    path = MECHANISMS.get(name)
    if path is None:
        from difflib import get_close_matches

        close = get_close_matches(name.upper(), MECHANISMS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigurationError(
            f"authMechanism={name!r} is not a mechanism{hint} "
            f"(known: {', '.join(MECHANISMS)}, {DEFAULT})"
        )
    return path
