"""The MONGODB-AWS server of the tests is right: by AWS's published example, and by PyMongo.

What it must refuse is tried with payloads of the test's own making.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import bson
import pymongo
import pymongo.errors
import pytest

from tests.servers.aws_cloud import AwsDeployment
from tests.servers.mechanism import Continue, Done, Refused, Session
from tests.servers.mechanism.aws import (
    BODY,
    AwsAcceptor,
    AwsKey,
    SignedRequest,
    identity_of,
    region_of,
    signature,
    signing_key,
)
from tests.servers.needs import need_module

pytestmark = pytest.mark.live

KEY = AwsKey("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
SESSION = AwsKey(
    "ASIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLETEMP",
    "AQoDYXdzEJr/+=",
    "arn:aws:sts::123456789012:assumed-role/app/i-1",
    time.time() + 3600,
)


# By AWS's own example (Signature Version 4, "ListUsers", 30 August 2015)


def test_the_published_example_has_the_published_signature() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    request = (
        "GET\n/\nAction=ListUsers&Version=2010-05-08\n"
        "content-type:application/x-www-form-urlencoded; charset=utf-8\n"
        "host:iam.amazonaws.com\nx-amz-date:20150830T123600Z\n\n"
        f"content-type;host;x-amz-date\n{empty}"
    )
    key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "iam")
    assert key.hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
    scope = "20150830/us-east-1/iam/aws4_request"
    assert (
        signature(key, "20150830T123600Z", scope, request.encode())
        == "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sts.amazonaws.com", "us-east-1"),
        ("sts.us-west-2.amazonaws.com", "us-west-2"),
        ("sts.us-west-2.amazonaws.com.ch", "us-west-2"),
        ("example.com", "com"),
        ("localhost", "us-east-1"),
    ],
)
def test_regions_are_the_specification_s(host: str, region: str) -> None:
    assert region_of(host) == region


def test_an_assumed_role_logs_in_as_every_session_of_it() -> None:
    assert identity_of(SESSION.arn) == "arn:aws:sts::123456789012:assumed-role/app/*"
    assert identity_of(KEY.arn) == KEY.arn


# What it refuses


def first(nonce: bytes = b"n" * 32, flag: Any = 110, **more: Any) -> bytes:
    return bson.encode({"r": nonce, "p": flag, **more})


def second(nonce: bytes, key: AwsKey = KEY, **changes: Any) -> bytes:
    """The right second payload; `changes` are what is put in before signing, or replaces it."""
    date = changes.pop("date", time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
    region = changes.pop("region", "us-east-1")
    service = changes.pop("service", "sts")
    headers = {
        "content-length": str(len(BODY)),
        "content-type": "application/x-www-form-urlencoded",
        "host": "sts.amazonaws.com",
        "x-amz-date": date,
        "x-mongodb-gs2-cb-flag": "n",
        "x-mongodb-server-nonce": base64.b64encode(nonce).decode(),
    }
    if key.token is not None:
        headers["x-amz-security-token"] = key.token
    headers.update(changes.pop("headers", {}))
    names = sorted(set(headers) - set(changes.pop("unsigned", ())))
    canonical = SignedRequest(headers, changes.pop("body", BODY)).canonical(names)
    scope = f"{date[:8]}/{region}/{service}/aws4_request"
    digits = signature(
        signing_key(key.secret_key, date[:8], region, service), date, scope, canonical
    )
    header = (
        f"AWS4-HMAC-SHA256 Credential={key.access_key}/{scope}, "
        f"SignedHeaders={';'.join(names)}, Signature={digits}"
    )
    document = {"a": header, "d": date}
    if key.token is not None:
        document["t"] = key.token
    document.update(changes)
    return bson.encode({name: value for name, value in document.items() if value is not None})


def converse(acceptor: AwsAcceptor, key: AwsKey = KEY, **changes: Any) -> str:
    exchange = acceptor.begin(Session(1, tls=False))
    answer = exchange.step(first())
    assert isinstance(answer, Continue)
    document = bson.decode(answer.payload)
    assert document["s"].startswith(b"n" * 32)
    assert len(document["s"]) == 64
    done = exchange.step(second(document["s"], key, **changes))
    assert isinstance(done, Done)
    return done.identity


def refusal(acceptor: AwsAcceptor, key: AwsKey = KEY, **changes: Any) -> str:
    with pytest.raises(Refused) as caught:
        converse(acceptor, key, **changes)
    assert caught.value.code == 18
    assert key.secret_key not in str(caught.value)
    return caught.value.detail


def test_the_right_signature_is_accepted() -> None:
    acceptor = AwsAcceptor(KEY, SESSION)
    assert converse(acceptor) == KEY.arn
    assert converse(acceptor, SESSION) == "arn:aws:sts::123456789012:assumed-role/app/*"
    assert acceptor.signed == [KEY.access_key, SESSION.access_key]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"headers": {"host": "sts.eu-west-1.amazonaws.com"}}, "SignatureDoesNotMatch"),
        ({"headers": {"x-mongodb-gs2-cb-flag": "y"}}, "SignatureDoesNotMatch"),
        ({"headers": {"x-mongodb-server-nonce": "AAAA"}}, "SignatureDoesNotMatch"),
        ({"headers": {"content-length": "42"}}, "SignatureDoesNotMatch"),
        ({"headers": {"user-agent": "me"}}, "SignedHeaders"),
        ({"unsigned": ["content-length"]}, "SignedHeaders"),
        ({"unsigned": ["x-mongodb-server-nonce"]}, "SignedHeaders"),
        ({"body": b"Action=GetCallerIdentity&Version=2011-06-16"}, "SignatureDoesNotMatch"),
        ({"region": "us-east-2"}, "scope"),
        ({"service": "iam"}, "scope"),
        ({"date": "20201112T210122Z"}, "signed at"),
        ({"d": "20201112T210122Z"}, "scope"),
        ({"d": None}, "fields"),
        ({"t": "x"}, "SignedHeaders"),
        ({"a": "AWS4-HMAC-SHA256"}, "malformed"),
        ({"a": 7}, "no text"),
        ({"x": 1}, "fields"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_every_wrong_request_is_refused(changes: dict[str, Any], why: str) -> None:
    assert why in refusal(AwsAcceptor(KEY), **changes)


def test_wrong_keys_and_tokens_are_refused() -> None:
    acceptor = AwsAcceptor(KEY, SESSION)
    assert "unknown" in refusal(acceptor, AwsKey("AKIAWHOEVERTHATISNOW", "x"))
    assert "DoesNotMatch" in refusal(acceptor, AwsKey(KEY.access_key, "another"))
    assert "another one" in refusal(acceptor, AwsKey(SESSION.access_key, SESSION.secret_key))
    acceptor.expire(SESSION.access_key)
    assert "ExpiredToken" in refusal(acceptor, SESSION)
    late = AwsAcceptor(SESSION, clock=lambda: time.time() + 7200)
    late.skew_allowed = None
    assert "ExpiredToken" in refusal(late, SESSION)


def test_the_clock_allows_five_minutes_and_can_be_left_out() -> None:
    acceptor = AwsAcceptor(KEY, clock=lambda: time.time() + 295)
    assert converse(acceptor) == KEY.arn
    acceptor.clock = lambda: time.time() - 310
    assert "signed at" in refusal(acceptor)
    acceptor.skew_allowed = None
    assert converse(acceptor) == KEY.arn


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x05\x00\x00\x00\x00", first(b"n" * 31), first(flag=121), first(flag=bson.Int64(110)),
     first(flag=110.0), first(x=1), bson.encode({"r": "n" * 32, "p": 110})],
)  # fmt: skip
def test_every_wrong_first_payload_is_refused(payload: bytes) -> None:
    with pytest.raises(Refused):
        AwsAcceptor(KEY).begin(Session(1, tls=False)).step(payload)


def test_an_identity_without_a_user_is_refused() -> None:
    acceptor = AwsAcceptor(KEY, users={"arn:aws:iam::123456789012:user/bob"})
    assert "Could not find user" in refusal(acceptor)


# By PyMongo


def log_in_with_pymongo(deployment: AwsDeployment, uri: str, **options: Any) -> str:
    with pymongo.MongoClient(uri, serverSelectionTimeoutMS=5000, **options) as client:
        client["aws"]["pymongo"].insert_one({})
        assert client["aws"]["pymongo"].find_one() is not None
        (user,) = client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"]
    assert user["db"] == "$external"
    name: str = user["user"]
    return name


@pytest.fixture
def pymongo_alone() -> Iterator[None]:
    """PyMongo's credentials are cached for the process: none before, none after."""
    auth = need_module("pymongo_auth_aws.auth", extra="test")
    auth.set_cached_credentials(None)
    yield
    auth.set_cached_credentials(None)


