"""A hint: one possible cause of a refused login, how sure it is, and what to do about it.

Knows the grades and the server's codes that mean a refusal; whoever finds causes makes hints
(`diagnosis`, `providers`, the mechanisms). Must not know any cause.
"""

from __future__ import annotations

from collections import namedtuple

CERTAIN = "certain"
LIKELY = "likely"
POSSIBLE = "possible"

# The server's error codes (src/mongo/base/error_codes.yml) that hints go by.
BAD_VALUE = 2
USER_NOT_FOUND = 11
UNAUTHORIZED = 13
AUTHENTICATION_FAILED = 18
MECHANISM_UNAVAILABLE = 334
ATLAS_ERROR = 8000  # "AtlasError": Atlas's own, for all that its proxies refuse

# The login itself was refused, not its form.
REFUSALS = frozenset({AUTHENTICATION_FAILED, USER_NOT_FOUND, ATLAS_ERROR})


class Hint(namedtuple("Hint", ("word", "grade", "text"))):
    """One cause: a code word that never changes, how sure it is, and what to do; all str."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"[{self.word}, {self.grade}] {self.text}"
