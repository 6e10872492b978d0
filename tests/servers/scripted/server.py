"""The scripted server itself: sockets, threads, and which answer a message gets.

Knows connections, what was received on them, and the order in which a script, a login and the
usual answers are asked. How an answer becomes bytes is `answers`', what a login says is `login`'s.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import bson

from tests.servers.compressed import unpack
from tests.servers.managed_server import ManagedServer
from tests.servers.scripted.answers import (
    CHECKSUM_PRESENT,
    MORE_TO_COME,
    OP_COMPRESSED,
    OP_MSG,
    OP_QUERY,
    Answer,
    Close,
    Delay,
    Drip,
    Hold,
    InTurn,
    Raw,
    Reply,
    Request,
    Silence,
    crc32c,
)
from tests.servers.scripted.hello import MAX_MESSAGE, standalone
from tests.servers.scripted.login import Conversation, Login, Refused

if TYPE_CHECKING:
    from typing_extensions import Self

JOIN_TIMEOUT = 10.0
#: What a server answers before a login.
ALLOWED_FIRST = frozenset({"ping", "endSessions", "buildInfo", "authenticate", "logout"})


class ScriptedServer(ManagedServer):
    """The server; see the package's text for what can be set.

    `path` serves a Unix socket there instead of TCP on `host`; `tls` is a server-side
    `ssl.SSLContext`. Attributes to read: `port`, `requests` (every `Request` so far, in order),
    `accepted` (connections so far), `open` (connections now), `sent` (bytes sent, by connection
    number, counted from 1), `logins` (completed ones), `used` (connections of more than a monitor's
    hello).

    With `spare_monitors`, which is for servers with a login, `cut_after` and `drip` leave a
    connection alone until it begins to log in.
    """

    def __init__(
        self,
        *,
        hello: Mapping[str, Any] | None = None,
        login: Login | None = None,
        on: Mapping[str, Answer] | None = None,
        cut_after: int | None = None,
        drip: float | None = None,
        host: str = "127.0.0.1",
        path: str | None = None,
        tls: ssl.SSLContext | None = None,
        spare_monitors: bool = False,
    ) -> None:
        self.hello: Mapping[str, Any] = standalone() if hello is None else hello
        self.login = login
        self.on: dict[str, Answer] = dict(on or {})
        self.cut_after = cut_after
        self.drip = drip
        self.host = host
        self.path = path
        self.tls = tls
        self.spare_monitors = spare_monitors
        #: The members that a set's hello names, unless that says otherwise; None: this one alone.
        self.members: list[str] | None = None
        self.port = 0
        self.requests: list[Request] = []
        self.accepted = 0
        self.logins = 0
        self.sent: dict[int, int] = {}
        self.errors: list[BaseException] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._connections: dict[int, Connection] = {}
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None

    # start and stop

    def start(self) -> Self:
        """Listen, on a free port, and serve."""
        if self.path is not None:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(self.path)
        else:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.bind((self.host, self.port))  # 0: a free one
            self.port = listener.getsockname()[1]
        listener.listen(128)
        self._listener = listener
        self._spawn(self._accept)
        return self

    def stop(self) -> None:
        """Close everything, wait for the threads, and raise the first error of the script."""
        self.stopping.set()
        if self._listener is not None:
            # Closing alone does not wake a thread that is in accept().
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        with self._lock:
            connections = list(self._connections.values())
            threads = list(self._threads)
        for connection in connections:
            connection.close()
        deadline = time.monotonic() + JOIN_TIMEOUT
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                raise RuntimeError(f"{thread.name} did not end within {JOIN_TIMEOUT:g} s")
        if self.path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        if self.errors:
            raise self.errors[0]

    def close_connections(self) -> None:
        """Close every open connection, as a server that restarts does."""
        with self._lock:
            connections = list(self._connections.values())
        for connection in connections:
            connection.close()

    # Looking at it

    @property
    def address(self) -> str:
        """`host:port` as a connection string has it."""
        if self.path is not None:
            return quote(self.path, safe="")
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def open(self) -> int:
        """How many connections are open now."""
        with self._lock:
            return len(self._connections)

    @property
    def used(self) -> int:
        """How many connections were used for more than a bare hello, all that a monitor says."""
        with self._lock:
            return len(self._used())

    @property
    def used_numbers(self) -> list[int]:
        """The numbers of those connections, in order."""
        with self._lock:
            return sorted(self._used())

    def _used(self) -> set[int]:
        return {each.connection for each in self.requests if not each.is_bare_hello}

    def _chosen(self, used: bool) -> list[Request]:
        if not used:
            return list(self.requests)
        numbers = self._used()
        return [each for each in self.requests if each.connection in numbers]

    def uri(
        self,
        *,
        login: bool | None = None,
        username: str | None = None,
        password: str | None = None,
        database: str = "",
        **options: object,
    ) -> str:
        """The connection string, with the login's user unless `login` is False."""
        info = ""
        if self.login is not None and login is not False:
            name = self.login.username if username is None else username
            secret = self.login.password if password is None else password
            info = f"{quote(name, safe='')}:{quote(secret, safe='')}@"
            if self.login.source != "admin":
                options.setdefault("authSource", self.login.source)
        texts = {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in options.items()
        }
        query = f"?{urlencode(texts, quote_via=quote)}" if texts else ""
        return f"mongodb://{info}{self.address}/{database}{query}"

    def commands(self, name: str | None = None, *, used: bool = False) -> list[dict[str, Any]]:
        """The commands received, as documents; with `name`, only those ("hello": of any kind);
        with `used`, without what came over connections that only said a bare hello."""
        with self._lock:
            return [r.document for r in self._chosen(used) if name is None or r.name == name]

    def names(self, connection: int | None = None, *, used: bool = False) -> list[str]:
        """The names of the commands received, in order; of one connection, if asked; `used` as in
        `commands`."""
        with self._lock:
            return [r.name for r in self._chosen(used) if connection in (None, r.connection)]

    def count(self, name: str | None = None, *, used: bool = False) -> int:
        """How many messages came; with `name`, how many of that command; `used` as in
        `commands`."""
        with self._lock:
            return sum(name is None or each.name == name for each in self._chosen(used))

    def wait_for(self, condition: Callable[[], bool], timeout: float = 30.0) -> bool:
        """Wait until `condition` holds, asking it whenever something happened here."""
        deadline = time.monotonic() + timeout
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            with self._changed:
                self._changed.wait(min(left, 0.05))
        return True

    # Serving

    def _spawn(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name="scripted-server", daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        assert self._listener is not None
        while not self.stopping.is_set():
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                self.accepted += 1
                connection = self._connection(accepted, self.accepted)
                self._connections[connection.number] = connection
                self.sent[connection.number] = 0
                self._changed.notify_all()
            self._spawn(connection.run)

    def _connection(self, accepted: socket.socket, number: int) -> Connection:
        return Connection(self, accepted, number)

    def _received(self, request: Request) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def _gone(self, connection: Connection) -> None:
        with self._changed:
            self._connections.pop(connection.number, None)
            self._changed.notify_all()

    def _logged_in(self) -> None:
        with self._changed:
            self.logins += 1
            self._changed.notify_all()


def make_set(*servers: ScriptedServer) -> None:
    """Have each of `servers` name all of them as the members of its replica set."""
    for server in servers:
        server.members = [each.address for each in servers]


class Disconnected(Exception):
    """The connection is over; nothing went wrong in the script."""


class Connection:
    """One connection: reads messages, finds the answer to each, and sends it as told."""

    def __init__(self, server: ScriptedServer, sock: socket.socket, number: int) -> None:
        self.server = server
        self.sock = sock
        self.number = number
        self.cut_after = server.cut_after
        self.drip = server.drip
        self.authenticated = False
        self.conversation: Conversation | None = None
        self.conversations = 0
        self.next_request_id = random.randrange(1 << 30)

    def run(self) -> None:
        try:
            # A context made for TLS does its handshake here, not in the accepting thread.
            if self.server.tls is not None:
                self.sock = self.server.tls.wrap_socket(self.sock, server_side=True)
            if self.sock.family != getattr(socket, "AF_UNIX", None):
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            spared = self.server.spare_monitors
            limits = self.cut_after, self.drip
            if spared:
                self.cut_after = self.drip = None
            if self.cut_after == 0:
                raise Disconnected
            while True:
                request = self.read()
                self.server._received(request)
                if spared and not request.is_bare_hello:
                    spared = False
                    self.cut_after, self.drip = limits
                    if self.cut_after == 0:
                        raise Disconnected
                self.perform(request, self.find_answer(request))
        except (Disconnected, OSError):
            # The client left, a script said to close, or the server is stopping.
            self.close()
        except BaseException as error:
            self.server.errors.append(error)
            self.close()
        finally:
            self.sock.close()
            self.server._gone(self)

    def close(self, *, reset: bool = False) -> None:
        with contextlib.suppress(OSError):
            if reset:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.sock.close()
            else:
                self.sock.shutdown(socket.SHUT_RDWR)

    # Reading

    def read(self) -> Request:
        header = self.read_exactly(16)
        if self.server.tls is None and header[:2] == b"\x16\x03":
            raise Disconnected  # a TLS greeting: mongod without TLS closes the connection too
        length, request_id, _, opcode = struct.unpack("<iiii", header)
        if not 16 < length <= MAX_MESSAGE + 16 * 1024:
            raise ValueError(f"the client sent a message that says it is {length} bytes long")
        body = self.read_exactly(length - 16)
        raw, compressor = header + body, None
        if opcode == OP_COMPRESSED:
            # What a test looks at is the message that was compressed.
            raw, compressor = unpack(raw)
            body = raw[16:]
            (opcode,) = struct.unpack_from("<i", raw, 12)
        if opcode == OP_QUERY:
            document = self.parse_query(body)
            return Request(self.number, opcode, request_id, 0, document, raw, compressor)
        if opcode != OP_MSG:
            raise ValueError(f"the client sent a message of opcode {opcode}")
        (flags,) = struct.unpack_from("<I", body)
        if flags & CHECKSUM_PRESENT:
            (checksum,) = struct.unpack_from("<I", body, len(body) - 4)
            if checksum != crc32c(raw[:-4]):
                raise ValueError("the client sent a message with a wrong checksum")
            body = body[:-4]
        document = self.parse_sections(body)
        return Request(self.number, opcode, request_id, flags, document, raw, compressor)

    def parse_query(self, body: bytes) -> dict[str, Any]:
        end = body.index(b"\0", 4)
        collection = body[4:end].decode()
        if not collection.endswith(".$cmd"):
            raise ValueError(f"the client sent OP_QUERY to {collection}, which is no command")
        return {**bson.decode(body[end + 9 :]), "$db": collection[: -len(".$cmd")]}

    def parse_sections(self, body: bytes) -> dict[str, Any]:
        document: dict[str, Any] | None = None
        sequences: dict[str, list[Any]] = {}
        offset = 4
        while offset < len(body):
            kind = body[offset]
            (size,) = struct.unpack_from("<i", body, offset + 1)
            section = body[offset + 1 : offset + 1 + size]
            if len(section) != size:
                raise ValueError("the client sent a section that is longer than its message")
            if kind == 0 and document is None:
                document = bson.decode(section)
            elif kind == 1:
                end = section.index(b"\0", 4)
                sequences[section[4:end].decode()] = bson.decode_all(section[end + 1 :])
            else:
                raise ValueError(f"the client sent a section of kind {kind} at byte {offset}")
            offset += 1 + size
        if document is None:
            raise ValueError("the client sent an OP_MSG without a kind-0 section")
        return {**document, **sequences}

    def read_exactly(self, size: int) -> bytes:
        chunks = []
        while size:
            chunk = self.sock.recv(min(size, 1 << 20))
            if not chunk:
                raise Disconnected
            chunks.append(chunk)
            size -= len(chunk)
        return b"".join(chunks)

    # Answering

    def find_answer(self, request: Request) -> Answer:
        name = request.name
        scripted = self.server.on.get(name)
        if name == "hello" and not request.is_bare_hello:
            scripted = self.server.on.get("hello with login", scripted)
        if scripted is None and name not in ("hello", "saslStart", "saslContinue"):
            scripted = self.server.on.get("*")
        return scripted

    def unscripted(self, request: Request) -> Answer:
        try:
            return self.answer_as_usual(request)
        except Refused as refusal:
            return Reply(refusal.reply)

    def resolve(self, request: Request, answer: Answer) -> Answer:
        while True:
            if isinstance(answer, InTurn):
                with self.server._lock:
                    answer = answer.take()
            elif callable(answer):
                answer = answer(request)
            else:
                return answer

    def answer_as_usual(self, request: Request) -> Answer:
        name = request.name
        if name == "hello":
            return Reply(self.hello_reply(request))
        if name == "saslStart":
            return Reply(self.start_login(request.document).started())
        if name == "saslContinue":
            return Reply(self.continue_login(request.document))
        if self.server.login is not None and not self.authenticated and name not in ALLOWED_FIRST:
            raise Refused(13, "Unauthorized", f"Command {name} requires authentication")
        if name in ("ping", "endSessions", "killCursors"):
            return Reply({"ok": 1.0})
        raise Refused(59, "CommandNotFound", f"no such command: '{name}'")

    def hello_reply(self, request: Request) -> dict[str, Any]:
        document = request.document
        reply = dict(self.server.hello)
        if not document.get("helloOk"):
            reply.pop("helloOk", None)
        if "setName" in reply:
            for name, value in (
                ("hosts", self.server.members or [self.server.address]),
                ("me", self.server.address),
            ):
                reply.setdefault(name, value)
        login = self.server.login
        if login is None:
            return reply
        asked = document.get("saslSupportedMechs")
        if asked is not None and login.supported is not False:
            if isinstance(login.supported, Sequence):
                reply["saslSupportedMechs"] = list(login.supported)
            elif asked == f"{login.source}.{login.username}":
                reply["saslSupportedMechs"] = list(login.mechanisms)
        speculative = document.get("speculativeAuthenticate")
        if speculative is not None and login.speculate and "saslStart" in speculative:
            command = {**speculative, "$db": speculative.get("db", "admin")}
            known = command["mechanism"] in login.mechanisms
            if known or (login.speculate_any and command["mechanism"].startswith("SCRAM-")):
                with contextlib.suppress(Refused):
                    reply["speculativeAuthenticate"] = self.start_login(command).started()
        # Where a server puts "ok" is last.
        reply["ok"] = reply.pop("ok", 1.0)
        return reply

    def start_login(self, command: Mapping[str, Any]) -> Conversation:
        login = self.server.login
        if login is None or not command["mechanism"].startswith("SCRAM-"):
            raise Refused(
                334, "MechanismUnavailable", f"Unsupported mechanism {command['mechanism']}"
            )
        self.conversations += 1
        self.conversation = Conversation(login, command, self.conversations)
        return self.conversation

    def continue_login(self, command: Mapping[str, Any]) -> dict[str, Any]:
        conversation = self.conversation
        if conversation is None:
            raise Refused(17, "ProtocolError", "No SASL session state found")
        try:
            reply, done = conversation.go_on(command)
        except Refused:
            self.conversation = None
            raise
        if done:
            self.conversation = None
            self.authenticated = True
            self.server._logged_in()
        return reply

    # Sending

    def perform(self, request: Request, answer: Answer) -> None:
        answer = self.resolve(request, answer)
        if answer is None:
            answer = self.unscripted(request)
        if isinstance(answer, list):
            for part in answer:
                self.perform(request, part)
        elif isinstance(answer, Reply):
            if request.flags & MORE_TO_COME:
                return  # the client said that it does not wait for a reply
            self.next_request_id = (self.next_request_id + 1) & 0x7FFFFFFF
            message = answer.to_bytes(request, self.next_request_id)
            if answer.keep is None:
                self.send(message)
            else:
                self.send(message[: answer.keep])
                if answer.then_close:
                    raise Disconnected
        elif isinstance(answer, Raw):
            self.send(answer.data)
        elif isinstance(answer, Close):
            self.close(reset=answer.reset)
            raise Disconnected
        elif isinstance(answer, Delay):
            self.server.stopping.wait(answer.seconds)
            self.perform(request, answer.answer)
        elif isinstance(answer, Drip):
            before, self.drip = self.drip, answer.pause
            self.perform(request, answer.answer)
            self.drip = before
        elif isinstance(answer, Hold):
            while not answer.event.wait(0.02) and not self.server.stopping.is_set():
                continue
            self.perform(request, answer.answer)
        elif isinstance(answer, Mapping):
            self.perform(request, Reply(answer))
        elif not isinstance(answer, Silence):
            raise TypeError(f"{answer!r} is no answer")

    def send(self, data: bytes) -> None:
        """Send under the connection's limits: `cut_after` and `drip`."""
        server = self.server
        last = None
        if self.cut_after is not None:
            last = self.cut_after - server.sent[self.number]
            data = data[:last]
        step = 1 if self.drip is not None else max(len(data), 1)
        for start in range(0, len(data), step):
            chunk = data[start : start + step]
            self.sock.sendall(chunk)
            with server._lock:
                server.sent[self.number] += len(chunk)
            if self.drip is not None and server.stopping.wait(self.drip):
                raise Disconnected
        if last is not None and len(data) == last:
            raise Disconnected
