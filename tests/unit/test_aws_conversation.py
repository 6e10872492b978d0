"""The MONGODB-AWS conversation on documents, and its signature against published facts."""

import hashlib
import hmac
import sys
from base64 import b64decode, b64encode
from datetime import datetime, timedelta, timezone
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis.strategies import data, integers

from mongokey.auth import (
    AuthenticationFailed,
    OffloadedCall,
    ServerProofError,
    aws,
    build_credential,
)
from mongokey.auth.aws.conversation import AwsConversation
from mongokey.auth.aws.host import check_host, region_of
from mongokey.auth.aws.keys import AwsKeys
from mongokey.bson import decode, encode
from mongokey.errors import ConfigurationError, OperationFailure
from tests.deadlines import within
from tests.servers.needs import need_module

need_module("boto3", extra="aws")

from mongokey.auth.aws.signing import Signer  # noqa: E402 - needs the extra

ADDRESS = ("db.example.com", 27017)
KEY, SECRET, TOKEN = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "tok/en+="
NOON = datetime(2026, 11, 24, 12, 0, 0, 987654, tzinfo=timezone.utc)

# auth.md, "MONGODB-AWS": the payloads of its example.
PUBLISHED_FIRST = b64decode(
    "NAAAAAVyACAAAAAAWj0lSjp8M0BMKGU+QVAzRSpWfk0hJigqO1V+b0FaVz4QcABuAAAAAA=="
)
PUBLISHED_SERVER_FIRST = b64decode(
    "ZgAAAAVzAEAAAAAAWj0lSjp8M0BMKGU+QVAzRSpWfk0hJigqO1V+b0FaVz5Rj7x9UOBHJLvPgvgPS9sSzZUWgAPTy8HB"
    "bI1cG1WJ9gJoABIAAABzdHMuYW1hem9uYXdzLmNvbQAA"
)
PUBLISHED_FINAL = b64decode(
    "LQEAAAJhAAkBAABBV1M0LUhNQUMtU0hBMjU2IENyZWRlbnRpYWw9QUtJQUlDR1ZMS09LWlZZM1gzREEvMjAxOTExMTIv"
    "dXMtZWFzdC0xL3N0cy9hd3M0X3JlcXVlc3QsIFNpZ25lZEhlYWRlcnM9Y29udGVudC1sZW5ndGg7Y29udGVudC10eXBl"
    "O2hvc3Q7eC1hbXotZGF0ZTt4LW1vbmdvZGItZ3MyLWNiLWZsYWc7eC1tb25nb2RiLXNlcnZlci1ub25jZSwgU2lnbmF0"
    "dXJlPThhMTI0NGZjODYyZTI5YjZiZjc0OTFmMmYwNDE5NDY2ZGNjOTFmZWU1MTJhYTViM2ZmZjQ1NDY3NDEwMjJiMmUA"
    "AmQAEQAAADIwMTkxMTEyVDIxMDEyMloAAA=="
)
PUBLISHED_NONCE = decode(PUBLISHED_FIRST)["r"]


def sign(secret, token, host, region, nonce, date):
    """AWS Signature Version 4 from its published description, without botocore."""
    headers = {
        "content-length": "43",
        "content-type": "application/x-www-form-urlencoded",
        "host": host,
        "x-amz-date": date,
        **({"x-amz-security-token": token} if token else {}),
        "x-mongodb-gs2-cb-flag": "n",
        "x-mongodb-server-nonce": b64encode(nonce).decode(),
    }
    body = hashlib.sha256(b"Action=GetCallerIdentity&Version=2011-06-15").hexdigest()
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    names = ";".join(headers)
    request = f"POST\n/\n\n{lines}\n{names}\n{body}"
    scope = f"{date[:8]}/{region}/sts/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}"
    return scope, names, hmac.digest(key, text.encode(), "sha256").hex()


def credential(key=KEY, secret=SECRET, token=None):
    properties = {} if token is None else {"AWS_SESSION_TOKEN": token}
    return build_credential("MONGODB-AWS", key, secret, properties=properties)


def begin(conversation):
    """The conversation's first command, its work done."""
    step = conversation.start()
    while isinstance(step, OffloadedCall):
        step.run(within(10_000))
        step = conversation.resume(step)
    return step


def reply(payload, done=False):
    return {"conversationId": 1, "done": done, "payload": payload, "ok": 1.0}


