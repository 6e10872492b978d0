"""MONGODB-AWS from each place that credentials come from, to a write and a read.

Every source of PyMongo's authentication documentation is there, and most tests are PyMongo's
too: a program that moves from it finds its credentials where they were. Whoever won is seen by
the name that the server knows (auth.md, "MONGODB-AWS"; tests/mongodb-aws.md).
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymongo
import pytest

import mongokey
from tests.servers.aws_cloud import AwsDeployment, ContainerCredentials, SsoPortal
from tests.servers.aws_cloud.namespace import Namespace
from tests.servers.mechanism.aws import AwsKey, identity_of
from tests.servers.needs import need_module

pytestmark = pytest.mark.live

SECRET = "sec/ret+with%2Fall@of:them?&=#%"
ECS_ADDRESS = "169.254.170.2"


LogIn = Callable[..., str]


def prove(client: Any) -> str:
    """Write and read, and give the name that the server knows the client by."""
    written = {"_id": secrets.token_hex(6), "text": "ü"}
    client["aws"]["logins"].insert_one(dict(written))
    assert client["aws"]["logins"].find_one({"_id": written["_id"]}) == written
    (user,) = client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"]
    assert user["db"] == "$external"
    name: str = user["user"]
    return name


@pytest.fixture(params=[mongokey, pymongo], ids=["mongokey", "pymongo"])
def log_in(request: pytest.FixtureRequest, deployment: AwsDeployment) -> Iterator[LogIn]:
    """Logs in by the deployment's URI, or another one, and gives the name the server knows."""
    driver = request.param
    # PyMongo's credentials are cached for the process: none before, none after.
    auth = need_module("pymongo_auth_aws.auth", extra="test")
    auth.set_cached_credentials(None)

    def make(uri: str | None = None, **options: Any) -> str:
        uri = deployment.uri(directConnection=True) if uri is None else uri
        with driver.MongoClient(uri, serverSelectionTimeoutMS=10_000, **options) as client:
            return prove(client)

    yield make
    auth.set_cached_credentials(None)


def with_key(uri: str, key: AwsKey) -> str:
    user = f"{quote(key.access_key, safe='')}:{quote(key.secret_key, safe='')}"
    return uri.replace("://", f"://{user}@")


def role(name: str) -> str:
    return f"arn:aws:iam::123456789012:role/{name}"


def assumed(name: str) -> str:
    """How the server knows whoever has assumed a role."""
    return f"arn:aws:sts::123456789012:assumed-role/{name}/*"


# Given by the program


def test_keys_stand_in_the_uri_percent_escaped(deployment: AwsDeployment, log_in: LogIn) -> None:
    key = deployment.new_user(SECRET)
    assert log_in(with_key(deployment.uri(directConnection=True), key)) == key.arn
    assert deployment.acceptor.signed[-1] == key.access_key


def test_keys_are_keywords_as_they_are(deployment: AwsDeployment, log_in: LogIn) -> None:
    key = deployment.new_user(SECRET)
    assert log_in(username=key.access_key, password=key.secret_key) == key.arn


def test_the_mechanism_may_be_a_keyword(deployment: AwsDeployment, log_in: LogIn) -> None:
    key = deployment.user
    assert (
        log_in(
            deployment.server.uri(directConnection=True),
            authMechanism="MONGODB-AWS",
            authSource="$external",
            username=key.access_key,
            password=key.secret_key,
        )
        == key.arn
    )


def test_a_session_token_stands_in_the_uri_percent_escaped(
    deployment: AwsDeployment, log_in: LogIn
) -> None:
    key = deployment.session()
    assert key.token is not None
    assert set("+/=") & set(key.token)
    uri = with_key(deployment.uri(directConnection=True), key)
    token = quote(key.token, safe="")
    assert log_in(f"{uri}&authMechanismProperties=AWS_SESSION_TOKEN:{token}") == assumed("app")


def test_a_session_token_may_be_a_keyword(deployment: AwsDeployment, log_in: LogIn) -> None:
    key = deployment.session()
    identity = log_in(
        username=key.access_key,
        password=key.secret_key,
        authMechanismProperties={"AWS_SESSION_TOKEN": key.token},
    )
    assert identity == assumed("app")


