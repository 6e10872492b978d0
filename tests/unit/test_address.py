"""One type for a server's address: how it is written, read and shown."""

from __future__ import annotations

import pickle

import pytest

from mongokey._support.address import Address, format_address, parse_address


@pytest.mark.parametrize(
    ("pair", "text"),
    [
        (("localhost", 27017), "localhost:27017"),
        (("127.0.0.1", 1), "127.0.0.1:1"),
        (("::1", 27017), "[::1]:27017"),
        (("fe80::1%eth0", 27018), "[fe80::1%eth0]:27018"),
        (("/tmp/mongodb-27017.sock", None), "/tmp/mongodb-27017.sock"),
        (("odd:name.sock", None), "odd:name.sock"),
    ],
)
def test_an_address_is_written_in_one_way(pair: tuple[str, int | None], text: str) -> None:
    assert str(Address(pair)) == format_address(Address(pair)) == text
    # A plain tuple, as users give one.
    assert format_address(pair) == text


def test_users_see_the_tuple_that_pymongo_shows() -> None:
    address = Address(("host", 27017))
    assert address == ("host", 27017)
    assert hash(address) == hash(("host", 27017))
    assert repr(address) == "('host', 27017)"
    assert {("host", 27017): 1}[address] == 1
    host, port = address
    assert (host, port) == (address.host, address.port)
    assert isinstance(address, tuple)
    with pytest.raises(AttributeError):
        address.name = "x"  # type: ignore[attr-defined]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(address, protocol))
        assert copy == address
        assert type(copy) is Address


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("host:1", ("host", 1)),
        ("HOST:65535", ("host", 65535)),
        ("host", ("host", 27017)),
        ("[::1]:27018", ("::1", 27018)),
        ("[::1]", ("::1", 27017)),
        ("", None),
        (":27017", None),
        ("host:", None),
        ("host:0", None),
        ("host:65536", None),
        ("host:" + "9" * 300, None),
        ("host:-1", None),
        ("host:+1", None),
        ("host:\u0661", None),
        ("host: 1", None),
        ("ho st:1", None),
        ("::1", None),
        ("a" * 400 + ":1", None),
        ("host\0:1", None),
    ],
)
def test_what_a_server_names_is_read(text: str, found: tuple[str, int] | None) -> None:
    assert parse_address(text) == found


@pytest.mark.parametrize(
    "text", ["/tmp/x.sock", "../x", "c:\\pipe:1", "X.SOCK", "x.sock:27017", "/:1"]
)
def test_a_server_cannot_name_a_path(text: str) -> None:
    with pytest.raises(ValueError, match="path"):
        parse_address(text)
