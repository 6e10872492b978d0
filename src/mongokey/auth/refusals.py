"""Which failed logins say that the secret is refused, and how one is answered that is not sent.

Knows the server's codes and what a mechanism's own causes mean for its secret. Must not know who
waits for whom (`turns`), nor how long a refusal holds.
"""

from __future__ import annotations

import re
from copy import copy

from mongokey._support.server_codes import LOGIN_REFUSED_CODES
from mongokey._support.system import monotonic_ns
from mongokey.auth.errors import AuthenticationFailed
from mongokey.auth.registry import find_hints_module, find_mechanism

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.auth.credential import MongoCredential
    from mongokey.auth.turns import Refusal

# LDAP results that say nothing about a password (RFC 4511, appendix A.1: timeLimitExceeded, busy,
# unavailable; libldap's own -1 and -5), which MongoDB's server passes on under the code of a
# refusal.
_TRANSIENT = re.compile(
    r"can't contact ldap server|connect error|server is (?:busy|unavailable)|too busy|"
    r"ldap.{0,80}\b(?:busy|unavailable|timed out|timeout|time ?limit exceeded)",
    re.IGNORECASE | re.DOTALL,
).search

# What else a server says under the code of a refusal, told apart by the diagnosis.
_NOT_THE_SECRET = frozenset({"AUTH-MECHANISM-OFF"})


def refuses_secret(error: AuthenticationFailed) -> bool:
    """Whether the same login is refused again for as long as nobody changes something.

    True of a password or client certificate that the server, or a KDC, does not accept. Not of what
    comes from elsewhere (a token, an AWS role), which may be another one in the next login; nor of
    a server that could not prove itself, a network that failed, or an LDAP server that is busy.
    """
    context = error.login
    if type(error) is not AuthenticationFailed or context is None:
        return False
    if context.credential.password is None and not find_mechanism(context.mechanism).certificate:
        return False
    codes = {each.code for each in error.diagnoses}
    hints = find_hints_module(context.mechanism)
    own = getattr(hints, "SECRET_REFUSED", None)
    if own is not None:
        # Somebody else than the server has the last word (a KDC, STS).
        return not codes.isdisjoint(own) and codes.isdisjoint(getattr(hints, "NOT_THE_SECRET", ()))
    if error.details is None or error.code not in LOGIN_REFUSED_CODES:
        return False
    if not codes.isdisjoint(_NOT_THE_SECRET):
        return False
    return _TRANSIENT(str(error.details.get("errmsg", ""))) is None


def from_memory(refusal: Refusal, credential: MongoCredential) -> AuthenticationFailed:
    """The error of a login of `credential` that is not sent, because of `refusal`."""
    known = refusal.error
    ago_s = max(0, monotonic_ns() - refusal.at_ns) / 1e9
    left_s = max(0.0, credential.state.backoff.after(refusal) / 1e9 - ago_s)
    error = type(known)(
        f"{known}; answered from memory: the server refused this secret {ago_s:.1f} s ago; tried "
        f"again in {left_s:.1f} s",
        known.code,
        known.details,
    )
    error.diagnoses = known.diagnoses
    error.answered_from_memory = True
    error.refused_ago_s, error.retry_in_s = ago_s, left_s
    if known.login is not None:
        error.login = copy(known.login)
        error.login.credential = credential
    return error


__all__ = ["from_memory", "refuses_secret"]
