"""The suites of server-selection and max-staleness, without a socket."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from mongokey._support.address import format_address, parse_address
from mongokey.bson import json_util
from mongokey.errors import ConfigurationError
from mongokey.handshake import HelloReply
from mongokey.read_preferences import make_read_preference, read_pref_mode_from_name
from mongokey.topology.round_trip_time import RoundTripTime
from mongokey.topology.selection import candidates, choose, in_latency_window, suitable_servers
from mongokey.topology.server_description import ServerDescription
from mongokey.topology.topology_description import TopologyDescription

from ._uri_suite import ROOT, need

# What makes a server's hello say that it is of this type.
HELLOS: dict[str, dict[str, Any]] = {
    "RSPrimary": {"isWritablePrimary": True, "setName": "rs"},
    "RSSecondary": {"secondary": True, "setName": "rs"},
    "RSArbiter": {"arbiterOnly": True, "setName": "rs"},
    "RSOther": {"hidden": True, "setName": "rs"},
    "RSGhost": {"isreplicaset": True},
    "Mongos": {"msg": "isdbgrid"},
    "Standalone": {},
}


def cases(*patterns: str) -> list[Any]:
    found = []
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).with_suffix("").as_posix()
            found.append(pytest.param(json_util.loads(path.read_text("utf-8")), id=name))
    return found or [pytest.param(None, id="no-specifications")]


def server_of(given: dict[str, Any]) -> ServerDescription:
    address = parse_address(given["address"])
    assert address is not None
    kind = given["type"]
    if kind in ("Unknown", "PossiblePrimary"):
        return ServerDescription(address)
    rtt_s = given.get("avg_rtt_ms", 0) / 1000
    if kind == "LoadBalancer":
        return ServerDescription(address, server_type="LoadBalancer", round_trip_time=rtt_s)
    document = {"ok": 1, "minWireVersion": 0, "maxWireVersion": 21, **HELLOS[kind]}
    document["tags"] = given.get("tags", {})
    if "lastWrite" in given:
        document["lastWrite"] = given["lastWrite"]
    updated_s = given.get("lastUpdateTime", 0) / 1000
    return ServerDescription(address, HelloReply(document), rtt_s, last_update_time=updated_s)


def topology_of(given: dict[str, Any]) -> TopologyDescription:
    servers = [server_of(each) for each in given["servers"]]
    return TopologyDescription(given["type"], {each.address: each for each in servers}, "rs")


def names(servers: list[ServerDescription]) -> list[str]:
    return sorted(format_address(each.address) for each in servers)


def preference_of(given: dict[str, Any]) -> Any:
    mode = given.get("mode", "Primary")
    return make_read_preference(
        read_pref_mode_from_name(mode[0].lower() + mode[1:]),
        given.get("tag_sets"),
        given.get("maxStalenessSeconds", -1),
    )


@pytest.mark.parametrize(
    "case", cases("server-selection/server_selection/*/*/*.json", "max-staleness/*/*.json")
)
def test_selection(case: dict[str, Any] | None) -> None:
    case = need(case)
    topology = topology_of(case["topology_description"])
    heartbeat_s = case.get("heartbeatFrequencyMS", 10_000) / 1000
    if case.get("error"):
        with pytest.raises((ConfigurationError, ValueError)):
            candidates(topology, preference_of(case["read_preference"]), heartbeat_s=heartbeat_s)
        return
    preference = preference_of(case["read_preference"])
    if case.get("operation") == "write":
        preference = None
    avoided = [server_of(each).address for each in case.get("deprioritized_servers", ())]
    options: dict[str, Any] = {"heartbeat_s": heartbeat_s, "deprioritized": avoided}
    found = candidates(topology, preference, **options)
    assert names(found) == names([server_of(each) for each in case["suitable_servers"]])
    near = suitable_servers(topology, preference, **options)
    assert names(near) == names([server_of(each) for each in case["in_latency_window"]])


@pytest.mark.parametrize("case", cases("server-selection/rtt/*.json"))
def test_round_trip_times(case: dict[str, Any] | None) -> None:
    case = need(case)
    rtt = RoundTripTime()
    if case["avg_rtt_ms"] != "NULL":
        rtt.add(case["avg_rtt_ms"])
    rtt.add(case["new_rtt_ms"])
    assert rtt.average == pytest.approx(case["new_avg_rtt"])


@pytest.mark.parametrize("case", cases("server-selection/in_window/*.json"))
def test_the_less_loaded_of_two(case: dict[str, Any] | None) -> None:
    case = need(case)
    topology = topology_of(case["topology_description"])
    counts = {each["address"]: each["operation_count"] for each in case["mocked_topology_state"]}
    servers = in_latency_window(candidates(topology, preference_of({"mode": "Nearest"})), 0.015)
    rng = random.Random(7)
    seen: Counter[str] = Counter()
    for _ in range(case["iterations"]):
        chosen = choose(servers, lambda address: counts[format_address(address)], rng)
        seen[format_address(chosen.address)] += 1
    for name, wanted in case["outcome"]["expected_frequencies"].items():
        share = seen[name] / case["iterations"]
        if wanted in (0, 1):
            assert share == wanted
        else:
            assert share == pytest.approx(wanted, abs=case["outcome"]["tolerance"])
