"""What MONGODB-AWS says when it fails: which source, why, what to do, and never a key.

Every error is looked through for all that this test's AWS ever issued: access key ids, secret
keys, session tokens and web identity tokens; so is what was logged, by whomever, except where a
test says so (boto3's own loggers print replies of AWS at DEBUG).
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bson
import pytest

from mongokey import MongoClient
from mongokey.auth.errors import AuthenticationFailed, ServerProofError
from mongokey.errors import ConfigurationError, MongoError, OperationFailure
from tests.servers.aws_cloud import AwsCloud, AwsWorld, ContainerCredentials, Fault
from tests.servers.aws_cloud.environment import free_port
from tests.servers.mechanism import Refused
from tests.servers.mechanism.aws import AwsKey, atlas_refusal
from tests.servers.needs import need_module
from tests.servers.scripted.answers import Reply, Request
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "AQoDYXdzEJr/+/EXAMPLE/TOKEN/0123456789/abcdefghijklmnop=="
ROLE = "arn:aws:iam::123456789012:role/pod"
#: Loggers that show what AWS answered, by boto3's design.
BOTO = ("botocore", "boto3", "urllib3", "s3transfer", "moto", "werkzeug")


@pytest.fixture(scope="module")
def cloud(open_secantus: SecantusServer) -> Iterator[AwsCloud]:
    with AwsCloud(open_secantus) as cloud:
        yield cloud


@pytest.fixture
def world(
    cloud: AwsCloud,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[AwsWorld]:
    caplog.set_level(logging.DEBUG)
    with AwsWorld(cloud, monkeypatch, tmp_path) as world:
        yield world
        show_no_secret(
            world, [r.getMessage() for r in caplog.records if r.name.split(".")[0] not in BOTO]
        )


def show_no_secret(world: AwsWorld, shown: list[str]) -> None:
    """Nothing that was issued, or that a test made up, is in these texts, escaped or not."""
    secrets = {KEY_ID, SECRET, TOKEN}
    for key in world.sts.issued():
        secrets |= {key.access_key, key.secret_key, key.token or SECRET}
    secrets |= {call.parameters.get("WebIdentityToken") or TOKEN for call in world.sts.calls}
    secrets |= {quote(secret, safe="") for secret in secrets}
    assert not [text for text in shown for secret in secrets if secret in text]


def failure(world: AwsWorld, uri: str | None = None, **options: Any) -> MongoError:
    """The error of a login that fails; it shows no secret."""
    options = {"serverSelectionTimeoutMS": 10_000, **options}
    uri = world.uri(directConnection=True) if uri is None else uri
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
    show_no_secret(world, shown)
    return error


def refused(world: AwsWorld, code: int | None = 18, **options: Any) -> str:
    """The text of a refused login."""
    error = failure(world, **options)
    assert isinstance(error, AuthenticationFailed)
    assert error.code == code
    print(error)
    return str(error)


def misconfigured(world: AwsWorld, **options: Any) -> str:
    """The text of a login that the settings made impossible; nothing was sent."""
    error = failure(world, **options)
    assert isinstance(error, ConfigurationError)
    assert not world.server.commands("saslContinue")
    print(error)
    return str(error)


def nowhere(world: AwsWorld, **options: Any) -> str:
    """The text of a login that found no credentials: PyMongo's class for it, without a code, as
    no server said it."""
    text = refused(world, None, **options)
    assert "AWS-NO-CREDENTIALS" in text
    assert not world.server.commands("saslStart")
    return text


# Settings, when the client is made


@pytest.mark.parametrize(
    ("info", "options", "word"),
    [
        (f"{KEY_ID}@", {}, "AWS-SECRET-MISSING"),
        ("", {"username": KEY_ID}, "AWS-SECRET-MISSING"),
        ("", {"password": SECRET}, ""),
        ("", {"authMechanismProperties": {"AWS_SESSION_TOKEN": TOKEN}}, "AWS-KEY-MISSING"),
        (f"{KEY_ID}:{quote(SECRET, safe='')}@", {"authSource": "admin"}, "authSource"),
        ("", {"authMechanismProperties": {"AWS_TOKEN": TOKEN}}, "AWS_TOKEN"),
        ("", {"authMechanismProperties": {"AWS_CREDENTIAL_PROVIDER": 7}}, "CREDENTIAL_PROVIDER"),
    ],
    ids=["key alone", "key alone by keyword", "secret alone", "token alone", "authSource",
         "unknown property", "provider that is none"],
)  # fmt: skip
def test_impossible_settings_are_refused_at_once(
    info: str, options: dict[str, Any], word: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MongoClient(f"mongodb://{info}127.0.0.1/?authMechanism=MONGODB-AWS", **options)
    text = "".join(traceback.format_exception(caught.value))
    assert word in text
    assert not [secret for secret in (SECRET, quote(SECRET, safe=""), TOKEN) if secret in text]


@pytest.mark.parametrize("keywords", [False, True], ids=["uri", "keywords"])
def test_the_repr_of_a_client_and_its_options_show_no_key(world: AwsWorld, keywords: bool) -> None:
    uri = world.uri(directConnection=True)
    if keywords:
        client: MongoClient[Any] = MongoClient(uri, **given(AwsKey(KEY_ID, SECRET, TOKEN)))
    else:
        token = quote(TOKEN, safe="")
        uri = uri.replace("://", f"://{KEY_ID}:{quote(SECRET, safe='')}@")
        client = MongoClient(f"{uri}&authMechanismProperties=AWS_SESSION_TOKEN:{token}")
    with client:
        show_no_secret(world, [repr(client), str(client), repr(client.options)])


@pytest.mark.parametrize(
    ("module", "by_program"),
    [("botocore", True), ("botocore", False), ("boto3", False)],
    ids=["botocore, to sign", "botocore", "boto3, to find keys"],
)
def test_without_boto3_the_error_says_what_to_install(
    world: AwsWorld, monkeypatch: pytest.MonkeyPatch, module: str, by_program: bool
) -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] in ("boto3", "botocore"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    text = misconfigured(world, **(given(AwsKey(KEY_ID, SECRET)) if by_program else {}))
    assert "mongokey[aws]" in text
    assert "pip install" in text


# No credentials, or half of them


def test_without_credentials_every_source_is_listed_with_its_reason(world: AwsWorld) -> None:
    text = nowhere(world)
    for place in (
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "~/.aws/credentials",
        "~/.aws/config",
        "credential_process",
        "SSO",
        "127.0.0.1",
    ):
        assert place in text


def test_a_machine_without_a_network_says_so(world: AwsWorld) -> None:
    """The metadata service's real address is not there: nobody is asked but it."""
    world.environment.set(AWS_EC2_METADATA_SERVICE_ENDPOINT=None)
    text = nowhere(world)
    assert "169.254.169.254" in text
    assert set(world.refused) == {"169.254.169.254"}
    world.refused.clear()


