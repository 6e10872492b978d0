"""The fleet as tests use it: starts its process, and hands controls to it.

Knows the process, its lines of JSON and connection strings. What a control does is the
deployment's, of the same name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from tests.servers.child import SAID, STOP_TIMEOUT
from tests.servers.line_server import LineServer

if TYPE_CHECKING:
    from tests.servers.secantus import SecantusServer, User

HOST = "127.0.0.1"


class Fleet(LineServer):
    """Members in a process of their own; `start()` or `with` begins, `stop()` ends it.

    `members` is how many (a primary and secondaries), or their roles, or documents with `role`,
    `tags` and `host` (the name that the set has for it, instead of 127.0.0.1). `election_ms`:
    after so long a set that has lost its primary elects another; None leaves it to `elect`.
    `tls` are the paths of a certificate and its key. Raises RuntimeError when the process does
    not come up or a control fails.
    """

    name = "the fleet"
    module = "tests.servers.fleet"
    answer_timeout = 30.0
    stop_timeout = STOP_TIMEOUT

    def __init__(
        self,
        backend: SecantusServer,
        members: int | Sequence[str | Mapping[str, Any]] = 3,
        *,
        set_name: str = "fleet",
        election_ms: float | None = None,
        tls: tuple[str, str] | None = None,
        max_wire_version: int | None = None,
        streaming: bool = True,
    ) -> None:
        self.backend = backend
        self.set_name = set_name
        self.tls = tls is not None
        #: The members' ports, by number.
        self.ports: list[int] = []
        arguments = ["--set-name", set_name, "--backend-port", str(backend.port), "--serve"]
        if isinstance(members, int):
            arguments += ["--members", str(members)]
        else:
            words = [each if isinstance(each, str) else json.dumps(each) for each in members]
            arguments += ["--roles", *words]
        if election_ms is not None:
            arguments += ["--election-ms", str(election_ms)]
        if max_wire_version is not None:
            arguments += ["--max-wire-version", str(max_wire_version)]
        if not streaming:
            arguments.append("--no-streaming")
        if tls is not None:
            arguments += ["--tls-cert-file", tls[0], "--tls-key-file", tls[1]]
        super().__init__(arguments)

    def start(self) -> Fleet:
        if sys.platform == "win32":
            _missing("the fleet holds ports as Windows does not let it")
        status = self._begin()
        self.ports = [each["port"] for each in status["members"]]
        return self

    def stop(self) -> None:
        status, said = self._end()
        if status or said:
            raise RuntimeError(f"{self.name} ended with status {status}:\n{said[-SAID:]}")

    # Where it is

    def address(self, member: int, host: str = HOST) -> str:
        """A member's `host:port`."""
        return f"{host}:{self.ports[member]}"

    def uri(
        self,
        user: str | User | None = None,
        *,
        seeds: Iterable[int] | None = None,
        hosts: Sequence[str] | None = None,
        **options: object,
    ) -> str:
        """The connection string of some members, by default of all.

        `hosts` are addresses instead of members. `user` is as `SecantusServer.uri` takes it.
        """
        if hosts is None:
            numbers = range(len(self.ports)) if seeds is None else seeds
            hosts = [self.address(number) for number in numbers]
        info = ""
        if user is not None:
            if isinstance(user, str):
                user = self.backend.users[user]
            info = f"{quote(user.name, safe='')}:{quote(user.password, safe='')}@"
            options.setdefault("authSource", user.database)
        if self.tls:
            options.setdefault("tls", True)
        texts = {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in options.items()
        }
        query = f"?{urlencode(texts, quote_via=quote)}" if texts else ""
        return f"mongodb://{info}{','.join(hosts)}/{query}"

    # Controls: the set

    def add(
        self,
        role: str = "secondary",
        *,
        host: str | None = None,
        tags: Mapping[str, str] | None = None,
        services: int | None = None,
    ) -> int:
        """Add a member, a load balancer that leads to so many `services`; gives its number."""
        done = self.do("add", role=role, host=host, tags=tags, services=services)
        self.ports.append(done["port"])
        return int(done["member"])

    def remove(self, member: int) -> None:
        """Take a member out of the configuration."""
        self.do("remove", member=member)

    def reconfigure(self, member: int, **changes: Any) -> None:
        """Change a member's `host`, `hidden`, `priority` or `tags` in the configuration."""
        self.do("reconfigure", member=member, **changes)

    def set_role(self, member: int, role: str | None) -> None:
        """Give a member a role outside the set, or with None take it away again."""
        self.do("set_role", member=member, role=role)

    def elect(self, member: int | None = None, *, unaware: bool = False) -> int:
        """Elect a member (None: another than now); gives its number. See the deployment's."""
        return int(self.do("elect", member=member, unaware=unaware)["member"])

    def inform(self, member: int) -> None:
        """Let a member that was deposed unaware hear of it."""
        self.do("inform", member=member)

    def step_down(self) -> None:
        """Let the primary step down."""
        self.do("step_down")

    # Controls: one member

    def kill(self, member: int, *, reset: bool = True) -> None:
        """Close a member's listener and connections."""
        self.do("kill", member=member, reset=reset)

    def restart(self, member: int) -> None:
        """Start a member again, as a new process on the same port."""
        self.do("restart", member=member)

    def silence(self, member: int) -> None:
        """Let a member accept, and never answer."""
        self.do("silence", member=member)

    def black_hole(self, member: int) -> None:
        """Let attempts to connect to a member hang, and nothing be answered."""
        if sys.platform != "linux":
            _missing("a full queue of connections lets attempts hang on Linux alone")
        self.do("black_hole", member=member)

    def resume(self, member: int) -> None:
        """End silence and black hole."""
        self.do("resume", member=member)

    def shut_down(self, member: int, *, quiesce_ms: float = 0) -> None:
        """Let a member end in an orderly way."""
        self.do("shut_down", member=member, quiesce_ms=quiesce_ms)

    def slow(self, member: int, ms: float) -> None:
        """Let each answer take so much longer."""
        self.do("slow", member=member, ms=ms)

    def lag(self, member: int, seconds: float) -> None:
        """Let a member's lastWriteDate be so much older."""
        self.do("lag", member=member, seconds=seconds)

    def cut_writes(self, member: int, count: int = 1) -> None:
        """Cut the connection between each of the next writes and its reply."""
        self.do("cut_writes", member=member, count=count)

    def fail_connects(self, member: int, count: int = 1) -> None:
        """Reset each of the next connections."""
        self.do("fail_connects", member=member, count=count)

    def close_connections(self, member: int, *, reset: bool = True) -> None:
        """Close a member's connections."""
        self.do("close_connections", member=member, reset=reset)

    def fail_point(
        self, member: int, names: Sequence[str], mode: str | Mapping[str, int] = "", **data: Any
    ) -> None:
        """Set failCommand on a member; `data` as `configureFailPoint` has it. Once by default."""
        command = {
            "configureFailPoint": "failCommand",
            "mode": mode or {"times": 1},
            "data": {"failCommands": list(names), **data},
        }
        self.do("fail_point", member=member, command=command)

    def clear_fail_point(self, member: int) -> None:
        """Turn a member's failCommand off."""
        self.do("fail_point", member=member)

    # Looking at it

    def status(self) -> dict[str, Any]:
        """The set (`primary`, `term`, `version`, `replayed_writes`) and its `members`."""
        return dict(self.do("status"))

    def member(self, number: int) -> dict[str, Any]:
        """A member's status: `role`, `connections`, `accepted`, `commands` (counts by name)..."""
        return dict(self.status()["members"][number])

    @property
    def primary(self) -> int | None:
        """The primary's number."""
        found: int | None = self.status()["primary"]
        return found

    def log(self, member: int, since: int = 0) -> list[dict[str, Any]]:
        """The last commands of a member, but hello."""
        return list(self.do("log", member=member, since=since))

    def do(self, control: str, **arguments: Any) -> Any:
        """Have a control carried out; gives what it gives."""
        return self._ask({"do": control, **arguments})["done"]


def _missing(reason: str) -> None:
    # Late: the fleet's own process, which imports this package too, needs no pytest.
    from tests.servers.needs import missing

    missing(reason)
