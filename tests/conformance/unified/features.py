"""What a test needs of the driver that the driver does not have yet.

It reads a test without running it. Whether the driver has a thing is asked of the driver, so that
tests begin to run when it comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.conformance.unified.drivers import Driver
from tests.conformance.unified.operations import NOT_IN_API, TABLES

#: By the operation that saves it, the kind of an entity that is no client, database or collection.
SAVED = {
    "createFindCursor": "cursor",
    "createCommandCursor": "cursor",
    "createChangeStream": "cursor",
}


def missing(driver: Driver, file: Mapping[str, Any], test: Mapping[str, Any]) -> str | None:
    """The first thing that a test needs and the driver does not have, or None."""
    return next(_missing(possessions(driver), file, test), None)


def _missing(has: Possessions, file: Mapping[str, Any], test: Mapping[str, Any]) -> Iterator[str]:
    kinds: dict[str, str] = {}
    entities = list(file.get("createEntities", ()))
    operations = list(_flat(test["operations"]))
    for operation in operations:
        if operation["name"] == "createEntities":
            entities += operation["arguments"]["entities"]
        if "saveResultAsEntity" in operation:
            kinds[operation["saveResultAsEntity"]] = SAVED.get(operation["name"], "value")
    for entity in entities:
        ((kind, spec),) = entity.items()
        kinds[spec["id"]] = kind
        yield from _missing_of_entity(has, spec)
    for operation in operations:
        yield from _missing_of_operation(has, kinds, operation)


def _missing_of_operation(
    has: Possessions, kinds: Mapping[str, str], operation: Mapping[str, Any]
) -> Iterator[str]:
    name = operation["name"]
    arguments = operation.get("arguments", {})
    if operation["object"] == "testRunner":
        return
    if "rawData" in arguments and not has.raw_data:
        yield "PyMongo's API has no rawData option"
    if not has.time_limits:
        if "timeoutMode" in arguments:
            yield "PyMongo's API has no timeoutMode"
        if "timeoutMS" in arguments and "maxAwaitTimeMS" in arguments:
            yield "PyMongo's API refuses no maxAwaitTimeMS beyond the timeoutMS"
        if "timeoutMS" in arguments and name in SAVED:
            yield "PyMongo's API has no timeoutMS of a cursor that outlives the call"
    kind = kinds.get(operation["object"], "")
    if name in NOT_IN_API.get(kind, ()):
        yield f"PyMongo's API has no {kind}.{name}"
    known = TABLES.get(kind, {}).get(name)
    if known is not None and not has.method(kind, known.method):
        yield f"no {kind}.{known.method} yet"


def _missing_of_entity(has: Possessions, spec: Mapping[str, Any]) -> Iterator[str]:
    options = {**spec.get("databaseOptions", {}), **spec.get("collectionOptions", {})}
    if "timeoutMS" in options and not has.time_limits:
        yield "PyMongo's API has no timeoutMS of a database or a collection"
    if "defaultTimeoutMS" in spec.get("sessionOptions", {}) and not has.time_limits:
        yield "PyMongo's API has no defaultTimeoutMS of a session"
    if "snapshotTime" in spec.get("sessionOptions", {}):
        yield "PyMongo's API has no snapshotTime"
    if "autoEncryptOpts" in spec:
        yield "automatic encryption needs mongocryptd, which is no free software"


class Possessions:
    """What a driver has."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        #: Neither has the option of the CRUD specification.
        self.raw_data = False
        #: Whether databases, collections, sessions, calls and cursors have a timeoutMS.
        self.time_limits = driver.has_time_limits

    def method(self, kind: str, name: str) -> bool:
        """Whether a client, database or collection has a method."""
        return self.driver.has_method(kind, name)


_known: dict[tuple[str, str], Possessions] = {}


def possessions(driver: Driver) -> Possessions:
    """What a driver has, found out once."""
    key = (driver.name, driver.face)
    if key not in _known:
        _known[key] = Possessions(driver)
    return _known[key]


def _flat(operations: Any) -> Iterator[Mapping[str, Any]]:
    """Operations, and those that they hold."""
    for operation in operations:
        yield operation
        arguments = operation.get("arguments", {})
        if "operation" in arguments:
            yield from _flat([arguments["operation"]])
        if isinstance(arguments.get("callback"), list):
            yield from _flat(arguments["callback"])


def fail_points_of(test: Mapping[str, Any]) -> set[str]:
    """The names of the fail points that a test sets."""
    return {
        operation["arguments"]["failPoint"]["configureFailPoint"]
        for operation in _flat(test["operations"])
        if operation["name"] in ("failPoint", "targetedFailPoint")
    }
