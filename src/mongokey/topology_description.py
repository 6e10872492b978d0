"""Public home of `TopologyDescription`, at the path where PyMongo's users import it from."""

from __future__ import annotations

from typing import NamedTuple

from mongokey.topology.topology_description import (
    TopologyDescription,
    updated_topology_description,
)


class _TopologyTypes(NamedTuple):
    Single: int = 0
    ReplicaSetNoPrimary: int = 1
    ReplicaSetWithPrimary: int = 2
    Sharded: int = 3
    Unknown: int = 4
    LoadBalanced: int = 5


TOPOLOGY_TYPE = _TopologyTypes()

__all__ = ["TOPOLOGY_TYPE", "TopologyDescription", "updated_topology_description"]
