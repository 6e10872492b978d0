"""A client's connection to a member: what comes in, in order, and what is answered.

Knows requests, the member that they were sent to, and the way to SecantusDB. What the member is
and does not do is asked of it and of `rules`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tests.servers import fail_points
from tests.servers.fail_points import FailPoint
from tests.servers.fleet import rules, wire
from tests.servers.fleet.backend import Backend, Forwarded
from tests.servers.fleet.retries import Retries, TooOld, Write, session_of
from tests.servers.fleet.rules import Refusal
from tests.servers.scripted.answers import EXHAUST_ALLOWED, MORE_TO_COME, OP_MSG, Request

if TYPE_CHECKING:
    from tests.servers.fleet.member import Member

#: linger on, for no time: closing resets the connection.
RESET = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """One client. `busy` while a request is answered; the next is looked at after that."""

    def __init__(self, member: Member, number: int) -> None:
        self.member = member
        self.number = number
        self.app_name: str | None = None
        self.service = member.next_service()
        #: Whether something else than hello has come: it is no monitor's.
        self.application = False
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._held: list[tuple[bytes, bool]] = []
        self._busy = False
        self._advancing = False
        self._closed = False
        self._backend: Backend | None = None
        self._interruptible: Request | None = None
        self._awaited: _Awaited | None = None

    # asyncio

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.member.connections.add(self)
        if self.member.silenced:
            self.hold()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self.advance()

    def connection_lost(self, error: BaseException | None) -> None:
        self._closed = True
        self.member.connections.discard(self)
        self.stop_awaiting()
        if self._backend is not None:
            self._backend.close()

    # What the member does to it

    def abort(self, *, reset: bool = True) -> None:
        """Close it, with a reset or an orderly end; nothing more is answered."""
        if self._closed or self._transport is None:
            return
        self._closed = True
        self.stop_awaiting()
        if reset:
            sock = self._transport.get_extra_info("socket")
            # None: TLS has lost it already.
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()
        else:
            self._transport.close()

    def hold(self) -> None:
        """Read nothing and send nothing, until `go_on`."""
        if self._transport is not None and not self._closed:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Send what was held back, and read on."""
        if self._transport is None or self._closed:
            return
        held, self._held = self._held, []
        for data, more in held:
            self._send(data, more)
        self._transport.resume_reading()
        self.advance()

    def interrupt(self, code: int, message: str, *, reads: bool = False) -> None:
        """Answer the command at work with an error. SecantusDB may have done it all the same."""
        request = self._interruptible
        if request is None or not (reads or rules.writes(request.name, request.document)):
            return
        self._interruptible = None
        self.refuse(request, Refusal(code, message))

    def abort_transaction(self, begun_by: Mapping[str, Any]) -> None:
        """Let SecantusDB drop the transaction that this command began."""
        if self._backend is None:
            return
        names = ("lsid", "txnNumber", "autocommit")
        command = {"abortTransaction": 1, **{name: begun_by[name] for name in names}}
        request = Request(self.number, OP_MSG, 0, 0, {**command, "$db": "admin"}, b"")
        nothing = Forwarded(lambda _: None, lambda _: None)
        # A reply has the form of a request.
        self._backend.send(wire.reply_bytes(request, request.document, 0), nothing)

    def state_changed(self) -> None:
        """Answer a hello that waits for a change."""
        if self._awaited is not None:
            self._awaited.answer()

    def stop_awaiting(self) -> None:
        if self._awaited is not None:
            self._awaited.cancel()
            self._awaited = None

    # Requests

    def advance(self) -> None:
        """Look at what has come, as long as nothing is at work."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while not (self._busy or self._closed or self.member.silenced):
                message = wire.take_message(self._buffer)
                if message is None:
                    return
                self._busy = True
                self._handle(wire.read_request(message, self.number))
        except wire.Malformed as error:
            self.member.note_fault(f"connection {self.number}: {error}")
            self.abort(reset=False)
        finally:
            self._advancing = False

    def _handle(self, request: Request) -> None:
        if request.name == "hello":
            client = request.document.get("client")
            application = client.get("application") if isinstance(client, Mapping) else None
            if isinstance(application, Mapping):
                self.app_name = application.get("name")
        else:
            self.application = True
        self.member.note(self, request)
        point = self.member.take_fail_point(request.name, self.app_name)
        if point is None:
            self._proceed(request)
        elif point.block_ms:
            self._loop.call_later(point.block_ms / 1000, self._fail, request, point)
        else:
            self._fail(request, point)

    def _fail(self, request: Request, point: FailPoint) -> None:
        if self._closed:
            return
        if point.close:
            self.abort(reset=False)
        elif point.code is not None:
            labels = point.labels
            if labels is None:
                # The command was not looked at: what it is about, a change stream, is not known.
                labels = rules.error_labels(point.code, request.name, request.document)
            self.refuse(request, Refusal(point.code, point.message, labels))
        else:
            self._proceed(request, point)

    def _proceed(self, request: Request, point: FailPoint | None = None) -> None:
        name, command = request.name, request.document
        if self._closed:
            return
        if name == "hello":
            self._hello(request)
            return
        refusal = rules.refusal(self.member.role, name, command) or self._misplaced(name, command)
        if refusal is not None:
            self.refuse(request, refusal)
        elif name == "configureFailPoint":
            self._configure_fail_point(request)
        elif name == "replSetStepDown":
            # SecantusDB is not to step down: it holds the data for all of them.
            self.member.deployment.step_down(self.member.number)
            self.answer(request, {"ok": 1.0, **self.member.deployment.times("secondary")})
        elif name == "killCursors" and not self.member.owns(command.get("cursors"), self):
            unknown = command.get("cursors")
            kinds = ("cursorsKilled", "cursorsAlive", "cursorsUnknown")
            reply = {"cursorsNotFound": unknown, **{kind: [] for kind in kinds}, "ok": 1.0}
            self.answer(request, reply)
        elif request.flags & MORE_TO_COME:
            self._to_backend().send(request.raw)
            self._done()
        elif self.member.withholds(name, command):
            # A primary that is cut off gets no majority: nobody acknowledges the write.
            self._interruptible = request
        elif rules.is_retryable(name, command):
            self._write_once(request, point)
        elif (stale := self.member.stale_answer(rules.question(command))) is not None:
            self.deliver(wire.answering(stale, request.request_id))
        else:
            self._forward(request, request.raw, point)

    def _misplaced(self, name: str, command: Mapping[str, Any]) -> Refusal | None:
        """The error of a cursor or transaction that lives on another server, or no more."""
        if name == "getMore" and not self.member.owns([command.get("getMore")], self):
            return Refusal(43, f"cursor id {command.get('getMore')} not found")
        if command.get("autocommit") is False and not self.member.deployment.transactions.holds(
            self, name, command
        ):
            number = command.get("txnNumber")
            return Refusal(251, f"Transaction with {{ txnNumber: {number} }} has been aborted")
        return None

    def _configure_fail_point(self, request: Request) -> None:
        try:
            self.member.configure_fail_point(request.document)
        except fail_points.BadFailPoint as error:
            self.refuse(request, Refusal(2, str(error)))
        else:
            self.answer(request, {"ok": 1.0})

    def _write_once(self, request: Request, point: FailPoint | None) -> None:
        """A write that has come before is answered as then; one still at work is waited for."""
        retries = self.member.deployment.retries
        session = session_of(request.document)
        if session is None:
            self.refuse(request, Refusal(72, "txnNumber needs an lsid"))
            return
        number = int(request.document["txnNumber"])
        try:
            write = retries.find(session, number)
        except TooOld as error:
            self.refuse(request, Refusal(225, f"Retryable write with txnNumber {error}"))
            return
        if write is None:
            self._begin_write(request, point, retries, session, number)
        elif write.reply is None:
            write.waiting.append(lambda: self._proceed(request, point))
        else:
            retries.replayed += 1
            self._deliver_failing(point, wire.answering(write.reply, request.request_id), request)

    def _begin_write(
        self,
        request: Request,
        point: FailPoint | None,
        retries: Retries,
        session: bytes,
        number: int,
    ) -> None:
        """Have a write done, unless the member's fail point of writes is against it."""
        failing = self.member.take_write_fail_point()
        if failing is not None and failing.code is not None:
            if failing.close:
                self.abort(reset=False)
            else:
                self.refuse(request, Refusal(failing.code, "failBeforeCommitExceptionCode"))
            return
        write = retries.begin(session, number)
        cuts = failing is not None and failing.close
        self._forward(request, wire.without_txn_number(request.raw), point, write, cuts=cuts)

    def _with_recovery_token(self, request: Request, reply: bytes) -> bytes:
        """A mongos says how another one finds the transaction (transactions specification,
        "recoveryToken field")."""
        if request.document.get("autocommit") is not False or not self.member.routes:
            return reply
        document = wire.reply_document(reply)
        if not document.get("ok"):
            return reply
        document["recoveryToken"] = {"recoveryShardId": f"shard{self.member.number}"}
        return wire.reply_bytes(request, document, self.member.deployment.next_request_id())

    def _deliver_failing(self, point: FailPoint | None, reply: bytes, request: Request) -> None:
        """Answer with a reply, and with the write concern error of the fail point if it has one."""
        if point is None or point.write_concern_error is None:
            self.deliver(reply)
            return
        document = wire.reply_document(reply)
        error = document["writeConcernError"] = dict(point.write_concern_error)
        labels = point.labels
        if labels is None:
            labels = rules.error_labels(error.get("code", 0), request.name, request.document)
            # What it belongs to was done.
            labels = [each for each in labels if each != "TransientTransactionError"]
        if labels:
            document["errorLabels"] = list(labels)
        self.answer(request, document)

    def _forward(
        self,
        request: Request,
        raw: bytes,
        point: FailPoint | None = None,
        write: Write | None = None,
        then: Callable[[bytes], None] | None = None,
        cuts: bool = False,
    ) -> None:
        """Have SecantusDB answer; `then` gets the reply instead of the client.

        With `cuts` nobody does: the connection is closed instead.
        """
        self._interruptible = request
        deployment = self.member.deployment
        is_write = rules.writes(request.name, request.document)
        question = rules.question(request.document)
        name = rules.collection(request.document)
        state = deployment.changes[name]

        def on_reply(reply: bytes | None) -> None:
            done = reply is not None
            if reply is not None and is_write:
                document = wire.reply_document(reply)
                done = bool(document.get("ok"))
                deployment.wrote(document)
                deployment.changes[name] += 1
            if write is not None:
                deployment.retries.end(write, reply if done else None)
            if self._interruptible is not request or self._closed:
                return
            if self.member.withholds(request.name, request.document):
                return
            self._interruptible = None
            if reply is None:
                self.abort(reset=False)
                return
            if is_write and done and self.member.cut_writes > 0:
                self.member.cut_writes -= 1
                self.abort()
                return
            if cuts:
                self.abort(reset=False)
                return
            if question is not None:
                if deployment.changes[name] == state:
                    self.member.remember(question, (name, state), reply)
            elif request.name in rules.CURSORS:
                self.member.note_cursor(request, reply, self)
            if then is not None:
                then(reply)
            else:
                self._deliver_failing(point, self._with_recovery_token(request, reply), request)

        def on_part(reply: bytes) -> None:
            if self._interruptible is request:
                self.deliver(reply, more=True)

        if request.name == "bulkWrite":
            # MongoDB takes one, for causal consistency; SecantusDB, whose data are always the
            # latest, refuses it.
            raw = wire.without_read_concern(raw)
        self._to_backend().send(raw, Forwarded(on_reply, on_part))

    def _to_backend(self) -> Backend:
        if self._backend is None:
            self._backend = Backend(self.member.deployment.backend, self._backend_lost)
        return self._backend

    def _backend_lost(self) -> None:
        self._backend = None
        self.abort(reset=False)

    # hello

    def _hello(self, request: Request) -> None:
        command = request.document
        if self.member.quiesce_ends is not None:
            self.refuse(request, Refusal(91, "The server is in quiesce mode and will shut down"))
            return
        version, wait = command.get("topologyVersion"), command.get("maxAwaitTimeMS")
        if (version is None) != (wait is None):
            needs = "A request with 'maxAwaitTimeMS' and one with 'topologyVersion' need both"
            self.refuse(request, Refusal(31368, needs))
        elif version is not None:
            self._awaited = _Awaited(self, request, version, float(wait or 0) / 1000)
            self._awaited.begin()
        elif self.member.role != "arbiter" and (
            "saslSupportedMechs" in command or "speculativeAuthenticate" in command
        ):
            self._forward(
                request, request.raw, then=lambda reply: self._login_hello(request, reply)
            )
        else:
            self.answer(request, self.member.hello(self, request))

    def _login_hello(self, request: Request, reply: bytes) -> None:
        """SecantusDB says what concerns the login, the member all the rest."""
        theirs, ours = wire.reply_document(reply), self.member.hello(self, request)
        for name in ("saslSupportedMechs", "speculativeAuthenticate"):
            if name in theirs:
                ours[name] = theirs[name]
        self.answer(request, ours)

    # Answers

    def refuse(self, request: Request, refusal: Refusal) -> None:
        """Answer with an error; a request that wants no answer costs the connection."""
        if request.flags & MORE_TO_COME:
            self.abort(reset=False)
            return
        self.answer(request, self.member.error(request, refusal))

    def answer(self, request: Request, document: Mapping[str, Any], *, more: bool = False) -> int:
        """Answer with a document; gives the reply's own request id."""
        number = self.member.deployment.next_request_id()
        self.deliver(wire.reply_bytes(request, document, number, more=more), more=more)
        return number

    def deliver(self, data: bytes, *, more: bool = False) -> None:
        """Send a reply, as late as the member is slow; `more` says that others follow."""
        latency = self.member.latency
        if latency:
            self._loop.call_later(latency, self._send, data, more)
        else:
            self._send(data, more)

    def _send(self, data: bytes, more: bool) -> None:
        if self._closed or self._transport is None:
            return
        if self.member.silenced:
            self._held.append((data, more))
            return
        self._transport.write(data)
        if not more:
            self._done()

    def _done(self) -> None:
        self._busy = False
        self.advance()


