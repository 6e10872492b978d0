"""One question to one name server: over UDP, and over TCP where the answer does not do.

Knows sockets, name servers as dnspython describes them, and how DNS messages are read. Must not
know what is asked or why, nor which server comes next. dnspython leaves a malformed UDP answer
unread and waits on; here it is a reason to ask again over TCP, which also costs a forger more.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import dns.exception
import dns.inet
import dns.message
import dns.nameserver
import dns.query
import dns.rcode

from mongokey._support.reprs import with_safe_repr
from mongokey._support.system import monotonic
from mongokey.dns.errors import ANSWERED, MALFORMED, TIMED_OUT, TRUNCATED, UNREACHABLE, Attempt

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    import dns.resolver

    from mongokey._support.deadline import Deadline

    # Called with each attempt.
    Note = Callable[[Attempt], None]

_MAX_UDP = 65535
_HEADER = 12
# RFC 1035, section 4.1.1, in the third byte: is a response; is truncated.
_QR = 0x80
_TC = 0x02


@with_safe_repr
class Server:
    """A name server that speaks plain DNS; `address` is an IP address, `port` an int."""

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"

    def ask(
        self, request: dns.message.QueryMessage, asked: str, deadline: Deadline, note: Note
    ) -> dns.message.Message | None:
        """The answer to `request`, or None; each attempt is given to `note`.

        UDP and TCP together end by `deadline`.
        """
        began = monotonic()
        try:
            reply = self._over_udp(request, deadline)
        except _AskOverTCP as reason:
            note(Attempt(asked, str(self), "UDP", str(reason), "", monotonic() - began))
        except OSError as error:
            note(_failure(asked, str(self), "UDP", error, began))
            return None
        else:
            note(Attempt(asked, str(self), "UDP", _rcode(reply), "", monotonic() - began))
            return reply
        began = monotonic()
        try:
            left = max(0.001, deadline.left_s)
            reply = dns.query.tcp(request, self.address, timeout=left, port=self.port)
        except (OSError, EOFError, dns.exception.DNSException) as error:
            note(_failure(asked, str(self), "TCP", error, began))
            return None
        note(Attempt(asked, str(self), "TCP", _rcode(reply), "", monotonic() - began))
        return reply

    def _over_udp(
        self, request: dns.message.QueryMessage, deadline: Deadline
    ) -> dns.message.Message:
        family = dns.inet.af_for_address(self.address)
        place = dns.inet.low_level_address_tuple((self.address, self.port), family)
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            # Connected, so that only this server's answers come in and a closed port is told.
            udp.settimeout(max(0.001, deadline.left_s))
            udp.connect(place)
            udp.send(request.to_wire())
            while True:
                wire = udp.recv(_MAX_UDP)
                # An answer to another question is late or forged, and says nothing about ours.
                if wire[:2] == request.id.to_bytes(2, "big"):
                    return _read(wire, request)
                left = deadline.left_s
                if not left:
                    raise TimeoutError
                udp.settimeout(left)


@with_safe_repr
class OtherServer:
    """A name server that dnspython speaks to its own way (DNS over TLS, HTTPS or QUIC)."""

    def __init__(self, server: dns.nameserver.Nameserver) -> None:
        self._server = server

    def __str__(self) -> str:
        return str(self._server)

    def ask(
        self, request: dns.message.QueryMessage, asked: str, deadline: Deadline, note: Note
    ) -> dns.message.Message | None:
        """As `Server.ask`."""
        kind = self._server.kind()
        began = monotonic()
        try:
            reply = self._server.query(request, deadline.left_s, None, 0, True)
        except (OSError, EOFError, ValueError, dns.exception.DNSException) as error:
            note(_failure(asked, str(self), kind, error, began))
            return None
        note(Attempt(asked, str(self), kind, _rcode(reply), "", monotonic() - began))
        return reply


def servers_of(resolver: dns.resolver.Resolver) -> list[Server | OtherServer]:
    """The name servers of a dnspython resolver, in its order."""
    servers: list[Server | OtherServer] = []
    for entry in resolver.nameservers:
        if isinstance(entry, dns.nameserver.Do53Nameserver):
            servers.append(Server(entry.address, entry.port))
        elif isinstance(entry, dns.nameserver.Nameserver):
            servers.append(OtherServer(entry))
        elif dns.inet.is_address(entry):
            servers.append(Server(entry, resolver.nameserver_ports.get(entry, resolver.port)))
        else:
            servers.append(OtherServer(dns.nameserver.DoHNameserver(entry)))
    return servers


class _AskOverTCP(Exception):
    """The UDP answer does not do: it is truncated, or no DNS message."""


def _read(wire: bytes, request: dns.message.QueryMessage) -> dns.message.Message:
    if len(wire) < _HEADER or not wire[2] & _QR:
        raise _AskOverTCP(MALFORMED)
    if wire[2] & _TC:
        raise _AskOverTCP(TRUNCATED)
    try:
        reply = dns.message.from_wire(wire)
        ours = request.is_response(reply)
    except dns.exception.DNSException:
        raise _AskOverTCP(MALFORMED) from None
    if not ours:
        raise _AskOverTCP(MALFORMED)
    return reply


def _rcode(reply: dns.message.Message) -> str:
    code = reply.rcode()
    return ANSWERED if code == dns.rcode.NOERROR else dns.rcode.to_text(code)


def _failure(asked: str, server: str, transport: str, error: Exception, began: float) -> Attempt:
    outcome, detail = MALFORMED, ""
    if isinstance(error, TimeoutError | dns.exception.Timeout):
        outcome = TIMED_OUT
    elif isinstance(error, OSError | EOFError):
        outcome = UNREACHABLE
        detail = getattr(error, "strerror", None) or "it closed the connection"
    return Attempt(asked, server, transport, outcome, detail, monotonic() - began)