def test_keys_given_by_the_program_go_before_the_environment(
    deployment: AwsDeployment, log_in: LogIn
) -> None:
    deployment.environment.set_key(deployment.session())
    key = deployment.user
    assert log_in(username=key.access_key, password=key.secret_key) == key.arn


@pytest.mark.parametrize(
    "host",
    [
        "sts.amazonaws.com",
        "sts.us-west-2.amazonaws.com",
        "sts.us-west-2.amazonaws.com.ch",
        "sts-fips.us-east-1.amazonaws.com",
        "example.com",
        "localhost",
        ".".join(["a" * 63] * 4),
    ],
    ids=lambda host: host[:40],
)
def test_the_region_comes_from_the_host(
    deployment: AwsDeployment, log_in: LogIn, host: str
) -> None:
    deployment.acceptor.host = host
    deployment.environment.set_key(deployment.user)
    # Not the region of the environment, which is for the program's own calls of AWS.
    deployment.environment.set(AWS_DEFAULT_REGION="eu-central-1", AWS_REGION="eu-central-1")
    assert log_in() == deployment.user.arn


# Environment variables (Lambda)


def test_lambda_without_a_session_token(deployment: AwsDeployment, log_in: LogIn) -> None:
    deployment.environment.set_key(deployment.user)
    assert log_in() == deployment.user.arn


def test_lambda_with_a_session_token(deployment: AwsDeployment, log_in: LogIn) -> None:
    deployment.environment.set_key(deployment.session("lambda"))
    assert log_in() == assumed("lambda")


def test_environment_variables_are_never_percent_decoded(
    deployment: AwsDeployment, log_in: LogIn
) -> None:
    key = deployment.new_user("abc%2Fdef%3D%25+/ghi%zz")
    deployment.environment.set_key(key)
    assert log_in() == key.arn


# Files


def test_the_shared_credentials_file_s_default_profile(
    deployment: AwsDeployment, log_in: LogIn
) -> None:
    deployment.environment.credentials_file(
        {"default": deployment.user, "other": deployment.new_user()}
    )
    assert log_in() == deployment.user.arn


def test_a_named_profile(deployment: AwsDeployment, log_in: LogIn) -> None:
    deployment.environment.credentials_file(
        {"default": deployment.new_user(), "mongodb": deployment.session()}
    )
    deployment.environment.set(AWS_PROFILE="mongodb")
    assert log_in() == assumed("app")


def test_a_credentials_file_elsewhere(deployment: AwsDeployment, log_in: LogIn) -> None:
    deployment.environment.credentials_file({"default": deployment.new_user()})
    path = deployment.environment.credentials_file({"default": deployment.user}, "elsewhere/keys")
    deployment.environment.set(AWS_SHARED_CREDENTIALS_FILE=str(path))
    assert log_in() == deployment.user.arn


def test_an_empty_credentials_file_name_means_none(
    deployment: AwsDeployment, log_in: LogIn
) -> None:
    deployment.environment.credentials_file({"default": deployment.user})
    deployment.environment.set(AWS_SHARED_CREDENTIALS_FILE="")
    deployment.imds()
    assert log_in() == assumed("ec2-role")


def test_keys_in_the_config_file(deployment: AwsDeployment, log_in: LogIn) -> None:
    key = deployment.user
    settings = {"aws_access_key_id": key.access_key, "aws_secret_access_key": key.secret_key}
    deployment.environment.config_file({"profile mine": settings})
    deployment.environment.set(AWS_PROFILE="mine")
    assert log_in() == key.arn


def test_a_role_of_the_config_file_is_assumed(deployment: AwsDeployment, log_in: LogIn) -> None:
    deployment.environment.credentials_file({"base": deployment.user})
    deployment.environment.config_file(
        {
            "profile mine": {
                "role_arn": role("from-config"),
                "source_profile": "base",
                "role_session_name": "my-session",
                "region": "eu-west-1",
            }
        }
    )
    deployment.environment.set(AWS_PROFILE="mine")
    assert log_in() == assumed("from-config")
    (call,) = [call for call in deployment.sts.calls if call.action == "AssumeRole"]
    assert call.access_key == deployment.user.access_key
    assert call.parameters["RoleSessionName"] == "my-session"


