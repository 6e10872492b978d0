"""One member of the fleet: a listening port, a role, and what can be done to it.

Knows its sockets, its state and how it answers hello and errors. How the set stands is asked of
the deployment, what a request gets is the connection's.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import socket
import ssl
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import bson

from tests.servers.fail_points import FailPoint, WriteFailPoint
from tests.servers.fail_points import parse as parse_fail_point
from tests.servers.fleet import rules, wire
from tests.servers.fleet.connection import RESET, Connection
from tests.servers.fleet.rules import Refusal
from tests.servers.fleet.topology import OTHER_ROLES, hello_outside
from tests.servers.scripted.answers import Request

if TYPE_CHECKING:
    from tests.servers.fleet.deployment import Deployment

HOST = "127.0.0.1"
BACKLOG = 512
#: So many of the last commands are remembered.
LOG = 2000
#: So many answers are remembered, for when the member does not know of newer data.
REMEMBERED = 500
#: An idle primary writes a no-op so often, which moves lastWriteDate.
NOOP_SECONDS = 10


class Member:
    """See the package's text for what can be done to a member. Times are in seconds here."""

    def __init__(
        self,
        deployment: Deployment,
        number: int,
        role: str,
        *,
        tls: ssl.SSLContext | None = None,
        services: int = 0,
    ) -> None:
        self.deployment = deployment
        self.number = number
        #: A role outside the set ("other": a member that recovers), or None.
        self.fixed_role = role if role in OTHER_ROLES else None
        self.services = [bson.ObjectId() for _ in range(services)]
        self.connections: set[Connection] = set()
        self.accepted = 0
        self.commands: Counter[str] = Counter()
        self.log: deque[dict[str, Any]] = deque(maxlen=LOG)
        self.logged = 0
        self.faults: list[str] = []
        self.alive = True
        self.silenced = False
        self.latency = 0.0
        self.lag = 0.0
        self.fail_connects = 0
        self.cut_writes = 0
        self.fail_point: FailPoint | None = None
        self.write_fail_point: WriteFailPoint | None = None
        #: Whose fail points hold here: another's, where both are ways to the same servers.
        self.fail_points_of = self
        self.quiesce_ends: float | None = None
        #: The term in which this member believes to be the primary still, or None.
        self.unaware_term: int | None = None
        self._tls = tls
        self._process_id = bson.ObjectId()
        self._counter = 0
        self._state: dict[str, Any] = {}
        self._cursors: dict[int, object] = {}
        #: Those of them that are change streams'.
        self._streams: set[int] = set()
        self._answers: OrderedDict[bytes, tuple[tuple[tuple[str, str], int], bytes]] = OrderedDict()
        self._frozen: dict[bytes, bytes] = {}
        self._turn = itertools.cycle(self.services) if services else None
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[Any]] = set()
        self._held_sockets: list[socket.socket] = []
        self._fill: list[socket.socket] = []
        # Stays bound while nobody listens, so that the port is nobody else's.
        self._placeholder = self._bound(0)
        self.port: int = self._placeholder.getsockname()[1]
        self._listener: socket.socket | None = None
        self._listen()

    # State

    @property
    def role(self) -> str:
        """What it is now, or believes to be."""
        if self.fixed_role is not None:
            return self.fixed_role
        if self.unaware_term is not None:
            return "primary"
        return self.deployment.set.role(self.number)

    @property
    def routes(self) -> bool:
        """Whether those who answer here are mongoses."""
        return self.role in ("mongos", "load_balancer")

    @property
    def reachable(self) -> bool:
        return self.alive and not self.silenced and self.quiesce_ends is None

    @property
    def topology_version(self) -> tuple[bson.ObjectId, int]:
        return self._process_id, self._counter

    def refresh(self) -> None:
        """Work out its state anew; when it has changed, tell the clients that wait for that."""
        if self.fixed_role in (None, "other"):
            state = self.deployment.set.hello(
                self.number, role=self.fixed_role, term=self.unaware_term
            )
        else:
            state = hello_outside(str(self.fixed_role))
        if self.quiesce_ends is not None:
            state["quiesce"] = True
        if state == self._state:
            return
        if self._state:
            self._counter += 1
        self._state = state
        for connection in list(self.connections):
            connection.state_changed()

    def hello(self, connection: Connection, request: Request) -> dict[str, Any]:
        """What it answers to this hello."""
        command, deployment = request.document, self.deployment
        reply = dict(self._state)
        # Each hello has its own word for "I take writes".
        del reply["isWritablePrimary" if next(iter(command)) != "hello" else "ismaster"]
        del reply["helloOk"]
        if command.get("helloOk"):
            reply["helloOk"] = True
        ok = reply.pop("ok")
        reply["maxWireVersion"] = deployment.max_wire_version
        reply["localTime"] = datetime.datetime.now(datetime.timezone.utc)
        reply["connectionId"] = bson.Int64(connection.number)
        if deployment.streaming:
            reply["topologyVersion"] = self._version_document()
        if self.role == "load_balancer" and command.get("loadBalanced"):
            reply["serviceId"] = connection.service
        if "setName" in reply:
            reply["lastWrite"] = self._last_write()
        return {**reply, "ok": ok, **deployment.times(self.role)}

    def _version_document(self) -> dict[str, Any]:
        return {"processId": self._process_id, "counter": bson.Int64(self._counter)}

    def _last_write(self) -> dict[str, Any]:
        deployment = self.deployment
        now = time.time()
        last = max(deployment.last_write, now - now % NOOP_SECONDS)
        # A member that lags has all that was written up to so long ago.
        date = datetime.datetime.fromtimestamp(
            int(min(last, now - self.lag) if self.lag else last), datetime.timezone.utc
        )
        optime = {"ts": deployment.cluster_time, "t": bson.Int64(deployment.set.term)}
        return {
            "opTime": optime,
            "lastWriteDate": date,
            "majorityOpTime": optime,
            "majorityWriteDate": date,
        }

    def error(self, request: Request, refusal: Refusal) -> dict[str, Any]:
        """An error reply with all that a real server puts into it."""
        code, deployment = refusal.code, self.deployment
        reply: dict[str, Any] = {
            "ok": 0.0,
            "errmsg": refusal.message,
            "code": code,
            "codeName": refusal.name,
        }
        labels = refusal.labels
        if labels is None:
            # Behind a mongos it is mongos that knows about retries (retryable-writes, "labels").
            streams = request.name == "getMore" and request.document["getMore"] in self._streams
            labels = rules.error_labels(code, request.name, request.document, streams=streams)
        if labels:
            reply["errorLabels"] = list(labels)
        if code in rules.NOT_PRIMARY_CODES | rules.SHUTDOWN_CODES and deployment.streaming:
            reply["topologyVersion"] = self._version_document()
        if code == 91 and self.quiesce_ends is not None:
            left = max(0.0, self.quiesce_ends - time.monotonic())
            reply["remainingQuiesceTimeMillis"] = bson.Int64(left * 1000)
        return {**reply, **deployment.times(self.role)}

    def withholds(self, name: str, command: Mapping[str, Any]) -> bool:
        """Whether it can never acknowledge this: it believes to be a primary and is none."""
        return self.unaware_term is not None and rules.writes(name, command)

    def remember(self, question: bytes, place: tuple[tuple[str, str], int], reply: bytes) -> None:
        """Keep an answer that was right in this state of its collection."""
        self._answers[question] = (place, reply)
        self._answers.move_to_end(question)
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)

    def cut_off(self, term: int) -> None:
        """Another is elected, and this one, primary of this term, does not hear of it."""
        self.unaware_term = term
        changes = self.deployment.changes
        self._frozen = {
            question: reply
            for question, ((name, state), reply) in self._answers.items()
            if changes[name] == state
        }

    def stale_answer(self, question: bytes | None) -> bytes | None:
        """What it answered last before it was cut off; None when it is not, or was not asked."""
        if self.unaware_term is None or question is None:
            return None
        return self._frozen.get(question)

    def take_fail_point(self, name: str, app_name: str | None) -> FailPoint | None:
        """The fail point that holds for this command; counts it."""
        point = self.fail_points_of.fail_point
        if point is None or name == "configureFailPoint" or not point.take(name, app_name):
            return None
        return point

    def take_write_fail_point(self) -> WriteFailPoint | None:
        """The onPrimaryTransactionalWrite that holds for this write; counts it."""
        point = self.fail_points_of.write_fail_point
        return point if point is not None and point.take() else None

    def configure_fail_point(self, command: Mapping[str, Any]) -> None:
        """What `configureFailPoint` does; raises `BadFailPoint`."""
        point = parse_fail_point(command)
        owner = self.fail_points_of
        if command["configureFailPoint"] == "failCommand":
            owner.fail_point = point if isinstance(point, FailPoint) else None
        else:
            owner.write_fail_point = point if isinstance(point, WriteFailPoint) else None

    # Cursors

    def cursor_owner(self, connection: Connection) -> tuple[int, object, object]:
        """Who keeps the cursors and transactions of this connection: the server, or the one of
        several behind a load balancer that the connection leads to."""
        return (self.number, self._process_id, connection.service)

    def next_service(self) -> bson.ObjectId | None:
        return next(self._turn) if self._turn is not None else None

    def note_cursor(self, request: Request, reply: bytes, connection: Connection) -> None:
        """Remember a cursor that a reply opened or closed."""
        document = wire.raw_reply(reply)
        cursor = document.get("cursor")
        if cursor is None:
            return
        number = int(cursor["id"])
        if number:
            self._cursors[number] = self.cursor_owner(connection)
            if rules.opens_change_stream(request.name, request.document):
                self._streams.add(number)

    def owns(self, cursors: Any, connection: Connection) -> bool:
        """Whether all of these cursors live where the connection leads to."""
        owner = self.cursor_owner(connection)
        return all(self._cursors.get(int(each)) == owner for each in cursors or ())

    # What is seen

    def note(self, connection: Connection, request: Request) -> None:
        """Remember a command."""
        command = request.document
        self.commands[request.name] += 1
        if request.name == "hello":
            return
        preference = command.get("$readPreference")
        self.logged += 1
        self.log.append(
            {
                "at": self.logged,
                "name": request.name,
                "connection": connection.number,
                "app_name": connection.app_name,
                "database": command.get("$db"),
                "role": self.role,
                "mode": preference.get("mode") if isinstance(preference, Mapping) else None,
                "txn_number": command.get("txnNumber"),
                "acknowledged": not request.flags & 2,
            }
        )

    def note_fault(self, text: str) -> None:
        """Remember what a client did wrong."""
        self.faults.append(text)

    def status(self) -> dict[str, Any]:
        """What there is to know about it, for people and tests."""
        return {
            "member": self.number,
            "port": self.port,
            "host": self.deployment.host_of(self),
            "role": self.role,
            "alive": self.alive,
            "silenced": self.silenced,
            "connections": len(self.connections),
            "application_connections": sum(each.application for each in self.connections),
            "accepted": self.accepted,
            "commands": dict(self.commands),
            "faults": list(self.faults),
            "topology_version": self._counter,
        }

    # What is done to it

    def kill(self, *, reset: bool = True) -> None:
        """Close the listener and every connection, with resets or orderly ends."""
        self.alive = False
        self.silenced = False
        self.quiesce_ends = None
        self._stop_listening()
        self.close_connections(reset=reset)
        self._cursors.clear()
        self._streams.clear()

    def restart(self) -> None:
        """Listen again, as a new process."""
        if self.alive:
            self.kill()
        self.alive = True
        self.unaware_term = None
        self.fail_point = self.write_fail_point = None
        self._process_id = bson.ObjectId()
        self._counter = 0
        self._state = {}
        self._listen()

    def close_connections(self, *, reset: bool = True) -> None:
        """Close every connection; new ones are accepted."""
        for sock in self._held_sockets:
            _close(sock, reset)
        self._held_sockets.clear()
        for task in self._handshakes:
            task.cancel()
        for connection in list(self.connections):
            connection.abort(reset=reset)

    def silence(self) -> None:
        """Accept connections, and never answer, until `resume`."""
        self.silenced = True
        for connection in list(self.connections):
            connection.hold()

    def black_hole(self) -> None:
        """Silence it, and let nobody connect any more: the attempt neither succeeds nor fails."""
        self.silence()
        if self._listener is None:
            return
        self._loop.remove_reader(self._listener)
        # A queue of one that is full: the kernel drops what comes, as a firewall does.
        self._listener.listen(0)
        for _ in range(8):
            sock = socket.socket()
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect((HOST, self.port))
            self._fill.append(sock)

    def resume(self) -> None:
        """Answer again: first what has come meanwhile."""
        self.silenced = False
        self._unfill()
        if self._listener is not None:
            self._listener.listen(BACKLOG)
            self._loop.add_reader(self._listener, self._accept)
        held, self._held_sockets = self._held_sockets, []
        for sock in held:
            self._begin(sock)
        for connection in list(self.connections):
            connection.go_on()

    def interrupt(self, code: int, message: str, *, reads: bool = False) -> None:
        """Answer what is at work with an error."""
        for connection in list(self.connections):
            connection.interrupt(code, message, reads=reads)

    async def close(self) -> None:
        """End it for good."""
        self.kill()
        self._placeholder.close()
        if self._handshakes:
            await asyncio.gather(*self._handshakes, return_exceptions=True)

    # Sockets

    def _bound(self, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((HOST, port))
        sock.setblocking(False)
        return sock

    def _listen(self) -> None:
        self._listener = self._bound(self.port)
        self._listener.listen(BACKLOG)
        self._loop.add_reader(self._listener, self._accept)

    def _stop_listening(self) -> None:
        self._unfill()
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _unfill(self) -> None:
        for sock in self._fill:
            sock.close()
        self._fill.clear()

    def _accept(self) -> None:
        while self._listener is not None:
            try:
                sock, _ = self._listener.accept()
            except OSError:  # nobody more, or one that is gone already
                return
            self.accepted += 1
            if self.fail_connects > 0:
                self.fail_connects -= 1
                _close(sock, True)
            elif self.silenced:
                self._held_sockets.append(sock)
            else:
                self._begin(sock)

    def _begin(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = asyncio.ensure_future(self._shake_hands(sock))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, sock: socket.socket) -> None:
        number = self.deployment.next_connection_id()
        try:
            await self._loop.connect_accepted_socket(
                lambda: Connection(self, number), sock, ssl=self._tls
            )
        except ConnectionError:
            # A client may give a connection up while it is made, such as when its pool is cleared.
            sock.close()
        except (OSError, ssl.SSLError) as error:
            self.note_fault(f"connection {number}: {type(error).__name__}: {error}")
            sock.close()
        except asyncio.CancelledError:
            _close(sock, True)
            raise


def _close(sock: socket.socket, reset: bool) -> None:
    if reset:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def tags_of(text: str | Mapping[str, str] | None) -> dict[str, str]:
    """Tags from a document, or from "dc:ny,rack:1" as a connection string has them."""
    if not isinstance(text, str):
        return dict(text or {})
    pairs: Sequence[str] = [each for each in text.split(",") if each]
    return {name: value for name, _, value in (each.partition(":") for each in pairs)}
