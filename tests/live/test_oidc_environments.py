"""The built-in environments against the clouds' services on loopback, and what goes wrong there.

Each failure has to name where the token was to come from and what came back, without the token,
and leave the client usable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.auth.errors import LoginTimeout
from mongokey.auth.oidc import environments, tokens
from mongokey.auth.oidc import metadata as metadata_client
from mongokey.errors import ConfigurationError, MongoError, OperationFailure
from tests.servers.mechanism import MechanismServer
from tests.servers.metadata import GCP_PATH, IMDS_PATH, AzureMetadata, GCPMetadata
from tests.servers.oidc_deployment import AUDIENCE, MACHINE, MACHINES, OIDCDeployment, point_to
from tests.servers.web import WebReply, WebRequest, WebServer

pytestmark = pytest.mark.live

PAUSE = 0.05
PATHS = {"azure": IMDS_PATH, "gcp": GCP_PATH}


@pytest.fixture
def server(stage: OIDCDeployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[MechanismServer]:
    # The pause between two calls is other tests' business.
    monkeypatch.setattr(tokens, "PAUSE_S", 0.0)
    with stage.single() as (server, _):
        yield server


@pytest.fixture
def azure(stage: OIDCDeployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureMetadata]:
    with AzureMetadata(stage.machines, {"a-client": MACHINE}) as metadata:
        point_to(monkeypatch, metadata)
        yield metadata


@pytest.fixture
def gcp(stage: OIDCDeployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[GCPMetadata]:
    with GCPMetadata(stage.machines, MACHINE) as metadata:
        point_to(monkeypatch, metadata)
        yield metadata


@pytest.fixture(params=["azure", "gcp"])
def cloud(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    request.getfixturevalue(request.param)
    monkeypatch.setattr(metadata_client, "RETRY_PAUSE_S", PAUSE)
    return str(request.param)


@pytest.fixture
def metadata(cloud: str, request: pytest.FixtureRequest) -> AzureMetadata | GCPMetadata:
    service: AzureMetadata | GCPMetadata = request.getfixturevalue(cloud)
    return service


def connect(server: MechanismServer, environment: str, **options: Any) -> Any:
    properties = {"ENVIRONMENT": environment}
    if environment in PATHS:
        properties["TOKEN_RESOURCE"] = options.pop("resource", AUDIENCE)
    return MongoClient(
        server.uri(),
        authMechanism="MONGODB-OIDC",
        authMechanismProperties=properties,
        serverSelectionTimeoutMS=5000,
        **options,
    )


def failure(client: Any, kind: type[MongoError] = MongoError) -> str:
    """The message of the failure; the error and its causes as a traceback would print them."""
    with pytest.raises(kind) as caught:
        client.test.test.find_one()
    return str(caught.value)


# What is asked


@pytest.mark.parametrize("username", [None, "a-client"])
def test_azure_is_asked_as_its_documentation_says(
    server: MechanismServer, azure: AzureMetadata, username: str | None
) -> None:
    with connect(server, "azure", username=username) as client:
        client.test.test.find_one()
    (request,) = azure.requests
    client_id = {} if username is None else {"client_id": username}
    assert request.path == IMDS_PATH
    assert request.query == {"api-version": "2018-02-01", "resource": AUDIENCE, **client_id}
    assert request.headers["accept"] == "application/json"
    assert request.headers["metadata"] == "true"
    assert {record.identity for record in server.records} == {f"{MACHINES}/{MACHINE}"}


def test_gcp_is_asked_as_its_documentation_says(server: MechanismServer, gcp: GCPMetadata) -> None:
    with connect(server, "gcp") as client:
        client.test.test.find_one()
    (request,) = gcp.requests
    assert request.path == GCP_PATH
    assert request.query == {"audience": AUDIENCE}
    assert request.headers["metadata-flavor"] == "Google"
    assert {record.identity for record in server.records} == {f"{MACHINES}/{MACHINE}"}


@pytest.mark.parametrize("by_uri", [False, True], ids=["keyword", "uri"])
def test_any_resource_comes_through(
    server: MechanismServer, cloud: str, metadata: WebServer, by_uri: bool
) -> None:
    """The server knows no such audience: what is looked at is what the cloud was asked for."""
    resource = "api://a b/ü?x=1&y=2#z+,"
    if by_uri:
        uri = (
            server.uri()
            + "?authMechanism=MONGODB-OIDC&authMechanismProperties="
            + (
                f"ENVIRONMENT:{cloud},TOKEN_RESOURCE:api%3A%2F%2Fa%20b%2F%C3%BC%3Fx%3D1%26y%3D2%23z%2B"
            )
        )
        resource = resource[:-1]  # a comma must be given by keyword: it parts properties
        client: Any = MongoClient(uri, serverSelectionTimeoutMS=5000)
    else:
        client = connect(server, cloud, resource=resource)
    with client:
        with pytest.raises(OperationFailure) as caught:
            client.test.test.find_one()
    assert caught.value.code == 18
    assert f"aud {resource!r}" in str(caught.value)
    (request,) = metadata.requests
    assert request.query["resource" if cloud == "azure" else "audience"] == resource


def test_a_token_for_another_audience_is_told(
    stage: OIDCDeployment, server: MechanismServer, azure: AzureMetadata
) -> None:
    """Entra puts an application's id into `aud` where it was asked for by its URI."""
    token = stage.machines.token(MACHINE, "00000000-feed-0000-0000-000000000000")
    azure.fail(WebReply(body={"access_token": token, "expires_in": "300"}))
    with connect(server, "azure", resource="api://mongodb") as client:
        message = failure(client, OperationFailure)
    assert "TOKEN_RESOURCE='api://mongodb'" in message
    assert "aud is '00000000-feed-0000-0000-000000000000'" in message
    assert token not in message


