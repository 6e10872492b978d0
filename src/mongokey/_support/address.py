"""The address of a server: one type, one way of writing it, one reader of what servers write.

Knows ``host:port``, IPv6 brackets and the paths of Unix sockets. Must not look names up, nor know
how a connection string escapes a host.
"""

from __future__ import annotations

from mongokey._support.hostnames import host_problem

DEFAULT_PORT = 27017

# What functions take for an address: an Address, or a plain tuple.
AddressLike = tuple[str, "int | None"]

# A host name has 253 characters at most, an IPv6 address with its zone fewer.
_LONGEST = 330


# A program has few servers, whose addresses are written with each connection.
_shown: dict[AddressLike, str] = {}
_MOST_SHOWN = 256


class Address(AddressLike):
    """``Address((host, port))``, or ``Address((path, None))`` of a Unix socket.

    It is the plain tuple that PyMongo shows, and equals, hashes, prints and pickles as one;
    ``str(address)`` is ``host:port``.
    """

    __slots__ = ()

    @property
    def host(self) -> str:
        """The host's name or IP address (IPv6 without brackets), or the Unix socket's path."""
        return self[0]

    @property
    def port(self) -> int | None:
        """The TCP port; None for a Unix socket."""
        return self[1]

    def __repr__(self) -> str:
        return tuple.__repr__(self)

    def __str__(self) -> str:
        if len(self) != 2:  # made without its values, by a debugger for one
            return repr(self)
        host, port = self
        if port is None:
            return host
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def format_address(address: AddressLike) -> str:
    """``host:port``, ``[ipv6]:port``, or the path of a Unix socket; of any such tuple."""
    shown = _shown.get(address)
    if shown is None:
        shown = Address.__str__(address)  # type: ignore[arg-type]
        if len(_shown) < _MOST_SHOWN:
            _shown[address] = shown
    return shown


def parse_address(text: str) -> Address | None:
    """The address that a server gives as ``host:port`` or ``[ipv6]:port``, host in lower case.

    The port is 27017 where none is given. None for what names no host. Raises `ValueError` for a
    path: a server must not lead a client to the files of its machine.
    """
    if len(text) > _LONGEST:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    host = host.lower()
    if "/" in host or "\\" in host or host.endswith(".sock"):
        raise ValueError("a path where a host is expected")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not (port.isascii() and port.isdigit()) or not 0 < int(port[:6]) < 65536:
        return None
    return None if host_problem(host) is not None else Address((host, int(port)))


__all__ = ["DEFAULT_PORT", "Address", "AddressLike", "format_address", "parse_address"]
