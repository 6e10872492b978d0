"""The servers that unified tests run on, by name, and what the runner itself does on them.

It knows how each is started and how its facts are found out. What the runner does for itself
(initial data, outcomes, fail points) is done by PyMongo, so that a fault of the driver under test
cannot hide behind its own mirror image. Which suite runs on which stands in `suites`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import bson
import bson.json_util
import pymongo
import pytest
from pymongo.errors import OperationFailure
from pymongo.write_concern import WriteConcern

from tests.conformance.unified.drivers import Driver
from tests.conformance.unified.matching import Mismatch
from tests.conformance.unified.requirements import Facts
from tests.servers import fail_points, oidc_deployment
from tests.servers.fleet import Fleet
from tests.servers.mechanism import MechanismServer
from tests.servers.secantus import SecantusServer


class Deployment:
    """One deployment: where it is, what it is, and the runner's own client of it.

    `fail_points` are the names that its `configureFailPoint` does something for.
    """

    fail_points = frozenset({"failCommand", "failGetMoreAfterCursorCheckout"})

    def __init__(
        self, name: str, uri: str, *, direct_uri: str | None = None, auth: bool = False
    ) -> None:
        self.name = name
        self._uri = uri
        self._direct_uri = direct_uri or uri
        self._auth = auth

    def uri(self, multiple: bool | None = None, *, direct: bool = False) -> str:
        """The connection string; `multiple` is useMultipleMongoses, None where it is not said.

        With `direct` it is for directConnection: one seed, and no name of a replica set.
        """
        return self._direct_uri if direct else self._uri

    def client_options(self, driver: Driver, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a client entity, as keywords."""
        return dict(options)

    @cached_property
    def client(self) -> pymongo.MongoClient[Any]:
        """The internal client of the format."""
        return pymongo.MongoClient(self._uri, serverSelectionTimeoutMS=10000)

    def close(self) -> None:
        if "client" in self.__dict__:
            self.client.close()

    @cached_property
    def facts(self) -> Facts:
        admin = self.client.admin
        version = admin.command("buildInfo")["versionArray"]
        return Facts(
            (version[0], version[1], version[2]),
            self.name if self.name in TOPOLOGIES else _topology(admin.command("hello")),
            self._auth,
            # SecantusDB does not list the parameter. It does what a server does where it is off:
            # what was sent here declared no API version, and has been answered.
            {"requireApiVersion": False, **admin.command({"getParameter": "*"})},
        )

    # -- data -----------------------------------------------------------------------------------

    def set_up(self, collections: Sequence[Mapping[str, Any]]) -> None:
        """Make collections what initialData says; the values are PyMongo's."""
        # A transaction that the test before has left would hold this one up.
        self.client.admin.command("killAllSessions", [])
        for each in collections:
            database = self.client.get_database(
                each["databaseName"], write_concern=WriteConcern("majority")
            )
            name = each["collectionName"]
            database.drop_collection(name)
            options = each.get("createOptions")
            if options is not None or not each["documents"]:
                database.create_collection(name, check_exists=False, **(options or {}))
            if each["documents"]:
                database[name].insert_many(each["documents"])

    def check_outcome(self, collections: Sequence[Mapping[str, Any]]) -> None:
        """Raise `Mismatch` unless collections have exactly these documents."""
        for each in collections:
            collection = self.client[each["databaseName"]][each["collectionName"]]
            found = list(collection.find({}, sort=[("_id", 1)]))
            expected = each["documents"]
            if [_bytes(document) for document in found] != [_bytes(one) for one in expected]:
                raise Mismatch(f"{collection.full_name}: expected {expected}, has {found}")

    def turn_on_at(self, address: tuple[str, int], fail_point: Mapping[str, Any]) -> None:
        """Set a fail point on one of the servers; its values are the driver's."""
        command = bson.json_util.loads(bson.json_util.dumps(fail_point))
        with pymongo.MongoClient(*address, directConnection=True) as client:
            client.admin.command(command)

    def turn_off(self, fail_point: str) -> None:
        """Disable a fail point."""
        self.client.admin.command({"configureFailPoint": fail_point, "mode": "off"})

    def collection_exists(self, database: str, name: str) -> bool:
        return name in self.client[database].list_collection_names()

    def index_exists(self, database: str, collection: str, name: str) -> bool:
        try:
            return name in self.client[database][collection].index_information()
        except OperationFailure as error:
            if error.code == 26:  # NamespaceNotFound
                return False
            raise


#: Deployments whose topology is their name: what is behind a load balancer does not say so itself.
TOPOLOGIES = frozenset({"load-balanced"})


def _topology(hello: Mapping[str, Any]) -> str:
    if hello.get("msg") == "isdbgrid":
        return "sharded"
    return "replicaset" if "setName" in hello else "single"


def _bytes(document: Any) -> bytes:
    """A document's BSON with its keys in one order, at every depth."""
    return bson.encode({"": _ordered(document)})


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _ordered(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_ordered(each) for each in value]
    return value


