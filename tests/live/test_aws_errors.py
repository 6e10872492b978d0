"""What MONGODB-AWS says when it has no good credentials: which source, why, what to do, and never
a key. Logins that the server refuses are `test_aws_refusals`'; what every error is looked through
for stands in `_aws`.
"""

from __future__ import annotations

import json
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from mongokey import MongoClient
from mongokey.errors import ConfigurationError, MongoError
from tests.live._aws import (
    KEY_ID,
    ROLE,
    SECRET,
    TOKEN,
    failure,
    given,
    misconfigured,
    nowhere,
    refused,
    show_no_secret,
)
from tests.servers.aws_cloud import AwsDeployment, ContainerCredentials, Fault
from tests.servers.child import free_port
from tests.servers.mechanism.aws import AwsKey
from tests.servers.needs import need_module

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("no_secret_logged")]


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
def test_the_repr_of_a_client_and_its_options_show_no_key(
    deployment: AwsDeployment, keywords: bool
) -> None:
    uri = deployment.uri(directConnection=True)
    if keywords:
        client: MongoClient[Any] = MongoClient(uri, **given(AwsKey(KEY_ID, SECRET, TOKEN)))
    else:
        token = quote(TOKEN, safe="")
        uri = uri.replace("://", f"://{KEY_ID}:{quote(SECRET, safe='')}@")
        client = MongoClient(f"{uri}&authMechanismProperties=AWS_SESSION_TOKEN:{token}")
    with client:
        show_no_secret(deployment, [repr(client), str(client), repr(client.options)])


