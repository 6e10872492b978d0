"""What MONGODB-AWS says when a server refuses good or bad credentials, and which servers it does
not believe. Nothing that is said has a key in it: what is looked through stands in `_aws`.
"""

from __future__ import annotations

import time
import traceback
from datetime import datetime, timedelta, timezone
from typing import Any

import bson
import pytest

from mongokey import MongoClient
from mongokey.auth.errors import AuthenticationFailed, ServerProofError
from mongokey.errors import OperationFailure
from tests.live._aws import SECRET, TOKEN, failure, given, refused, show_no_secret
from tests.pools import drop_connections
from tests.servers.aws_cloud import AwsDeployment
from tests.servers.mechanism import Refused
from tests.servers.mechanism.aws import AwsKey, atlas_refusal
from tests.servers.scripted.answers import Reply, Request

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("no_secret_logged")]


def test_a_wrong_secret_key(deployment: AwsDeployment) -> None:
    text = refused(deployment, **given(AwsKey(deployment.user.access_key, SECRET)))
    assert "AWS-STS-REFUSED" in text


def test_a_temporary_key_without_its_token(deployment: AwsDeployment) -> None:
    key = deployment.session()
    text = refused(deployment, **given(AwsKey(key.access_key, key.secret_key)))
    assert "AWS-TOKEN-MISSING, certain" in text
    assert "AWS_SESSION_TOKEN" in text


def test_a_user_s_own_key_with_a_token(deployment: AwsDeployment) -> None:
    key = deployment.user
    text = refused(deployment, **given(AwsKey(key.access_key, key.secret_key, TOKEN)))
    assert "AWS-TOKEN-FOREIGN" in text


def test_the_source_of_refused_credentials_is_named(deployment: AwsDeployment) -> None:
    deployment.environment.set_key(AwsKey(deployment.user.access_key, SECRET))
    assert "environment" in refused(deployment)
    deployment.environment.set_key(AwsKey("", "", ""))
    deployment.environment.set(
        AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None, AWS_SESSION_TOKEN=None
    )
    deployment.environment.credentials_file({"mine": AwsKey(deployment.user.access_key, SECRET)})
    deployment.environment.set(AWS_PROFILE="mine")
    text = refused(deployment)
    assert "~/.aws/credentials, profile mine" in text


def test_an_expired_token_that_worked_before(deployment: AwsDeployment) -> None:
    key = deployment.session()
    with MongoClient(deployment.uri(directConnection=True), **given(key)) as client:
        client["x"]["y"].find_one()
        deployment.acceptor.expire(key.access_key)
        drop_connections(client)
        with pytest.raises(AuthenticationFailed) as caught:
            client["x"]["y"].find_one()
    show_no_secret(deployment, [str(caught.value), *traceback.format_exception(caught.value)])
    assert "AWS-TOKEN-EXPIRED" in str(caught.value)


def test_an_expiry_that_has_passed_is_certain(deployment: AwsDeployment) -> None:
    from botocore.credentials import Credentials

    class Dated(Credentials):  # type: ignore[misc]
        """Credentials that say when they end, in the attribute that botocore's use."""

        _expiry_time = datetime.now(timezone.utc) - timedelta(hours=1)

    key = deployment.session("app", lifetime=-3600)
    properties = {
        "AWS_CREDENTIAL_PROVIDER": lambda: Dated(key.access_key, key.secret_key, key.token)
    }
    text = refused(deployment, authMechanismProperties=properties)
    assert "AWS-TOKEN-EXPIRED" in text


@pytest.mark.parametrize(
    ("ahead", "word"), [(-3600, "60 minutes ahead of"), (1200, "20 minutes behind")]
)
def test_a_wrong_clock_is_told_from_the_server_s_hello(
    deployment: AwsDeployment, ahead: float, word: str
) -> None:
    now = datetime.now(timezone.utc)
    deployment.server.hello = {
        **deployment.server.hello,
        "localTime": now + timedelta(seconds=ahead),
    }
    deployment.acceptor.clock = lambda: time.time() + ahead
    text = refused(deployment, **given(deployment.user))
    assert "AWS-CLOCK-SKEW" in text
    assert word in text
    assert f"{now:%Y-%m-%d}" in text


def test_a_right_clock_is_not_blamed(deployment: AwsDeployment) -> None:
    assert "CLOCK" not in refused(deployment, **given(AwsKey(deployment.user.access_key, SECRET)))


