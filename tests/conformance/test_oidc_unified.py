"""The auth specification's unified suite `mongodb-oidc-no-retry`, in every environment.

A runner of the unified test format (schema 1.19) as far as this file uses it; anything else in a
file fails the test instead of being passed over. The suite is one of `tests.conformance.unified`'s,
too, with a callback and the driver's own events; here each environment has its turn, and
`expectEvents` is held against what the server received from the client and what it answered:
a started event for each command, a failed one where it answered with an error or hung up. As the
format says for sensitive commands, hello and SASL are left out.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson
import pymongo
import pytest

from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.oidc import OIDCAcceptor
from tests.servers.oidc_deployment import Driver, Machine, OIDCDeployment, machine, open_deployment
from tests.servers.scripted.answers import Close, Raw, Reply, Request
from tests.servers.scripted.server import Connection
from tests.servers.secantus import SecantusServer
from tests.specifications import require, suite

pytestmark = pytest.mark.live

NAME = "mongodb-oidc-no-retry"
SENSITIVE = frozenset({"hello", "saslStart", "saslContinue", "endSessions"})
ENVIRONMENTS = ["callback", "test", "azure", "gcp", "k8s"]
FILE: Mapping[str, Any] | None = dict(suite("auth/unified")).get(NAME)
CASES = [test["description"] for test in FILE["tests"]] if FILE is not None else ["no data"]


@dataclass(frozen=True)
class Event:
    """`kind` is commandStartedEvent, commandSucceededEvent or commandFailedEvent."""

    kind: str
    name: str
    app_name: str | None
    command: Mapping[str, Any]


class ObservedServer(MechanismServer):
    """A mechanism server that keeps what a command listener in the client would have seen."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.events: list[Event] = []

    def _connection(self, accepted: socket.socket, number: int) -> Connection:
        connection = super()._connection(accepted, number)
        perform = connection.perform
        noted: set[int] = set()

        def observe(request: Request, answer: Any) -> None:
            if answer is None:
                answer = connection.unscripted(request)
            # An answer may be performed in several steps; the first one decides.
            if id(request) not in noted and request.name not in SENSITIVE:
                noted.add(id(request))
                self._note(request, answer, connection.app_name)  # type: ignore[attr-defined]
            perform(request, answer)

        connection.perform = observe  # type: ignore[method-assign]
        return connection

    def _note(self, request: Request, answer: Any, app_name: str | None) -> None:
        kind = "commandSucceededEvent" if _succeeded(answer) else "commandFailedEvent"
        for each in ("commandStartedEvent", kind):
            self.events.append(Event(each, request.name, app_name, request.document))


def _succeeded(answer: Any) -> bool:
    if isinstance(answer, Close):
        return False
    if isinstance(answer, Raw):  # the backend's own message: header, flags, kind 0, document
        return bool(bson.decode(answer.data[21:])["ok"])
    assert isinstance(answer, Reply)
    document = answer.document
    return bool((bson.decode(document) if isinstance(document, bytes) else document)["ok"])


