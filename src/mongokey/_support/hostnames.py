"""What a host name is: one rule for connection strings, connections and TLS.

Knows RFC 1123 (section 2.1), RFC 952's letters with the underscore that names in Docker and SRV
records have, and the literals of IPv4 and IPv6. Must not look names up, nor know Unix sockets.
"""

from __future__ import annotations

# RFC 1035, section 2.3.4; the dot of the root does not count.
_LONGEST_LABEL = 63
_LONGEST_NAME = 253
_OCTETS = frozenset(map(str, range(256)))
# What IDNA 2003 writes as other letters, or drops, and IDNA 2008 does not (RFC 5894, 7.2): the two
# would connect to different hosts.
_AMBIGUOUS = frozenset("\u00df\u03c2\u200c\u200d")

_NOT_ASCII = "is an address in digits that are not ASCII"


def host_problem(host: str) -> str | None:
    """Why `host` is neither a host name nor an IPv4 or IPv6 address, or None if it is one.

    The reason is to follow the host in a message; it repeats no part of the host. A name may end
    in the root's dot, and an IPv6 address in a zone (``fe80::1%eth0``, RFC 4007); the brackets
    that URIs put around an address are not part of it.
    """
    try:
        ascii_host(host)
    except ValueError as error:
        return str(error)
    return None


def ascii_host(host: str) -> str:
    """`host` as it is looked up: a name with letters beyond ASCII in IDNA's spelling (RFC 3490).

    Raises `ValueError` with the reason when it is neither a host name nor an address.
    """
    if not host:
        raise ValueError("is empty")
    translated = not host.isascii()
    if translated:
        host = _in_ascii(host)
    if ":" in host and not translated:
        _check_ipv6(host)
        return host
    name = host[:-1] if host[-1] == "." else host
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"is longer than {_LONGEST_NAME} characters")
    labels = name.split(".")
    if len(labels) == 4 and name is host and _OCTETS.issuperset(labels):
        if translated:
            raise ValueError(_NOT_ASCII)
        return host
    for label in labels:
        if not label.isalnum():
            _check_label(label)
        if len(label) > _LONGEST_LABEL:
            raise ValueError(f"has more than {_LONGEST_LABEL} characters between two dots")
    last = labels[-1]
    if last.isdigit() or last[:2] in ("0x", "0X"):
        if translated:
            raise ValueError(_NOT_ASCII)
        _check_ipv4(host)
    return host


def _check_label(label: str) -> None:
    if not label:
        raise ValueError("has nothing before, after or between its dots")
    if not label.replace("-", "").replace("_", "").isalnum() and label.strip("-_"):
        raise ValueError(
            "has a character that no host name has: letters, digits, '-', '_' and '.' it may have"
        )
    if label[0] == "-" or label[-1] == "-":
        raise ValueError("has a '-' at the begin or end, or beside a dot")


def _check_ipv4(host: str) -> None:
    """A last label that is a number makes an address (RFC 1123, 2.1), which has one spelling.

    The resolver takes ``127.1`` and ``0x7f000001`` for addresses too, certificates do not.
    """
    parts = host.split(".")
    if len(parts) != 4 or not _OCTETS.issuperset(parts):
        raise ValueError(
            "ends in a number, as only IPv4 addresses do: they are four numbers up to 255 with "
            "dots between, without zeros before"
        )


def _check_ipv6(host: str) -> None:
    # Of the C module: socket and ipaddress are too much to load for a connection string.
    from _socket import AF_INET6, inet_pton

    address, percent, zone = host.partition("%")
    # The name of an interface, or its number.
    if percent and (
        not zone or len(zone) > _LONGEST_LABEL or not zone.isprintable() or set(zone) & set(" %/")
    ):
        raise ValueError("has an IPv6 zone that is no network interface's name")
    try:
        inet_pton(AF_INET6, address)
    except (OSError, ValueError):
        raise ValueError("has a colon and is no IPv6 address") from None


def _in_ascii(host: str) -> str:
    # Before the codec, whose time grows with the square of the length.
    if len(host) > _LONGEST_NAME:
        raise ValueError(f"is longer than {_LONGEST_NAME} characters")
    if not _AMBIGUOUS.isdisjoint(host):
        raise ValueError(
            "has a letter that programs translate differently: write it as xn--…, which is "
            "the same everywhere"
        )
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError("has characters that IDNA has no spelling for") from None


__all__ = ["ascii_host", "host_problem"]
