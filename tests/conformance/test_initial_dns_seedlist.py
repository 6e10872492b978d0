"""The initial-dns-seedlist-discovery suite, each case looked up at a real DNS server on loopback.

What a case says about seeds, options, credentials and errors is checked on a client, made by
`MongoClient`'s own way to its options. `hosts`, `numHosts` and `ping` need a TLS replica set, a
sharded cluster or a load balancer on the fixed ports 27017-27019 and 8000 that the records name,
and are not checked: no server that runs here is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import mongokey
from mongokey.client_options import ClientOptions
from mongokey.dns import Resolver, SRVError
from mongokey.errors import ConfigurationError, InvalidURI
from mongokey.options.connection_string import parse
from mongokey.options.table import find
from mongokey.uri_parser import parse_uri
from tests import specifications
from tests.servers.dns import HOST, DNSServer, require, suite_server

SUITE = "initial-dns-seedlist-discovery"

CASES = [pytest.param(case, id=name) for name, case in specifications.suite(SUITE)] or [
    pytest.param(None, id="no-specifications")
]

# Errors of the string itself: no DNS is asked for them.
NOT_ASKED = {"replica-set/uri-with-port", "replica-set/uri-with-two-hosts"}


@pytest.fixture(scope="module")
def resolver() -> Iterator[Resolver]:
    require()
    records = specifications.require(SUITE) / "records.txt"
    with suite_server(records) as server:
        yield Resolver(name_servers=[HOST], port=server.port)


@pytest.mark.parametrize("case", CASES)
def test_seedlist(
    case: dict[str, Any] | None, resolver: Resolver, request: pytest.FixtureRequest
) -> None:
    assert case is not None, "the resolver fixture skips when the suite is missing"
    uri = case["uri"]
    if case.get("error"):
        name = request.node.callspec.id
        with pytest.raises(InvalidURI if name in NOT_ASKED else ConfigurationError):
            mongokey.MongoClient(uri, srv_resolver=resolver)
        with pytest.raises(ConfigurationError):
            parse_uri(uri, resolve=resolver)
        return
    # What the suite says about credentials that no mechanism takes stays with the string.
    options = ClientOptions.build(uri, srv_resolver=resolver)
    seeds = [f"{host}:{port}" for host, port in options.hosts]
    if "seeds" in case:
        assert sorted(seeds) == sorted(case["seeds"])
    if "numSeeds" in case:
        assert len(set(seeds)) == case["numSeeds"]
    assert "seeds" in case or "numSeeds" in case
    _check_options(options, case.get("options", {}))
    _check_parsed_options(options, case.get("parsed_options", {}))
    result = parse_uri(uri, resolve=resolver)
    if "seeds" in case:
        assert sorted(f"{host}:{port}" for host, port in result["nodelist"]) == sorted(seeds)
    string = options.connection_string
    assert string is not None
    assert string.srv_ttl_s == 86400


def _check_options(options: ClientOptions, expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        option = find(name)
        assert option is not None
        assert options.options[option.name] == value, name
        assert options.origin(option.name) in ("URI", "TXT", "default")
    ssl = expected.get("ssl")
    if ssl is not None:
        assert (options.tls is not None) is ssl
    if "replicaSet" in expected:
        assert options.replica_set_name == expected["replicaSet"]
    if "loadBalanced" in expected:
        assert options.load_balanced is expected["loadBalanced"]


def _check_parsed_options(options: ClientOptions, expected: dict[str, Any]) -> None:
    names = {"user", "password", "auth_database", "db", "defaultDatabase"}
    assert expected.keys() <= names
    credential = options.credential
    for name in ("user", "password"):
        if name in expected:
            assert credential is not None
            attribute = "username" if name == "user" else name
            assert getattr(credential, attribute) == expected[name]
    for name in ("auth_database", "db", "defaultDatabase"):
        if name in expected:
            assert options.database == expected[name]
    if "auth_database" in expected and credential is not None:
        assert credential.source == expected["auth_database"]


# ---------------------------------------------------------------- prose tests


def _look_up(name: str, target: str) -> Any:
    """The options of mongodb+srv://name, when DNS has this one record for it."""
    require()
    parts = name.split(".")
    zone = name if len(parts) < 3 else ".".join(parts[-2:])
    record = f"_mongodb._tcp.{name}. 60 IN SRV 0 0 27017 {target}."
    with DNSServer({zone: [record]}) as server:
        resolver = Resolver(name_servers=[HOST], port=server.port)
        return ClientOptions.build(f"mongodb+srv://{name}", srv_resolver=resolver)


@pytest.mark.parametrize("name", ["localhost", "mongo.local"])
def test_prose_1_fewer_than_three_parts_are_allowed(name: str) -> None:
    assert parse(f"mongodb+srv://{name}").fqdn == name
    assert _look_up(name, f"a.{name}").hosts == ((f"a.{name}", 27017),)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("localhost", "localhost.mongodb"),
        ("mongo.local", "test_1.evil.local"),
        ("blogs.mongodb.com", "blogs.evil.com"),
    ],
)
def test_prose_2_a_host_that_does_not_end_with_the_domain(name: str, target: str) -> None:
    with pytest.raises(SRVError) as caught:
        _look_up(name, target)
    assert caught.value.code == "SRV-HOST-FOREIGN"
    parent = "mongodb.com" if name.count(".") == 2 else name
    for fact in (name, target, f"not under {parent}:", "srvAllowedHostsSuffix"):
        assert fact in str(caught.value)


@pytest.mark.parametrize("name", ["localhost", "mongo.local"])
def test_prose_3_a_host_that_is_the_name_itself(name: str) -> None:
    with pytest.raises(SRVError, match="one part more") as caught:
        _look_up(name, name)
    assert caught.value.code == "SRV-HOST-FOREIGN"


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("localhost", "test_1.cluster_1localhost"),
        ("mongo.local", "test_1.my_hostmongo.local"),
        ("blogs.mongodb.com", "cluster.testmongodb.com"),
    ],
)
def test_prose_4_a_host_without_the_dot_before_the_domain(name: str, target: str) -> None:
    with pytest.raises(SRVError) as caught:
        _look_up(name, target)
    assert caught.value.code == "SRV-HOST-FOREIGN"
