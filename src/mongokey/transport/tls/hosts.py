"""The name or address that a server's certificate must be for, from the host that was connected to.

Knows SNI (RFC 6066, section 3) and that neither it nor a certificate has a root's dot or a zone.
Must not know how OpenSSL is told; both ways to speak TLS ask here before it sees a host.
"""

from __future__ import annotations

from mongokey._support.hostnames import ascii_host
from mongokey._support.lazy import late_imports
from mongokey.errors import ConfigurationError


def certified_name(host: str) -> tuple[str, bytes | None]:
    """`host` as certificates have it: (name or address in ASCII, the address's bytes or None).

    Raises `ConfigurationError` for what is neither a host name nor an address: OpenSSL would check
    less for it (any name below ``.example.com``) or nothing (``.``).
    """
    try:
        name = ascii_host(host)
    except ValueError as error:
        raise ConfigurationError(
            f"TLS: {host!r} is no host name that a certificate could be checked against: it {error}"
        ) from None
    if ":" in name:
        with late_imports:
            from ipaddress import IPv6Address

        name = name.partition("%")[0]
        return name, IPv6Address(name).packed
    name = name.removesuffix(".")
    if name.rpartition(".")[2].isdigit():
        return name, bytes(map(int, name.split(".")))
    return name, None


__all__ = ["certified_name"]