def test_pymongo_logs_in_with_keys_in_the_uri(
    deployment: AwsDeployment, pymongo_alone: None
) -> None:
    key = deployment.user
    uri = deployment.uri(directConnection=True).replace(
        "://", f"://{quote(key.access_key, safe='')}:{quote(key.secret_key, safe='')}@"
    )
    assert log_in_with_pymongo(deployment, uri) == key.arn
    assert deployment.acceptor.signed == [key.access_key]


def test_pymongo_logs_in_with_a_session_token(
    deployment: AwsDeployment, pymongo_alone: None
) -> None:
    key = deployment.session()
    assert key.token is not None
    identity = log_in_with_pymongo(
        deployment,
        deployment.uri(directConnection=True),
        username=key.access_key,
        password=key.secret_key,
        authMechanismProperties={"AWS_SESSION_TOKEN": key.token},
    )
    assert identity == "arn:aws:sts::123456789012:assumed-role/app/*"


def test_pymongo_logs_in_from_the_metadata_service(
    deployment: AwsDeployment, pymongo_alone: None
) -> None:
    imds = deployment.imds()
    identity = log_in_with_pymongo(deployment, deployment.uri(directConnection=True))
    assert identity == "arn:aws:sts::123456789012:assumed-role/ec2-role/*"
    assert len(imds.seen("PUT")) == 1


