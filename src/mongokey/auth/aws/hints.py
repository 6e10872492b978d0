"""What a refused MONGODB-AWS login most likely means, from the facts of that login.

Knows how servers, Atlas and STS refuse; loaded when a login has failed. Must not know how one is
carried out; shows keys only as the evidence has them, masked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from mongokey._support.server_codes import LOGIN_REFUSED_CODES
from mongokey.diagnostics import CERTAIN, LIKELY, POSSIBLE, Diagnosis

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.aws.conversation import Evidence
    from mongokey.auth.login_context import LoginContext

# General causes that say less than those found here.
REPLACES = frozenset(
    {
        "AUTH-ATLAS",
        "AUTH-CHANGED",
        "AUTH-EXTERNAL-USER",
        "AUTH-USER-OR-PASSWORD",
        "X509-USER-NAME",
        "X509-USER-UNKNOWN",
    }
)

# STS refuses signatures whose date is farther from its clock.
MAX_SKEW = timedelta(minutes=5)

_ARN = re.compile(r"arn:[a-z0-9-]+:(?:sts|iam)::[0-9]*:[\w+=,.@/*-]+")
_STS_STATUS = re.compile(r"sts call has response ([0-9]{3})")
_THROTTLED = ("429", "503")


#: The causes by which AWS refuses keys that nobody renews, and those which pass by themselves
#: (`refusals.refuses_secret`).
SECRET_REFUSED = frozenset(
    {
        "AWS-STS-REFUSED",
        "AWS-TOKEN-MISSING",
        "AWS-TOKEN-FOREIGN",
        "AWS-TOKEN-EXPIRED",
        "AWS-KEY-ODD",
    }
)
NOT_THE_SECRET = frozenset({"AWS-STS-THROTTLED", "AWS-CLOCK-SKEW"})


def find_hints(code: Any, context: LoginContext) -> Iterator[Diagnosis]:
    """The causes that only this mechanism has."""
    seen: Evidence | None = context.diagnostic_context
    if seen is None:
        return
    if seen.problem is not None:
        yield seen.problem
        return
    if seen.key is None or code not in LOGIN_REFUSED_CODES:
        return
    answer = seen.answer if isinstance(seen.answer, str) else ""
    certain = list(_about_keys(seen, context))
    yield from certain
    arn = _ARN.search(answer)
    status = _STS_STATUS.search(answer)
    if arn is not None:
        yield _unknown(arn[0], seen)
    elif status is not None and status[1] in _THROTTLED:
        yield Diagnosis(
            "AWS-STS-THROTTLED",
            LIKELY,
            "STS answers a limited number of requests a second (600 for an account and region), "
            "and every new connection is one",
            fix="open fewer at once (maxConnecting), keep them longer (minPoolSize, maxIdleTimeMS)",
        )
    elif not certain:
        refused = _refused(seen, status[1] if status is not None else None)
        if status is not None and seen.kind == "ASIA" and seen.has_token and seen.fixed:
            yield Diagnosis(
                "AWS-TOKEN-EXPIRED",
                LIKELY,
                f"the temporary credentials {seen.key} from {seen.origin} have most likely "
                "expired: STS refuses them, and nobody renews those that are given",
                [f"STS's status is {status[1]}"],
                _renewal(seen),
            )
        yield refused


def _about_keys(seen: Evidence, context: LoginContext) -> Iterator[Diagnosis]:
    skew = _skew(seen, context)
    if skew is not None and abs(skew) > MAX_SKEW:
        yield Diagnosis(
            "AWS-CLOCK-SKEW",
            LIKELY,
            f"this machine's clock is {_span(skew)} the server's: signed at "
            f"{seen.signed_at:%Y-%m-%d %H:%M:%S} UTC, and AWS takes signatures within 5 minutes of "
            "its own time only",
            fix="set the clock (chrony, NTP)",
        )
    if seen.kind == "ASIA" and not seen.has_token:
        yield Diagnosis(
            "AWS-TOKEN-MISSING",
            CERTAIN,
            f"{seen.key} is a temporary key, which is worth nothing without its session token",
            fix="give authMechanismProperties=AWS_SESSION_TOKEN:<token> (or the variable "
            "AWS_SESSION_TOKEN), percent-escaped in a URI",
        )
    elif seen.kind == "AKIA" and seen.has_token:
        yield Diagnosis(
            "AWS-TOKEN-FOREIGN",
            LIKELY,
            f"{seen.key} is a user's own key, which has no session token: the token given "
            "belongs to another key",
        )
    elif seen.kind == "<not":
        yield Diagnosis(
            "AWS-KEY-ODD",
            LIKELY,
            "what was given as access key id does not look like one (AKIA… or ASIA…)",
            fix="username is the key id, password the secret key",
        )
    if seen.expires is not None and seen.signed_at is not None and seen.signed_at >= seen.expires:
        yield Diagnosis(
            "AWS-TOKEN-EXPIRED",
            CERTAIN,
            f"the credentials expired at {seen.expires:%Y-%m-%d %H:%M:%S} {seen.expires.tzname()}",
            fix=_renewal(seen),
        )
    elif seen.has_token and seen.fixed and context.credential.state.logged_in:
        yield Diagnosis(
            "AWS-TOKEN-EXPIRED",
            LIKELY,
            "temporary credentials that worked before have most likely expired",
            fix=_renewal(seen),
        )


def _renewal(seen: Evidence) -> str:
    if not seen.fixed:
        return "the next login fetches new ones"
    return (
        f"those from {seen.origin} are not renewed by anybody: leave them out, so that "
        "mongokey gets and renews them (role, profile, AWS_CREDENTIAL_PROVIDER), or give new ones"
    )


def user_of(arn: str) -> str:
    """The ARN that a user has to be called by for whom STS names `arn`: a session's role."""
    role = re.fullmatch(r"(arn:[^:]+):sts::([0-9]*):assumed-role/([^/]+)(?:/.*)?", arn)
    return f"{role[1]}:iam::{role[2]}:role/{role[3]}" if role is not None else arn


