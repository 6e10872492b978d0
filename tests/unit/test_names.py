"""`transport.names`: hosts that are addresses already."""

from __future__ import annotations

import pytest

from mongokey.transport.names import SocketAddress, known_addresses


def one(host: str, port: int) -> SocketAddress:
    found = known_addresses(host, port)
    assert found is not None
    (address,) = found
    return address


def test_each_host_and_port_keeps_its_own_address() -> None:
    # More than are kept; the answers do not depend on it, nor on the order.
    ports = range(2000, 2400)
    for _ in range(2):
        assert [one("127.0.0.1", port).text for port in ports] == [
            f"127.0.0.1:{port}" for port in ports
        ]
        assert one("::1", 2000).text == "[::1]:2000"
        assert one("0:0:0:0:0:0:0:1", 2000) == one("::1", 2000)
        assert one("127.0.0.1", 2000) != one("127.0.0.2", 2000)


def test_what_a_caller_does_to_the_list_is_its_own_matter() -> None:
    first = known_addresses("127.0.0.1", 1999)
    assert first is not None
    first.clear()
    assert one("127.0.0.1", 1999).text == "127.0.0.1:1999"


def test_a_name_is_none_however_often_it_is_asked_for() -> None:
    assert [known_addresses("mongo.example", 27017) for _ in range(2)] == [None, None]


@pytest.mark.parametrize("port", [-1, 65536, 2**40])
def test_an_impossible_port_is_refused_each_time(port: int) -> None:
    for _ in range(2):
        with pytest.raises(OverflowError):
            known_addresses("127.0.0.1", port)
