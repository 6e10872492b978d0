"""The suites of server-discovery-and-monitoring that feed hellos and errors, without a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mongokey._support.address import format_address, parse_address
from mongokey._support.server_errors import raise_command_error
from mongokey.bson import json_util
from mongokey.client_options import ClientOptions
from mongokey.errors import AutoReconnect, MongoError, NetworkTimeout
from mongokey.handshake import HelloReply
from mongokey.topology.error_effects import effect_of
from mongokey.topology.server_description import ServerDescription
from mongokey.topology.topology_description import (
    TopologyDescription,
    initial_topology,
    updated_topology_description,
)

from ._uri_suite import ROOT, need

SUITES = ("rs", "sharded", "single", "load-balanced", "errors")


def cases() -> list[Any]:
    found = []
    for suite in SUITES:
        for path in sorted((ROOT / "server-discovery-and-monitoring" / suite).glob("*.json")):
            text = path.read_text(encoding="utf-8")
            found.append(pytest.param(json_util.loads(text), id=f"{suite}/{path.stem}"))
    return found or [pytest.param(None, id="no-specifications")]


def test_the_suites_are_whole() -> None:
    need({} if (ROOT / "server-discovery-and-monitoring").is_dir() else None)
    assert len(cases()) >= 178


class Deployment:
    """The description that a client would have, and the generation of each pool."""

    def __init__(self, uri: str) -> None:
        options = ClientOptions.build(uri, connect=False)
        self.topology = initial_topology(
            options.hosts,
            direct_connection=bool(options.direct_connection),
            replica_set=options.replica_set_name,
            load_balanced=bool(options.load_balanced),
        )
        self.generations: dict[Any, int] = {}

    def update(self, server: ServerDescription) -> None:
        self.topology = updated_topology_description(self.topology, server)

    def answer(self, address: Any, document: dict[str, Any]) -> None:
        if not document.get("ok"):
            error = AutoReconnect("no answer")
            self.update(ServerDescription(address, error=error))
            # A failed check clears the pool (server-monitoring.md, "Network or command error").
            self.clear(address)
        else:
            hello = HelloReply(document)
            self.update(ServerDescription(address, hello, 0.01))

    def clear(self, address: Any) -> None:
        self.generations[address] = self.generations.get(address, 0) + 1

    def fail(self, given: dict[str, Any]) -> None:
        address = parse_address(given["address"])
        assert address is not None
        now = self.generations.get(address, 0)
        before = given["when"] == "beforeHandshakeCompletes"
        error = error_of(given)
        if before and given["type"] in ("network", "timeout"):
            # connection-monitoring-and-pooling.md labels what fails before hello is answered.
            error._add_error_label("SystemOverloadedError")
        effect = effect_of(
            error,
            self.topology,
            address,
            generation=given.get("generation", now),
            pool_generation=now,
            handshake_done=not before,
        )
        if effect.description is not None:
            self.update(effect.description)
        if effect.clears_pool:
            self.clear(address)


def error_of(given: dict[str, Any]) -> MongoError:
    if given["type"] == "network":
        return AutoReconnect("connection closed")
    if given["type"] == "timeout":
        return NetworkTimeout("timed out")
    with pytest.raises(MongoError) as caught:
        raise_command_error(given["response"], given["maxWireVersion"])
    return caught.value


@pytest.mark.parametrize("case", cases())
def test_discovery(case: dict[str, Any] | None) -> None:
    case = need(case)
    deployment = Deployment(case["uri"])
    for phase in case["phases"]:
        for name, document in phase.get("responses", ()):
            address = parse_address(name)
            deployment.answer(address, document)
        for given in phase.get("applicationErrors", ()):
            deployment.fail(given)
        check(deployment, phase["outcome"])


def check(deployment: Deployment, outcome: dict[str, Any]) -> None:
    topology = deployment.topology
    assert topology.topology_type_name == outcome["topologyType"]
    assert topology.replica_set_name == outcome.get("setName", topology.replica_set_name)
    if "logicalSessionTimeoutMinutes" in outcome:
        wanted = outcome["logicalSessionTimeoutMinutes"]
        assert topology.logical_session_timeout_minutes == wanted
    assert topology.is_compatible == outcome.get("compatible", True)
    assert topology.max_set_version == outcome.get("maxSetVersion", topology.max_set_version)
    assert topology.max_election_id == outcome.get("maxElectionId", topology.max_election_id)
    there = {format_address(a): s for a, s in topology.server_descriptions().items()}
    assert set(there) == set(outcome["servers"])
    for name, wanted in outcome["servers"].items():
        check_server(there[name], wanted)
        if "pool" in wanted:
            generation = deployment.generations.get(there[name].address, 0)
            assert generation == wanted["pool"]["generation"]


def check_server(server: ServerDescription, wanted: dict[str, Any]) -> None:
    kind = wanted["type"]
    assert server.server_type_name == ("Unknown" if kind == "PossiblePrimary" else kind)
    for key, value in (
        ("setName", server.replica_set_name),
        ("setVersion", server.set_version),
        ("electionId", server.election_id),
        ("logicalSessionTimeoutMinutes", server.logical_session_timeout_minutes),
        ("minWireVersion", server.min_wire_version),
        ("maxWireVersion", server.max_wire_version),
        ("topologyVersion", server.topology_version),
    ):
        if key in wanted:
            # 0 is what a version is that nobody has told.
            assert (value or None) == (wanted[key] or None), key
    if wanted.get("error"):
        assert wanted["error"] in str(server.error)


def test_a_description_is_never_changed() -> None:
    topology = initial_topology([("a", 1)], replica_set="rs")
    document = {"ok": 1, "isWritablePrimary": True, "setName": "rs", "hosts": ["a:1", "b:2"]}
    document |= {"minWireVersion": 0, "maxWireVersion": 21}
    after = updated_topology_description(
        topology, ServerDescription(("a", 1), HelloReply(document), 0.01)
    )
    assert isinstance(after, TopologyDescription)
    assert topology == initial_topology([("a", 1)], replica_set="rs")
    assert set(after.server_descriptions()) == {("a", 1), ("b", 2)}
    after.server_descriptions().clear()
    assert after.server_descriptions()
    json.dumps(repr(after))
