"""The types of deployments, by the names of server-discovery-and-monitoring.md ("TopologyType")."""

from __future__ import annotations

SINGLE = "Single"
REPLICA_SET_NO_PRIMARY = "ReplicaSetNoPrimary"
REPLICA_SET_WITH_PRIMARY = "ReplicaSetWithPrimary"
SHARDED = "Sharded"
UNKNOWN = "Unknown"
LOAD_BALANCED = "LoadBalanced"

# In the order of PyMongo's numbers (`mongokey.topology_description.TOPOLOGY_TYPE`).
TOPOLOGY_TYPE_NAMES = (
    SINGLE,
    REPLICA_SET_NO_PRIMARY,
    REPLICA_SET_WITH_PRIMARY,
    SHARDED,
    UNKNOWN,
    LOAD_BALANCED,
)