def test_pymongo_logs_in_in_every_region(deployment: AwsDeployment, pymongo_alone: None) -> None:
    deployment.environment.set_key(deployment.user)
    deployment.acceptor.host = "sts.eu-central-1.amazonaws.com"
    assert (
        log_in_with_pymongo(deployment, deployment.uri(directConnection=True))
        == deployment.user.arn
    )


def test_pymongo_is_refused_with_a_wrong_secret(
    deployment: AwsDeployment, pymongo_alone: None
) -> None:
    deployment.environment.set_key(AwsKey(deployment.user.access_key, "wrong"))
    with pytest.raises(pymongo.errors.OperationFailure) as caught:
        log_in_with_pymongo(deployment, deployment.uri(directConnection=True))
    assert caught.value.code == 18
    assert {r.detail for r in deployment.server.refusals} == {"403 SignatureDoesNotMatch"}


# STS behind it


def test_sts_refuses_what_the_acceptor_would_let_pass(
    deployment: AwsDeployment, monkeypatch: pytest.MonkeyPatch, pymongo_alone: None
) -> None:
    """The forwarded request is judged by moto's own verification, too."""
    known = AwsKey(deployment.user.access_key, "another secret", None, deployment.user.arn)
    deployment.acceptor.keys[known.access_key] = known
    deployment.environment.set_key(known)
    with pytest.raises(pymongo.errors.OperationFailure):
        log_in_with_pymongo(deployment, deployment.uri(directConnection=True))
    (refused, *_) = deployment.server.refusals
    assert "aws sts call has response 403" in refused.detail
    assert "SignatureDoesNotMatch" in refused.detail
