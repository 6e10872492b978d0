"""The replica set as its members see it, and what each answers to hello.

Knows configurations, elections and the fields of a hello reply by role, in the words of the
server-discovery-and-monitoring specification. Pure values: must not know sockets or clocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import bson

from tests.servers.scripted import hello

#: Roles that a member of the set has by the configuration and the last election.
SET_ROLES = frozenset({"primary", "secondary", "passive", "hidden", "arbiter"})
#: Roles that stand outside the set: they answer hello the same whatever the set does.
OTHER_ROLES = frozenset({"other", "ghost", "mongos", "load_balancer", "standalone"})
ROLES = SET_ROLES | OTHER_ROLES


@dataclass
class MemberConfig:
    """A line of the replica set's configuration: what `replSetGetConfig` has for a member.

    `host` is the name that the members give each other, "host:port". A member whose priority is
    0 is listed in `passives` and is never elected; a hidden one is not listed at all.
    """

    host: str
    arbiter: bool = False
    hidden: bool = False
    priority: int = 1
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def electable(self) -> bool:
        return not self.arbiter and not self.hidden and self.priority > 0


@dataclass
class ReplicaSet:
    """The set's configuration and its last election; `members` are by the member's number.

    A change of the configuration counts `version` up, an election `term`: hello gives them as
    setVersion and electionId, by which a client tells an old primary from a new one.
    """

    name: str
    version: int = 1
    term: int = 1
    members: dict[int, MemberConfig] = field(default_factory=dict)
    primary: int | None = None

    def elect(self, number: int) -> None:
        """Make a member the primary. Raises ValueError for one that cannot be elected."""
        config = self.members.get(number)
        if config is None or not config.electable:
            raise ValueError(f"member {number} cannot be elected")
        self.term += 1
        self.primary = number

    def election_id(self, term: int | None = None) -> bson.ObjectId:
        """The electionId of a term, by default of the present one; later ones are greater."""
        return bson.ObjectId(f"7fffffff{self.term if term is None else term:016x}")

    def role(self, number: int) -> str:
        """What a member is now; one that is not in the configuration (any more) is a ghost."""
        config = self.members.get(number)
        if config is None:
            return "ghost"
        if config.arbiter:
            return "arbiter"
        if config.hidden:
            return "hidden"
        return "primary" if number == self.primary else "secondary"

    def hello(
        self, number: int, *, role: str | None = None, term: int | None = None
    ) -> dict[str, Any]:
        """The fields of a member's hello reply that say what it is and whom it knows.

        `role` replaces its own ("other": a member that recovers); with `term` it is a primary of
        that term which has not heard of a later election.
        """
        config = self.members.get(number)
        if role is None:
            role = self.role(number) if term is None else "primary"
        if role == "ghost" or config is None:
            return hello.ghost(info="Does not have a valid replica set config")
        believed = self.primary if term is None else number
        document = {
            "setName": self.name,
            "setVersion": self.version,
            "hosts": [each.host for each in self._listed() if each.priority > 0],
            "passives": [each.host for each in self._listed() if each.priority == 0],
            "arbiters": [each.host for each in self.members.values() if each.arbiter],
            "isWritablePrimary": role == "primary",
            "ismaster": role == "primary",
            "secondary": role in ("secondary", "hidden"),
            "me": config.host,
        }
        for name in ("passives", "arbiters"):
            if not document[name]:
                del document[name]
        if believed is not None and believed in self.members:
            document["primary"] = self.members[believed].host
        if role == "primary":
            document["electionId"] = self.election_id(term)
        for name, holds in (
            ("arbiterOnly", config.arbiter),
            ("hidden", config.hidden),
            ("passive", config.priority == 0),
        ):
            if holds:
                document[name] = True
        if config.tags:
            document["tags"] = dict(config.tags)
        return hello.standalone(**document)

    def _listed(self) -> list[MemberConfig]:
        return [each for each in self.members.values() if not each.arbiter and not each.hidden]


def hello_outside(role: str) -> dict[str, Any]:
    """The hello reply of a server that is in no replica set."""
    if role == "ghost":
        return hello.ghost(info="Does not have a valid replica set config")
    if role in ("mongos", "load_balancer"):
        return hello.mongos()
    return hello.standalone()