@pytest.mark.parametrize(
    ("module", "by_program"),
    [("botocore", True), ("botocore", False), ("boto3", False)],
    ids=["botocore, to sign", "botocore", "boto3, to find keys"],
)
def test_without_boto3_the_error_says_what_to_install(
    deployment: AwsDeployment, monkeypatch: pytest.MonkeyPatch, module: str, by_program: bool
) -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] in ("boto3", "botocore"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    text = misconfigured(deployment, **(given(AwsKey(KEY_ID, SECRET)) if by_program else {}))
    assert "mongokey[aws]" in text
    assert "pip install" in text


# No credentials, or half of them


def test_without_credentials_every_source_is_listed_with_its_reason(
    deployment: AwsDeployment,
) -> None:
    text = nowhere(deployment)
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


def test_a_machine_without_a_network_says_so(deployment: AwsDeployment) -> None:
    """The metadata service's real address is not there: nobody is asked but it."""
    deployment.environment.set(AWS_EC2_METADATA_SERVICE_ENDPOINT=None)
    text = nowhere(deployment)
    assert "169.254.169.254" in text
    assert set(deployment.refused) == {"169.254.169.254"}
    deployment.refused.clear()


def test_a_metadata_service_that_is_switched_off_is_said_to_be(deployment: AwsDeployment) -> None:
    deployment.environment.set(AWS_EC2_METADATA_DISABLED="true")
    assert "AWS_EC2_METADATA_DISABLED" in nowhere(deployment)


def test_an_access_key_without_a_secret_in_the_environment(deployment: AwsDeployment) -> None:
    deployment.environment.set(AWS_ACCESS_KEY_ID=KEY_ID)
    assert "AWS_SECRET_ACCESS_KEY" in misconfigured(deployment)


def test_half_a_key_in_the_credentials_file(deployment: AwsDeployment) -> None:
    deployment.environment.write(".aws/credentials", f"[default]\naws_access_key_id = {KEY_ID}\n")
    text = misconfigured(deployment)
    assert "aws_secret_access_key" in text


def test_a_profile_that_is_not_there_is_named(deployment: AwsDeployment) -> None:
    deployment.environment.credentials_file({"default": deployment.user})
    deployment.environment.set(AWS_PROFILE="nosuchprofile")
    text = misconfigured(deployment)
    assert "nosuchprofile" in text
    assert "AWS_PROFILE" in text


@pytest.mark.parametrize("name", ["credentials", "config"])
def test_a_file_that_cannot_be_read_is_named(deployment: AwsDeployment, name: str) -> None:
    deployment.environment.write(f".aws/{name}", f"this is no ini file {SECRET}\n")
    assert f".aws/{name}" in misconfigured(deployment)


# credential_process


def run_process(deployment: AwsDeployment, script: str) -> str:
    path = deployment.environment.write("process.py", script)
    command = f"{sys.executable} -I {path}"
    deployment.environment.config_file({"default": {"credential_process": command}})
    return str(failure(deployment))


def test_a_process_that_fails_is_named_with_its_words(deployment: AwsDeployment) -> None:
    text = run_process(deployment, "import sys; sys.exit('the vault is sealed')")
    assert "the vault is sealed" in text
    assert "process" in text


def test_a_process_that_fails_reveals_no_secret_it_printed(deployment: AwsDeployment) -> None:
    text = run_process(deployment, f"import sys; sys.exit('secret_key={SECRET} token {TOKEN}')")
    assert "process" in text


@pytest.mark.parametrize(
    "document",
    [{}, {"Version": 2}, {"Version": 1, "AccessKeyId": KEY_ID}, "no JSON " + SECRET],
    ids=["empty", "version", "half", "no JSON"],
)
def test_a_process_that_prints_something_else(deployment: AwsDeployment, document: Any) -> None:
    printed = document if isinstance(document, str) else json.dumps(document)
    assert "process" in run_process(deployment, f"print({printed!r})")


# Roles and web identities: STS refuses


def web_identity(deployment: AwsDeployment, token: str) -> Path:
    path = deployment.environment.write("serviceaccount/token", token)
    deployment.environment.set(
        AWS_WEB_IDENTITY_TOKEN_FILE=str(path), AWS_ROLE_ARN=ROLE, AWS_MAX_ATTEMPTS="1"
    )
    return path


def test_a_web_identity_that_is_expired(deployment: AwsDeployment) -> None:
    web_identity(deployment, deployment.issuer.token(lifetime=-60))
    text = refused(deployment, None)
    assert "ExpiredToken" in text
    assert ROLE in text


def test_a_web_identity_of_another_audience(deployment: AwsDeployment) -> None:
    web_identity(deployment, deployment.issuer.token(audience="somebody else"))
    assert "InvalidIdentityToken" in refused(deployment, None)


def test_a_role_that_may_not_be_assumed(deployment: AwsDeployment) -> None:
    web_identity(deployment, deployment.issuer.token())
    deployment.sts.fail(
        "AssumeRoleWithWebIdentity", 403, "AccessDenied",
        "Not authorized to perform sts:AssumeRoleWithWebIdentity", times=5,
    )  # fmt: skip
    text = refused(deployment, None)
    assert "AccessDenied" in text
    assert ROLE in text


def test_a_web_identity_s_file_that_is_not_there(deployment: AwsDeployment) -> None:
    path = web_identity(deployment, "")
    path.unlink()
    error = failure(deployment)
    assert str(path) in str(error)


def test_a_role_without_its_session_s_rights(deployment: AwsDeployment) -> None:
    """AssumeRole by a profile, with a wrong secret key at its base."""
    deployment.environment.credentials_file({"base": AwsKey(deployment.user.access_key, SECRET)})
    deployment.environment.config_file(
        {"default": {"role_arn": ROLE, "source_profile": "base", "region": "us-east-1"}}
    )
    text = refused(deployment, None)
    assert "SignatureDoesNotMatch" in text
    assert ROLE in text


def test_an_sts_that_cannot_be_reached(deployment: AwsDeployment) -> None:
    web_identity(deployment, deployment.issuer.token())
    deployment.environment.set(AWS_ENDPOINT_URL_STS=f"http://127.0.0.1:{free_port()}")
    text = str(failure(deployment))
    assert "127.0.0.1" in text
    assert ROLE in text


# Containers


@pytest.fixture
def agent(deployment: AwsDeployment, monkeypatch: pytest.MonkeyPatch) -> ContainerCredentials:
    utils = need_module("botocore.utils", extra="aws")
    monkeypatch.setattr(utils.ContainerMetadataFetcher, "SLEEP_TIME", 0.01)
    agent = ContainerCredentials(lambda: deployment.session("task"), authorization="right")
    deployment.run(agent)
    deployment.environment.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=agent.full_uri)
    return agent