def test_a_metadata_service_that_is_switched_off_is_said_to_be(world: AwsWorld) -> None:
    world.environment.set(AWS_EC2_METADATA_DISABLED="true")
    assert "AWS_EC2_METADATA_DISABLED" in nowhere(world)


def test_an_access_key_without_a_secret_in_the_environment(world: AwsWorld) -> None:
    world.environment.set(AWS_ACCESS_KEY_ID=KEY_ID)
    assert "AWS_SECRET_ACCESS_KEY" in misconfigured(world)


def test_half_a_key_in_the_credentials_file(world: AwsWorld) -> None:
    world.environment.write(".aws/credentials", f"[default]\naws_access_key_id = {KEY_ID}\n")
    text = misconfigured(world)
    assert "aws_secret_access_key" in text


def test_a_profile_that_is_not_there_is_named(world: AwsWorld) -> None:
    world.environment.credentials_file({"default": world.user})
    world.environment.set(AWS_PROFILE="nosuchprofile")
    text = misconfigured(world)
    assert "nosuchprofile" in text
    assert "AWS_PROFILE" in text


@pytest.mark.parametrize("name", ["credentials", "config"])
def test_a_file_that_cannot_be_read_is_named(world: AwsWorld, name: str) -> None:
    world.environment.write(f".aws/{name}", f"this is no ini file {SECRET}\n")
    assert f".aws/{name}" in misconfigured(world)


# credential_process


