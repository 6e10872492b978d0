"""Texts of others (a library's error, a service's answer) without what in them may be a secret.

Knows what tokens and keys look like, and under which names secrets stand. Loaded when something
has failed.
"""

from __future__ import annotations

import re

from mongokey._support.secrets import HIDDEN

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from re import Match

# A JSON object in base64url always begins with "ey"; a token is two or three of these parts.
_JWT = re.compile(r"ey[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)?")
_NAMED_TOKEN = re.compile(
    r"((?:access_token|refresh_token|id_token|client_secret)[\"']?\s*[:=]\s*[\"']?)[^\s\"',&}]+",
    re.IGNORECASE,
)

# A value behind such a name, or a run of 40 and more letters of base64 (a secret key of AWS has 40,
# tokens have hundreds).
_NAMED_SECRET = re.compile(
    r"(?i)((?:secret|token|password|authorization)[\w -]*[\"']?\s*[:=]\s*[\"']?)([^\s\"',;}]{8,})"
)
_RUN = re.compile(r"[A-Za-z0-9+/=_-]{40,}")
_KEY_ID = re.compile(r"\b(A[KS]IA)[A-Z0-9]{8,}([A-Z0-9]{4})\b")


def hide_tokens(text: str) -> str:
    """`text` without what looks like a token of OpenID Connect, or is named like one."""
    return _NAMED_TOKEN.sub(rf"\1{HIDDEN}", _JWT.sub("<token>", text))


def hide_keys(text: str) -> str:
    """`text` without what looks like a secret key, and with key ids of AWS masked."""
    return _RUN.sub(_hide_run, _NAMED_SECRET.sub(r"\1***", _KEY_ID.sub(r"\1…\2", text)))


def _hide_run(match: Match[str]) -> str:
    run = match[0]
    # A path or a role's name may be as long; secrets mix capitals, small letters and digits.
    mixed = any(map(str.isupper, run)) and any(map(str.islower, run)) and any(map(str.isdigit, run))
    return "***" if mixed else run


__all__ = ["hide_keys", "hide_tokens"]
