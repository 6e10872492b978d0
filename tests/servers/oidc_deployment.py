"""What the tests of MONGODB-OIDC stand on: providers, the servers that trust them, and drivers.

It knows how the two drivers (mongokey, and PyMongo to compare with) spell the same things, and
which people and programs exist; what is tested with them stands in `tests.live`.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pytest

from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.oidc import IdentityProvider, OIDCAcceptor
from tests.servers.metadata import AzureMetadata, GCPMetadata
from tests.servers.oidc_issuer import Issuer, OAuthClient
from tests.servers.secantus import SecantusServer

AUDIENCE = "mongodb"
DOMAIN = "example.com"
SHELL = "mongokey-shell"
PEOPLE, OTHERS, MACHINES = "people", "others", "machines"
USER_1, USER_2, MACHINE = f"test_user1@{DOMAIN}", f"test_user2@{DOMAIN}", "test_machine"
SCOPES = ("openid", "offline_access")


class Driver:
    """A driver's modules under names of their roles."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root = import_module(name)
        self.errors: ModuleType = import_module(f"{name}.errors")

    @property
    def oidc(self) -> ModuleType:
        """The module with OIDCCallback and its kin."""
        return import_module(f"{self.name}.auth_oidc")

    def client(self, uri: str, **options: Any) -> Any:
        """A client for `uri`, with MONGODB-OIDC and without retried reads (as the prose asks)."""
        options.setdefault("authMechanism", "MONGODB-OIDC")
        options.setdefault("retryReads", False)
        options.setdefault("serverSelectionTimeoutMS", 5000)
        return self.root.MongoClient(uri, **options)

    def connect(
        self,
        server: MechanismServer,
        callback: Any,
        *,
        human: bool = False,
        properties: Mapping[str, Any] = MappingProxyType({}),
        **options: Any,
    ) -> Any:
        """A client of `server` whose tokens come from this callback."""
        name = "OIDC_HUMAN_CALLBACK" if human else "OIDC_CALLBACK"
        given = {name: callback, **properties}
        return self.client(server.uri(), authMechanismProperties=given, **options)

    def callback(self, make: Callable[[Any], Any]) -> Recorder:
        """A callback object whose result is `make(context)`, and that keeps what it was given."""
        recorder = type("Callback", (Recorder, self.oidc.OIDCCallback), {})
        return recorder(self, make)  # type: ignore[no-any-return]

    def result(self, token: Any, **fields: Any) -> Any:
        """An OIDCCallbackResult."""
        return self.oidc.OIDCCallbackResult(access_token=token, **fields)


class Recorder:
    """A callback: `contexts` are what it was called with, `begun` and `ended` when."""

    def __init__(self, driver: Driver, make: Callable[[Any], Any]) -> None:
        self.driver = driver
        self.contexts: list[Any] = []
        self.begun: list[float] = []
        self.ended: list[float] = []
        self._make = make
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        return len(self.begun)

    def fetch(self, context: Any) -> Any:
        with self._lock:
            self.contexts.append(context)
            self.begun.append(time.monotonic())
        try:
            made = self._make(context)
        finally:
            with self._lock:
                self.ended.append(time.monotonic())
        return self.driver.result(made) if isinstance(made, str) else made


@dataclass
class OIDCDeployment:
    """`single` trusts people and machines of one provider each; `multi` people of two."""

    issuer: Issuer
    other: Issuer
    machines: Issuer
    backend: SecantusServer

    def providers(self) -> tuple[IdentityProvider, IdentityProvider, IdentityProvider]:
        return (
            IdentityProvider(self.issuer.url, AUDIENCE, PEOPLE, SHELL, SCOPES, "^test_user1"),
            IdentityProvider(self.other.url, AUDIENCE, OTHERS, SHELL, (), "^test_user2"),
            IdentityProvider(
                self.machines.url, AUDIENCE, MACHINES, match="^test_machine", human=False
            ),
        )

    def advance(self, seconds: float) -> None:
        """Move everybody's clock forward, the servers' too."""
        for issuer in (self.issuer, self.other, self.machines):
            issuer.advance(seconds)

    @contextmanager
    def single(self, **options: Any) -> Iterator[tuple[MechanismServer, OIDCAcceptor]]:
        people, _, machines = self.providers()
        acceptor = OIDCAcceptor(people, machines, clock=self.issuer.now)
        server = MechanismServer(acceptor, backend=self.backend, **options)
        with server:
            yield server, acceptor

    @contextmanager
    def multi(self) -> Iterator[tuple[MechanismServer, OIDCAcceptor]]:
        people, others, _ = self.providers()
        acceptor = OIDCAcceptor(people, others, clock=self.issuer.now)
        server = MechanismServer(acceptor, backend=self.backend)
        with server:
            yield server, acceptor

    def machine_token(self, **options: Any) -> str:
        return self.machines.token(MACHINE, AUDIENCE, **options)

    def person_token(self, name: str = USER_1, **options: Any) -> str:
        issuer = self.other if name == USER_2 else self.issuer
        return issuer.token(name, AUDIENCE, **options)


