"""What one more look tells where a login failed: STS's word on AWS keys, the names of a Kerberos
host.

Each look is bounded by the check's deadline. Must not log in again.
"""

from __future__ import annotations

import socket
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from mongokey._support.secrets import keeps_secrets
from mongokey.auth.kerberos.evidence import Evidence
from mongokey.cli.check.state import Host, State
from mongokey.diagnostics import Diagnosis
from mongokey.errors import MongoError

if TYPE_CHECKING:
    from mongokey.auth.kerberos.interface import Service


def look_at_login(
    state: State, host: Host, error: MongoError, found: list[Diagnosis], facts: dict[str, Any]
) -> list[Diagnosis]:
    """The causes, made surer where a further question does that; `facts` get what it brought."""
    context = getattr(error, "login", None)
    if context is None:
        return found
    if context.mechanism == "MONGODB-AWS":
        return _with_sts(state, host, found)
    evidence = context.diagnostic_context
    if isinstance(evidence, Evidence) and evidence.service is not None:
        return _with_names(state, host, evidence, found, facts)
    return found


# ---------------------------------------------------------------- AWS


@keeps_secrets
def _with_sts(state: State, host: Host, found: list[Diagnosis]) -> list[Diagnosis]:
    """Where the server does not say why it refuses the keys, STS does."""
    from mongokey.auth.aws.conversation import AwsConversation

    conversation = host.conversation
    if not any(each.code == "AWS-STS-REFUSED" for each in found):
        return found
    if not isinstance(conversation, AwsConversation):
        return found
    from mongokey.auth.aws.asking_sts import ask_sts

    deadline = state.probe()
    refused = state.within(deadline, lambda: ask_sts(conversation, max(deadline.left_s, 0.05)))
    if not refused:
        return found
    known = {each.code for each in refused}
    return [*refused, *(each for each in found if each.code not in {"AWS-STS-REFUSED", *known})]


# ---------------------------------------------------------------- Kerberos


def _with_names(
    state: State,
    host: Host,
    evidence: Evidence,
    found: list[Diagnosis],
    facts: dict[str, Any],
) -> list[Diagnosis]:
    """The principal asked for, what DNS says of its host both ways, the ticket, the clocks."""
    service = evidence.service
    assert service is not None
    kerberos: dict[str, Any] = {"principal": _principal(service)}
    seen = [f"the principal asked for is {kerberos['principal']} (host name: {service.origin})"]
    names = state.within(state.probe(), lambda: _names_of(service.host))
    kerberos.update(names or {"forward": None, "reverse": {}})
    seen += _in_words(service.host, names)
    ticket = state.within(state.probe(), _ticket)
    if ticket is not None:
        kerberos["ticket"], words = ticket
        seen.append(words)
    skew_s = _skew(host, evidence)
    if skew_s is not None:
        kerberos["clock_difference_s"] = round(skew_s, 1)
        seen.append(
            f"this machine's clock and the server's (hello's localTime) differ by "
            f"{abs(skew_s):.0f} s"
        )
    facts["kerberos"] = kerberos
    return [
        each.replace(evidence=(*each.evidence, *seen)) if each.code.startswith("KRB-") else each
        for each in found
    ]


def _principal(service: Service) -> str:
    """As the KDC is asked for it; the realm is the library's to find, unless it is given."""
    return service.principal or f"{service.name}/{service.host}"


def _names_of(host: str) -> dict[str, Any]:
    """The canonical name and the addresses of a host, and the name of each address."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    except (OSError, UnicodeError) as error:
        return {"forward": None, "said": str(getattr(error, "strerror", None) or error)}
    canonical = next((each[3] for each in found if each[3]), host)
    reverse: dict[str, str | None] = {}
    for *_, place in found[:4]:
        try:
            reverse[str(place[0])] = socket.getnameinfo(place, socket.NI_NAMEREQD)[0]
        except (OSError, UnicodeError):
            reverse[str(place[0])] = None
    return {"forward": canonical, "reverse": reverse}


def _in_words(host: str, names: dict[str, Any] | None) -> list[str]:
    if names is None:
        return [f"DNS: no answer about {host} in time"]
    if names["forward"] is None:
        return [f"forward DNS: {host} has no address ({names['said']})"]
    addresses = ", ".join(names["reverse"])
    called = "" if names["forward"] == host else f" is called {names['forward']}, and"
    lines = [f"forward DNS: {host}{called} has the address {addresses}"]
    for address, name in names["reverse"].items():
        lines.append(f"reverse DNS: {address} {'has no name' if name is None else f'is {name}'}")
    return lines


def _ticket() -> tuple[dict[str, Any], str] | None:
    """What the default cache holds, and how long it still lives."""
    from mongokey.auth.kerberos.libraries import find_library
    from mongokey.errors import ConfigurationError

    try:
        ticket = find_library(password=False).default_ticket()
    except ConfigurationError:
        return None
    if ticket is None:
        return None
    left = ticket.lifetime_s
    words = f"the ticket cache has a ticket of {ticket.principal}"
    if left is not None:
        words += f", which ends in {left} s" if left > 0 else ", which has ended"
    return {"principal": ticket.principal, "lifetime_s": left}, words


def _skew(host: Host, evidence: Evidence) -> float | None:
    local = host.hello.document.get("localTime") if host.hello is not None else None
    if not isinstance(local, datetime) or evidence.clock_s is None:
        return None
    if local.tzinfo is None:
        local = local.replace(tzinfo=timezone.utc)
    return evidence.clock_s - local.timestamp()


__all__ = ["look_at_login"]