def server_first(command, **fields):
    nonce = decode(command["payload"])["r"]
    return reply(encode({"s": nonce + b"s" * 32, "h": "sts.amazonaws.com", **fields}))


def test_the_first_message_is_that_of_the_specification():
    conversation = AwsConversation(credential(), ADDRESS, _nonce=PUBLISHED_NONCE)
    command = begin(conversation)
    assert command == {
        "saslStart": 1,
        "mechanism": "MONGODB-AWS",
        "payload": PUBLISHED_FIRST,
        "autoAuthorize": 1,
    }
    assert conversation.source == "$external"
    assert conversation.speculative() is None


def test_the_second_message_is_that_of_the_specification_but_for_the_secret():
    conversation = AwsConversation(
        credential("AKIAICGVLKOKZVY3X3DA"),
        ADDRESS,
        now=lambda: datetime(2019, 11, 12, 21, 1, 22, tzinfo=timezone.utc),
        _nonce=PUBLISHED_NONCE,
    )
    begin(conversation)
    payload = conversation.step(reply(PUBLISHED_SERVER_FIRST))["payload"]
    mine, published = decode(payload), decode(PUBLISHED_FINAL)
    assert list(mine) == list(published) == ["a", "d"]
    assert mine["d"] == published["d"]
    before = published["a"].index("Signature=") + len("Signature=")
    assert mine["a"][:before] == published["a"][:before]
    assert len(payload) == len(PUBLISHED_FINAL)


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize(
    ("host", "region"),
    [("sts.amazonaws.com", "us-east-1"), ("sts.eu-west-1.amazonaws.com", "eu-west-1")],
)
def test_the_signature_is_what_the_published_algorithm_gives(host, region, token):
    conversation = AwsConversation(credential(token=token), ADDRESS, now=lambda: NOON)
    command = begin(conversation)
    nonce = decode(command["payload"])["r"] + b"\xff" * 32
    step = conversation.step(reply(encode({"s": nonce, "h": host})))
    assert (step["saslContinue"], step["conversationId"]) == (1, 1)
    final = decode(step["payload"])
    scope, names, signature = sign(SECRET, token, host, region, nonce, "20261124T120000Z")
    assert final["a"] == (
        f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    assert final["d"] == "20261124T120000Z"
    assert final.get("t") == token
    assert conversation.step(reply(b"", done=True)) is None


def test_the_signer_signs_as_botocore_does_by_itself(monkeypatch):
    """Its own request, headers and all, at the same moment."""
    auth = need_module("botocore.auth", extra="aws")
    request_module = need_module("botocore.awsrequest", extra="aws")
    credentials = need_module("botocore.credentials", extra="aws")
    monkeypatch.setattr(auth, "get_current_datetime", lambda: NOON.replace(tzinfo=None))
    nonce = bytes(range(64))
    request = request_module.AWSRequest(
        method="POST",
        url="https://sts.eu-west-1.amazonaws.com/",
        data="Action=GetCallerIdentity&Version=2011-06-15",
        headers={
            "Content-Type": "application/x-www-form-urlencoded",
            "Content-Length": "43",
            "Host": "sts.eu-west-1.amazonaws.com",
            "X-MongoDB-Server-Nonce": b64encode(nonce).decode(),
            "X-MongoDB-GS2-CB-Flag": "n",
        },
    )
    auth.SigV4Auth(credentials.Credentials(KEY, SECRET, TOKEN), "sts", "eu-west-1").add_auth(
        request
    )
    keys = AwsKeys(KEY, SECRET, TOKEN, "a test")
    mine = Signer(keys, "sts.eu-west-1.amazonaws.com").authorize(nonce, NOON)
    assert mine == (request.headers["Authorization"], request.headers["X-Amz-Date"])


def test_a_signer_derives_a_key_for_each_day():
    signer = Signer(AwsKeys(KEY, SECRET, None, "a test"), "localhost")
    for at in (NOON, NOON + timedelta(hours=11), NOON + timedelta(hours=13), NOON):
        authorization, date = signer.authorize(b"n" * 64, at)
        _, _, signature = sign(SECRET, None, "localhost", "us-east-1", b"n" * 64, date)
        assert authorization.endswith(f"Signature={signature}")


def test_the_date_is_utc_whatever_the_clock_s_zone():
    signer = Signer(AwsKeys(KEY, SECRET, None, "a test"), "localhost")
    elsewhere = NOON.astimezone(timezone(timedelta(hours=-8)))
    assert signer.authorize(b"n" * 64, elsewhere) == signer.authorize(b"n" * 64, NOON)


def test_signing_writes_no_token_to_the_log(caplog):
    with caplog.at_level("DEBUG"):
        Signer(AwsKeys(KEY, SECRET, TOKEN, "a test"), "localhost").authorize(b"n" * 64, NOON)
    assert TOKEN not in caplog.text


def test_the_clock_is_asked_once_for_a_signature():
    times = []

    def now():
        times.append(NOON)
        return NOON

    conversation = AwsConversation(credential(), ADDRESS, now=now)
    command = begin(conversation)
    assert not times
    conversation.step(server_first(command))
    assert len(times) == 1


def test_every_login_has_a_nonce_of_its_own():
    one = credential()
    nonces = {bytes(decode(begin(AwsConversation(one, ADDRESS))["payload"])["r"]) for _ in range(5)}
    assert len(nonces) == 5
    assert {len(nonce) for nonce in nonces} == {32}


def test_logins_of_a_client_share_the_signer_and_load_boto_once():
    one = credential()
    first = AwsConversation(one, ADDRESS)
    assert isinstance(first.start(), OffloadedCall)
    first.step(server_first(begin(first)))
    signer = first._state.signer
    second = AwsConversation(one, ADDRESS)
    command = second.start()
    assert isinstance(command, dict)
    second.step(server_first(command))
    assert second._state.signer is signer
    third = AwsConversation(one, ADDRESS)
    third.step(server_first(begin(third), h="sts.eu-west-1.amazonaws.com"))
    assert third._state.signer is not signer


# The server's first message


def change_nonce(nonce):
    return bytes([nonce[0] ^ 1]) + nonce[1:]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda n: {"s": n + b"s" * 31, "h": "localhost"}, "64 bytes"),
        (lambda n: {"s": n + b"s" * 33, "h": "localhost"}, "64 bytes"),
        (lambda n: {"s": n, "h": "localhost"}, "64 bytes"),
        (lambda n: {"s": (n + b"s" * 32).hex(), "h": "localhost"}, "binary"),
        (lambda n: {"h": "localhost"}, "64 bytes"),
        (lambda n: {"s": change_nonce(n) + b"s" * 32, "h": "localhost"}, "does not continue ours"),
        (lambda n: {"s": b"s" * 32 + n, "h": "localhost"}, "does not continue ours"),
        (lambda n: {"s": n + b"s" * 32}, "not a string"),
        (lambda n: {"s": n + b"s" * 32, "h": b"localhost"}, "not a string"),
        (lambda n: {"s": n + b"s" * 32, "h": ""}, "empty"),
        (lambda n: {"s": n + b"s" * 32, "h": "sts..com"}, "empty label"),
        (lambda n: {"s": n + b"s" * 32, "h": "a\r\nx-evil:1"}, "no host name"),
    ],
)
def test_a_server_first_that_is_not_as_specified_is_refused(spoil, says):
    conversation = AwsConversation(credential(), ADDRESS)
    nonce = decode(begin(conversation)["payload"])["r"]
    with pytest.raises(ServerProofError, match=says):
        conversation.step(reply(encode(spoil(nonce))))