class Deployments:
    """Starts deployments when they are first asked for, and stops them all at the end."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._started: dict[str, Deployment] = {}
        self._stack = ExitStack()

    def get(self, name: str) -> Deployment:
        """A deployment of `NAMES`."""
        if name not in self._started:
            deployment = NAMES[name](self._stack, self._request)
            self._stack.callback(deployment.close)
            self._started[name] = deployment
        return self._started[name]

    def close(self) -> None:
        self._stack.close()


def _single(stack: ExitStack, request: pytest.FixtureRequest) -> Deployment:
    server = stack.enter_context(SecantusServer(require_auth=False, replica_set=None))
    return Deployment("single", server.uri(None))


def _replica_set(stack: ExitStack, request: pytest.FixtureRequest) -> Deployment:
    server: SecantusServer = request.getfixturevalue("open_secantus")
    uri = server.uri(None, replicaSet="secantus")
    return Deployment("replicaset", uri, direct_uri=server.uri(None))


def _authenticated(stack: ExitStack, request: pytest.FixtureRequest) -> Deployment:
    server: SecantusServer = request.getfixturevalue("secantus")
    uri = server.uri("both", replicaSet="secantus")
    return Deployment("auth", uri, direct_uri=server.uri("both"), auth=True)


class FleetDeployment(Deployment):
    """Members of a fleet; `seeds` are those that clients are told of, the first of them the one
    where a single one is asked for, unless that is `single`."""

    fail_points = frozenset(fail_points.NAMES)

    def __init__(
        self,
        name: str,
        fleet: Fleet,
        seeds: Sequence[int],
        *,
        single: int | None = None,
        **options: Any,
    ) -> None:
        direct_uri = fleet.uri(seeds=seeds[:1])
        super().__init__(name, fleet.uri(seeds=seeds, **options), direct_uri=direct_uri)
        self._fleet = fleet
        self._single_uri = fleet.uri(seeds=seeds[:1] if single is None else [single], **options)

    def uri(self, multiple: bool | None = None, *, direct: bool = False) -> str:
        if direct:
            return self._direct_uri
        return self._single_uri if multiple is False else self._uri

    def turn_off(self, fail_point: str) -> None:
        for member in range(len(self._fleet.ports)):
            self._fleet.clear_fail_point(member)


def _standalone(stack: ExitStack, request: pytest.FixtureRequest) -> Deployment:
    server: SecantusServer = request.getfixturevalue("open_secantus")
    return FleetDeployment("standalone", stack.enter_context(Fleet(server, ["standalone"])), [0])


def _sharded(stack: ExitStack, request: pytest.FixtureRequest) -> Deployment:
    server: SecantusServer = request.getfixturevalue("open_secantus")
    fleet = stack.enter_context(Fleet(server, ["mongos", "mongos"]))
    return FleetDeployment("sharded", fleet, [0, 1])


def _load_balanced(stack: ExitStack, request: pytest.FixtureRequest) -> Deployment:
    server: SecantusServer = request.getfixturevalue("open_secantus")
    fleet = stack.enter_context(Fleet(server, ["load_balancer", "mongos", "mongos"]))
    # useMultipleMongoses: two ways to the same servers, of which one leads to one of them only.
    single = fleet.add("load_balancer", services=1)
    return FleetDeployment("load-balanced", fleet, [0], single=single, loadBalanced=True)


def _set_of_three(stack: ExitStack, request: pytest.FixtureRequest) -> Deployment:
    server: SecantusServer = request.getfixturevalue("open_secantus")
    fleet = stack.enter_context(Fleet(server, 3))
    return FleetDeployment("set of three", fleet, [0, 1, 2], replicaSet=fleet.set_name)


class OIDCDeployment(Deployment):
    """A server with MONGODB-OIDC in front of one that asks for no login, which the runner uses.

    The placeholder of the mechanism's properties is a callback here; what each environment does
    stands in `tests.conformance.test_oidc_unified`.
    """

    def __init__(self, backend: SecantusServer, server: MechanismServer, token: Any) -> None:
        super().__init__("oidc", backend.uri(None), auth=True)
        self._server = server
        self._token = token

    def uri(self, multiple: bool | None = None, *, direct: bool = False) -> str:
        return self._server.uri()

    def client_options(self, driver: Driver, options: Mapping[str, Any]) -> dict[str, Any]:
        found = dict(options)
        if found.get("authMechanismProperties") == {"$$placeholder": 1}:
            module = driver.module("auth_oidc")
            result, token = module.OIDCCallbackResult, self._token

            class Callback(module.OIDCCallback):  # type: ignore[misc,name-defined]
                def fetch(self, context: Any) -> Any:
                    return result(access_token=token())

            found["authMechanismProperties"] = {"OIDC_CALLBACK": Callback()}
        return found

    @cached_property
    def facts(self) -> Facts:
        backend = super().facts
        mechanisms = {"authenticationMechanisms": ["MONGODB-OIDC"]}
        return Facts(backend.version, "single", True, {**backend.parameters, **mechanisms})

    def turn_off(self, fail_point: str) -> None:
        self._server.fail_points.clear()


def _oidc(stack: ExitStack, request: pytest.FixtureRequest) -> Deployment:
    backend: SecantusServer = request.getfixturevalue("open_secantus")
    stage = stack.enter_context(oidc_deployment.open_deployment(backend))
    server, _ = stack.enter_context(stage.single())
    return OIDCDeployment(backend, server, stage.machine_token)


#: How each deployment is started.
NAMES: Mapping[str, Any] = {
    "single": _single,
    "replicaset": _replica_set,
    "set of three": _set_of_three,
    "standalone": _standalone,
    "sharded": _sharded,
    "load-balanced": _load_balanced,
    "auth": _authenticated,
    "oidc": _oidc,
}


@contextmanager
def opened(request: pytest.FixtureRequest) -> Iterator[Deployments]:
    """The deployments of a test session."""
    deployments = Deployments(request)
    try:
        yield deployments
    finally:
        deployments.close()
