"""What an access token says of itself, for the errors of a login that was refused.

Reads the claims of a JWT without verifying them (RFC 7519), since the token is our own. Never
shows a token.
"""

from __future__ import annotations

import time
from binascii import Error as Base64Error
from collections.abc import Mapping

from mongokey._support.lazy import late_imports
from mongokey._support.secret_texts import hide_tokens

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.diagnostics import Diagnosis

# Claims that are shown, in this order (RFC 7519 section 4.1, and what IdPs add about roles).
SHOWN = ("iss", "aud", "sub", "groups", "roles", "azp", "exp", "nbf")
_TIMES = ("exp", "nbf")
_MAX_TOKEN = 256 * 1024
_LONGEST_CLAIM = 200
_MOST_VALUES = 5


class Evidence:
    """What a login by token leaves for the hints: the token's claims (None: not read, {}: it has
    none), whether it is a JWT at all, and what the provider's failure hinted at."""

    __slots__ = ("claims", "hint", "is_jwt", "now_s", "padded")

    def __init__(self, token: str | None, hint: Diagnosis | None) -> None:
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
    with late_imports:
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


def time_of(claims: Mapping[str, Any], name: str) -> float | None:
    """A claim that is a time (RFC 7519, NumericDate), None if there is none."""
    value = claims.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e11:
        return value
    return None


def values(claim: Any) -> list[Any]:
    """A claim's values: one, or those of its list."""
    return claim if isinstance(claim, list) else [claim]


def show(name: str, claim: Any) -> str:
    """A claim in words, short, and without what looks like a token."""
    moment = time_of({name: claim}, name) if name in _TIMES else None
    if moment is not None:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
    shown = values(claim)
    text = ", ".join(_short(value) for value in shown[:_MOST_VALUES])
    if len(shown) > _MOST_VALUES:
        text += f" and {len(shown) - _MOST_VALUES} more"
    return f"[{text}]" if isinstance(claim, list) else text


def _short(value: Any) -> str:
    text = hide_tokens(str(value))
    return repr(text if len(text) <= _LONGEST_CLAIM else text[:_LONGEST_CLAIM] + "...")