@pytest.mark.parametrize("payload", [b"", b"\x05\0\0\0", b"n,,n=user", b"\xff" * 20, b"x" * 5000])
def test_a_server_first_that_is_no_bson_is_refused(payload):
    conversation = AwsConversation(credential(), ADDRESS)
    begin(conversation)
    with pytest.raises(ServerProofError, match="cannot be understood"):
        conversation.step(reply(payload))


VALID = encode({"s": b"\1" * 64, "h": "sts.amazonaws.com", "t": NOON, "n": [1, {"x": 2.5}]})


@given(data())
@settings(max_examples=300, deadline=None)
def test_whatever_a_server_sends_first_is_signed_for_or_refused(draw):
    payload = bytearray(VALID)
    for _ in range(draw.draw(integers(0, 6))):
        payload[draw.draw(integers(0, len(payload) - 1))] = draw.draw(integers(0, 255))
    cut = draw.draw(integers(0, len(payload)))
    payload = bytes(payload if cut % 2 else payload[:cut])
    conversation = AwsConversation(credential(), ADDRESS, _nonce=b"\1" * 32)
    begin(conversation)
    try:
        step = conversation.step(reply(payload))
    except ServerProofError:
        return
    host = decode(payload)["h"]
    assert f"/{region_of(host)}/sts/" in decode(step["payload"])["a"]


