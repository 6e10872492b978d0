"""PyMongo's documented examples of MONGODB-OIDC run with the import's name replaced.

The examples are those of pymongo.readthedocs.io, "Authentication Examples". They run on machines
that look like the real ones: network namespaces with the metadata services at their addresses,
a pod's file system, App Service's environment.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import metadata_namespace
from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.oidc import IdentityProvider, OIDCAcceptor
from tests.servers.metadata import AzureMetadata
from tests.servers.metadata_namespace import AUDIENCE, CLIENT_ID, LINK_LOCAL, SUBJECT
from tests.servers.needs import need_module
from tests.servers.oidc_issuer import Issuer
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live

AZURE = """
import os
from pymongo import MongoClient
uri = os.environ["MONGODB_URI"]
props = {"ENVIRONMENT": "azure", "TOKEN_RESOURCE": "<audience>"}
c = MongoClient(
    uri,
    username="<client_id>",
    authMechanism="MONGODB-OIDC",
    authMechanismProperties=props,
)
c.test.test.insert_one({})
c.close()
"""

AZURE_URI = """
import os
from pymongo import MongoClient
uri = f'{os.environ["MONGODB_URI"]}?authMechanism=MONGODB-OIDC&authMechanismProperties=ENVIRONMENT:azure,TOKEN_RESOURCE:<audience>'
c = MongoClient(uri)
c.test.test.insert_one({})
c.close()
"""  # noqa: E501

GCP = """
import os
from pymongo import MongoClient
uri = os.environ["MONGODB_URI"]
props = {"ENVIRONMENT": "gcp", "TOKEN_RESOURCE": "<audience>"}
c = MongoClient(uri, authMechanism="MONGODB-OIDC", authMechanismProperties=props)
c.test.test.insert_one({})
c.close()
"""

GCP_URI = AZURE_URI.replace("ENVIRONMENT:azure", "ENVIRONMENT:gcp")

AZURE_IDENTITY = """
import os
from azure.identity import DefaultAzureCredential
from pymongo import MongoClient
from pymongo.auth_oidc import OIDCCallback, OIDCCallbackContext, OIDCCallbackResult

audience = os.environ["AZURE_AUDIENCE"]
client_id = os.environ["AZURE_IDENTITY_CLIENT_ID"]
uri = os.environ["MONGODB_URI"]


class MyCallback(OIDCCallback):
    def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
        credential = DefaultAzureCredential(managed_identity_client_id=client_id)
        token = credential.get_token(f"{audience}/.default").token
        return OIDCCallbackResult(access_token=token)


props = {"OIDC_CALLBACK": MyCallback()}
c = MongoClient(uri, authMechanism="MONGODB-OIDC", authMechanismProperties=props)
c.test.test.insert_one({})
c.close()
"""

GKE = """
import os
from pymongo import MongoClient
from pymongo.auth_oidc import OIDCCallback, OIDCCallbackContext, OIDCCallbackResult


class MyCallback(OIDCCallback):
    def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
        with open("/var/run/secrets/kubernetes.io/serviceaccount/token") as fid:
            token = fid.read()
        return OIDCCallbackResult(access_token=token)


uri = os.environ["MONGODB_URI"]
props = {"OIDC_CALLBACK": MyCallback()}
c = MongoClient(uri, authMechanism="MONGODB-OIDC", authMechanismProperties=props)
c.test.test.insert_one({})
c.close()
"""

K8S = GCP.replace('"gcp", "TOKEN_RESOURCE": "<audience>"', '"k8s"')

DRIVERS = pytest.mark.parametrize("driver", ["mongokey", "pymongo"])


def run(cloud: str, *programs: str, host: str = "127.0.0.1") -> list[metadata_namespace.Outcome]:
    """Run the programs with our import, and the first one as it is; none may fail."""
    ours = [program.replace("pymongo", "mongokey") for program in programs]
    outcomes = metadata_namespace.run(cloud, *ours, programs[0], host=host)
    for outcome in outcomes:
        assert outcome.error is None, outcome.error
        assert outcome.identities == [f"{cloud}/{SUBJECT}"]
    return outcomes[:-1]


def test_azure_by_keyword_and_by_uri() -> None:
    by_keyword, by_uri = run("azure", AZURE, AZURE_URI)
    path = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=%3Caudience%3E"
    assert by_keyword.requests == [[f"{path}&client_id=%3Cclient_id%3E", LINK_LOCAL]]
    assert by_uri.requests == [[path, LINK_LOCAL]]


def test_gcp_by_keyword_and_by_uri() -> None:
    for outcome in run("gcp", GCP, GCP_URI):
        ((path, host),) = outcome.requests
        assert host in metadata_namespace.GCP_NAMES.split()
        assert path == (
            "/computeMetadata/v1/instance/service-accounts/default/identity?audience=%3Caudience%3E"
        )
        assert outcome.warnings == []


def test_the_service_account_of_a_pod() -> None:
    by_callback, built_in = run("gke", GKE, K8S)
    assert by_callback.warnings == built_in.warnings == []


def test_a_token_on_plain_tcp_to_another_host_is_warned_of() -> None:
    """In a namespace, since only there a machine surely has an address that is not loopback's."""
    (outcome,) = run("gcp", GCP, host=LINK_LOCAL)
    (warned,) = outcome.warnings
    assert "access token" in warned
    assert "tls" in warned.lower()


# azure-identity


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureMetadata]:
    """The two ways of managed identities that azure-identity can be pointed to loopback for."""
    need_module("azure.identity", extra="test")
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "IDENTITY_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    with Issuer() as issuer, AzureMetadata(issuer, {CLIENT_ID: SUBJECT, "x": "y"}) as metadata:
        monkeypatch.setenv("AZURE_AUDIENCE", AUDIENCE)
        monkeypatch.setenv("AZURE_IDENTITY_CLIENT_ID", CLIENT_ID)
        yield metadata


@DRIVERS
@pytest.mark.parametrize("way", ["app-service", "pod-identity"])
def test_azure_identity(
    driver: str,
    way: str,
    azure: AzureMetadata,
    open_secantus: SecantusServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if way == "app-service":
        for name, value in azure.environment().items():
            monkeypatch.setenv(name, value)
    else:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.url)
    provider = IdentityProvider(azure.issuer.url, AUDIENCE, "azure", human=False)
    server = MechanismServer(OIDCAcceptor(provider), backend=open_secantus)
    with server:
        monkeypatch.setenv("MONGODB_URI", server.uri())
        program = AZURE_IDENTITY.replace("pymongo", driver)
        exec(compile(program, "azure-identity", "exec"), {"__name__": "__main__"})
    assert {record.identity for record in server.records} == {f"azure/{SUBJECT}"}
    assert len(azure.issued) == 1
