"""A deployment to test on: several members in front of one SecantusDB that holds the data.

Each member answers hello by its role, streaming included, forwards the rest to SecantusDB in the
client's own bytes, refuses what its role refuses, and does a retried write once. It can be killed,
silenced, slowed, stepped down, renamed and so on, from Python or, with `python -m
tests.servers.fleet`, from a shell. Runs in a process of its own, so that a client's CPU can be
measured; BSON is PyMongo's. Must not know the code under test.

    with SecantusServer(require_auth=False) as server, Fleet(server, members=3) as fleet:
        client = MongoClient(fleet.uri())
        fleet.kill(0)
        fleet.elect(1)

Roles: `primary`, `secondary`, `passive` (priority 0), `hidden`, `arbiter`; outside the set
`mongos`, `load_balancer` (leads to several mongos, by turns), `standalone`, `ghost`, `other` (a
member that recovers).
"""

from __future__ import annotations

from tests.servers.fleet.fleet import Fleet
from tests.servers.fleet.topology import ROLES

__all__ = ["ROLES", "Fleet"]
