"""Logins by MONGODB-AWS that fail, and the proof that no secret comes out of them.

Every error is looked through for all that this test's AWS ever issued: access key ids, secret
keys, session tokens and web identity tokens; so is what was logged, by whomever, except where a
test says so (boto3's own loggers print replies of AWS at DEBUG).
"""

from __future__ import annotations

import traceback
from typing import Any
from urllib.parse import quote

import pytest

from mongokey import MongoClient
from mongokey.auth.errors import AuthenticationFailed
from mongokey.errors import ConfigurationError, MongoError
from tests.servers.aws_cloud import AwsDeployment
from tests.servers.mechanism.aws import AwsKey

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "AQoDYXdzEJr/+/EXAMPLE/TOKEN/0123456789/abcdefghijklmnop=="
ROLE = "arn:aws:iam::123456789012:role/pod"
#: Loggers that show what AWS answered, by boto3's design.
BOTO = ("botocore", "boto3", "urllib3", "s3transfer", "moto", "werkzeug")


def show_no_secret(deployment: AwsDeployment, shown: list[str]) -> None:
    """Nothing that was issued, or that a test made up, is in these texts, escaped or not."""
    secrets = {KEY_ID, SECRET, TOKEN}
    for key in deployment.sts.issued():
        secrets |= {key.access_key, key.secret_key, key.token or SECRET}
    secrets |= {call.parameters.get("WebIdentityToken") or TOKEN for call in deployment.sts.calls}
    secrets |= {quote(secret, safe="") for secret in secrets}
    assert not [text for text in shown for secret in secrets if secret in text]


def failure(deployment: AwsDeployment, uri: str | None = None, **options: Any) -> MongoError:
    """The error of a login that fails; it shows no secret."""
    options = {"serverSelectionTimeoutMS": 10_000, **options}
    uri = deployment.uri(directConnection=True) if uri is None else uri
    with MongoClient(uri, **options) as client:
        shown = [repr(client), str(client), repr(client["x"]["y"])]
        with pytest.raises(MongoError) as caught:
            client["x"]["y"].find_one()
    error = caught.value
    seen: BaseException | None = error
    chain: list[BaseException] = []
    while seen is not None and seen not in chain:
        chain.append(seen)
        shown += [repr(seen), str(seen), repr(seen.args), repr(vars(seen))]
        seen = seen.__cause__ or seen.__context__
    shown += traceback.format_exception(error)
    show_no_secret(deployment, shown)
    return error


def refused(deployment: AwsDeployment, code: int | None = 18, **options: Any) -> str:
    """The text of a refused login, which was sent."""
    error = failure(deployment, loginBackoffMS=0, **options)
    assert isinstance(error, AuthenticationFailed)
    assert error.code == code
    print(error)
    return str(error)


def misconfigured(deployment: AwsDeployment, **options: Any) -> str:
    """The text of a login that the settings made impossible; nothing was sent."""
    error = failure(deployment, **options)
    assert isinstance(error, ConfigurationError)
    assert not deployment.server.commands("saslContinue")
    print(error)
    return str(error)


def nowhere(deployment: AwsDeployment, **options: Any) -> str:
    """The text of a login that found no credentials: PyMongo's class for it, without a code, as
    no server said it."""
    text = refused(deployment, None, **options)
    assert "AWS-NO-CREDENTIALS" in text
    assert not deployment.server.commands("saslStart")
    return text


def given(key: AwsKey) -> dict[str, Any]:
    """The key as the program's own."""
    options: dict[str, Any] = {"username": key.access_key, "password": key.secret_key}
    if key.token is not None:
        options["authMechanismProperties"] = {"AWS_SESSION_TOKEN": key.token}
    return options
