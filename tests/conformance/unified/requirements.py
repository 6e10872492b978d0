"""Which deployments a test may run on (runOnRequirement of the format).

It knows the requirements' words and a deployment's facts; it must not start anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.conformance.unified.drivers import only

Version = tuple[int, int, int]


@dataclass(frozen=True)
class Facts:
    """What a deployment is. `parameters` are what getParameter says."""

    version: Version
    topology: str
    auth: bool
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mechanisms(self) -> frozenset[str]:
        return frozenset(str(each).upper() for each in self.parameters["authenticationMechanisms"])


def parse_version(text: str) -> Version:
    """``major[.minor[.patch]]``, and whatever follows it, as numbers."""
    numbers = [int(part) for part in text.partition("-")[0].split(".")[:3]]
    major, minor, patch = (*numbers, 0, 0)[:3]
    return major, minor, patch


def unmet(requirements: Sequence[Mapping[str, Any]] | None, facts: Facts) -> list[str]:
    """Why a deployment does not do, as few reasons as possible; empty if it does."""
    if not requirements:
        return []
    return min((list(_unmet(each, facts)) for each in requirements), key=len)


def _unmet(requirement: Mapping[str, Any], facts: Facts) -> Iterator[str]:
    only(
        requirement,
        "minServerVersion",
        "maxServerVersion",
        "topologies",
        "serverless",
        "serverParameters",
        "auth",
        "authMechanism",
        "csfle",
    )
    text = requirement.get("minServerVersion")
    if text is not None and facts.version < parse_version(text):
        yield f"needs a server from {text}"
    text = requirement.get("maxServerVersion")
    if text is not None and facts.version > parse_version(text):
        yield f"needs a server up to {text}"
    topologies = requirement.get("topologies")
    if topologies is not None and not _has_topology(topologies, facts.topology):
        yield f"needs a topology {' or '.join(topologies)}"
    if requirement.get("serverless") == "require":
        yield "needs Atlas Serverless"
    for name, value in requirement.get("serverParameters", {}).items():
        if name not in facts.parameters or facts.parameters[name] != value:
            yield f"needs the server parameter {name}={value}"
    auth = requirement.get("auth")
    if auth is not None and auth is not facts.auth:
        yield f"needs a server {'with' if auth else 'without'} authentication"
    mechanism = requirement.get("authMechanism")
    if mechanism is not None and mechanism.upper() not in facts.mechanisms:
        yield f"needs a server with {mechanism}"


def _has_topology(topologies: Sequence[str], topology: str) -> bool:
    # Every shard has been a replica set since servers of version 3.6.
    return topology in topologies or (topology == "sharded" and "sharded-replicaset" in topologies)