class Runner:
    """Runs one test of the file: its entities live from `with` to its end."""

    def __init__(
        self, file: Mapping[str, Any], server: ObservedServer, workload: Machine, backend: Any
    ) -> None:
        self.file = file
        self.server = server
        self.workload = workload
        self.backend = backend
        self.entities: dict[str, Any] = {}
        self.app_names: dict[str, str] = {}
        self.stack = contextlib.ExitStack()

    def __enter__(self) -> Runner:
        self._check_requirements()
        for data in self.file["initialData"]:
            _only(data, "collectionName", "databaseName", "documents")
            collection = self.backend[data["databaseName"]][data["collectionName"]]
            collection.drop()
            if data["documents"]:
                collection.insert_many(data["documents"])
        for entity in self.file["createEntities"]:
            ((kind, spec),) = entity.items()
            self.entities[spec["id"]] = getattr(self, f"_create_{kind}")(spec)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.fail_points.clear()
        self.stack.close()

    def _check_requirements(self) -> None:
        for requirement in self.file["runOnRequirements"]:
            _only(requirement, "minServerVersion", "auth", "authMechanism", "serverless")
            # The server is the mechanism server: with authentication, and not serverless.
            assert requirement["auth"] is True
            assert requirement["authMechanism"] in self.server.acceptors

    # Entities

    def _create_client(self, spec: Mapping[str, Any]) -> Any:
        _only(spec, "id", "useMultipleMongoses", "uriOptions", "observeEvents")
        options = dict(spec.get("uriOptions", {}))
        if options.get("authMechanismProperties") == {"$$placeholder": 1}:
            options["authMechanismProperties"] = self.workload.properties
        if not options:
            # Only sets fail points, which this server takes from anybody.
            client = self.workload.driver.root.MongoClient(self.server.uri())
        else:
            client = self.workload.driver.client(self.server.uri(), **options)
            self.app_names[spec["id"]] = options["appName"]
        return self.stack.enter_context(client)

    def _create_database(self, spec: Mapping[str, Any]) -> Any:
        _only(spec, "id", "client", "databaseName")
        return self.entities[spec["client"]][spec["databaseName"]]

    def _create_collection(self, spec: Mapping[str, Any]) -> Any:
        _only(spec, "id", "database", "collectionName")
        return self.entities[spec["database"]][spec["collectionName"]]

    # Operations

    def run(self, test: Mapping[str, Any]) -> None:
        _only(test, "description", "operations", "expectEvents")
        for operation in test["operations"]:
            self._operate(operation)
        for expected in test.get("expectEvents", ()):
            _only(expected, "client", "events")
            self._check_events(self.app_names[expected["client"]], expected["events"])

    def _operate(self, operation: Mapping[str, Any]) -> None:
        _only(operation, "name", "object", "arguments", "expectResult", "expectError")
        execute = getattr(self, f"_do_{operation['name']}")
        if "expectError" in operation:
            with pytest.raises(self.workload.driver.errors.PyMongoError) as caught:
                execute(operation["object"], operation["arguments"])
            self._check_error(caught.value, operation["expectError"])
            return
        result = execute(operation["object"], operation["arguments"])
        if "expectResult" in operation:
            assert matches(operation["expectResult"], result), result

    def _do_failPoint(self, name: str, arguments: Mapping[str, Any]) -> None:
        assert name == "testRunner"
        _only(arguments, "client", "failPoint")
        self.entities[arguments["client"]].admin.command(dict(arguments["failPoint"]))

    def _do_find(self, name: str, arguments: Mapping[str, Any]) -> list[Any]:
        _only(arguments, "filter")
        return list(self.entities[name].find(arguments["filter"]))

    def _do_insertOne(self, name: str, arguments: Mapping[str, Any]) -> None:
        _only(arguments, "document")
        result = self.entities[name].insert_one(dict(arguments["document"]))
        assert result.inserted_id == arguments["document"]["_id"]

    def _check_error(self, error: Exception, expected: Mapping[str, Any]) -> None:
        _only(expected, "isClientError", "errorCode")
        errors = self.workload.driver.errors
        if "isClientError" in expected:
            # A network error is the client's; a server's answer is an OperationFailure.
            assert isinstance(error, errors.OperationFailure) is not expected["isClientError"]
        if "errorCode" in expected:
            assert getattr(error, "code", None) == expected["errorCode"]

    # Events

    def _check_events(self, app_name: str, expected: list[Mapping[str, Any]]) -> None:
        seen = [event for event in self.server.events if event.app_name == app_name]
        kinds = [(event.kind, event.name) for event in seen]
        assert len(seen) == len(expected), kinds
        for event, each in zip(seen, expected, strict=True):
            ((kind, content),) = each.items()
            assert event.kind == kind, kinds
            _only(content, "command", "commandName")
            if "commandName" in content:
                assert event.name == content["commandName"]
            if "command" in content:
                assert matches(content["command"], event.command), event.command


def matches(expected: Any, actual: Any, *, root: bool = True) -> bool:
    """The format's matching: extra keys are allowed at the root only, numbers compare by value."""
    if isinstance(expected, Mapping):
        assert not any(key.startswith("$$") for key in expected), "special operators are not known"
        if not isinstance(actual, Mapping) or (not root and set(actual) != set(expected)):
            return False
        return all(
            key in actual and matches(value, actual[key], root=False)
            for key, value in expected.items()
        )
    if isinstance(expected, list):
        return (
            isinstance(actual, list)
            and len(expected) == len(actual)
            and all(matches(e, a, root=root) for e, a in zip(expected, actual, strict=True))
        )
    return bool(expected == actual)


def _only(mapping: Mapping[str, Any], *known: str) -> None:
    unknown = set(mapping) - set(known)
    assert not unknown, f"this runner does not know {unknown}"


@pytest.fixture(scope="module")
def stage(open_secantus: SecantusServer) -> Iterator[OIDCDeployment]:
    with open_deployment(open_secantus) as made:
        yield made


@pytest.fixture(scope="module")
def backend(open_secantus: SecantusServer) -> Iterator[Any]:
    client: Any
    with pymongo.MongoClient(open_secantus.host, open_secantus.port) as client:
        yield client


@pytest.fixture
def server(stage: OIDCDeployment) -> Iterator[ObservedServer]:
    acceptor = OIDCAcceptor(*stage.providers())
    server = ObservedServer(acceptor, backend=stage.backend)
    with server:
        yield server


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("description", CASES)
def test_mongodb_oidc_no_retry(
    description: str,
    environment: str,
    stage: OIDCDeployment,
    server: ObservedServer,
    backend: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    require("auth/unified")
    assert FILE is not None
    run(FILE, description, "mongokey", environment, stage, server, backend, monkeypatch, tmp_path)


@pytest.mark.parametrize("description", CASES)
def test_the_runner_is_right_by_pymongos_measure(
    description: str,
    stage: OIDCDeployment,
    server: ObservedServer,
    backend: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    require("auth/unified")
    assert FILE is not None
    run(FILE, description, "pymongo", "test", stage, server, backend, monkeypatch, tmp_path)


def run(
    file: Mapping[str, Any],
    description: str,
    driver: str,
    environment: str,
    stage: OIDCDeployment,
    server: ObservedServer,
    backend: Any,
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
) -> None:
    _only(
        file,
        "description",
        "schemaVersion",
        "runOnRequirements",
        "createEntities",
        "initialData",
        "tests",
    )
    (test,) = (each for each in file["tests"] if each["description"] == description)
    with machine(stage, Driver(driver), environment, monkeypatch, folder) as workload:
        with Runner(file, server, workload, backend) as runner:
            runner.run(test)
