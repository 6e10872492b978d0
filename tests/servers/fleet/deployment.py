"""The fleet inside its process: the members, the set they are, and all that can be done to them.

Knows members, elections and their timing, and SecantusDB's address. Each public method of
`Deployment` that `control` names is a control. Must not know the code under test.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
import struct
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import bson

from tests.servers.fleet.member import HOST, Member, tags_of
from tests.servers.fleet.retries import Retries
from tests.servers.fleet.topology import OTHER_ROLES, ROLES, MemberConfig, ReplicaSet
from tests.servers.fleet.transactions import Transactions
from tests.servers.fleet.wire import reply_document

INTERRUPTED = "operation was interrupted because of a change of the replica set's state"
MAX_WIRE_VERSION = 25


class Deployment:
    """The members and what they share. `election_ms`: a set without a primary that can be
    reached elects another by itself after so long; None leaves that to `elect`."""

    def __init__(
        self,
        backend: tuple[str, int],
        *,
        set_name: str = "fleet",
        election_ms: float | None = None,
        tls: ssl.SSLContext | None = None,
        max_wire_version: int = MAX_WIRE_VERSION,
        streaming: bool = True,
        services: int = 2,
    ) -> None:
        self.backend = backend
        self.set = ReplicaSet(set_name)
        self.members: dict[int, Member] = {}
        self.retries = Retries()
        self.transactions = Transactions()
        self.max_wire_version = max_wire_version
        self.streaming = streaming
        self.cluster_time = bson.Timestamp(int(time.time()), 1)
        self.last_write = time.time()
        #: How often each collection was written to, by database and name.
        self.changes: Counter[tuple[str, str]] = Counter()
        self._election = None if election_ms is None else election_ms / 1000
        self._tls = tls
        self._services = services
        self._numbers = itertools.count()
        self._request_ids = itertools.count(1)
        self._connection_ids = itertools.count(1)
        self._timers: set[asyncio.TimerHandle] = set()
        self._stepped_down: int | None = None

    async def start(self, members: Sequence[Mapping[str, Any]]) -> None:
        """Begin to listen; ask SecantusDB for the time. Raises OSError when it is not there."""
        reader, writer = await asyncio.open_connection(*self.backend)
        body = struct.pack("<IB", 0, 0) + bson.encode({"hello": 1, "$db": "admin"})
        writer.write(struct.pack("<iiii", 16 + len(body), 1, 0, 2013) + body)
        head = await reader.readexactly(16)
        raw = head + await reader.readexactly(struct.unpack_from("<i", head)[0] - 16)
        writer.close()
        self.wrote(reply_document(raw))
        for each in members:
            self.add(**each)

    async def close(self) -> None:
        """End every member."""
        for timer in self._timers:
            timer.cancel()
        for member in self.members.values():
            await member.close()

    # What members and connections ask

    def next_request_id(self) -> int:
        return next(self._request_ids) & 0x7FFFFFFF

    def next_connection_id(self) -> int:
        return next(self._connection_ids)

    def host_of(self, member: Member) -> str:
        """The name that the others have for it."""
        config = self.set.members.get(member.number)
        return config.host if config is not None else f"{HOST}:{member.port}"

    def wrote(self, reply: Mapping[str, Any]) -> None:
        """Note the time that a reply of SecantusDB has."""
        operation_time = reply.get("operationTime")
        if isinstance(operation_time, bson.Timestamp) and operation_time > self.cluster_time:
            self.cluster_time = operation_time
        self.last_write = time.time()

    def times(self, role: str) -> dict[str, Any]:
        """$clusterTime and operationTime, where a server has them."""
        if role in ("standalone", "ghost"):
            return {}
        signature = {"hash": bytes(20), "keyId": bson.Int64(0)}
        return {
            "$clusterTime": {"clusterTime": self.cluster_time, "signature": signature},
            "operationTime": self.cluster_time,
        }

    # Controls: the set

    def add(
        self,
        role: str = "secondary",
        host: str | None = None,
        tags: str | Mapping[str, str] | None = None,
        services: int | None = None,
    ) -> dict[str, Any]:
        """Add a member; a role of the set puts it into the configuration.

        `host` replaces 127.0.0.1 as its name there. A load balancer leads to so many `services`,
        and all load balancers of a fleet share their fail points. Gives its number and port.
        """
        if role not in ROLES:
            raise ValueError(f"unknown role {role!r}; there are {', '.join(sorted(ROLES))}")
        number = next(self._numbers)
        if role != "load_balancer":
            services = 0
        elif services is None:
            services = self._services
        member = Member(self, number, role, tls=self._tls, services=services)
        for each in self.members.values():
            if each.role == role == "load_balancer":
                member.fail_points_of = each.fail_points_of
        self.members[number] = member
        if role not in OTHER_ROLES or role == "other":
            self.set.members[number] = MemberConfig(
                f"{host or HOST}:{member.port}",
                arbiter=role == "arbiter",
                hidden=role == "hidden",
                priority=0 if role in ("passive", "hidden") else 1,
                tags=tags_of(tags),
            )
            if len(self.set.members) > 1:
                self.set.version += 1
            if role == "primary":
                self.set.elect(number)
        self._refresh()
        return {"member": number, "port": member.port}

    def remove(self, member: int) -> None:
        """Take a member out of the configuration; it goes on as a ghost."""
        node = self._member(member)
        if self.set.members.pop(member, None) is None:
            raise ValueError(f"member {member} is not in the configuration")
        self.set.version += 1
        if self.set.primary == member:
            self._lose_primary(node)
        self._refresh()

    def reconfigure(
        self,
        member: int,
        host: str | None = None,
        hidden: bool | None = None,
        priority: int | None = None,
        tags: str | Mapping[str, str] | None = None,
    ) -> None:
        """Change a member's line in the configuration: its name, whether it is hidden, its
        priority and tags. One that was removed comes back."""
        node = self._member(member)
        config = self.set.members.setdefault(member, MemberConfig(f"{HOST}:{node.port}"))
        if host is not None:
            config.host = f"{host}:{node.port}"
        if hidden is not None:
            config.hidden = hidden
        if priority is not None:
            config.priority = priority
        if tags is not None:
            config.tags = tags_of(tags)
        self.set.version += 1
        if self.set.primary == member and not config.electable:
            self._lose_primary(node)
        self._refresh()

    def set_role(self, member: int, role: str | None = None) -> None:
        """Give a member a role outside the set ("other": it recovers, "ghost", "standalone"...);
        None: it is what the set says again."""
        if role is not None and role not in OTHER_ROLES:
            raise ValueError(f"{role!r} is not one of {', '.join(sorted(OTHER_ROLES))}")
        node = self._member(member)
        node.fixed_role = role
        if self.set.primary == member and role is not None:
            self._lose_primary(node)
        self._refresh()

    def elect(self, member: int | None = None, unaware: bool = False) -> dict[str, Any]:
        """Make a member the primary: this one, or another than now that can be reached.

        The old one steps down; with `unaware` it has not heard of it: it goes on saying that it
        is the primary, acknowledges no write, and answers a find of one document that it has had
        before as it did then, until `inform`.
        """
        chosen = self._candidate() if member is None else self._member(member)
        if chosen is None:
            raise ValueError("no member that can be reached can be elected")
        old = self.members.get(self.set.primary) if self.set.primary is not None else None
        term = self.set.term
        self.set.elect(chosen.number)
        chosen.unaware_term = None
        deposed = old is not None and old is not chosen
        if old is not None and deposed and unaware:
            old.cut_off(term)
        # The state first: an error that says so has to carry the new topologyVersion.
        self._refresh()
        if old is not None and deposed and not unaware:
            self._give_up(old)
        return {"member": chosen.number}

    def inform(self, member: int) -> None:
        """Let a member that was deposed unaware hear of the election."""
        node = self._member(member)
        node.unaware_term = None
        self._refresh()
        self._give_up(node)

    def step_down(self, member: int | None = None) -> None:
        """Let the primary step down: what it is writing is interrupted, connections stay open."""
        number = self.set.primary if member is None else member
        if number is None or number != self.set.primary:
            raise ValueError("that member is not the primary")
        self._stepped_down = number
        self._lose_primary(self._member(number))

    # Controls: one member

    def kill(self, member: int, reset: bool = True) -> None:
        """Close a member's listener and its connections, with resets or orderly ends."""
        node = self._member(member)
        self.transactions.lose(lambda owner: owner[0] == member)
        node.kill(reset=reset)
        if self.set.primary == member:
            self._lose_primary(node)
        self._refresh()

    def restart(self, member: int) -> None:
        """Start a member that was killed, as a new process on its old port."""
        self._member(member).restart()
        self._refresh()
        self._elect_in_time()

    def silence(self, member: int) -> None:
        """Let a member accept connections and answer nothing."""
        self._member(member).silence()
        self._elect_in_time()

    def black_hole(self, member: int) -> None:
        """Let nothing reach a member: an attempt to connect hangs."""
        self._member(member).black_hole()
        self._elect_in_time()

    def resume(self, member: int) -> None:
        """End silence and black hole: a member answers again, first what has come meanwhile."""
        node = self._member(member)
        node.resume()
        self._elect_in_time()

    def shut_down(self, member: int, quiesce_ms: float = 0) -> None:
        """Let a member end as a server does that is told to: it steps down, answers hello with
        ShutdownInProgress while it waits, interrupts what is at work, and is gone."""
        node = self._member(member)
        node.quiesce_ends = time.monotonic() + quiesce_ms / 1000
        if self.set.primary == member:
            self._lose_primary(node)
        self._refresh()

        def end() -> None:
            if node.quiesce_ends is not None:
                node.interrupt(11600, "interrupted at shutdown", reads=True)
                # What has just been answered is to arrive: no reset.
                self.kill(member, reset=False)

        self._later(quiesce_ms / 1000, end)

    def slow(self, member: int, ms: float) -> None:
        """Let each answer of a member take so much longer."""
        self._member(member).latency = ms / 1000

    def lag(self, member: int, seconds: float) -> None:
        """Let a member's lastWriteDate be so much older."""
        self._member(member).lag = seconds

    def cut_writes(self, member: int, count: int = 1) -> None:
        """Close the connection after each of the next writes, before its reply."""
        self._member(member).cut_writes = count

    def fail_connects(self, member: int, count: int = 1) -> None:
        """Reset each of the next connections as soon as it is made."""
        self._member(member).fail_connects = count

    def close_connections(self, member: int, reset: bool = True) -> None:
        """Close a member's connections; it accepts new ones."""
        self._member(member).close_connections(reset=reset)

    def fail_point(self, member: int, command: Mapping[str, Any] | None = None) -> None:
        """Set a fail point of a member as `configureFailPoint` does; None turns them off."""
        found = self._member(member)
        if command is None:
            found.fail_point = found.write_fail_point = None
        else:
            found.configure_fail_point(command)

    # Controls: looking

    def status(self) -> dict[str, Any]:
        """The set, and all members."""
        return {
            "set_name": self.set.name,
            "version": self.set.version,
            "term": self.set.term,
            "primary": self.set.primary,
            "replayed_writes": self.retries.replayed,
            "members": [member.status() for member in self.members.values()],
        }

    def log(self, member: int, since: int = 0) -> list[dict[str, Any]]:
        """The last commands that a member got, hello left out, from number `since` + 1 on."""
        return [each for each in self._member(member).log if each["at"] > since]

    # Elections

    def _member(self, number: int) -> Member:
        if number not in self.members:
            raise ValueError(f"there is no member {number}")
        return self.members[number]

    def _refresh(self) -> None:
        for member in self.members.values():
            member.refresh()

    def _give_up(self, node: Member) -> None:
        """A primary that is one no more drops what it is writing, and its transactions."""
        node.interrupt(11602, INTERRUPTED)
        self.transactions.lose(lambda owner: owner[0] == node.number)

    def _lose_primary(self, node: Member) -> None:
        self.set.primary = None
        self._refresh()
        self._give_up(node)
        self._elect_in_time()

    def _candidate(self) -> Member | None:
        """Who is elected next: preferably not who has just stepped down."""
        found = [
            self.members[number]
            for number, config in self.set.members.items()
            if config.electable and number != self.set.primary
        ]
        found = [each for each in found if each.reachable and each.fixed_role is None]
        return min(found, key=lambda each: each.number == self._stepped_down, default=None)

    def _elect_in_time(self) -> None:
        if self._election is None:
            return
        primary = self.members.get(self.set.primary) if self.set.primary is not None else None
        if primary is None or not primary.reachable:
            self._later(self._election, self._elect_by_itself)

    def _elect_by_itself(self) -> None:
        primary = self.members.get(self.set.primary) if self.set.primary is not None else None
        if (primary is None or not primary.reachable) and self._candidate() is not None:
            self.elect()

    def _later(self, seconds: float, job: Any) -> None:
        def run() -> None:
            self._timers.discard(timer)
            job()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)
