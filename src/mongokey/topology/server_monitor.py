"""Checks one server again and again, as steps: server-monitoring.md, "Monitor thread" and "RTT
thread".

Knows when a server is checked, how, and what the answer or the error comes to: a
`ServerDescription`. It holds no socket and no clock, and must not know what a topology makes of a
description.
"""

from __future__ import annotations

from mongokey._support.deadline import Timeout
from mongokey._support.server_errors import raise_command_error
from mongokey.bson.int64 import Int64
from mongokey.connection.establish_steps import establish
from mongokey.connection.steps import Disconnect, Exchange, NextReply, Now, Sleep, StepCancelled
from mongokey.errors import AutoReconnect, NotPrimaryError, ProtocolError
from mongokey.handshake.hello import hello_command
from mongokey.handshake.reply import HelloReply
from mongokey.topology.round_trip_time import RoundTripTime
from mongokey.topology.server_description import ServerDescription
from mongokey.transport.stream import monotonic_ns

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.connection.establish import BegunConnection
    from mongokey.connection.settings import ConnectionSettings
    from mongokey.connection.steps import Steps, WatchedConnection

# server-monitoring.md, "minHeartbeatFrequencyMS": from the end of a check to the next one.
MIN_HEARTBEAT_NS = 500_000_000


class ServerMonitor:
    """The checks of the server at `address`.

    :param report: called with each `ServerDescription`
    :param heartbeat: `heartbeatFrequencyMS`
    :param streaming: whether a server that can is asked to say by itself what changes
    :param measure: called with `measure_steps` when the server streams: to be carried out too, once
    :param publisher: what heartbeats are told to, or None
    :param last: what the server was found to be just now, by whom it was to be used; or None
    """

    def __init__(
        self,
        address: AddressLike,
        settings: ConnectionSettings,
        report: Callable[[ServerDescription], object],
        heartbeat: Timeout,
        *,
        streaming: bool,
        measure: Callable[[Callable[[], Steps]], object],
        publisher: Any = None,
        last: ServerDescription | None = None,
    ) -> None:
        self.address = address
        self._settings = settings
        self._report = report
        self._heartbeat = heartbeat
        self._streaming = streaming
        self._measure = measure
        self._publisher = publisher
        self._round_trip_time = RoundTripTime()
        self._connection: WatchedConnection | None = None
        # How many there were so far, which is the number of the last one.
        self._connections = 0
        self._description = ServerDescription(address) if last is None else last
        # Since when, in nanoseconds of the clock, no check was under way; 0: never was one.
        self._ended_ns = 0
        # The server was to wait until there is news, and did neither.
        self._answered_too_soon = False
        if last is not None:
            self._ended_ns = round(last.last_update_time * 1e9)
            if last.round_trip_time is not None:
                self._round_trip_time.add(last.round_trip_time)

    # -- the checks -------------------------------------------------------------------------------

    def steps(self) -> Steps:
        """Check the server until the generator is closed."""
        if self._ended_ns and not self._streams(self._description):
            # Somebody has checked it just now.
            yield from self._pause_until_next()
        while True:
            previous = self._description
            try:
                yield from self._check()
            except StepCancelled:
                # An operation found that the server cannot be reached, and said so already.
                self._description = ServerDescription(self.address)
                yield from self._pause_after_cancel(previous)
                continue
            description = self._description
            streams = self._streams(description)
            self._report(description)
            if streams:
                self._measure(self.measure_steps)
                if self._answered_too_soon:
                    yield Sleep(MIN_HEARTBEAT_NS, MIN_HEARTBEAT_NS)
                continue
            if previous.is_server_type_known and is_network_error(description.error):
                continue
            yield Sleep(self._heartbeat.ns, MIN_HEARTBEAT_NS)

    def _streams(self, description: ServerDescription) -> bool:
        """Whether the next check begins at once, as the server waits until there is news."""
        if not self._streaming or not description.is_server_type_known:
            return False
        connection = self._connection
        more = connection is not None and connection.more_to_come
        return more or description.topology_version is not None

    def _pause_until_next(self) -> Steps:
        """What is left of the time between two checks."""
        since = (yield Now()) - self._ended_ns
        yield Sleep(max(self._heartbeat.ns - since, 0), max(MIN_HEARTBEAT_NS - since, 0))

    def _pause_after_cancel(self, previous: ServerDescription) -> Steps:
        now = yield Now()
        ended, self._ended_ns = self._ended_ns, now
        left = ended + MIN_HEARTBEAT_NS - now
        if not previous.is_server_type_known:
            yield Sleep(self._heartbeat.ns, MIN_HEARTBEAT_NS)
        elif left > 0:
            yield Sleep(left, left)

    def _check(self) -> Steps:
        """One check; what it comes to is the description."""
        connection = self._connection
        if connection is not None and connection.closed:
            connection = self._connection = None
        last = self._description
        awaited = connection is not None and (connection.more_to_come or self._streams(last))
        publisher = self._publisher
        if publisher is not None and publisher.heartbeats:
            publisher.heartbeat_started(self.address, awaited, **self._ids(connection))
        began = yield Now()
        try:
            if connection is None:
                connection = self._connection = yield from self._connect()
                hello = connection.hello
                assert hello is not None, "it was greeted"
                self._connections += 1
                self._round_trip_time.add(connection.duration_ns / 1e9)
            else:
                hello = yield from self._ask(connection, last, awaited)
                if not awaited:
                    self._round_trip_time.add(connection.duration_ns / 1e9)
        except Exception as error:
            # Whatever went wrong, the server is not known any more, and is checked again.
            without_tracebacks(error)
            self._connection = None
            yield Disconnect()
            now = yield Now()
            if publisher is not None and publisher.heartbeats:
                failure = AutoReconnect(str(error)) if isinstance(error, StepCancelled) else error
                publisher.heartbeat_failed(
                    self.address, now - began, failure, awaited, **self._ids(connection)
                )
            if isinstance(error, StepCancelled):
                raise
            self._ended_ns = now
            self._round_trip_time.reset()
            self._description = ServerDescription(
                self.address, error=error, last_update_time=now / 1e9
            )
            return
        now = self._ended_ns = yield Now()
        if publisher is not None and publisher.heartbeats:
            publisher.heartbeat_succeeded(
                self.address, connection.duration_ns, hello, awaited, **self._ids(connection)
            )
        # An imitation of MongoDB that does not wait must not be asked in an endless rush.
        self._answered_too_soon = (
            awaited
            and connection.duration_ns < MIN_HEARTBEAT_NS // 2
            and hello.topology_version == last.topology_version
        )
        self._description = ServerDescription(
            self.address,
            hello,
            self._round_trip_time.average,
            min_round_trip_time=self._round_trip_time.minimum,
            last_update_time=now / 1e9,
        )

    def _connect(self) -> Steps:
        """A connection that has said hello, and logs nobody in."""
        limit = self._settings.connect_timeout
        connection, _ = yield from establish(self.address, self._settings, limit, log_in=False)
        return connection

    def _ids(self, connection: WatchedConnection | None) -> dict[str, Any]:
        """What log records say of the connection."""
        if connection is None:
            # The number of the one that is going to be made.
            return {"connection_id": self._connections + 1}
        hello = connection.hello
        said = None if hello is None else hello.connection_id
        return {"connection_id": self._connections, "server_connection_id": said}

    def _ask(self, connection: WatchedConnection, last: ServerDescription, awaited: bool) -> Steps:
        """The answer to hello on a connection that has said it before."""
        limit = self._settings.connect_timeout
        if awaited and limit is not None:
            limit = Timeout(
                limit.ns + self._heartbeat.ns, "connectTimeoutMS + heartbeatFrequencyMS"
            )
        if connection.more_to_come:
            reply = yield NextReply(limit)
        else:
            reply = yield Exchange(self._hello(connection, last, awaited), limit, exhaust=awaited)
        raise_command_error_unless_ok(reply)
        return HelloReply(reply)

    def _hello(
        self, connection: WatchedConnection, last: ServerDescription, awaited: bool
    ) -> dict[str, Any]:
        said = connection.hello
        command = hello_command(
            None,
            server_api=self._settings.server_api,
            hello_ok=said is not None and said.hello_ok,
        )
        if awaited:
            command["topologyVersion"] = last.topology_version
            command["maxAwaitTimeMS"] = Int64(self._heartbeat.ns // 1_000_000)
        return command

    # -- round trips ------------------------------------------------------------------------------

    def measure_steps(self) -> Steps:
        """Measure the round trip time on a connection of its own, every `heartbeatFrequencyMS`
        from then on, until the generator is closed. What the server answers, or that it does not,
        counts for nothing else; no events are published."""
        connection: WatchedConnection | None = None
        while True:
            # First of all, too: the monitor's first hello was just measured, and a program that
            # ends soon is spared the connection.
            yield Sleep(self._heartbeat.ns, self._heartbeat.ns)
            try:
                if connection is None:
                    connection = yield from self._connect()
                else:
                    reply = yield Exchange(
                        self._hello(connection, self._description, False),
                        self._settings.connect_timeout,
                    )
                    raise_command_error_unless_ok(reply)
                self._round_trip_time.add(connection.duration_ns / 1e9)
            except Exception:
                # The checks find out by themselves what is wrong ("Measuring RTT").
                connection = None
                yield Disconnect()


def found_first(
    address: AddressLike, begun: BegunConnection | None, error: Exception | None
) -> ServerDescription:
    """What the server at `address` is, by the connection `begun` to it, or the error of that."""
    now_s = monotonic_ns() / 1e9
    if begun is None:
        if error is not None:
            without_tracebacks(error)
        return ServerDescription(address, error=error, last_update_time=now_s)
    return ServerDescription(
        address, begun.hello, begun.round_trip_ns / 1e9, last_update_time=now_s
    )


def raise_command_error_unless_ok(reply: Any) -> None:
    """Raise what a reply that is not ok says."""
    if not reply.get("ok"):
        raise_command_error(reply)


def is_network_error(error: BaseException | None) -> bool:
    """Whether a check failed for the network's sake, a timeout included, and not at the server's
    word."""
    return isinstance(error, (AutoReconnect, ProtocolError)) and not isinstance(
        error, NotPrimaryError
    )


def without_tracebacks(error: BaseException) -> None:
    """Drop what holds the frames of a check alive: a description keeps its error for long."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            left += (one.__cause__, one.__context__)


__all__ = ["MIN_HEARTBEAT_NS", "ServerMonitor", "found_first", "is_network_error"]
