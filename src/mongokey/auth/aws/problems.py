"""What can go wrong before the server is asked: credentials that cannot be had, as one class.

Knows how to keep secrets out of the texts of others; must not
know where credentials come from.
"""

from __future__ import annotations

import re

from mongokey._support.portable import Portable
from mongokey.diagnostics import CERTAIN, Diagnosis

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from re import Match

# Longer texts of boto3 and of callbacks repeat themselves.
LONGEST_TEXT = 300

# What may be a secret in the text of somebody else's error: a value behind such a name, or a run
# of 40 and more letters of base64 (a secret key has 40, tokens have hundreds).
_NAMED = re.compile(
    r"(?i)((?:secret|token|password|authorization)[\w -]*[\"']?\s*[:=]\s*[\"']?)([^\s\"',;}]{8,})"
)
_RUN = re.compile(r"[A-Za-z0-9+/=_-]{40,}")
_KEY_ID = re.compile(r"\b(A[KS]IA)[A-Z0-9]{8,}([A-Z0-9]{4})\b")


class AwsProblem(Portable, Exception):
    """Credentials could not be had; `diagnosis` says why, and what to do.

    `settings` is True when the user's settings are wrong, False when the source refused or had
    none.
    """

    def __init__(self, code: str, text: str, advice: str, *, settings: bool = False) -> None:
        super().__init__(text)
        self.diagnosis = Diagnosis(code, CERTAIN, text, fix=advice)
        self.settings = settings


def clean(error: object) -> str:
    """The text of somebody else's error in one line, short and without what may be a secret.

    A path or an address that the error says it is about is shown, however it looks.
    """
    text = " ".join(str(error).split())
    about = _subject(error)
    parts = text.split(about) if about else [text]
    text = about.join(
        _RUN.sub(_hide, _NAMED.sub(r"\1***", _KEY_ID.sub(r"\1…\2", part))) for part in parts
    )
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "..."


def _subject(error: object) -> str:
    """The path of an OSError, the path or address of botocore's errors."""
    given = getattr(error, "kwargs", None)
    if isinstance(given, dict):
        about = given.get("path") or given.get("endpoint_url")
    else:
        about = getattr(error, "filename", None)
    return about if isinstance(about, str) else ""


def _hide(match: Match[str]) -> str:
    run = match[0]
    # A path or a role's name may be as long; secrets mix capitals, small letters and digits.
    mixed = any(map(str.isupper, run)) and any(map(str.islower, run)) and any(map(str.isdigit, run))
    return "***" if mixed else run
