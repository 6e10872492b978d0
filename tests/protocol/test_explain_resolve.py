"""`mongokey explain --resolve`: what a real DNS server says, shown in words and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mongokey.cli.app import cli
from tests.servers.dns import HOST, DNSServer, require

URI = "mongodb+srv://user:secret@c.example.test/shop"
ZONE = [
    "_mongodb._tcp.c.example.test. 300 IN SRV 0 0 27017 a.example.test.",
    "_mongodb._tcp.c.example.test. 300 IN SRV 0 0 27018 b.example.test.",
    'c.example.test. 300 IN TXT "authSource=admin&replicaSet=rs0"',
]


@pytest.fixture(scope="module")
def name_server() -> Iterator[str]:
    require()
    with DNSServer({"example.test": ZONE}) as server:
        yield f"{HOST}:{server.port}"


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["explain", *arguments])


def as_json(*arguments: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(explain("--json", *arguments).stdout)
    return document


def test_hosts_and_options_of_dns_and_where_they_are_from(name_server: str) -> None:
    document = as_json(URI, "--resolve", "--name-server", name_server)
    assert sorted(document["hosts"]) == ["a.example.test:27017", "b.example.test:27018"]
    options = {each["name"]: (each["value"], each["origin"]) for each in document["options"]}
    assert options == {
        "authSource": ("admin", "TXT"),
        "replicaSet": ("rs0", "TXT"),
        "tls": (True, "default"),
    }
    assert document["login"]["source"] == "admin"
    assert document["dns"]["ttl_s"] == 300
    assert document["dns"]["poll_interval_s"] == 300
    asked = {each["question"]: each for each in document["dns"]["queries"]}
    assert set(asked) == {"SRV _mongodb._tcp.c.example.test", "TXT c.example.test"}
    for each in asked.values():
        assert (each["server"], each["transport"]) == (name_server, "UDP")
        assert each["outcome"] == "NOERROR"
        assert each["milliseconds"] >= 0


def test_the_same_in_words(name_server: str) -> None:
    result = explain(URI, "--name-server", name_server)
    assert result.exit_code == 0
    for words in ("a.example.test:27017", "b.example.test:27018", "TXT", name_server, "NOERROR"):
        assert words in result.stdout
    assert "to be asked again after 300 s" in result.stdout
    assert "secret" not in result.stdout


def test_nothing_is_asked_without_resolve() -> None:
    document = as_json(URI)
    assert (document["hosts"], document["dns"]) == ([], None)


def test_a_name_that_is_not_there(name_server: str) -> None:
    uri = "mongodb+srv://user:secret@gone.example.test:27017"
    good = uri.removesuffix(":27017")
    document = as_json(good, "--name-server", name_server)
    assert (document["ok"], document["error"]) == (False, "SRVError")
    assert document["code"] == "DNS-NXDOMAIN"
    assert any("NXDOMAIN" in attempt for attempt in document["attempts"])
    result = explain(good, "--name-server", name_server)
    assert result.exit_code == 1
    assert "DNS has no name _mongodb._tcp.gone.example.test" in result.stderr
    result = explain(uri, "--name-server", name_server)
    assert f"help: {good.replace('secret', '***')}" in result.stderr


@pytest.mark.parametrize("text", ["dns.example.com", "127.0.0.1:x", "[::1]:0"])
def test_a_name_server_is_an_address(text: str) -> None:
    result = explain(URI, "--resolve", "--name-server", text)
    assert result.exit_code == 2
    assert "must be an IP address" in result.stderr


def test_a_plain_string_asks_nothing(name_server: str) -> None:
    document = as_json("mongodb://u:p@localhost/?authSource=admin", "--name-server", name_server)
    assert document["ok"] is True
    assert document["dns"] is None