def run_process(world: AwsWorld, script: str) -> str:
    path = world.environment.write("process.py", script)
    command = f"{sys.executable} -I {path}"
    world.environment.config_file({"default": {"credential_process": command}})
    return str(failure(world))


def test_a_process_that_fails_is_named_with_its_words(world: AwsWorld) -> None:
    text = run_process(world, "import sys; sys.exit('the vault is sealed')")
    assert "the vault is sealed" in text
    assert "process" in text


def test_a_process_that_fails_reveals_no_secret_it_printed(world: AwsWorld) -> None:
    text = run_process(world, f"import sys; sys.exit('secret_key={SECRET} token {TOKEN}')")
    assert "process" in text


@pytest.mark.parametrize(
    "document",
    [{}, {"Version": 2}, {"Version": 1, "AccessKeyId": KEY_ID}, "no JSON " + SECRET],
    ids=["empty", "version", "half", "no JSON"],
)
def test_a_process_that_prints_something_else(world: AwsWorld, document: Any) -> None:
    printed = document if isinstance(document, str) else json.dumps(document)
    assert "process" in run_process(world, f"print({printed!r})")


# Roles and web identities: STS refuses


def web_identity(world: AwsWorld, token: str) -> Path:
    path = world.environment.write("serviceaccount/token", token)
    world.environment.set(
        AWS_WEB_IDENTITY_TOKEN_FILE=str(path), AWS_ROLE_ARN=ROLE, AWS_MAX_ATTEMPTS="1"
    )
    return path


def test_a_web_identity_that_is_expired(world: AwsWorld) -> None:
    web_identity(world, world.issuer.token(lifetime=-60))
    text = refused(world, None)
    assert "ExpiredToken" in text
    assert ROLE in text


def test_a_web_identity_of_another_audience(world: AwsWorld) -> None:
    web_identity(world, world.issuer.token(audience="somebody else"))
    assert "InvalidIdentityToken" in refused(world, None)


def test_a_role_that_may_not_be_assumed(world: AwsWorld) -> None:
    web_identity(world, world.issuer.token())
    world.sts.fail(
        "AssumeRoleWithWebIdentity", 403, "AccessDenied",
        "Not authorized to perform sts:AssumeRoleWithWebIdentity", times=5,
    )  # fmt: skip
    text = refused(world, None)
    assert "AccessDenied" in text
    assert ROLE in text


def test_a_web_identity_s_file_that_is_not_there(world: AwsWorld) -> None:
    path = web_identity(world, "")
    path.unlink()
    error = failure(world)
    assert str(path) in str(error)


def test_a_role_without_its_session_s_rights(world: AwsWorld) -> None:
    """AssumeRole by a profile, with a wrong secret key at its base."""
    world.environment.credentials_file({"base": AwsKey(world.user.access_key, SECRET)})
    world.environment.config_file(
        {"default": {"role_arn": ROLE, "source_profile": "base", "region": "us-east-1"}}
    )
    text = refused(world, None)
    assert "SignatureDoesNotMatch" in text
    assert ROLE in text


def test_an_sts_that_cannot_be_reached(world: AwsWorld) -> None:
    web_identity(world, world.issuer.token())
    world.environment.set(AWS_ENDPOINT_URL_STS=f"http://127.0.0.1:{free_port()}")
    text = str(failure(world))
    assert "127.0.0.1" in text
    assert ROLE in text


# Containers


@pytest.fixture
def agent(world: AwsWorld, monkeypatch: pytest.MonkeyPatch) -> ContainerCredentials:
    utils = need_module("botocore.utils", extra="aws")
    monkeypatch.setattr(utils.ContainerMetadataFetcher, "SLEEP_TIME", 0.01)
    agent = ContainerCredentials(lambda: world.session("task"), authorization="right")
    world.start(agent)
    world.environment.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=agent.full_uri)
    return agent


def test_a_container_s_agent_that_refuses(world: AwsWorld, agent: ContainerCredentials) -> None:
    world.environment.set(AWS_CONTAINER_AUTHORIZATION_TOKEN="wrong-authorization")
    text = str(failure(world))
    assert "401" in text
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in text
    assert "wrong-authorization" not in text