@contextmanager
def open_deployment(backend: SecantusServer) -> Iterator[OIDCDeployment]:
    """Three providers on loopback, in front of `backend` (which asks for no login)."""
    clients = {SHELL: OAuthClient(AUDIENCE)}
    with ExitStack() as stack:
        issuers = [stack.enter_context(Issuer(clients=clients)) for _ in range(3)]
        yield OIDCDeployment(issuers[0], issuers[1], issuers[2], backend)


@dataclass
class Machine:
    """A program that logs in: its driver, its client's options, and how many tokens were fetched
    for it (None where files are read, which nobody counts)."""

    driver: Driver
    properties: dict[str, Any]
    fetched: Callable[[], int | None]

    def connect(self, server: MechanismServer, **options: Any) -> Any:
        options.setdefault("authMechanismProperties", self.properties)
        return self.driver.client(server.uri(), **options)


@contextmanager
def machine(
    stage: OIDCDeployment,
    driver: Driver,
    environment: str,
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
) -> Iterator[Machine]:
    """A program in "callback" or one of the built-in environments."""
    if environment == "callback":
        callback = driver.callback(lambda context: stage.machine_token())
        yield Machine(driver, {"OIDC_CALLBACK": callback}, lambda: callback.count)
    elif environment in ("test", "k8s"):
        file = folder / "token"
        file.write_text(stage.machine_token())
        for name in ("AZURE_FEDERATED_TOKEN_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
            monkeypatch.delenv(name, raising=False)
        variable = "OIDC_TOKEN_FILE" if environment == "test" else "AWS_WEB_IDENTITY_TOKEN_FILE"
        monkeypatch.setenv(variable, str(file))
        yield Machine(driver, {"ENVIRONMENT": environment}, lambda: None)
    else:
        properties = {"ENVIRONMENT": environment, "TOKEN_RESOURCE": AUDIENCE}
        metadata: AzureMetadata | GCPMetadata
        if environment == "azure":
            metadata = AzureMetadata(stage.machines, {"a-client": MACHINE})
        else:
            metadata = GCPMetadata(stage.machines, MACHINE)
        with metadata:
            point_to(monkeypatch, metadata)
            yield Machine(driver, properties, lambda: len(metadata.issued))


def point_to(monkeypatch: pytest.MonkeyPatch, metadata: AzureMetadata | GCPMetadata) -> None:
    """Have mongokey look for a cloud's metadata service there."""
    environments = import_module("mongokey.auth.oidc.environments")
    name = "AZURE" if isinstance(metadata, AzureMetadata) else "GCP"
    monkeypatch.setattr(environments, name, (metadata.host, metadata.port))


def poison(driver: Driver, client: Any, token: str) -> None:
    """Put a token into the client's cache before it ever logged in."""
    if driver.name == "pymongo":
        authenticator = import_module("pymongo.synchronous.auth_oidc")._OIDCAuthenticator
        credential = client.options.pool_options._credentials
        credential.cache.data = authenticator(
            username=credential.username or "",
            properties=credential.mechanism_properties,
            access_token=token,
        )
        return
    import_module("mongokey.auth.oidc.tokens").tokens_of(client.options.credential).put(token)


def post(url: str, **form: str) -> dict[str, Any]:
    """What a program posts to a token endpoint, and its JSON answer, also of an error."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    body = urllib.parse.urlencode(form).encode()
    try:
        with opener.open(url, body, timeout=5) as response:
            text = response.read()
    except urllib.error.HTTPError as error:
        text = error.read()
    try:
        answer: dict[str, Any] = json.loads(text)
    except ValueError:
        answer = {"text": text.decode()}
    return answer
