"""Which suites of the specifications run, and on which deployments: a suite runs by being named.

A test runs on the first deployment of its suite that meets its runOnRequirements; which tests are
not run, and why, stands in expected_skips.json and `faults`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests import specifications
from tests.conformance.unified.runner import TestFile
from tests.conformance.unified.times import FACTORS

#: SecantusDB itself where it will do, the fleet in front of it where it will not.
EVERYWHERE = ("replicaset", "standalone", "sharded", "load-balanced", "auth")
#: The fleet first: it has more fail points, and repeats write concern errors.
RETRIES = ("set of three", "standalone", "sharded", "load-balanced", "auth")
#: The same, without a server of the fleet that stands alone, which has no transactions.
SESSIONS = ("set of three", "sharded", "load-balanced", "standalone", "auth")

TIME_LIMITS = "client-side-operations-timeout"

SUITES: Mapping[str, tuple[str, ...]] = {
    "auth/unified": ("oidc",),
    "causal-consistency": SESSIONS,
    "change-streams/unified": SESSIONS,
    "client-backpressure": RETRIES,
    TIME_LIMITS: RETRIES,
    "collection-management": EVERYWHERE,
    "command-logging-and-monitoring/logging": EVERYWHERE,
    "command-logging-and-monitoring/monitoring": EVERYWHERE,
    "connection-monitoring-and-pooling/logging": EVERYWHERE,
    "crud/unified": EVERYWHERE,
    "gridfs": EVERYWHERE,
    "index-management": EVERYWHERE,
    "load-balancers": EVERYWHERE,
    "mongodb-handshake/unified": EVERYWHERE,
    "open-telemetry/operation": RETRIES,
    "open-telemetry/transaction": SESSIONS,
    "read-write-concern/operation": EVERYWHERE,
    "retryable-reads/unified": RETRIES,
    "retryable-writes/unified": RETRIES,
    "run-command/unified": EVERYWHERE,
    "server-discovery-and-monitoring/unified": EVERYWHERE,
    "server-selection/logging": RETRIES,
    "sessions": SESSIONS,
    "transactions-convenient-api/unified": SESSIONS,
    "transactions/unified": SESSIONS,
    "unified-test-format/valid-pass": RETRIES,
    "versioned-api": EVERYWHERE,
}

#: Suites that have a test file of their own.
BY_THEMSELVES = (TIME_LIMITS,)

#: Files of suites that need others.
FILES: Mapping[str, tuple[str, ...]] = {
    f"server-discovery-and-monitoring/unified/{name}": RETRIES
    for name in (
        "logging-replicaset",
        "rediscover-quickly-after-step-down",
        "replicaset-emit-topology-changed-before-close",
    )
}


def deployments_of(suite: str, file: str) -> tuple[str, ...]:
    """The names of the deployments that a file's tests may run on, the first that does first."""
    return FILES.get(f"{suite}/{file}", SUITES[suite])


@dataclass(frozen=True)
class Case:
    """One test: its suite, its file within the suite, its description there."""

    suite: str
    file: str
    description: str

    def __str__(self) -> str:
        return f"{self.suite}/{self.file}: {self.description}"


def cases(suite: str) -> Iterator[Case]:
    """Every test of a suite; none where the specifications are missing."""
    for name, content in specifications.suite(suite):
        for test in content["tests"]:
            yield Case(suite, name, test["description"])


def asked_by_eq(value: Any) -> Any:
    """A file whose commands look for ids of GridFS as `{"$eq": id}`, which the specification has
    come to ask for (gridfs, "queries-use-eq"): older files have the id itself."""
    if isinstance(value, list):
        return [asked_by_eq(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {name: asked_by_eq(each) for name, each in value.items()}
    for name, wanted in made.get("filter", {}).items():
        if name in ("_id", "files_id") and "$eq" not in wanted:
            made["filter"][name] = {"$eq": wanted}
    return made


@cache
def test_file(suite: str, name: str) -> TestFile:
    """A file of a suite, with times that a slow machine keeps."""
    found = TestFile.read(specifications.require(suite) / f"{name}.json")
    if name.startswith("gridfs-download"):
        found = TestFile(found.text, asked_by_eq(found.content))
    return found.lengthened(FACTORS.get(f"{suite}/{name}", 1))


test_file.__test__ = False  # type: ignore[attr-defined]
