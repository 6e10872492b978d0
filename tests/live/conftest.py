"""Fixtures of the live tests: clients of the real server, a relay that reads along, and the worlds
that the mechanisms need: AWS, Kerberos realms, providers of tokens."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mongokey import MongoClient
from mongokey.auth.kerberos import libraries
from tests.live._aws import BOTO, show_no_secret
from tests.live._fleet import Deployment
from tests.servers.aws_cloud import AwsCloud, AwsDeployment
from tests.servers.kdc import KerberosDeployment
from tests.servers.needs import need_module
from tests.servers.relay import Relay
from tests.servers.secantus import SecantusServer

if TYPE_CHECKING:
    from tests.servers.mechanism import MechanismServer
    from tests.servers.mechanism.oidc import OIDCAcceptor
    from tests.servers.oidc_deployment import OIDCDeployment

#: By our module for a library of Kerberos, the library's own.
KERBEROS_MODULES = dict(zip(libraries.UNIX, ("gssapi", "kerberos"), strict=True))


@pytest.fixture(scope="module")
def client(face: str, secantus: SecantusServer) -> Iterator[MongoClient]:
    """A client that is logged in as an administrator."""
    with MongoClient(secantus.uri("both")) as client:
        yield client


@pytest.fixture
def database(client: MongoClient, database_name: str) -> Any:
    """An empty database of `client`."""
    return client[database_name]


@pytest.fixture
def collection(database: Any) -> Any:
    """An empty collection of `client`."""
    return database["things"]


@pytest.fixture
def relay(secantus: SecantusServer) -> Iterator[Relay]:
    """A relay to the server, that sees what passes."""
    with Relay(secantus.host, secantus.port) as relay:
        yield relay


@pytest.fixture
def watched(relay: Relay, secantus: SecantusServer, database_name: str) -> Iterator[Any]:
    """An empty collection of a client of its own, whose messages pass through `relay`."""
    with MongoClient(relay.redirect(secantus.uri("both"))) as client:
        client.admin.command("ping")
        yield client[database_name]["things"]


@pytest.fixture(scope="session")
def eventually() -> Callable[..., bool]:
    """Waits until a condition holds: ``assert eventually(lambda: ...)``."""

    def wait(condition: Callable[[], bool], timeout: float = 30.0) -> bool:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    return wait


# MONGODB-AWS


@pytest.fixture(scope="session")
def cloud(open_secantus: SecantusServer) -> Iterator[AwsCloud]:
    """What stays the same for all tests of AWS."""
    with AwsCloud(open_secantus) as cloud:
        yield cloud


@pytest.fixture
def deployment(
    cloud: AwsCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[AwsDeployment]:
    """A server that asks for MONGODB-AWS, and an environment without credentials."""
    with AwsDeployment(cloud, monkeypatch, tmp_path) as deployment:
        yield deployment


@pytest.fixture
def no_secret_logged(deployment: AwsDeployment, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The log, at DEBUG, is looked through before the deployment ends."""
    caplog.set_level(logging.DEBUG)
    yield
    records = [record for record in caplog.records if record.name.split(".")[0] not in BOTO]
    show_no_secret(deployment, [record.getMessage() for record in records])


# MONGODB-OIDC


@pytest.fixture(scope="module")
def stage(open_secantus: SecantusServer) -> Iterator[OIDCDeployment]:
    """Providers of tokens; their clocks are the module's own."""
    # Where joserfc is missing this import skips the test: it may not skip all live tests.
    from tests.servers.oidc_deployment import open_deployment

    with open_deployment(open_secantus) as made:
        yield made


@pytest.fixture
def single(stage: OIDCDeployment) -> Iterator[tuple[MechanismServer, OIDCAcceptor]]:
    """A server that trusts a provider for people and one for machines."""
    with stage.single() as made:
        yield made


# GSSAPI


@pytest.fixture(scope="session")
def kerberos() -> Iterator[KerberosDeployment]:
    """Two realms, users and services."""
    with KerberosDeployment() as deployment:
        yield deployment


@pytest.fixture(scope="module")
def ticket(kerberos: KerberosDeployment) -> str:
    """KRB5CCNAME of a cache with the user's ticket, and at first none for a service."""
    return kerberos.ticket()


@pytest.fixture
def in_realm(kerberos: KerberosDeployment, ticket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is in the realm, and has the user's ticket."""
    for name, value in kerberos.realm.environment.items():
        if name.startswith("KRB5"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("KRB5CCNAME", ticket)
    monkeypatch.delenv("KRB5_CLIENT_KTNAME")


@pytest.fixture(params=KERBEROS_MODULES, ids=["gssapi", "pykerberos"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One library for Kerberos installed, and no other."""
    need_module(KERBEROS_MODULES[request.param], extra="gssapi")
    monkeypatch.setattr(libraries, "UNIX", (request.param,))
    return str(request.param)


# Deployments of several servers


@pytest.fixture
def made(driver: str, open_secantus: SecantusServer) -> Iterator[Deployment]:
    """Fleets, and clients of the driver that the test names; all are closed at its end."""
    deployment = Deployment(driver, open_secantus)
    try:
        yield deployment
    finally:
        deployment.close()