def test_a_role_of_the_config_file_may_start_from_the_container(
    deployment: AwsDeployment, log_in: LogIn
) -> None:
    agent = ContainerCredentials(lambda: deployment.session("task"))
    deployment.run(agent)
    deployment.environment.set(
        AWS_CONTAINER_CREDENTIALS_FULL_URI=agent.full_uri,
        AWS_PROFILE="mine",
        AWS_DEFAULT_REGION="eu-west-1",
    )
    settings = {"role_arn": role("from-task"), "credential_source": "EcsContainer"}
    deployment.environment.config_file({"profile mine": settings})
    assert log_in() == assumed("from-task")
    assert deployment.sts_calls() == ["AssumeRole"]


@pytest.mark.parametrize("temporary", [False, True], ids=["key pair", "temporary"])
def test_a_credential_process(deployment: AwsDeployment, log_in: LogIn, temporary: bool) -> None:
    key = deployment.session("process") if temporary else deployment.user
    command = deployment.environment.process(key)
    deployment.environment.config_file({"default": {"credential_process": command}})
    assert log_in() == identity_of(key.arn)
    assert deployment.environment.runs() == 1


# Single sign-on. boto3 keeps its directory as it is when it is imported: a process of its own.

LOG_IN = """
import json, sys
import mongokey
with mongokey.MongoClient(sys.argv[1], serverSelectionTimeoutMS=10_000) as client:
    client["aws"]["alone"].insert_one({"x": 1})
    assert client["aws"]["alone"].find_one()["x"] == 1
    print(client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"][0]["user"])
"""


