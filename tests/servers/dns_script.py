"""A scripted DNS responder: says over UDP and TCP what a test tells it, however wrong.

For what no real name server does on demand: silence, garbage, a truncation bit, answers to
another question, connections closed in the middle. It knows the bytes of DNS messages only; what
a real server can do is tested against one (`tests.servers.dns`).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

import dns.message
import dns.rcode
import dns.rrset

from tests.servers.managed_server import ManagedServer

HOST = "127.0.0.1"

#: What to say to a question: its bytes in, the answers' bytes out (none for silence).
Script = Callable[[dns.message.Message], "list[bytes]"]


def silent(question: dns.message.Message) -> list[bytes]:
    """Say nothing."""
    return []


def garbage(question: dns.message.Message) -> list[bytes]:
    """The right id, and behind a header that promises an answer, nonsense."""
    return [struct.pack(">6H", question.id, 0x8180, 1, 1, 0, 0) + b"\xff" * 20]


def runt(question: dns.message.Message) -> list[bytes]:
    """Four bytes, of which the id is right."""
    return [question.to_wire()[:4]]


def echo(question: dns.message.Message) -> list[bytes]:
    """The question itself, as a broken middlebox sends back."""
    return [question.to_wire()]


def truncated(question: dns.message.Message) -> list[bytes]:
    """A header with the truncation bit, cut off in the middle of the question."""
    wire = bytearray(question.to_wire())
    wire[2] |= 0x82
    return [bytes(wire[:-3])]


def other_question(question: dns.message.Message) -> list[bytes]:
    """A good answer, but to another question."""
    other = dns.message.make_query("other.example.", "SRV", id=question.id)
    return [dns.message.make_response(other).to_wire()]


def rcode(code: dns.rcode.Rcode) -> Script:
    """An answer with this rcode and no records."""

    def script(question: dns.message.Message) -> list[bytes]:
        reply = dns.message.make_response(question)
        reply.set_rcode(code)
        return [reply.to_wire()]

    return script


def records(*lines: str) -> Script:
    """Of `lines` ("name ttl IN type data"), those that are asked for; else NOERROR without any."""

    def script(question: dns.message.Message) -> list[bytes]:
        reply = dns.message.make_response(question)
        asked = question.question[0]
        for line in lines:
            name, ttl, _, kind, data = line.split(None, 4)
            found = dns.rrset.from_text(name, int(ttl), "IN", kind, data)
            if (found.name, found.rdtype) == (asked.name, asked.rdtype):
                reply.answer.append(found)
        return [reply.to_wire()]

    return script


def forged_first(script: Script) -> Script:
    """First an answer with another id, as of somebody who guesses; then what `script` says."""

    def both(question: dns.message.Message) -> list[bytes]:
        wire = bytearray(garbage(question)[0])
        wire[0] ^= 0xFF
        return [bytes(wire), *script(question)]

    return both


class ScriptedDNS(ManagedServer):
    """Answers as `udp` and `tcp` say; a context manager.

    `tcp` None refuses connections. `questions` holds ("UDP" or "TCP", record type, name) of each
    question, and `times` when it came in (`time.monotonic`).
    """

    def __init__(self, udp: Script, tcp: Script | None = None) -> None:
        self.questions: list[tuple[str, str, str]] = []
        self.times: list[float] = []
        self._scripts = {"UDP": udp, "TCP": tcp}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> ScriptedDNS:
        self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(50):
            self._udp.bind((HOST, 0))
            self.port: int = self._udp.getsockname()[1]
            try:
                self._tcp.bind((HOST, self.port))
                break
            except OSError:
                self._udp.close()
                self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        work = [self._serve_udp]
        if self._scripts["TCP"] is not None:
            self._tcp.listen()
            work.append(self._serve_tcp)
        for each in (self._udp, self._tcp):
            each.settimeout(0.05)
        self._threads = [threading.Thread(target=each, daemon=True) for each in work]
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(5)
        self._udp.close()
        self._tcp.close()

    def _answers(self, transport: str, wire: bytes) -> list[bytes]:
        question = dns.message.from_wire(wire)
        asked = question.question[0]
        self.questions.append((transport, asked.rdtype.name, asked.name.to_text(True)))
        self.times.append(time.monotonic())
        script = self._scripts[transport]
        assert script is not None
        return script(question)

    def _serve_udp(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                wire, peer = self._udp.recvfrom(4096)
                for answer in self._answers("UDP", wire):
                    self._udp.sendto(answer, peer)

    def _serve_tcp(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError, OSError):
                connection, _ = self._tcp.accept()
                with connection:
                    connection.settimeout(1)
                    data = b""
                    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
                        data += connection.recv(4096)
                    for answer in self._answers("TCP", data[2:]):
                        connection.sendall(len(answer).to_bytes(2, "big") + answer)