def test_a_container_s_agent_that_refuses(
    deployment: AwsDeployment, agent: ContainerCredentials
) -> None:
    deployment.environment.set(AWS_CONTAINER_AUTHORIZATION_TOKEN="wrong-authorization")
    text = str(failure(deployment))
    assert "401" in text
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in text
    assert "wrong-authorization" not in text


@pytest.mark.parametrize(
    "body", [b"no JSON", b"{}", b'{"AccessKeyId": "%s"}' % KEY_ID.encode()],
    ids=["no JSON", "empty", "half"],
)  # fmt: skip
def test_a_container_s_agent_that_talks_nonsense(
    deployment: AwsDeployment, agent: ContainerCredentials, body: bytes
) -> None:
    agent.faults.append(Fault(status=200, body=body, times=9))
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in str(failure(deployment))


def test_a_container_s_agent_that_is_not_there(
    deployment: AwsDeployment, agent: ContainerCredentials
) -> None:
    deployment.environment.set(
        AWS_CONTAINER_CREDENTIALS_FULL_URI=f"http://127.0.0.1:{free_port()}/x"
    )
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in str(failure(deployment))


def test_a_container_s_address_that_boto3_does_not_allow(
    deployment: AwsDeployment, agent: ContainerCredentials
) -> None:
    deployment.environment.set(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://example.com/x")
    text = str(failure(deployment))
    assert "example.com" in text
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in text


def test_a_container_s_token_file_that_is_not_there(
    deployment: AwsDeployment, agent: ContainerCredentials
) -> None:
    path = deployment.environment.home / "nowhere"
    deployment.environment.set(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(path))
    assert str(path) in str(failure(deployment))


def test_a_container_s_token_with_a_line_end(
    deployment: AwsDeployment, agent: ContainerCredentials
) -> None:
    deployment.environment.set(AWS_CONTAINER_AUTHORIZATION_TOKEN=f"{TOKEN}\n")
    assert "AWS_CONTAINER" in str(failure(deployment))


# EC2


def test_an_instance_without_a_role(deployment: AwsDeployment) -> None:
    imds = deployment.imds()
    imds.role = None
    text = nowhere(deployment)
    assert imds.url in text


def test_an_instance_that_is_too_many_hops_away(deployment: AwsDeployment) -> None:
    """A container on EC2 with the default hop limit of 1: the answer to PUT never comes."""
    imds = deployment.imds()
    imds.faults.append(Fault("PUT", wait=30.0, times=9))
    deployment.environment.set(AWS_METADATA_SERVICE_TIMEOUT="1")
    started = time.monotonic()
    text = nowhere(deployment)
    assert imds.url in text
    assert "hop" in text
    assert time.monotonic() - started < 10


def test_a_slow_metadata_service_keeps_to_the_login_s_deadline(deployment: AwsDeployment) -> None:
    imds = deployment.imds()
    imds.faults.append(Fault("PUT", wait=30.0, times=9))
    deployment.environment.set(AWS_METADATA_SERVICE_TIMEOUT="20")
    started = time.monotonic()
    error = failure(deployment, connectTimeoutMS=700, serverSelectionTimeoutMS=1500)
    assert error.timeout
    assert time.monotonic() - started < 10


def test_an_instance_whose_role_may_not_be_assumed(deployment: AwsDeployment) -> None:
    imds = deployment.imds()
    body = {"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role"}
    imds.faults.append(Fault(status=200, body=json.dumps(body).encode(), times=9))
    assert imds.url in nowhere(deployment)


# The program's callback


def provide(deployment: AwsDeployment, provider: Any) -> MongoError:
    return failure(deployment, authMechanismProperties={"AWS_CREDENTIAL_PROVIDER": provider})


def test_a_callback_that_raises(deployment: AwsDeployment) -> None:
    class Sealed(RuntimeError):
        pass

    def provider() -> Any:
        raise Sealed("the vault is sealed")

    error = provide(deployment, provider)
    assert "AWS_CREDENTIAL_PROVIDER" in str(error)
    assert "Sealed: the vault is sealed" in str(error)


def test_what_a_callback_s_error_reveals_is_not_repeated(deployment: AwsDeployment) -> None:
    """The program's own exception stays behind ours, as it is; our words leave secrets out."""

    def provider() -> Any:
        raise RuntimeError(f"no answer for secret={SECRET}, {TOKEN}")

    properties = {"AWS_CREDENTIAL_PROVIDER": provider}
    with MongoClient(deployment.uri(), authMechanismProperties=properties) as client:
        with pytest.raises(MongoError, match="no answer for") as caught:
            client["x"]["y"].find_one()
    show_no_secret(deployment, [str(caught.value), repr(caught.value), repr(vars(caught.value))])


@pytest.mark.parametrize(
    "given", [None, 7, (KEY_ID, None), ("", SECRET), {"secret": SECRET}],
    ids=["None", "number", "no secret", "no key", "dict"],
)  # fmt: skip
def test_a_callback_that_gives_something_else(deployment: AwsDeployment, given: Any) -> None:
    text = str(provide(deployment, lambda: given))
    assert "AWS_CREDENTIAL_PROVIDER" in text


def test_a_callback_that_takes_too_long(deployment: AwsDeployment) -> None:
    def provider() -> Any:
        time.sleep(5.0)

    started = time.monotonic()
    with MongoClient(
        deployment.uri(directConnection=True),
        connectTimeoutMS=500,
        serverSelectionTimeoutMS=1000,
        authMechanismProperties={"AWS_CREDENTIAL_PROVIDER": provider},
    ) as client:
        with pytest.raises(MongoError) as caught:
            client["x"]["y"].find_one()
    assert caught.value.timeout
    assert time.monotonic() - started < 4


# Logs


def test_a_login_by_given_keys_logs_no_secret_at_all(
    deployment: AwsDeployment, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even botocore's loggers at DEBUG, whose signer would print the session token."""
    with MongoClient(
        deployment.uri(directConnection=True), **given(deployment.session())
    ) as client:
        client["x"]["y"].find_one()
    records = [r for r in caplog.records if r.name.split(".")[0] not in ("moto", "werkzeug")]
    show_no_secret(deployment, [record.getMessage() for record in records])


def test_a_login_by_found_keys_logs_no_secret_of_mongokey_s_doing(
    deployment: AwsDeployment,
) -> None:
    """The deployment's end looks through the log. botocore's own loggers do print at DEBUG what STS
    answered (botocore.parsers); whoever sets them to DEBUG asks for that."""
    web_identity(deployment, deployment.issuer.token())
    with MongoClient(deployment.uri(directConnection=True)) as client:
        client["x"]["y"].find_one()


def test_the_guard_against_secrets_finds_them(deployment: AwsDeployment) -> None:
    with pytest.raises(AssertionError):
        show_no_secret(deployment, [f"x {quote(deployment.user.secret_key, safe='')} y"])
    with socket.socket() as probe, pytest.raises(OSError, match="unreachable"):
        probe.connect(("192.0.2.1", 80))
    assert deployment.refused == ["192.0.2.1"]
    deployment.refused.clear()
