"""What a refused MONGODB-OIDC login most likely means, from the claims of its token.

Knows what servers check of a token; loaded when a login has failed. Must not know how one is
carried out; never shows a token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mongokey._support.server_codes import LOGIN_REFUSED_CODES
from mongokey.auth.hosted_services import was_atlas
from mongokey.auth.oidc.claims import Evidence, show, time_of, values
from mongokey.diagnostics import CERTAIN, LIKELY, POSSIBLE, Diagnosis

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.login_context import LoginContext

REPLACES = frozenset({"AUTH-ATLAS"})  # it is about passwords


def find_hints(code: Any, context: LoginContext) -> Iterator[Diagnosis]:
    """The causes that only OIDC has."""
    evidence = context.diagnostic_context
    if not isinstance(evidence, Evidence):
        return
    if evidence.hint is not None:
        yield evidence.hint
    if code not in LOGIN_REFUSED_CODES:
        return
    if was_atlas(code, context.address[0]):
        yield Diagnosis(
            "OIDC-ATLAS",
            POSSIBLE,
            "Atlas needs an identity provider for Workload or Workforce Identity that is connected "
            "to this organization, and a database user for the identity or its group",
            fix="see Federation Management there, and Database Access, Federated Auth",
        )
    claims = evidence.claims
    if claims is None:
        return
    if evidence.padded:
        yield Diagnosis(
            "OIDC-TOKEN-EDGE",
            LIKELY,
            "the access token begins or ends with white space",
            fix="strip it",
        )
    if not evidence.is_jwt:
        yield Diagnosis(
            "OIDC-NOT-A-JWT",
            LIKELY,
            "the access token is not a JWT (three parts with dots between), and the server can "
            "check JWTs only",
            fix="ask the identity provider for one, or for the right resource",
        )
        return
    yield from _wrong_time(claims, evidence.now_s)
    resource = context.credential.mechanism_properties.get("TOKEN_RESOURCE")
    if resource is not None and "aud" in claims and resource not in values(claims["aud"]):
        yield Diagnosis(
            "OIDC-AUDIENCE",
            POSSIBLE,
            f"the token was asked for TOKEN_RESOURCE={resource!r}, and its aud is "
            f"{show('aud', claims['aud'])}",
            fix="the server must know the latter as its audience",
        )
    said = ", ".join(f"{name} {show(name, value)}" for name, value in claims.items())
    yield Diagnosis(
        "OIDC-CLAIMS",
        LIKELY,
        f"the token says {said or 'none of iss, aud and sub'}",
        fix="ask the admin to compare with the server's identity provider (issuer, audience) and "
        "with the user or role it expects",
    )


def _wrong_time(claims: Mapping[str, Any], now_s: float) -> Iterator[Diagnosis]:
    expires, begins = time_of(claims, "exp"), time_of(claims, "nbf")
    if expires is not None and expires <= now_s:
        yield Diagnosis(
            "OIDC-EXPIRED",
            CERTAIN if now_s - expires > 600 else LIKELY,
            f"the access token expired {_span(now_s - expires)} ago by this machine's clock, so "
            "that the provider gave an old one",
            fix="do not keep tokens in the callback, or fix the clock",
        )
    if begins is not None and begins > now_s:
        yield Diagnosis(
            "OIDC-NOT-YET-VALID",
            LIKELY,
            f"the access token is valid only in {_span(begins - now_s)} by this machine's clock",
            fix="compare the clocks of this machine, the server and the identity provider",
        )


def _span(seconds: float) -> str:
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"