def test_an_identity_that_the_server_does_not_know(deployment: AwsDeployment) -> None:
    deployment.acceptor.users = set()
    text = refused(deployment, **given(deployment.user))
    assert "AWS-STS-REFUSED" in text
    assert "ARN" in text


def test_atlas_s_words_are_told(deployment: AwsDeployment) -> None:
    deployment.acceptor.refuse()
    text = refused(deployment, 8000, **given(deployment.user))
    assert "403" in text
    assert "AWS-STS-REFUSED, likely" in text
    deployment.acceptor.refuse(atlas_refusal(503))
    assert "AWS-STS-THROTTLED" in refused(deployment, 8000, **given(deployment.user))
    arn = deployment.user.arn
    deployment.acceptor.refuse(Refused(f"bad auth : user not found: {arn}", 8000, "AtlasError"))
    text = refused(deployment, 8000, **given(deployment.user))
    assert "AWS-IDENTITY-UNKNOWN" in text
    assert arn in text


# Servers that are none


BAD_HOSTS = {
    "empty": "",
    "long": "a" * 256,
    "long in bytes": "ü" * 128,
    "long by labels": ".".join(["a" * 63] * 5),
    "empty label": "sts..amazonaws.com",
    "leading dot": ".amazonaws.com",
    "trailing dot": "sts.amazonaws.",
    "dots": "..",
    "line end": "sts.amazonaws.com\r\nx-evil: 1",
    "space": "sts amazonaws.com",
    "slash": "sts.amazonaws.com/x",
    "number": 7,
    "bytes": b"sts.amazonaws.com",
    "null": None,
}


@pytest.mark.parametrize("host", BAD_HOSTS.values(), ids=BAD_HOSTS.keys())
def test_a_bad_sts_host_ends_the_login_before_anything_is_signed(
    deployment: AwsDeployment, host: Any
) -> None:
    deployment.acceptor.first = lambda nonce: bson.encode({"s": nonce + b"s" * 32, "h": host})
    error = failure(deployment, **given(deployment.user))
    assert isinstance(error, ServerProofError)
    assert not deployment.server.commands("saslContinue")


@pytest.mark.parametrize(
    "make",
    [
        lambda nonce: b"x" * 64,
        lambda nonce: nonce,
        lambda nonce: nonce + b"s" * 31,
        lambda nonce: nonce + b"s" * 33,
        lambda nonce: b"s" * 32 + nonce,
        lambda nonce: b"",
        lambda nonce: nonce[:31] + bytes([nonce[31] ^ 1]) + b"s" * 32,
        lambda nonce: (nonce + b"s" * 32).hex(),
    ],
    ids=["wrong", "client's", "short", "long", "reversed", "empty", "one bit", "text"],
)
def test_a_bad_server_nonce_ends_the_login_before_anything_is_signed(
    deployment: AwsDeployment, make: Any
) -> None:
    deployment.acceptor.first = lambda nonce: bson.encode(
        {"s": make(nonce), "h": "sts.amazonaws.com"}
    )
    error = failure(deployment, **given(deployment.user))
    assert isinstance(error, ServerProofError)
    assert "nonce" in str(error)
    assert not deployment.server.commands("saslContinue")


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x00", bson.encode({}), bson.encode({"s": b"x" * 64}), b"\xff\xff\xff\x7f\x00",
     bson.encode({"h": "sts.amazonaws.com"})],
    ids=["nothing", "zero", "empty", "no host", "length", "no nonce"],
)  # fmt: skip
def test_a_bad_payload_ends_the_login(deployment: AwsDeployment, payload: bytes) -> None:
    deployment.acceptor.first = lambda nonce: payload
    error = failure(deployment, **given(deployment.user))
    assert isinstance(error, OperationFailure)
    assert not deployment.server.commands("saslContinue")


@pytest.mark.parametrize("early", [True, False], ids=["early", "never"])
def test_a_server_that_ends_the_login_at_the_wrong_time_is_not_believed(
    deployment: AwsDeployment, early: bool
) -> None:
    """Done before anything was signed, in an answer that is right but for that; or never."""

    def answer(request: Request) -> Reply:
        nonce = bson.decode(request.document["payload"])["r"] if early else b""
        payload = bson.encode({"s": nonce + b"s" * 32, "h": "sts.amazonaws.com"})
        return Reply({"conversationId": 1, "done": early, "payload": payload, "ok": 1.0})

    deployment.server.on["saslStart" if early else "saslContinue"] = answer
    error = failure(deployment, **given(deployment.user))
    assert isinstance(error, ServerProofError)
    assert len(deployment.server.commands("saslContinue")) == (not early)