def test_a_token_is_fetched_once_and_again_when_it_is_refused(
    stage: OIDCDeployment, cloud: str, metadata: AzureMetadata | GCPMetadata
) -> None:
    with stage.single() as (server, acceptor):
        with connect(server, cloud) as client:
            for _ in range(3):
                client.test.test.find_one()
            assert len(metadata.issued) == 1
            acceptor.revoke()
            server.require_reauthentication()
            client.test.test.find_one()
            assert len(metadata.issued) == 2


def test_a_proxy_is_not_asked(
    server: MechanismServer, cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both vendors refuse what came through a proxy, and a proxy would learn the token."""
    for name in ("no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    with WebServer() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        with connect(server, cloud) as client:
            client.test.test.find_one()
        assert proxy.count() == 0


def test_a_redirection_is_not_followed(
    server: MechanismServer, cloud: str, metadata: WebServer
) -> None:
    with WebServer() as elsewhere:
        location = {"Location": f"{elsewhere.url}/token"}
        metadata.fail_always(WebReply(302, "moved", location))
        with connect(server, cloud) as client:
            assert "302" in failure(client)
        assert elsewhere.count() == 0


# What goes wrong


@pytest.mark.parametrize("status", [404, 429, 503])
def test_a_passing_fault_is_tried_again_once(
    server: MechanismServer, cloud: str, metadata: WebServer, status: int
) -> None:
    metadata.fail(WebReply(status, "later"))
    with connect(server, cloud) as client:
        client.test.test.find_one()
    first, second = metadata.requests
    assert second.at - first.at >= PAUSE


@pytest.mark.parametrize("status", [404, 500])
def test_a_lasting_fault_is_told(
    server: MechanismServer, cloud: str, metadata: WebServer, status: int
) -> None:
    metadata.fail_always(WebReply(status, {"error": "out of order today"}))
    with connect(server, cloud) as client:
        message = failure(client)
        assert f"{metadata.url}{PATHS[cloud]}" in message
        assert str(status) in message
        assert "out of order today" in message
        assert metadata.count() == 2
        metadata.mend()
        client.test.test.find_one()


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refusal_is_not_tried_again(
    server: MechanismServer, cloud: str, metadata: WebServer, status: int
) -> None:
    metadata.fail_always(WebReply(status, "you are not known"))
    with connect(server, cloud) as client:
        message = failure(client)
    assert str(status) in message
    assert "you are not known" in message
    assert metadata.count() == 1


def test_several_azure_identities_need_a_client_id(
    server: MechanismServer, azure: AzureMetadata
) -> None:
    azure.identities["another-client"] = "somebody"
    with connect(server, "azure") as client:
        message = failure(client)
    assert "Multiple user assigned identities" in message
    assert "username" in message
    with connect(server, "azure", username="a-client") as client:
        client.test.test.find_one()


def test_a_slow_service_meets_the_deadline(
    server: MechanismServer, cloud: str, metadata: WebServer
) -> None:
    with connect(server, cloud, timeoutMS=600) as client:
        # Up to the deadline in one piece, and for long in drops.
        for reply in (WebReply(delay=5.0), WebReply(body=b"x" * 100, pause=0.2)):
            metadata.fail_always(reply)
            began = time.monotonic()
            message = failure(client, LoginTimeout)
            assert time.monotonic() - began < 4.0
            assert cloud in message
        metadata.mend()
        client.test.test.find_one()


def test_a_service_that_hangs_up_is_told(
    server: MechanismServer, cloud: str, metadata: WebServer
) -> None:
    metadata.fail_always(WebReply(hang_up=True))
    with connect(server, cloud) as client:
        assert f"{metadata.url}{PATHS[cloud]}" in failure(client)
        metadata.mend()
        client.test.test.find_one()


def test_an_absent_service_is_told(
    server: MechanismServer, cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WebServer() as gone:
        address = (gone.host, gone.port)
    monkeypatch.setattr(environments, cloud.upper(), address)
    with connect(server, cloud) as client:
        message = failure(client)
    assert f"{gone.url}{PATHS[cloud]}" in message
    assert f"ENVIRONMENT:{cloud}" in message


def test_a_huge_answer_is_not_read_to_its_end(
    server: MechanismServer, cloud: str, metadata: WebServer
) -> None:
    metadata.fail_always(WebReply(body="x" * 8_000_000))
    with connect(server, cloud) as client:
        message = failure(client)
    assert f"{metadata.url}{PATHS[cloud]}" in message
    assert len(message) < 2000


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>captive portal</html>", "JSON"),
        (b"\xff\xfe\x00", "JSON"),
        (b"", "JSON"),
        (b"[1]", "object"),
        (b"[" * 100_000, "JSON"),
        (b'{"token_type": "Bearer"}', "access_token"),
        (b'{"access_token": null}', "access_token"),
        (b'{"access_token": ""}', "access_token"),
        (b'{"access_token": {"a": 1}}', "access_token"),
        (b'{"access_token": "a.b.c", "expires_in": "soon"}', "expires_in"),
        (b'{"access_token": "a.b.c", "expires_in": -5}', "expire"),
    ],
)
def test_an_azure_answer_that_is_none_is_told(
    server: MechanismServer, azure: AzureMetadata, body: bytes, said: str
) -> None:
    azure.fail_always(WebReply(body=body, headers={"Content-Type": "application/json"}))
    with connect(server, "azure") as client:
        message = failure(client)
        assert said in message
        assert IMDS_PATH in message or "azure" in message
        azure.mend()
        client.test.test.find_one()


@pytest.mark.parametrize("body", [b"", b" \n", b"<html>captive portal</html>", b"\xff\xfe a"])
def test_a_gcp_answer_that_is_none_is_told(
    server: MechanismServer, gcp: GCPMetadata, body: bytes
) -> None:
    gcp.fail_always(WebReply(body=body))
    with connect(server, "gcp") as client:
        assert GCP_PATH in failure(client)
        gcp.mend()
        client.test.test.find_one()
    # Nothing of it was taken for a token.
    assert server.refusals == []


@pytest.mark.parametrize("field", ["access_token", "id_token"])
@pytest.mark.parametrize("status", [200, 400])
def test_a_token_in_an_odd_answer_is_not_shown(
    stage: OIDCDeployment, server: MechanismServer, azure: AzureMetadata, status: int, field: str
) -> None:
    token = stage.machine_token()
    secret = "opaque-but-secret"
    body = {"error": f"cannot use {token}", field: [secret] if status == 200 else secret}
    azure.fail_always(WebReply(status, body))
    with connect(server, "azure") as client:
        message = failure(client)
    # Not even its beginning: a message may be cut in the middle of a token.
    assert token[:30] not in message
    assert token.split(".")[2] not in message
    assert secret not in message


# Files


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], Path]:
    """Puts a token file where a variable, or the service account's path, points to."""
    for name in ("AZURE_FEDERATED_TOKEN_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "OIDC_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    absent = str(tmp_path / "serviceaccount" / "token")
    monkeypatch.setattr(environments, "SERVICE_ACCOUNT_TOKEN", absent)

    def put(where: str, content: str | bytes) -> Path:
        path = tmp_path / where
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        if where == "SERVICE_ACCOUNT_TOKEN":
            monkeypatch.setattr(environments, where, str(path))
        else:
            monkeypatch.setenv(where, str(path))
        return path

    return put


def test_k8s_looks_for_files_in_the_specified_order(
    stage: OIDCDeployment, files: Callable[[str, Any], Path]
) -> None:
    places = ("SERVICE_ACCOUNT_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AZURE_FEDERATED_TOKEN_FILE")
    for place in places:
        files(place, stage.machine_token(claims={"sub": place}))
        with stage.single() as (server, _):
            with connect(server, "k8s") as client:
                client.test.test.find_one()
            assert {record.identity for record in server.records} == {f"{MACHINES}/{place}"}


@pytest.mark.parametrize(
    ("environment", "variable"),
    [("k8s", "AWS_WEB_IDENTITY_TOKEN_FILE"), ("test", "OIDC_TOKEN_FILE")],
)
def test_a_file_is_read_anew_when_its_token_is_refused(
    stage: OIDCDeployment, files: Callable[[str, Any], Path], environment: str, variable: str
) -> None:
    # Kubernetes replaces the file before the token expires.
    path = files(variable, stage.machine_token() + "\n")
    with stage.single() as (server, acceptor):
        with connect(server, environment) as client:
            client.test.test.find_one()
            acceptor.revoke()
            path.write_text(stage.machine_token())
            server.require_reauthentication()
            client.test.test.find_one()
    assert len(set(acceptor.accepted)) == 2


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ("k8s", "SERVICE_ACCOUNT_TOKEN"),
        ("k8s", "AZURE_FEDERATED_TOKEN_FILE"),
        ("test", "OIDC_TOKEN_FILE"),
    ],
)
def test_a_file_without_a_token_is_told(
    stage: OIDCDeployment,
    server: MechanismServer,
    files: Callable[[str, Any], Path],
    environment: str,
    variable: str,
) -> None:
    for content in (b"", b" \n", b"\xff\xfe", b"x" * 5_000_000, None):
        path = files(variable, content or b"")
        if content is None:
            path.unlink()
        with connect(server, environment) as client:
            message = failure(client)
            assert str(path) in message
            if variable != "SERVICE_ACCOUNT_TOKEN":
                assert variable in message
            path.write_text(stage.machine_token())
            client.test.test.find_one()
    assert server.refusals == []


