"""What can go wrong before the server is asked: credentials that cannot be had, as one class.

Knows how to keep secrets out of the texts of others; must not
know where credentials come from.
"""

from __future__ import annotations

from mongokey._support.portable import Portable
from mongokey._support.secret_texts import hide_keys
from mongokey.diagnostics import CERTAIN, Diagnosis

# Longer texts of boto3 and of callbacks repeat themselves.
LONGEST_TEXT = 300


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
    text = about.join(map(hide_keys, parts))
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "..."


def _subject(error: object) -> str:
    """The path of an OSError, the path or address of botocore's errors."""
    given = getattr(error, "kwargs", None)
    if isinstance(given, dict):
        about = given.get("path") or given.get("endpoint_url")
    else:
        about = getattr(error, "filename", None)
    return about if isinstance(about, str) else ""
