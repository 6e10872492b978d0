"""Asks STS whose keys these are, after a login by them was refused: STS itself says why.

For `mongokey check`: a client spends no question on a diagnosis. Knows boto3's client and the codes
of STS's errors; shows keys only masked.
"""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from mongokey._support.secrets import keeps_secrets
from mongokey.auth.aws.hints import MAX_SKEW
from mongokey.auth.aws.host import region_of
from mongokey.auth.aws.keys import AwsKeys, mask
from mongokey.auth.aws.problems import clean
from mongokey.diagnostics import CERTAIN, LIKELY, Diagnosis

if TYPE_CHECKING:
    from mongokey.auth.aws.conversation import AwsConversation

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException"})
_UNKNOWN = frozenset({"InvalidClientTokenId", "UnrecognizedClientException"})
_WRONG_SIGNATURE = "SignatureDoesNotMatch"
_WRONG_TIME = ("signature expired", "signature not yet current")


@keeps_secrets
def ask_sts(conversation: AwsConversation, timeout_s: float) -> tuple[Diagnosis, ...]:
    """What STS says of the keys that `conversation` logged in with; nothing where it cannot be
    asked, or says nothing of them.

    :param timeout_s: seconds for connecting, and for the answer
    """
    keys, host = conversation.keys, conversation.sts_host
    if keys is None or host is None:
        return ()
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.session import Session

    config = Config(
        connect_timeout=timeout_s, read_timeout=timeout_s, retries={"total_max_attempts": 1}
    )
    try:
        client = Session().create_client(
            "sts",
            region_name=region_of(host),
            aws_access_key_id=keys.access_key,
            aws_secret_access_key=keys.secret_key,
            aws_session_token=keys.token,
            config=config,
        )
        asked_at = datetime.now(timezone.utc)
        answer = client.get_caller_identity()
    except ClientError as error:
        return _refused(keys, error.response, asked_at, clean(error))
    except (BotoCoreError, ValueError):
        return ()
    return (_taken(keys, str(answer.get("Arn"))),)


def _refused(keys: AwsKeys, answer: Any, asked_at: datetime, said: str) -> tuple[Diagnosis, ...]:
    code = str(answer.get("Error", {}).get("Code"))
    text = str(answer.get("Error", {}).get("Message")).lower()
    seen = [f"STS, asked with the same credentials, said: {said}"]
    whose = f"the credentials {mask(keys.access_key)} from {keys.origin}"
    skew = _skew(answer, asked_at)
    if any(words in text for words in _WRONG_TIME) or code == "RequestExpired":
        return (_wrong_clock(skew, seen),)
    if code in _EXPIRED:
        return (
            Diagnosis(
                "AWS-TOKEN-EXPIRED",
                CERTAIN,
                f"{whose} are temporary ones, and have expired",
                seen,
                "temporary credentials in a string or variable are renewed by nobody: leave them "
                "out, so that mongokey gets and renews them (role, profile, "
                "AWS_CREDENTIAL_PROVIDER), or give new ones",
            ),
        )
    if code in _UNKNOWN:
        fix = "create a key and use it, or see why these credentials were taken"
        if keys.token is not None:
            fix = "give id, secret key and session token of one and the same session"
        return (
            Diagnosis(
                "AWS-KEY-UNKNOWN",
                CERTAIN,
                f"AWS does not know {whose}: deleted, switched off, or with another key's token",
                seen,
                fix,
            ),
        )
    if code == _WRONG_SIGNATURE:
        if skew is not None and abs(skew) > MAX_SKEW.total_seconds():
            return (_wrong_clock(skew, seen),)
        return (
            Diagnosis(
                "AWS-SECRET-WRONG",
                CERTAIN,
                f"the secret key of {whose} is not the one that belongs to this key id",
                seen,
                "copy both anew; percent-escape the secret key (/ and +) in a URI",
            ),
        )
    return ()


def _wrong_clock(skew_s: float | None, seen: list[str]) -> Diagnosis:
    by = ""
    if skew_s is not None:
        way = "ahead of" if skew_s > 0 else "behind"
        by = f": it is {abs(skew_s) / 60:.0f} minutes {way} STS's"
    return Diagnosis(
        "AWS-CLOCK-SKEW",
        CERTAIN,
        f"this machine's clock is wrong{by}, and AWS takes signatures within 5 minutes of its own "
        "time only",
        seen,
        "set the clock (chrony, NTP)",
    )


def _skew(answer: Any, asked_at: datetime) -> float | None:
    """How many seconds this clock is ahead of that of the answer's Date."""
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        there = parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return None
    if there.tzinfo is None:
        there = there.replace(tzinfo=timezone.utc)
    return (asked_at - there).total_seconds()


def _taken(keys: AwsKeys, arn: str) -> Diagnosis:
    from mongokey.auth.aws.hints import user_of

    return Diagnosis(
        "AWS-IDENTITY-UNKNOWN",
        LIKELY,
        f"AWS takes the credentials {mask(keys.access_key)} from {keys.origin}, for {arn}, and the "
        "server most likely has no such user: other credentials were meant, or it lacks the user",
        [f"STS, asked with the same credentials, said: {arn}"],
        f"create the user {user_of(arn)}: in Atlas under Database Access, AWS IAM; else "
        f"db.getSiblingDB('$external').createUser({{user: '{user_of(arn)}', roles: [...]}})",
    )


__all__ = ["ask_sts"]