def _unknown(arn: str, seen: Evidence) -> Diagnosis:
    user = user_of(arn)
    kind = "role (not the session's assumed-role ARN)" if user != arn else "IAM user or role"
    return Diagnosis(
        "AWS-IDENTITY-UNKNOWN",
        CERTAIN,
        f"AWS took the credentials {seen.key} from {seen.origin} for {arn}, and the server has no "
        "such user. Either other credentials were meant (the source above won), or it lacks the "
        "user",
        fix=f"in Atlas, Database Access, AWS IAM, the ARN of the {kind}, {user}; else "
        f"db.getSiblingDB('$external').createUser({{user: '{user}', roles: [...]}})",
    )


def _refused(seen: Evidence, status: str | None) -> Diagnosis:
    text = (
        f"STS refused the credentials {seen.key} from {seen.origin} (HTTP {status})"
        if status is not None
        else f"STS refused the credentials {seen.key} from {seen.origin}, or the server has no "
        "user for their ARN; it does not say which"
    )
    causes = "a secret key that does not belong to the key id, a key that was switched off"
    if seen.has_token:
        causes += ", a session token that is expired"
    return Diagnosis(
        "AWS-STS-REFUSED",
        LIKELY if status is not None else POSSIBLE,
        f"{text}. Reasons: {causes}, a wrong clock",
        fix="`aws sts get-caller-identity` with the same credentials tells whether AWS takes them, "
        "and the ARN that needs a user (in Atlas: of the role, not of the assumed-role session)",
    )


def _skew(seen: Evidence, context: LoginContext) -> timedelta | None:
    """How far our clock is ahead of the server's, as far as its hello tells."""
    if context.hello is None or seen.signed_at is None:
        return None
    there = context.hello.document.get("localTime")
    if not isinstance(there, datetime):
        return None
    if there.tzinfo is None:
        there = there.replace(tzinfo=timezone.utc)
    return seen.signed_at - there


def _span(skew: timedelta) -> str:
    minutes = round(abs(skew).total_seconds() / 60)
    return f"{minutes} minutes {'ahead of' if skew > timedelta(0) else 'behind'}"
