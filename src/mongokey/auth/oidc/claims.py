"""What an access token says of itself, for the errors of a login that was refused.

Reads the claims of a JWT without verifying them (RFC 7519), since the token is our own. Never
shows a token, and blots out what looks like one in texts of others.
"""

from __future__ import annotations

import re
import time
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping

from mongokey.auth.hints import CERTAIN, LIKELY, POSSIBLE, REFUSALS, Hint
from mongokey.auth.hosted_services import is_atlas

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.diagnosis import LoginContext

# Claims that are shown, in this order (RFC 7519 section 4.1, and what IdPs add about roles).
SHOWN = ("iss", "aud", "sub", "groups", "roles", "azp", "exp", "nbf")
_TIMES = ("exp", "nbf")
_MAX_TOKEN = 256 * 1024
_LONGEST_CLAIM = 200
_MOST_VALUES = 5

# A JSON object in base64url always begins with "ey"; a token is two or three of these parts.
_jwt = re.compile(r"ey[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)?")
_bearer = re.compile(
    r"((?:access_token|refresh_token|id_token|client_secret)[\"']?\s*[:=]\s*[\"']?)[^\s\"',&}]+",
    re.IGNORECASE,
)


def mask(text: str) -> str:
    """`text` without what looks like a token."""
    return _bearer.sub(r"\1<hidden>", _jwt.sub("<token>", text))


class Evidence:
    """What a login by token leaves for the hints: the token's claims (None: not read, {}: it has
    none), whether it is a JWT at all, and what the provider's failure hinted at."""

    __slots__ = ("claims", "hint", "is_jwt", "now_s", "padded")

    def __init__(self, token: str | None, hint: Hint | None) -> None:
        self.hint = hint
        self.now_s = time.time()
        self.is_jwt = True
        self.padded = False
        self.claims: dict[str, Any] | None = None
        if token is not None:
            self.padded = token != token.strip()
            claims = read_claims(token.strip())
            self.is_jwt = claims is not None
            # What is shown is kept, and nothing else of the token.
            self.claims = {name: claims[name] for name in SHOWN if name in claims} if claims else {}


def read_claims(token: str) -> dict[str, Any] | None:
    """The claims of a JWT in compact form, not verified; None if it is none."""
    import json
    from base64 import urlsafe_b64decode

    parts = token.split(".")
    if len(parts) != 3 or len(token) > _MAX_TOKEN:
        return None
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (Base64Error, ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def find_hints(code: Any, facts: LoginContext) -> Iterator[Hint]:
    """The causes that only OIDC has."""
    evidence = facts.diagnostic_context
    if not isinstance(evidence, Evidence):
        return
    if evidence.hint is not None:
        yield evidence.hint
    if code not in REFUSALS:
        return
    if is_atlas(code, facts.address[0]):
        yield Hint(
            "OIDC-ATLAS",
            POSSIBLE,
            "Atlas needs an identity provider for Workload or Workforce Identity that is connected "
            "to this organization (Federation Management), and a database user for the identity "
            "or its group (Database Access, Federated Auth)",
        )
    claims = evidence.claims
    if claims is None:
        return
    if evidence.padded:
        yield Hint(
            "OIDC-TOKEN-EDGE", LIKELY, "the access token begins or ends with white space: strip it"
        )
    if not evidence.is_jwt:
        yield Hint(
            "OIDC-NOT-A-JWT",
            LIKELY,
            "the access token is not a JWT (three parts with dots between): the server can check "
            "JWTs only; ask the identity provider for one, or for the right resource",
        )
        return
    yield from _wrong_time(claims, evidence.now_s)
    resource = facts.credential.mechanism_properties.get("TOKEN_RESOURCE")
    if resource is not None and "aud" in claims and resource not in _values(claims["aud"]):
        yield Hint(
            "OIDC-AUDIENCE",
            POSSIBLE,
            f"the token was asked for TOKEN_RESOURCE={resource!r}, and its aud is "
            f"{_show('aud', claims['aud'])}: the server must know the latter as its audience",
        )
    said = ", ".join(f"{name} {_show(name, value)}" for name, value in claims.items())
    yield Hint(
        "OIDC-CLAIMS",
        LIKELY,
        f"the token says {said or 'none of iss, aud and sub'}: ask the admin to compare with the "
        "server's identity provider (issuer, audience) and with the user or role it expects",
    )


def _wrong_time(claims: Mapping[str, Any], now_s: float) -> Iterator[Hint]:
    expires, begins = _time_of(claims, "exp"), _time_of(claims, "nbf")
    if expires is not None and expires <= now_s:
        yield Hint(
            "OIDC-EXPIRED",
            CERTAIN if now_s - expires > 600 else LIKELY,
            f"the access token expired {_span(now_s - expires)} ago by this machine's clock: the "
            "provider gave an old one; do not keep tokens in the callback, or fix the clock",
        )
    if begins is not None and begins > now_s:
        yield Hint(
            "OIDC-NOT-YET-VALID",
            LIKELY,
            f"the access token is valid only in {_span(begins - now_s)} by this machine's clock: "
            "compare the clocks of this machine, the server and the identity provider",
        )


def _time_of(claims: Mapping[str, Any], name: str) -> float | None:
    """A claim that is a time (RFC 7519, NumericDate), None if there is none."""
    value = claims.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e11:
        return value
    return None


def _span(seconds: float) -> str:
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


def _values(claim: Any) -> list[Any]:
    return claim if isinstance(claim, list) else [claim]


def _show(name: str, claim: Any) -> str:
    moment = _time_of({name: claim}, name) if name in _TIMES else None
    if moment is not None:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
    values = _values(claim)
    text = ", ".join(_short(value) for value in values[:_MOST_VALUES])
    if len(values) > _MOST_VALUES:
        text += f" and {len(values) - _MOST_VALUES} more"
    return f"[{text}]" if isinstance(claim, list) else text


def _short(value: Any) -> str:
    text = mask(str(value))
    return repr(text if len(text) <= _LONGEST_CLAIM else text[:_LONGEST_CLAIM] + "...")
