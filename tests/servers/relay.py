"""A relay between a client and a real server: it reads along, and can lower the server's limits.

It knows MongoDB's framing well enough to tell messages apart and to look into commands; what it
passes on is untouched, but for fields of the hello reply: the server's address, which becomes the
relay's, and those that a test sets. It must not know the
code under test: BSON is read and written with PyMongo's `bson`.

    with Relay(server.host, server.port, hello={"maxWriteBatchSize": 3}) as relay:
        MongoClient(relay.redirect(server.uri("both"))).app.things.insert_many(documents)
        assert relay.names().count("insert") == 2
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import bson

from tests.servers.managed_server import ManagedServer

_OP_REPLY = 1
_OP_QUERY = 2004
_MORE_TO_COME = 1 << 1
_JOIN_TIMEOUT = 10.0
# Of a hello that is more than a monitor's.
_LOGIN_FIELDS = {"saslSupportedMechs", "speculativeAuthenticate"}


@dataclass(frozen=True)
class Seen:
    """A command that passed: the connection's number (from 1), and what it says.

    `sections` holds how many documents each kind-1 section has, by its name; `size` is the
    length of the message in bytes.
    """

    connection: int
    document: dict[str, Any]
    sections: dict[str, int]
    size: int

    @property
    def name(self) -> str:
        """The command's name; "hello" for every kind of hello."""
        name = next(iter(self.document), "")
        return "hello" if name.lower() == "ismaster" else name


class _Link:
    """One client's connection: its number (0: it has only said hello) and what it has asked."""

    def __init__(self) -> None:
        self.number = 0
        self.hellos: list[Seen] = []
        self.asked: dict[int, str] = {}