def test_a_test_environment_without_its_variable_is_told(
    server: MechanismServer, files: Callable[[str, Any], Path]
) -> None:
    with connect(server, "test") as client:
        assert "OIDC_TOKEN_FILE" in failure(client, ConfigurationError)


# The services themselves


def test_the_services_insist_on_their_headers(azure: AzureMetadata, gcp: GCPMetadata) -> None:
    """So that the tests above mean something."""

    def ask(path: str, query: dict[str, str], headers: dict[str, str]) -> WebRequest:
        return WebRequest("GET", path, query, headers, b"", "", 0.0)

    good = {"api-version": "2018-02-01", "resource": "x"}
    header = {"metadata": "true"}
    assert azure.answer(ask(IMDS_PATH, good, header)).status == 200
    assert azure.answer(ask(IMDS_PATH, good, {})).status == 400
    assert azure.answer(ask(IMDS_PATH, good, {**header, "x-forwarded-for": "1"})).status == 400
    assert azure.answer(ask(IMDS_PATH, {"resource": "x"}, header)).status == 400
    assert azure.answer(ask(IMDS_PATH, {"api-version": "2018-02-01"}, header)).status == 400
    assert azure.answer(ask(IMDS_PATH, {**good, "client_id": "bad"}, header)).status == 400
    flavor = {"metadata-flavor": "Google"}
    assert gcp.answer(ask(GCP_PATH, {"audience": "x"}, flavor)).status == 200
    assert gcp.answer(ask(GCP_PATH, {"audience": "x"}, {})).status == 403
    assert gcp.answer(ask(GCP_PATH, {}, flavor)).status == 400