def log_in_alone(uri: str, namespace: Namespace | None = None) -> str:
    """Log in in a process of its own, in the namespace if there is one."""
    source = str(Path(mongokey.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-c", LOG_IN, uri]
    if namespace is None:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=30, env=environment, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()
    return namespace.run(command, env=environment).strip()


def test_single_sign_on(deployment: AwsDeployment) -> None:
    portal = SsoPortal(
        lambda: deployment.session("sso-role"), account="123456789012", role="Developer"
    )
    deployment.run(portal)
    start_url = "https://example.awsapps.com/start"
    deployment.environment.config_file(
        {
            "profile work": {
                "sso_session": "company",
                "sso_account_id": portal.account,
                "sso_role_name": portal.role,
            },
            "sso-session company": {
                "sso_start_url": start_url,
                "sso_region": "eu-west-1",
                "sso_registration_scopes": "sso:account:access",
            },
        }
    )
    deployment.environment.sso_token("company", start_url, "eu-west-1", portal.access_token)
    deployment.environment.set(AWS_PROFILE="work", AWS_ENDPOINT_URL_SSO=portal.url)
    assert log_in_alone(deployment.uri(directConnection=True)) == assumed("sso-role")
    assert len(portal.seen()) == 1


# EKS: a projected service account token


@pytest.mark.parametrize("name", ["my-app", None], ids=["named session", "unnamed session"])
@pytest.mark.parametrize("region", ["us-west-2", None], ids=["region", "no region"])
def test_eks_web_identity(
    deployment: AwsDeployment, log_in: LogIn, name: str | None, region: str | None
) -> None:
    token = deployment.environment.write("token", deployment.issuer.token())
    deployment.environment.set(
        AWS_WEB_IDENTITY_TOKEN_FILE=str(token),
        AWS_ROLE_ARN=role("pod"),
        AWS_ROLE_SESSION_NAME=name,
        AWS_DEFAULT_REGION=region,
    )
    assert log_in() == assumed("pod")
    (call,) = [call for call in deployment.sts.calls if call.action == "AssumeRoleWithWebIdentity"]
    assert call.access_key is None
    assert call.parameters["RoleArn"] == role("pod")
    if name is None:
        assert len(call.parameters["RoleSessionName"]) >= 2
    else:
        assert call.parameters["RoleSessionName"] == name
        assert deployment.acceptor.identities[-1].endswith(f"/pod/{name}")


def test_the_web_identity_may_stand_in_the_config_file(
    deployment: AwsDeployment, log_in: LogIn
) -> None:
    token = deployment.environment.write("token", deployment.issuer.token())
    settings = {"role_arn": role("pod"), "web_identity_token_file": str(token)}
    deployment.environment.config_file({"default": settings})
    assert log_in() == assumed("pod")


# ECS, and EKS Pod Identity


def test_ecs_full_uri(deployment: AwsDeployment, log_in: LogIn) -> None:
    agent = ContainerCredentials(lambda: deployment.session("task"))
    deployment.run(agent)
    deployment.environment.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=agent.full_uri)
    assert log_in() == assumed("task")
    assert len(agent.seen()) == 1


def test_ecs_full_uri_with_an_authorization_token(deployment: AwsDeployment, log_in: LogIn) -> None:
    agent = ContainerCredentials(lambda: deployment.session("task"), authorization="Basic abc")
    deployment.run(agent)
    deployment.environment.set(
        AWS_CONTAINER_CREDENTIALS_FULL_URI=agent.full_uri,
        AWS_CONTAINER_AUTHORIZATION_TOKEN="Basic abc",
    )
    assert log_in() == assumed("task")


def test_eks_pod_identity_s_token_file(deployment: AwsDeployment, log_in: LogIn) -> None:
    token = deployment.issuer.token(audience="pods.eks.amazonaws.com")
    agent = ContainerCredentials(lambda: deployment.session("pod-identity"), authorization=token)
    deployment.run(agent)
    path = deployment.environment.write("serviceaccount/eks-pod-identity-token", token)
    deployment.environment.set(
        AWS_CONTAINER_CREDENTIALS_FULL_URI=agent.full_uri,
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(path),
    )
    assert log_in() == assumed("pod-identity")


def test_ecs_relative_uri(
    deployment: AwsDeployment, log_in: LogIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the agent's address, which only ECS has, replaced; the next test leaves it."""
    utils = need_module("botocore.utils", extra="aws")
    agent = ContainerCredentials(lambda: deployment.session("task"))
    deployment.run(agent)
    monkeypatch.setattr(
        utils.ContainerMetadataFetcher, "IP_ADDRESS", agent.url.removeprefix("http://")
    )
    deployment.environment.set(AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=agent.path)
    assert log_in() == assumed("task")
    assert [seen.path for seen in agent.seen()] == [agent.path]


def test_ecs_relative_uri_at_the_real_address(deployment: AwsDeployment) -> None:
    with Namespace(ECS_ADDRESS) as namespace:
        agent = ContainerCredentials(
            lambda: deployment.session("task"), listener=namespace.listen(ECS_ADDRESS, 80)
        )
        deployment.run(agent)
        deployment.environment.set(AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=agent.path)
        port = namespace.lead_out((deployment.server.host, deployment.server.port))
        uri = f"mongodb://127.0.0.1:{port}/?authMechanism=MONGODB-AWS&directConnection=true"
        assert log_in_alone(uri, namespace) == assumed("task")
    assert [seen.headers["host"] for seen in agent.seen()] == [ECS_ADDRESS]


# EC2


def test_ec2_instance_metadata_version_2(deployment: AwsDeployment, log_in: LogIn) -> None:
    imds = deployment.imds()
    assert log_in() == assumed("ec2-role")
    (put,) = imds.seen("PUT")
    assert put.path == imds.TOKEN
    assert 1 <= int(put.headers["x-aws-ec2-metadata-token-ttl-seconds"]) <= 21600
    listing, credentials = imds.seen("GET")
    assert (listing.path, credentials.path) == (imds.CREDENTIALS, imds.CREDENTIALS + "ec2-role")
    assert listing.headers["x-aws-ec2-metadata-token"]


# Who goes first: boto3's order


class Places:
    """Makes places that credentials come from, each with an identity of its own."""

    #: In boto3's order.
    ORDER = ("environment", "config role", "web identity", "shared file", "process", "config keys",
             "container", "instance")  # fmt: skip

    def __init__(self, deployment: AwsDeployment) -> None:
        self.deployment = deployment
        self.config: dict[str, dict[str, str]] = {"default": {"region": "us-east-1"}}
        self.profiles: dict[str, AwsKey] = {}

    def make(self, *names: str) -> None:
        for name in names:
            getattr(self, name.replace(" ", "_"))()
        self.deployment.environment.config_file(self.config)
        self.deployment.environment.credentials_file(self.profiles)

    def environment(self) -> None:
        self.deployment.environment.set_key(self.deployment.session("environment"))

    def config_role(self) -> None:
        self.profiles["base"] = self.deployment.user
        self.config["default"] |= {"role_arn": role("config-role"), "source_profile": "base"}

    def web_identity(self) -> None:
        path = self.deployment.environment.write("token", self.deployment.issuer.token())
        self.deployment.environment.set(
            AWS_WEB_IDENTITY_TOKEN_FILE=str(path), AWS_ROLE_ARN=role("web-identity")
        )

    def shared_file(self) -> None:
        self.profiles["default"] = self.deployment.session("shared-file")

    def process(self) -> None:
        command = self.deployment.environment.process(self.deployment.session("process"))
        self.config["default"]["credential_process"] = command

    def config_keys(self) -> None:
        key = self.deployment.session("config-keys")
        assert key.token is not None
        self.config["default"] |= {
            "aws_access_key_id": key.access_key,
            "aws_secret_access_key": key.secret_key,
            "aws_session_token": key.token,
        }

    def container(self) -> None:
        agent = ContainerCredentials(lambda: self.deployment.session("container"))
        self.deployment.run(agent)
        self.deployment.environment.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=agent.full_uri)

    def instance(self) -> None:
        self.deployment.imds()

    @staticmethod
    def role_of(name: str) -> str:
        """The role of a place's credentials."""
        return "ec2-role" if name == "instance" else name.replace(" ", "-")


@pytest.mark.parametrize("first", range(len(Places.ORDER)), ids=Places.ORDER)
def test_a_place_goes_before_all_that_follow_it(
    deployment: AwsDeployment, log_in: LogIn, first: int
) -> None:
    Places(deployment).make(*Places.ORDER[first:])
    assert log_in() == assumed(Places.role_of(Places.ORDER[first]))


# AWS_CREDENTIAL_PROVIDER (mongokey's own; auth.md, "Custom Credential Providers")


class Provider:
    """A callback that counts its calls."""

    def __init__(self, key: AwsKey) -> None:
        self.key = key
        self.calls = 0

    def __call__(self) -> Any:
        from botocore.credentials import Credentials

        self.calls += 1
        return Credentials(self.key.access_key, self.key.secret_key, self.key.token)


def log_in_by(deployment: AwsDeployment, provider: Any) -> str:
    with mongokey.MongoClient(
        deployment.uri(directConnection=True),
        authMechanismProperties={"AWS_CREDENTIAL_PROVIDER": provider},
        serverSelectionTimeoutMS=10_000,
    ) as client:
        return prove(client)


@pytest.mark.parametrize("temporary", [False, True], ids=["key pair", "temporary"])
def test_a_callback_gives_credentials(deployment: AwsDeployment, temporary: bool) -> None:
    provider = Provider(deployment.session("callback") if temporary else deployment.user)
    assert log_in_by(deployment, provider) == identity_of(provider.key.arn)
    assert provider.calls >= 1


def test_a_botocore_provider_gives_credentials(deployment: AwsDeployment) -> None:
    credentials = need_module("botocore.credentials", extra="aws")
    key = deployment.session("provider")

    class Load(credentials.CredentialProvider):  # type: ignore[misc, name-defined]
        METHOD = "mine"

        def load(self) -> Any:
            return credentials.Credentials(key.access_key, key.secret_key, key.token)

    assert log_in_by(deployment, Load()) == assumed("provider")


def test_a_provider_goes_before_the_environment(deployment: AwsDeployment) -> None:
    """Prose test 2, case 2 of tests/mongodb-aws.md."""
    provider = Provider(deployment.user)
    deployment.environment.set_key(deployment.session("environment"))
    assert log_in_by(deployment, provider) == deployment.user.arn
    assert provider.calls >= 1


@pytest.mark.parametrize("place", Places.ORDER)
def test_a_provider_may_use_the_sdk_s_default_chain(deployment: AwsDeployment, place: str) -> None:
    """Prose test 1 of tests/mongodb-aws.md: every scenario once more, by a user's provider."""
    boto3 = need_module("boto3", extra="aws")
    Places(deployment).make(place)
    calls = []

    def provider() -> Any:
        calls.append(1)
        return boto3.Session().get_credentials()

    assert log_in_by(deployment, provider) == assumed(Places.role_of(place))
    assert calls