@pytest.mark.parametrize(
    "body", [b"no JSON", b"{}", b'{"AccessKeyId": "%s"}' % KEY_ID.encode()],
    ids=["no JSON", "empty", "half"],
)  # fmt: skip
def test_a_container_s_agent_that_talks_nonsense(
    world: AwsWorld, agent: ContainerCredentials, body: bytes
) -> None:
    agent.faults.append(Fault(status=200, body=body, times=9))
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in str(failure(world))


def test_a_container_s_agent_that_is_not_there(
    world: AwsWorld, agent: ContainerCredentials
) -> None:
    world.environment.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"http://127.0.0.1:{free_port()}/x")
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in str(failure(world))


def test_a_container_s_address_that_boto3_does_not_allow(
    world: AwsWorld, agent: ContainerCredentials
) -> None:
    world.environment.set(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://example.com/x")
    text = str(failure(world))
    assert "example.com" in text
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in text


def test_a_container_s_token_file_that_is_not_there(
    world: AwsWorld, agent: ContainerCredentials
) -> None:
    path = world.environment.home / "nowhere"
    world.environment.set(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(path))
    assert str(path) in str(failure(world))


def test_a_container_s_token_with_a_line_end(world: AwsWorld, agent: ContainerCredentials) -> None:
    world.environment.set(AWS_CONTAINER_AUTHORIZATION_TOKEN=f"{TOKEN}\n")
    assert "AWS_CONTAINER" in str(failure(world))


# EC2


def test_an_instance_without_a_role(world: AwsWorld) -> None:
    imds = world.imds()
    imds.role = None
    text = nowhere(world)
    assert imds.url in text


def test_an_instance_that_is_too_many_hops_away(world: AwsWorld) -> None:
    """A container on EC2 with the default hop limit of 1: the answer to PUT never comes."""
    imds = world.imds()
    imds.faults.append(Fault("PUT", wait=30.0, times=9))
    world.environment.set(AWS_METADATA_SERVICE_TIMEOUT="1")
    started = time.monotonic()
    text = nowhere(world)
    assert imds.url in text
    assert "hop" in text
    assert time.monotonic() - started < 10


def test_a_slow_metadata_service_keeps_to_the_login_s_deadline(world: AwsWorld) -> None:
    imds = world.imds()
    imds.faults.append(Fault("PUT", wait=30.0, times=9))
    world.environment.set(AWS_METADATA_SERVICE_TIMEOUT="20")
    started = time.monotonic()
    error = failure(world, connectTimeoutMS=700, serverSelectionTimeoutMS=1500)
    assert error.timeout
    assert time.monotonic() - started < 10


def test_an_instance_whose_role_may_not_be_assumed(world: AwsWorld) -> None:
    imds = world.imds()
    body = {"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role"}
    imds.faults.append(Fault(status=200, body=json.dumps(body).encode(), times=9))
    assert imds.url in nowhere(world)


# The program's callback


def provide(world: AwsWorld, provider: Any) -> MongoError:
    return failure(world, authMechanismProperties={"AWS_CREDENTIAL_PROVIDER": provider})


def test_a_callback_that_raises(world: AwsWorld) -> None:
    class Sealed(RuntimeError):
        pass

    def provider() -> Any:
        raise Sealed("the vault is sealed")

    error = provide(world, provider)
    assert "AWS_CREDENTIAL_PROVIDER" in str(error)
    assert "Sealed: the vault is sealed" in str(error)


def test_what_a_callback_s_error_reveals_is_not_repeated(world: AwsWorld) -> None:
    """The program's own exception stays behind ours, as it is; our words leave secrets out."""

    def provider() -> Any:
        raise RuntimeError(f"no answer for secret={SECRET}, {TOKEN}")

    properties = {"AWS_CREDENTIAL_PROVIDER": provider}
    with MongoClient(world.uri(), authMechanismProperties=properties) as client:
        with pytest.raises(MongoError, match="no answer for") as caught:
            client["x"]["y"].find_one()
    show_no_secret(world, [str(caught.value), repr(caught.value), repr(vars(caught.value))])


@pytest.mark.parametrize(
    "given", [None, 7, (KEY_ID, None), ("", SECRET), {"secret": SECRET}],
    ids=["None", "number", "no secret", "no key", "dict"],
)  # fmt: skip
def test_a_callback_that_gives_something_else(world: AwsWorld, given: Any) -> None:
    text = str(provide(world, lambda: given))
    assert "AWS_CREDENTIAL_PROVIDER" in text


def test_a_callback_that_takes_too_long(world: AwsWorld) -> None:
    def provider() -> Any:
        time.sleep(5.0)

    started = time.monotonic()
    with MongoClient(
        world.uri(directConnection=True),
        connectTimeoutMS=500,
        serverSelectionTimeoutMS=1000,
        authMechanismProperties={"AWS_CREDENTIAL_PROVIDER": provider},
    ) as client:
        with pytest.raises(MongoError) as caught:
            client["x"]["y"].find_one()
    assert caught.value.timeout
    assert time.monotonic() - started < 4


# The server refuses


def given(key: AwsKey) -> dict[str, Any]:
    """The key as the program's own."""
    options: dict[str, Any] = {"username": key.access_key, "password": key.secret_key}
    if key.token is not None:
        options["authMechanismProperties"] = {"AWS_SESSION_TOKEN": key.token}
    return options


def test_a_wrong_secret_key(world: AwsWorld) -> None:
    text = refused(world, **given(AwsKey(world.user.access_key, SECRET)))
    assert "AWS-STS-REFUSED" in text


def test_a_temporary_key_without_its_token(world: AwsWorld) -> None:
    key = world.session()
    text = refused(world, **given(AwsKey(key.access_key, key.secret_key)))
    assert "AWS-TOKEN-MISSING, certain" in text
    assert "AWS_SESSION_TOKEN" in text


def test_a_user_s_own_key_with_a_token(world: AwsWorld) -> None:
    key = world.user
    text = refused(world, **given(AwsKey(key.access_key, key.secret_key, TOKEN)))
    assert "AWS-TOKEN-FOREIGN" in text


def test_the_source_of_refused_credentials_is_named(world: AwsWorld) -> None:
    world.environment.set_key(AwsKey(world.user.access_key, SECRET))
    assert "environment" in refused(world)
    world.environment.set_key(AwsKey("", "", ""))
    world.environment.set(
        AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None, AWS_SESSION_TOKEN=None
    )
    world.environment.credentials_file({"mine": AwsKey(world.user.access_key, SECRET)})
    world.environment.set(AWS_PROFILE="mine")
    text = refused(world)
    assert "~/.aws/credentials, profile mine" in text


def test_an_expired_token_that_worked_before(world: AwsWorld) -> None:
    key = world.session()
    with MongoClient(world.uri(directConnection=True), **given(key)) as client:
        client["x"]["y"].find_one()
        world.acceptor.expire(key.access_key)
        client._pool().clear()
        with pytest.raises(AuthenticationFailed) as caught:
            client["x"]["y"].find_one()
    show_no_secret(world, [str(caught.value), *traceback.format_exception(caught.value)])
    assert "AWS-TOKEN-EXPIRED" in str(caught.value)


def test_an_expiry_that_has_passed_is_certain(world: AwsWorld) -> None:
    from botocore.credentials import Credentials

    class Dated(Credentials):  # type: ignore[misc]
        """Credentials that say when they end, in the attribute that botocore's use."""

        _expiry_time = datetime.now(timezone.utc) - timedelta(hours=1)

    key = world.session("app", lifetime=-3600)
    properties = {
        "AWS_CREDENTIAL_PROVIDER": lambda: Dated(key.access_key, key.secret_key, key.token)
    }
    text = refused(world, authMechanismProperties=properties)
    assert "AWS-TOKEN-EXPIRED" in text


@pytest.mark.parametrize(
    ("ahead", "word"), [(-3600, "60 minutes ahead of"), (1200, "20 minutes behind")]
)
def test_a_wrong_clock_is_told_from_the_server_s_hello(
    world: AwsWorld, ahead: float, word: str
) -> None:
    now = datetime.now(timezone.utc)
    world.server.hello = {**world.server.hello, "localTime": now + timedelta(seconds=ahead)}
    world.acceptor.clock = lambda: time.time() + ahead
    text = refused(world, **given(world.user))
    assert "AWS-CLOCK-SKEW" in text
    assert word in text
    assert f"{now:%Y-%m-%d}" in text


def test_a_right_clock_is_not_blamed(world: AwsWorld) -> None:
    assert "CLOCK" not in refused(world, **given(AwsKey(world.user.access_key, SECRET)))


def test_an_identity_that_the_server_does_not_know(world: AwsWorld) -> None:
    world.acceptor.users = set()
    text = refused(world, **given(world.user))
    assert "AWS-STS-REFUSED" in text
    assert "ARN" in text


def test_atlas_s_words_are_told(world: AwsWorld) -> None:
    world.acceptor.refuse()
    text = refused(world, 8000, **given(world.user))
    assert "403" in text
    assert "AWS-STS-REFUSED, likely" in text
    world.acceptor.refuse(atlas_refusal(503))
    assert "AWS-STS-THROTTLED" in refused(world, 8000, **given(world.user))
    arn = world.user.arn
    world.acceptor.refuse(Refused(f"bad auth : user not found: {arn}", 8000, "AtlasError"))
    text = refused(world, 8000, **given(world.user))
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
    world: AwsWorld, host: Any
) -> None:
    world.acceptor.first = lambda nonce: bson.encode({"s": nonce + b"s" * 32, "h": host})
    error = failure(world, **given(world.user))
    assert isinstance(error, ServerProofError)
    assert not world.server.commands("saslContinue")


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
    world: AwsWorld, make: Any
) -> None:
    world.acceptor.first = lambda nonce: bson.encode({"s": make(nonce), "h": "sts.amazonaws.com"})
    error = failure(world, **given(world.user))
    assert isinstance(error, ServerProofError)
    assert "nonce" in str(error)
    assert not world.server.commands("saslContinue")


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x00", bson.encode({}), bson.encode({"s": b"x" * 64}), b"\xff\xff\xff\x7f\x00",
     bson.encode({"h": "sts.amazonaws.com"})],
    ids=["nothing", "zero", "empty", "no host", "length", "no nonce"],
)  # fmt: skip
def test_a_bad_payload_ends_the_login(world: AwsWorld, payload: bytes) -> None:
    world.acceptor.first = lambda nonce: payload
    error = failure(world, **given(world.user))
    assert isinstance(error, OperationFailure)
    assert not world.server.commands("saslContinue")


