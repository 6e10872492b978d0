"""The mechanism server itself: hello, SASL, who may do what, and the way to the backend.

Knows commands and connections, error codes and failCommand (source/auth/auth.md,
source/transactions/tests, "failCommand"); must not know any mechanism.
"""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.servers.fail_points import BadFailPoint, FailPoint, WriteFailPoint, parse
from tests.servers.mechanism.acceptor import Acceptor, Continue, Done, Exchange, Refused, Session
from tests.servers.scripted.answers import MORE_TO_COME, Answer, Close, Error, Raw, Reply, Request
from tests.servers.scripted.hello import mongos
from tests.servers.scripted.login import Refused as RefusedCommand
from tests.servers.scripted.server import Connection, Disconnected, ScriptedServer
from tests.servers.secantus import SecantusServer

BACKEND_TIMEOUT = 30.0
REAUTHENTICATION_REQUIRED = 391
#: What a server answers before a login.
ALLOWED_FIRST = frozenset({"ping", "endSessions", "buildInfo", "logout", "configureFailPoint"})


@dataclass(frozen=True)
class LoginRecord:
    """A login that succeeded: on which connection (from 1), as whom, and in how many commands
    (hello with an accepted speculation counts as none)."""

    connection: int
    mechanism: str
    identity: str
    speculative: bool
    commands: int


@dataclass(frozen=True)
class Refusal:
    """A login that was refused, with what only the server's own log says about it."""

    connection: int
    mechanism: str
    detail: str


