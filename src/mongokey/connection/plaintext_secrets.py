"""Warns before a login shows a secret to whoever is between: no TLS, and not on this machine.

Knows what a connection's peer is, which warnings a client has given, and who is to read them. Must
not know mechanisms: what a login shown_in_plaintext is told to it in words.
"""

from __future__ import annotations

import warnings

from mongokey._support.lazy import late_imports
from mongokey._support.warning_level import outside_level
from mongokey.errors import AutoReconnect, InsecureConnectionWarning

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey._support.address import AddressLike
    from mongokey.transport import Stream


class PlaintextSecretWarner:
    """What the logins of one client expose, and the servers its user was warned about."""

    def __init__(self, what: str, mechanism: str) -> None:
        self._what = what
        self._mechanism = mechanism
        self._warned: set[AddressLike] = set()

    def warn(self, stream: Stream, address: AddressLike) -> None:
        """Warn, once for each server, unless the stream's other end is on this machine.

        Raises `InsecureConnectionWarning` where warnings are errors, each time then: the secret
        must not be sent. Raises `AutoReconnect` when the connection is lost already.
        """
        if address in self._warned:
            return
        ip = peer_ip(stream)
        if ip is None or is_loopback(ip):
            return
        shown = stream.peer if address[0] == ip else f"{stream.peer} ({ip})"
        text = (
            f"{self._mechanism} sends {self._what} over an unencrypted connection to {shown}: "
            "whoever is on the way can read it. Encrypt the connection with tls=true"
        )
        warnings.warn(text, InsecureConnectionWarning, outside_level())
        self._warned.add(address)
        with late_imports:
            import logging

        package = logging.getLogger("mongokey")
        if not package.handlers:
            # A program that set up no logging would be told twice.
            package.addHandler(logging.NullHandler())
        logging.getLogger("mongokey.connection").warning("%s", text)


def peer_ip(stream: Stream) -> str | None:
    """The numeric address of the stream's other end; None for a Unix socket."""
    with late_imports:
        import socket

    try:
        sock = socket.socket(fileno=stream.fileno())
        try:
            peer = sock.getpeername()
        finally:
            sock.detach()  # it is the stream's
    except (OSError, ValueError) as error:
        raise AutoReconnect(f"{stream.peer}: the connection is lost: {error}") from error
    return str(peer[0]) if isinstance(peer, tuple) else None


def is_loopback(ip: str) -> bool:
    """Whether a numeric address is of this machine only: 127.0.0.0/8 or ::1."""
    with late_imports:
        import ipaddress

    address = ipaddress.ip_address(ip)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


__all__ = ["PlaintextSecretWarner", "is_loopback", "peer_ip"]
