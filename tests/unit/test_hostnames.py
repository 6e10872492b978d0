"""The one rule for what a host name is."""

from __future__ import annotations

import time

import pytest

from mongokey._support.hostnames import ascii_host, host_problem

GOOD = {
    "a": "a",
    "localhost": "localhost",
    "LocalHost.": "LocalHost.",
    "cluster0-shard-00-00.ab1cd.mongodb.net": "cluster0-shard-00-00.ab1cd.mongodb.net",
    "db_1.compose_default": "db_1.compose_default",
    "_mongodb._tcp.example.com": "_mongodb._tcp.example.com",
    "_": "_",
    "4f66ad9a0b2e": "4f66ad9a0b2e",
    "1.a": "1.a",
    "0x.a": "0x.a",
    "a--b": "a--b",
    "a" * 63: "a" * 63,
    ".".join(["a" * 63] * 3 + ["a" * 61]): ".".join(["a" * 63] * 3 + ["a" * 61]),
    "xn--bcher-kva.example": "xn--bcher-kva.example",
    "b\u00fccher.example": "xn--bcher-kva.example",
    "b\u00fccher\u3002example": "xn--bcher-kva.example",
    "127.0.0.1": "127.0.0.1",
    "0.0.0.0": "0.0.0.0",
    "255.255.255.255": "255.255.255.255",
    "::1": "::1",
    "::": "::",
    "2001:db8::1": "2001:db8::1",
    "::ffff:127.0.0.1": "::ffff:127.0.0.1",
    "fe80::1%eth0": "fe80::1%eth0",
    "fe80::1%2": "fe80::1%2",
    "fe80::1%br-1.20": "fe80::1%br-1.20",
}
BAD = [
    "",
    ".",
    "..",
    "...",
    ".example.com",
    "x..y",
    "host..",
    "-a.x",
    "a-.x",
    "a.-",
    "-",
    "a.-b",
    "_-.x",
    "a" * 64,
    "x." + "a" * 64 + ".y",
    ".".join(["a" * 63] * 4),
    "a." * 127 + "a",
    "a\0b",
    "a.x\0.evil.example",
    "\0",
    " a",
    "a ",
    "a b",
    "a\t",
    "a\n",
    "a\r\nb",
    "a\u00a0b",
    "a\u200bb\u200d",
    "*.example.com",
    "*",
    "a/b",
    "/tmp/x.sock",
    "a\\b",
    "a@b",
    "a%b",
    "a%20b",
    "127.0.0.1%eth0",
    "a,b",
    "a;b",
    "a'b",
    'a"b',
    "[::1]",
    "a:27017",
    ":",
    ":::",
    "::1%",
    "::1%a b",
    "::1%a%b",
    "::1%a/b",
    "::1%\0",
    "::1%" + "e" * 64,
    "1:2",
    "::1.",
    "::ffff:127.1",
    "12345::",
    # IPv4 in other notations, which the resolver takes and no certificate has.
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "127.0.0.01",
    "127.0.0.256",
    "127.0.0.0x1",
    "0x7f.0.0.1",
    "0x7f000001",
    "0x7F000001.",
    "0x",
    "2130706433",
    "017700000001",
    "1",
    "1.2.3.4.5",
    "a.1",
    "127.0.0.1000",
    "a.b.0x1",
    # IDNA's oddities.
    "\u00df.example",
    "fa\u00df.example",
    "\u03c2.example",
    "a\u200cb.example",
    "\u2100.example",  # would become a/c
    "\uff0f.example",  # a full-width solidus
    "\u2024\u2024",  # leaders that would become dots
    "a.\u3002b",
    "\uff0e",
    "\u3002",
    "\u3002example",
    "\uff11",  # full-width digits, which would become a number
    "\uff11\uff12\uff17.1",
    "\u00ad.x",  # a soft hyphen, which disappears
    "\U000e0041.x",
    "\ud800.x",
    "\u0300.x\ufffe",
    "\u05d0a\u05d0.x1\u05d0.1x\u05d0",
    "\u00fc" * 64,
    "\uff1a\uff1a1",
    "a\uff05b",
]


@pytest.mark.parametrize("host", GOOD)
def test_names_and_addresses_are_hosts(host: str) -> None:
    assert host_problem(host) is None
    assert ascii_host(host) == GOOD[host]


@pytest.mark.parametrize("host", BAD)
def test_what_is_neither_a_name_nor_an_address_is_no_host(host: str) -> None:
    problem = host_problem(host)
    assert problem
    with pytest.raises(ValueError, match=r"."):
        ascii_host(host)


def test_a_reason_repeats_no_part_of_the_host() -> None:
    for host in BAD:
        problem = host_problem(host)
        assert problem is not None
        assert host[:8] not in problem or len(host) < 4


def test_a_very_long_host_takes_no_time() -> None:
    began = time.process_time()
    for host in ("\u00fc" * 1_000_000, "a" * 1_000_000, "1:" * 500_000, "::1%" + "a" * 1_000_000):
        assert host_problem(host) is not None
    assert time.process_time() - began < 5.0