def test_a_server_that_is_done_too_early_or_never_is_refused():
    conversation = AwsConversation(credential(), ADDRESS)
    command = begin(conversation)
    early = {**server_first(command), "done": True}
    with pytest.raises(ServerProofError, match="before it saw a signature"):
        conversation.step(early)
    conversation = AwsConversation(credential(), ADDRESS)
    conversation.step(server_first(begin(conversation)))
    with pytest.raises(ServerProofError, match="does not end"):
        conversation.step(reply(b""))


def test_a_refusal_is_an_operation_failure_with_the_server_s_code():
    conversation = AwsConversation(credential(), ADDRESS)
    begin(conversation)
    with pytest.raises(OperationFailure) as caught:
        conversation.step({"ok": 0.0, "errmsg": "no", "code": 18})
    assert caught.value.code == 18


# Hosts (auth.md, "Region Calculation")


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sts.amazonaws.com", "us-east-1"),
        ("aws.amazonaws.com", "us-east-1"),
        ("sts.us-west-2.amazonaws.com", "us-west-2"),
        ("sts.us-west-2.amazonaws.com.ch", "us-west-2"),
        ("example.com", "com"),
        ("localhost", "us-east-1"),
        ("a" * 255, "us-east-1"),
        (".".join("a" * 128), "a"),
    ],
)
def test_the_region_is_the_specification_s(host, region):
    assert region_of(host) == region


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("", "empty"),
        ("a" * 256, "255"),
        ("ä" * 128, "255"),
        ("sts..com", "empty label"),
        (".amazonaws.com", "empty label"),
        ("sts.amazonaws.", "empty label"),
        (".", "empty label"),
        ("sts amazonaws.com", "characters"),
        ("sts.amazonaws.com\n", "characters"),
        ("sts.us\0east.com", "characters"),
        ("sts.us-east-1/iam.com", "characters"),
        ("u@sts.amazonaws.com", "characters"),
        ("ä.com", "characters"),
    ],
)
def test_what_is_no_host_is_refused(host, says):
    with pytest.raises(ValueError, match=says):
        check_host(host)
    with pytest.raises(ValueError, match=says):
        region_of(host)


# boto3


@pytest.mark.parametrize("package", ["boto3", "botocore.auth"])
@pytest.mark.parametrize("own", [True, False])
def test_a_missing_boto3_names_the_interpreter_and_the_line_to_run(monkeypatch, package, own):
    monkeypatch.setitem(sys.modules, package, None)
    for name in ("signing", "sources"):  # those of ours that import it, as earlier tests did
        monkeypatch.delitem(sys.modules, f"mongokey.auth.aws.{name}", raising=False)
        monkeypatch.delattr(aws, name, raising=False)
    one = credential() if own else build_credential("MONGODB-AWS", None, None)
    with pytest.raises(ConfigurationError, match="AWS-NO-BOTO3") as caught:
        begin(AwsConversation(one, ADDRESS))
    assert f"{sys.executable} -m pip install 'mongokey[aws]'" in str(caught.value)


def test_a_conversation_says_where_its_credentials_came_from():
    conversation = AwsConversation(credential(token=TOKEN), ADDRESS)
    assert conversation.credential_description() is None
    begin(conversation)
    assert (
        conversation.credential_description() == "credentials AKIA…MPLE from username and password"
    )


def test_a_reply_to_nothing_is_a_mistake_of_the_caller():
    conversation = AwsConversation(credential(), ADDRESS)
    message = encode({"s": conversation._nonce + b"s" * 32, "h": "localhost"})
    with pytest.raises(RuntimeError, match="sent nothing"):
        conversation.step(reply(message))


def test_properties_do_not_reach_a_credential_of_another_mechanism():
    with pytest.raises(ConfigurationError, match="does not apply"):
        build_credential("PLAIN", "u", "p", properties=MappingProxyType({"AWS_SESSION_TOKEN": "t"}))


def test_a_failed_source_is_an_authentication_failure_with_its_cause():
    def provider():
        raise KeyError("vault is sealed")

    one = build_credential(
        "MONGODB-AWS", None, None, properties={"AWS_CREDENTIAL_PROVIDER": provider}
    )
    with pytest.raises(AuthenticationFailed, match="raised KeyError: 'vault is sealed'") as caught:
        begin(AwsConversation(one, ADDRESS))
    assert isinstance(caught.value.__cause__, KeyError)