class MechanismServer(ScriptedServer):
    """See the package's text. To read: `logins`, `refusals`, and all of `ScriptedServer`'s.

    `backend` is a SecantusDB without logins, or an address; None answers ping, find, insert and
    endSessions here. `users` maps "database.name" to the mechanisms that saslSupportedMechs
    lists. `hello` overrides fields of the hello reply (None removes one).
    """

    def __init__(
        self,
        *acceptors: Acceptor,
        backend: SecantusServer | tuple[str, int] | None,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        hello: Mapping[str, Any] | None = None,
        users: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        # Not a member of a set: those are known by the addresses that the set has for them, and
        # Kerberos and TLS would get that name in place of the one that a test connects to.
        super().__init__(hello=mongos(**(hello or {})), host=host, tls=tls)
        self.acceptors = {acceptor.mechanism: acceptor for acceptor in acceptors}
        self.backend = (
            (backend.host, backend.port) if isinstance(backend, SecantusServer) else backend
        )
        self.users = dict(users or {})
        self.records: list[LoginRecord] = []
        self.refusals: list[Refusal] = []
        self.fail_points: list[FailPoint] = []

    def fail_command(
        self,
        names: Collection[str],
        times: int | None = 1,
        code: int | None = REAUTHENTICATION_REQUIRED,
        *,
        errmsg: str = FailPoint.message,
        close: bool = False,
        app_name: str | None = None,
    ) -> FailPoint:
        """Make the next `times` (None: all) of these commands fail."""
        point = FailPoint(
            names=frozenset(names),
            times=times,
            code=code,
            message=errmsg,
            close=close,
            app_name=app_name,
        )
        with self._lock:
            self.fail_points.append(point)
        return point

    def require_reauthentication(self) -> None:
        """Answer every open connection's commands with 391 until it has logged in again."""
        with self._lock:
            for connection in self._connections.values():
                assert isinstance(connection, _Connection)
                connection.stale = connection.identity is not None

    def _connection(self, accepted: socket.socket, number: int) -> Connection:
        return _Connection(self, accepted, number)

    def _record(self, record: LoginRecord) -> None:
        with self._changed:
            self.records.append(record)
            self.logins += 1
            self._changed.notify_all()

    def _refuse(self, refusal: Refusal) -> None:
        with self._changed:
            self.refusals.append(refusal)
            self._changed.notify_all()

    def _fails(self, name: str, app_name: str | None) -> FailPoint | None:
        with self._lock:
            for point in self.fail_points:
                if point.take(name, app_name):
                    return point
        return None


class _Connection(Connection):
    """One client: who it is, the login it is in, and its connection to the backend."""

    server: MechanismServer

    def __init__(self, server: MechanismServer, sock: socket.socket, number: int) -> None:
        super().__init__(server, sock, number)
        self.identity: str | None = None
        self.source = ""
        self.stale = False
        self.app_name: str | None = None
        self.exchange: Exchange | None = None
        self.acceptor: Acceptor | None = None
        self.steps = 0
        self.backend: socket.socket | None = None

    def run(self) -> None:
        try:
            super().run()
        finally:
            if self.backend is not None:
                self.backend.close()

    def close(self, *, reset: bool = False) -> None:
        super().close(reset=reset)
        if self.backend is not None:
            # Wakes the thread when it waits for the backend.
            with contextlib.suppress(OSError):
                self.backend.shutdown(socket.SHUT_RDWR)

    def find_answer(self, request: Request) -> Answer:
        point = self.server._fails(request.name, self.app_name)
        if point is not None:
            if point.close:
                return Close()
            if point.code is not None:
                name = {18: "AuthenticationFailed", 391: "ReauthenticationRequired"}
                return Error(
                    code=point.code,
                    message=point.message,
                    code_name=name.get(point.code, "FailPointError"),
                    labels=point.labels or (),
                )
        return super().find_answer(request)

    def answer_as_usual(self, request: Request) -> Answer:
        name, document = request.name, request.document
        try:
            if name == "hello":
                return Reply(self.hello_reply(request))
            if name == "saslStart":
                return Reply(self.sasl_start(document, str(request.database)))
            if name == "saslContinue":
                return Reply(self.sasl_continue(document))
        except Refused as refusal:
            return Reply(refusal.reply)
        if name == "configureFailPoint":
            return Reply(self.configure_fail_point(document))
        if self.identity is None and name not in ALLOWED_FIRST:
            raise RefusedCommand(13, "Unauthorized", f"Command {name} requires authentication")
        if self.stale and name not in ALLOWED_FIRST:
            raise RefusedCommand(
                REAUTHENTICATION_REQUIRED, "ReauthenticationRequired", "Reauthentication required"
            )
        if name == "connectionStatus":
            return Reply(self.connection_status())
        if self.server.backend is None or name in ("ping", "endSessions", "logout"):
            return Reply(self.answer_alone(name, document))
        return self.forward(request)

    # hello and SASL

    def hello_reply(self, request: Request) -> dict[str, Any]:
        document = request.document
        application = document.get("client", {}).get("application", {})
        self.app_name = application.get("name", self.app_name)
        reply = super().hello_reply(request)
        asked = document.get("saslSupportedMechs")
        if asked in self.server.users:
            reply["saslSupportedMechs"] = list(self.server.users[asked])
        speculative = document.get("speculativeAuthenticate")
        acceptor = self.server.acceptors.get((speculative or {}).get("mechanism", ""))
        if speculative is not None and acceptor is not None and acceptor.speculates:
            # A refused speculation is silent: the client logs in afresh.
            with contextlib.suppress(Refused):
                answer = self.sasl_start(speculative, speculative.get("db", ""), speculative=True)
                del answer["ok"]
                reply["speculativeAuthenticate"] = answer
        reply["ok"] = reply.pop("ok", 1.0)
        return reply

    def sasl_start(
        self, document: Mapping[str, Any], database: str, *, speculative: bool = False
    ) -> dict[str, Any]:
        mechanism = str(document.get("mechanism"))
        acceptor = self.server.acceptors.get(mechanism)
        self.exchange = None
        if acceptor is None:
            raise Refused(
                f"Received authentication for mechanism {mechanism} which is not enabled",
                334,
                "MechanismUnavailable",
            )
        if database != acceptor.source:
            raise Refused(
                f"Unsupported mechanism '{mechanism}' on authentication database '{database}'",
                2,
                "BadValue",
            )
        self.acceptor = acceptor
        self.conversations += 1
        self.steps = 0
        self.exchange = acceptor.begin(Session(self.number, isinstance(self.sock, ssl.SSLSocket)))
        return self.take_step(document, speculative)

    def sasl_continue(self, document: Mapping[str, Any]) -> dict[str, Any]:
        if self.exchange is None or document.get("conversationId") != self.conversations:
            raise Refused("No SASL session state found", 17, "ProtocolError")
        return self.take_step(document, False)

    def take_step(self, document: Mapping[str, Any], speculative: bool) -> dict[str, Any]:
        assert self.exchange is not None
        assert self.acceptor is not None
        payload = document.get("payload")
        # A server takes base64 too, and then answers in it; PyMongo's GSSAPI sends that.
        in_base64 = isinstance(payload, str)
        if in_base64:
            payload = base64.b64decode(payload)
        if not isinstance(payload, bytes):
            raise Refused("'payload' must be binary data", 14, "TypeMismatch")
        self.steps += 0 if speculative else 1
        try:
            outcome = self.exchange.step(bytes(payload))
        except Refused as refusal:
            self.exchange = None
            self.server._refuse(Refusal(self.number, self.acceptor.mechanism, refusal.detail))
            raise
        if isinstance(outcome, Done):
            self.exchange = None
            self.identity, self.source, self.stale = outcome.identity, self.acceptor.source, False
            self.server._record(
                LoginRecord(
                    self.number,
                    self.acceptor.mechanism,
                    outcome.identity,
                    speculative or self.steps == 0,
                    self.steps,
                )
            )
        else:
            assert isinstance(outcome, Continue)
        return {
            "conversationId": self.conversations,
            "done": isinstance(outcome, Done),
            "payload": base64.b64encode(outcome.payload).decode() if in_base64 else outcome.payload,
            "ok": 1.0,
        }

    # Other commands

    def configure_fail_point(self, document: Mapping[str, Any]) -> dict[str, Any]:
        try:
            point = parse(document)
        except BadFailPoint as error:
            raise RefusedCommand(2, "BadValue", str(error)) from None
        if isinstance(point, WriteFailPoint):
            raise RefusedCommand(2, "BadValue", "failCommand is the only fail point known here")
        if point is not None and (point.block_ms or point.write_concern_error):
            raise RefusedCommand(2, "BadValue", "a command cannot be delayed or half fail here")
        with self.server._lock:
            self.server.fail_points[:] = [] if point is None else [point]
        return {"ok": 1.0}

    def connection_status(self) -> dict[str, Any]:
        user = {"user": self.identity, "db": self.source}
        roles = [{"role": "root", "db": "admin"}]
        info = {"authenticatedUsers": [user], "authenticatedUserRoles": roles}
        return {"authInfo": info, "ok": 1.0}

    def answer_alone(self, name: str, document: Mapping[str, Any]) -> dict[str, Any]:
        if name == "find":
            namespace = f"{document.get('$db')}.{document['find']}"
            return {"cursor": {"id": 0, "ns": namespace, "firstBatch": []}, "ok": 1.0}
        if name == "insert":
            return {"n": len(document["documents"]), "ok": 1.0}
        if name == "logout":
            self.identity = None
        elif name not in ("ping", "endSessions", "buildInfo"):
            raise RefusedCommand(59, "CommandNotFound", f"no such command: '{name}'")
        return {"ok": 1.0}

    def forward(self, request: Request) -> Answer:
        """Ask the backend in the client's own bytes, and give its answer as it is."""
        if self.backend is None:
            assert self.server.backend is not None
            self.backend = socket.create_connection(self.server.backend, timeout=BACKEND_TIMEOUT)
            self.backend.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.backend.sendall(request.raw)
        if request.flags & MORE_TO_COME:
            return Raw(b"")
        head = self._receive(16)
        (length,) = struct.unpack_from("<i", head)
        return Raw(head + self._receive(length - 16))

    def _receive(self, size: int) -> bytes:
        assert self.backend is not None
        chunks = []
        while size:
            chunk = self.backend.recv(min(size, 1 << 20))
            if not chunk:
                raise Disconnected
            chunks.append(chunk)
            size -= len(chunk)
        return b"".join(chunks)


def serve(server: MechanismServer) -> None:
    """Serve in a process of its own: print the port as JSON, end when standard input does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    with server:
        print(json.dumps({"port": server.port}), flush=True)
        ended = threading.Thread(target=sys.stdin.read, daemon=True)
        ended.start()
        ended.join()