class Relay(ManagedServer):
    """Listens on a free loopback port and passes everything on to `host`:`port`.

    `hello` overrides fields of each hello reply. `seen` are the commands so far, in order;
    `open` is how many clients are connected now, `accepted` how many ever were.

    Connections that only say hello, which a client's monitors have, are passed on and not counted:
    one is numbered, and stands in `seen` with its hello, once it logs in or sends a command.
    """

    def __init__(self, host: str, port: int, *, hello: Mapping[str, Any] | None = None) -> None:
        self.target = (host, port)
        self.hello = dict(hello or {})
        self.seen: list[Seen] = []
        self.accepted = 0
        self.port = 0
        self._lock = threading.Lock()
        self._links: dict[_Link, tuple[socket.socket, socket.socket]] = {}
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None

    def start(self) -> Relay:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept)
        return self

    def stop(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self.close_connections()
        deadline = time.monotonic() + _JOIN_TIMEOUT
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    def redirect(self, uri: str) -> str:
        """`uri`, a connection string of the server, with this relay in the server's place."""
        server = f"{self.target[0]}:{self.target[1]}"
        if server not in uri:
            raise ValueError(f"the connection string does not name {server}")
        return uri.replace(server, f"127.0.0.1:{self.port}")

    @property
    def open(self) -> int:
        """How many clients are connected now."""
        with self._lock:
            return sum(link.number > 0 for link in self._links)

    def names(self, connection: int | None = None) -> list[str]:
        """The names of the commands that passed; of one connection, if asked."""
        with self._lock:
            return [s.name for s in self.seen if connection in (None, s.connection)]

    def commands(self, name: str) -> list[Seen]:
        """The commands called `name` that passed."""
        with self._lock:
            return [each for each in self.seen if each.name == name]

    def close_connections(self) -> None:
        """Close every connection, as a failing network does."""
        with self._lock:
            links = list(self._links.values())
        for link in links:
            for each in link:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _spawn(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, name="relay", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        assert self._listener is not None
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target, timeout=10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _Link()
            with self._lock:
                self._links[link] = (client, server)
            self._spawn(self._pass_on, link, client, server, True)
            self._spawn(self._pass_on, link, server, client, False)

    def _pass_on(
        self,
        link: _Link,
        source: socket.socket,
        target: socket.socket,
        upwards: bool,
    ) -> None:
        try:
            while (message := _read_message(source)) is not None:
                if upwards:
                    message = self._from_client(link, message)
                    self._note(link, message)
                else:
                    message = self._lowered(link, message)
                    message = self._to_client(link, message)
                target.sendall(message)
        except OSError:
            pass  # one side has gone: so goes the other
        finally:
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)
            if upwards:
                # The other direction ends by itself now, and then nobody uses the two.
                with self._lock:
                    self._links.pop(link, None)
                source.close()
            else:
                source.close()

    def _from_client(self, link: _Link, message: bytes) -> bytes:
        """What is noted and passed on of a client's message; a kind of relay may have a say."""
        return message

    def _to_client(self, link: _Link, message: bytes) -> bytes:
        """The same of what the server says."""
        return message

    def _note(self, link: _Link, message: bytes) -> None:
        _, request_id, _, opcode = struct.unpack_from("<iiii", message)
        sections: dict[str, int] = {}
        if opcode == _OP_QUERY:
            end = message.index(b"\0", 20)
            document = bson.decode(message[end + 9 :])
        else:
            document = {}
            at = 20
            while at < len(message):
                (size,) = struct.unpack_from("<i", message, at + 1)
                section = message[at + 1 : at + 1 + size]
                if message[at] == 0:
                    document = bson.decode(section)
                else:
                    end = section.index(b"\0", 4)
                    sections[section[4:end].decode()] = _count_documents(section, end + 1)
                at += 1 + size
        seen = Seen(link.number, document, sections, len(message))
        link.asked[request_id] = seen.name
        with self._lock:
            if link.number == 0:
                link.hellos.append(seen)
                if seen.name == "hello" and not _LOGIN_FIELDS & document.keys():
                    return
                self.accepted += 1
                link.number = self.accepted
                self.seen += [replace(each, connection=link.number) for each in link.hellos]
            else:
                self.seen.append(seen)

    def _hello_of(self, link: _Link) -> Mapping[str, Any]:
        """Further fields of the hello replies on this connection."""
        return {}

    def _lowered(self, link: _Link, message: bytes) -> bytes:
        asked = link.asked
        _, request_id, response_to, opcode = struct.unpack_from("<iiii", message)
        if asked.pop(response_to, None) != "hello":
            return message
        if opcode != _OP_REPLY and message[16] & _MORE_TO_COME:
            asked[request_id] = "hello"  # the next reply answers this one
        at = 36 if opcode == _OP_REPLY else 21
        document = {**self._renamed(bson.decode(message[at:])), **self.hello}
        document.update(self._hello_of(link))
        body = message[16:at] + bson.encode(document)
        return struct.pack("<iiii", 16 + len(body), request_id, response_to, opcode) + body

    def _renamed(self, hello: dict[str, Any]) -> dict[str, Any]:
        """A member of a replica set is known by the relay's address, or clients would go past."""
        server, here = "{}:{}".format(*self.target), f"127.0.0.1:{self.port}"
        for name in ("me", "primary"):
            if hello.get(name) == server:
                hello[name] = here
        if server in hello.get("hosts", ()):
            hello["hosts"] = [here if each == server else each for each in hello["hosts"]]
        return hello


def _read_message(source: socket.socket) -> bytes | None:
    header = _read_exactly(source, 16)
    if header is None:
        return None
    (length,) = struct.unpack_from("<i", header)
    body = _read_exactly(source, length - 16)
    return None if body is None else header + body


def _read_exactly(source: socket.socket, size: int) -> bytes | None:
    chunks = []
    while size:
        chunk = source.recv(min(size, 1 << 20))
        if not chunk:
            return None
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def _count_documents(section: bytes, at: int) -> int:
    count = 0
    while at < len(section):
        at += struct.unpack_from("<i", section, at)[0]
        count += 1
    return count