class _Awaited:
    """A hello that is answered when the member's state changes or its time is over.

    With exhaustAllowed it then begins anew by itself, each reply answering the one before; as a
    command of its own, that a fail point may hold for.
    """

    def __init__(
        self, connection: Connection, request: Request, version: Mapping[str, Any], wait: float
    ) -> None:
        self.connection = connection
        self.request = request
        self.wait = wait
        self.exhaust = request.opcode == OP_MSG and bool(request.flags & EXHAUST_ALLOWED)
        self.known = (version.get("processId"), version.get("counter"))
        self.timer: asyncio.TimerHandle | None = None
        #: A fail point delays it, whatever happens to the member.
        self.blocked = False

    def begin(self) -> None:
        if self.known != self.connection.member.topology_version:
            self.answer()
        else:
            self.timer = asyncio.get_running_loop().call_later(self.wait, self.answer)

    def cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def answer(self) -> None:
        connection, member = self.connection, self.connection.member
        if self.blocked:
            return
        self.cancel()
        connection._awaited = None
        if member.quiesce_ends is not None:
            connection._hello(self.request)
            return
        reply = member.hello(connection, self.request)
        number = connection.answer(self.request, reply, more=self.exhaust)
        if self.exhaust and not connection._closed:
            self.request.request_id = number
            self.known = member.topology_version
            connection._awaited = self
            self._begin_anew()

    def _begin_anew(self) -> None:
        connection = self.connection
        point = connection.member.take_fail_point(self.request.name, connection.app_name)
        if point is None:
            self.begin()
        elif point.block_ms:
            self.blocked = True
            self.timer = asyncio.get_running_loop().call_later(
                point.block_ms / 1000, self._fail, point
            )
        else:
            self._fail(point)

    def _fail(self, point: FailPoint) -> None:
        self.blocked = False
        if point.close or point.code is not None:
            self.connection._awaited = None
            self.connection._fail(self.request, point)
        else:
            self.begin()