@pytest.mark.parametrize("early", [True, False], ids=["early", "never"])
def test_a_server_that_ends_the_login_at_the_wrong_time_is_not_believed(
    world: AwsWorld, early: bool
) -> None:
    """Done before anything was signed, in an answer that is right but for that; or never."""

    def answer(request: Request) -> Reply:
        nonce = bson.decode(request.document["payload"])["r"] if early else b""
        payload = bson.encode({"s": nonce + b"s" * 32, "h": "sts.amazonaws.com"})
        return Reply({"conversationId": 1, "done": early, "payload": payload, "ok": 1.0})

    world.server.on["saslStart" if early else "saslContinue"] = answer
    error = failure(world, **given(world.user))
    assert isinstance(error, ServerProofError)
    assert len(world.server.commands("saslContinue")) == (not early)


# Logs


def test_a_login_by_given_keys_logs_no_secret_at_all(
    world: AwsWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even botocore's loggers at DEBUG, whose signer would print the session token."""
    with MongoClient(world.uri(directConnection=True), **given(world.session())) as client:
        client["x"]["y"].find_one()
    records = [r for r in caplog.records if r.name.split(".")[0] not in ("moto", "werkzeug")]
    show_no_secret(world, [record.getMessage() for record in records])


def test_a_login_by_found_keys_logs_no_secret_of_mongokey_s_doing(world: AwsWorld) -> None:
    """The world's end looks through the log. botocore's own loggers do print at DEBUG what STS
    answered (botocore.parsers); whoever sets them to DEBUG asks for that."""
    web_identity(world, world.issuer.token())
    with MongoClient(world.uri(directConnection=True)) as client:
        client["x"]["y"].find_one()


def test_the_guard_against_secrets_finds_them(world: AwsWorld) -> None:
    with pytest.raises(AssertionError):
        show_no_secret(world, [f"x {quote(world.user.secret_key, safe='')} y"])
    with socket.socket() as probe, pytest.raises(OSError, match="unreachable"):
        probe.connect(("192.0.2.1", 80))
    assert world.refused == ["192.0.2.1"]
    world.refused.clear()
