"""The user's own source of AWS keys: the mechanism property AWS_CREDENTIAL_PROVIDER.

Knows how such a callback is called and in which forms it may give keys (auth.md, "Custom
Credential Providers"); runs in the thread of the login's work. Must not know boto3, whose
objects it takes by their attributes.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mongokey._support.awaiting import in_private_loop
from mongokey._support.secrets import keeps_secrets
from mongokey.auth.aws.keys import AwsKeys
from mongokey.auth.aws.problems import AwsProblem, clean
from mongokey.auth.aws.times import parse_time

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey._support.awaiting import AwaitResult

ORIGIN = "AWS_CREDENTIAL_PROVIDER"

# Names a value may have: botocore's objects, answers of STS and of metadata services, boto3's
# arguments.
_ACCESS_KEY = ("access_key", "AccessKeyId", "aws_access_key_id", "access_key_id")
_SECRET_KEY = ("secret_key", "SecretAccessKey", "aws_secret_access_key", "secret_access_key")
_TOKEN = ("token", "SessionToken", "Token", "aws_session_token", "session_token")
_EXPIRES = ("expires", "Expiration", "expiry_time", "expiration", "_expiry_time")


@keeps_secrets
def ask_provider(provider: Any, await_result: AwaitResult = in_private_loop) -> AwsKeys:
    """Call the provider and read what it gives: `load()` of an object, or the callable itself.
    `await_result` awaits what a coroutine function returned.

    Keys that say when they expire are kept for later logins; others are asked for each time.
    Raises AwsProblem.
    """
    load = getattr(provider, "load", None)
    try:
        result = load() if callable(load) else provider()
        if inspect.isawaitable(result):
            result = await_result(result, None)
        return read_keys(result)
    except AwsProblem:
        raise
    except (Exception, SystemExit) as error:
        raise AwsProblem(
            "AWS-PROVIDER-FAILED",
            f"{ORIGIN} raised {type(error).__name__}: {clean(error)}",
            "it is called without arguments in a thread of its own",
        ) from error


@keeps_secrets
def read_keys(result: Any) -> AwsKeys:
    """The keys in what a provider gave. Raises AwsProblem, and what botocore's credentials raise
    that cannot be fetched."""
    # botocore's credentials fetch now, and then have an end.
    freeze = getattr(result, "get_frozen_credentials", None)
    return _read(result, freeze() if callable(freeze) else result)


def _read(result: Any, frozen: Any) -> AwsKeys:
    if isinstance(frozen, Mapping) and isinstance(frozen.get("Credentials"), Mapping):
        result = frozen = frozen["Credentials"]  # the whole answer of assume_role
    if frozen is None:
        raise _wrong("it gave None: it has no keys")
    access_key = _text(frozen, _ACCESS_KEY, "access key id")
    secret_key = _text(frozen, _SECRET_KEY, "secret key")
    token = _find(frozen, _TOKEN)
    if token is not None and not isinstance(token, str):
        raise _wrong(f"its session token is {type(token).__name__}, not a str")
    try:
        expires = parse_time(_find(frozen, _EXPIRES) or _find(result, _EXPIRES))
    except ValueError as error:
        raise _wrong(f"its expiry cannot be read: {clean(error)}") from None
    return AwsKeys(
        access_key, secret_key, token or None, ORIGIN, expires=expires, keep=expires is not None
    )


def _text(found: Any, names: tuple[str, ...], what: str) -> str:
    value = _find(found, names)
    if not isinstance(value, str) or not value:
        seen = "missing" if value is None else "empty" if value == "" else type(value).__name__
        raise _wrong(
            f"it gave {type(found).__name__}, whose {what} ({names[0]} or {names[1]}) is {seen}"
        )
    return value


def _find(found: Any, names: tuple[str, ...]) -> Any:
    if isinstance(found, Mapping):
        return next((found[name] for name in names if name in found), None)
    return next((getattr(found, name) for name in names if hasattr(found, name)), None)


def _wrong(text: str) -> AwsProblem:
    return AwsProblem(
        "AWS-PROVIDER-WRONG",
        f"{ORIGIN}: {text}",
        "return botocore's Credentials, or a dict with AccessKeyId, SecretAccessKey and, for "
        "temporary keys, SessionToken and Expiration",
        settings=True,
    )
