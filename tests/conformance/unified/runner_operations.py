"""Operations on the runner itself (object "testRunner"): fail points, waits, assertions, threads.

It knows the entities and the deployment; operations on entities stand in `operations`.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.conformance.unified.deployments import Deployment
from tests.conformance.unified.drivers import RunnerError, only
from tests.conformance.unified.entities import Entities, ThreadEntity, wait_until
from tests.conformance.unified.matching import Matcher, Mismatch

#: How long `waitForPrimaryChange` waits where a test does not say.
PRIMARY_WAIT_MS = 10000


class RunnerOperations:
    """What one test asks of the runner. `fail_points` are those to be turned off afterwards.

    `operate` carries out an operation of the test, as the runner does with those of the list.
    """

    def __init__(
        self,
        entities: Entities,
        deployment: Deployment,
        matcher: Matcher,
        operate: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.entities = entities
        self.deployment = deployment
        self.matcher = matcher
        self.operate = operate
        self.fail_points: set[str] = set()

    def run(self, operation: Mapping[str, Any]) -> None:
        """Carry out an operation of the runner."""
        only(operation, "name", "object", "arguments")
        name = operation["name"]
        if name not in OPERATIONS:
            raise RunnerError(f"{name}: the runner has no such operation")
        method, *known = OPERATIONS[name]
        arguments = only(operation.get("arguments", {}), *known)
        carry_out = getattr(self, method)
        try:
            inspect.signature(carry_out).bind(**arguments)
        except TypeError as error:
            raise RunnerError(f"{name}: {error}") from None
        carry_out(**arguments)

    def _fail_point(self, failPoint: Mapping[str, Any], client: str) -> None:
        entity = self.entities.client(client)
        self.fail_points.add(failPoint["configureFailPoint"])
        driver = self.entities.driver
        driver.call(entity.client["admin"], "command", command=dict(failPoint))

    def _create_entities(self, entities: list[Mapping[str, Any]]) -> None:
        self.entities.create(entities)

    # -- time, threads --------------------------------------------------------------------------

    def _wait(self, ms: int) -> None:
        time.sleep(ms / 1000)

    def _run_on_thread(self, thread: str, operation: Mapping[str, Any]) -> None:
        entity: ThreadEntity = self.entities.get(thread, ThreadEntity)
        entity.run(lambda: self.operate(operation))

    def _wait_for_thread(self, thread: str) -> None:
        self.entities.get(thread, ThreadEntity).finish()

    # -- events ---------------------------------------------------------------------------------

    def _wait_for_event(self, client: str, event: Mapping[str, Any], count: int) -> None:
        self.entities.client(client).events.wait_for(self.matcher, event, count)

    def _assert_event_count(self, client: str, event: Mapping[str, Any], count: int) -> None:
        found = self.entities.client(client).events.count(self.matcher, event)
        if found != count:
            raise Mismatch(f"{count} times {event} expected, {found} were seen")

    def _assert_connections(self, client: str, connections: int) -> None:
        checked_out = self.entities.client(client).events.checked_out
        if checked_out != connections:
            raise Mismatch(f"{connections} connections checked out expected, are {checked_out}")

    # -- collections ----------------------------------------------------------------------------

    def _assert_collection_exists(self, databaseName: str, collectionName: str) -> None:
        if not self.deployment.collection_exists(databaseName, collectionName):
            raise Mismatch(f"{databaseName}.{collectionName} does not exist")

    def _assert_collection_not_exists(self, databaseName: str, collectionName: str) -> None:
        if self.deployment.collection_exists(databaseName, collectionName):
            raise Mismatch(f"{databaseName}.{collectionName} exists")

    def _assert_index_exists(self, databaseName: str, collectionName: str, indexName: str) -> None:
        if not self.deployment.index_exists(databaseName, collectionName, indexName):
            raise Mismatch(f"{databaseName}.{collectionName} has no index {indexName}")

    def _assert_index_not_exists(
        self, databaseName: str, collectionName: str, indexName: str
    ) -> None:
        if self.deployment.index_exists(databaseName, collectionName, indexName):
            raise Mismatch(f"{databaseName}.{collectionName} has an index {indexName}")

    # -- sessions -------------------------------------------------------------------------------

    def _targeted_fail_point(self, session: str, failPoint: Mapping[str, Any]) -> None:
        address = self.entities.driver.pinned_address(self.entities.session(session))
        if address is None:
            raise Mismatch(f"{session} is not pinned to a server")
        self.fail_points.add(failPoint["configureFailPoint"])
        self.deployment.turn_on_at(address, failPoint)

    def _assert_session_pinned(self, session: str) -> None:
        if self.entities.driver.pinned_address(self.entities.session(session)) is None:
            raise Mismatch(f"{session} is not pinned to a server")

    def _assert_session_unpinned(self, session: str) -> None:
        address = self.entities.driver.pinned_address(self.entities.session(session))
        if address is not None:
            raise Mismatch(f"{session} is pinned to {address}")

    def _assert_session_dirty(self, session: str) -> None:
        if not self.entities.driver.is_dirty(self.entities.session(session)):
            raise Mismatch(f"the server session of {session} is not dirty")

    def _assert_session_not_dirty(self, session: str) -> None:
        if self.entities.driver.is_dirty(self.entities.session(session)):
            raise Mismatch(f"the server session of {session} is dirty")

    def _assert_transaction_state(self, session: str, state: str) -> None:
        found = self.entities.driver.transaction_state(self.entities.session(session))
        if found != state:
            raise Mismatch(f"the transaction of {session} is {found}, not {state}")

    def _assert_same_lsid(self, client: str) -> None:
        first, second = self._last_lsids(client)
        if first != second:
            raise Mismatch(f"the last two commands have different sessions: {first}, {second}")

    def _assert_different_lsid(self, client: str) -> None:
        first, second = self._last_lsids(client)
        if first == second:
            raise Mismatch(f"the last two commands have the same session: {first}")

    def _last_lsids(self, client: str) -> tuple[Any, Any]:
        kind = "commandStartedEvent"
        seen = self.entities.client(client).events.seen(frozenset({kind}))[-2:]
        lsids = [each.event.command.get("lsid") for each in seen]
        if len(lsids) < 2 or None in lsids:
            raise Mismatch(f"two commands with sessions are expected, seen were {seen}: {lsids}")
        return lsids[0], lsids[1]

    # -- topologies -----------------------------------------------------------------------------

    def _record_topology(self, client: str, id: str) -> None:
        self.entities.add(id, self.entities.client(client).client.topology_description)

    def _assert_topology_type(self, topologyDescription: str, topologyType: str) -> None:
        description = self.entities.get(topologyDescription)
        if description.topology_type_name != topologyType:
            raise Mismatch(f"{topologyType} is expected, was {description.topology_type_name}")

    def _wait_for_primary_change(
        self, client: str, priorTopologyDescription: str, timeoutMS: int = PRIMARY_WAIT_MS
    ) -> None:
        before = _primary(self.entities.get(priorTopologyDescription))
        watched = self.entities.client(client).client

        def changed() -> bool:
            primary = _primary(watched.topology_description)
            return primary is not None and primary != before

        wait_until(changed, timeoutMS / 1000, f"another primary than {before}")


def _primary(description: Any) -> Any:
    servers = description.server_descriptions()
    return next((a for a, s in servers.items() if s.server_type_name == "RSPrimary"), None)


#: By an operation's name, the method and the arguments that it has.
OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "failPoint": ("_fail_point", "failPoint", "client"),
    "createEntities": ("_create_entities", "entities"),
    "wait": ("_wait", "ms"),
    "runOnThread": ("_run_on_thread", "thread", "operation"),
    "waitForThread": ("_wait_for_thread", "thread"),
    "waitForEvent": ("_wait_for_event", "client", "event", "count"),
    "assertEventCount": ("_assert_event_count", "client", "event", "count"),
    "assertNumberConnectionsCheckedOut": ("_assert_connections", "client", "connections"),
    "assertCollectionExists": ("_assert_collection_exists", "databaseName", "collectionName"),
    "assertCollectionNotExists": (
        "_assert_collection_not_exists",
        "databaseName",
        "collectionName",
    ),
    "assertIndexExists": (
        "_assert_index_exists",
        "databaseName",
        "collectionName",
        "indexName",
    ),
    "assertIndexNotExists": (
        "_assert_index_not_exists",
        "databaseName",
        "collectionName",
        "indexName",
    ),
    "assertSameLsidOnLastTwoCommands": ("_assert_same_lsid", "client"),
    "assertDifferentLsidOnLastTwoCommands": ("_assert_different_lsid", "client"),
    "targetedFailPoint": ("_targeted_fail_point", "session", "failPoint"),
    "assertSessionPinned": ("_assert_session_pinned", "session"),
    "assertSessionUnpinned": ("_assert_session_unpinned", "session"),
    "assertSessionDirty": ("_assert_session_dirty", "session"),
    "assertSessionNotDirty": ("_assert_session_not_dirty", "session"),
    "assertSessionTransactionState": ("_assert_transaction_state", "session", "state"),
    "recordTopologyDescription": ("_record_topology", "client", "id"),
    "assertTopologyType": ("_assert_topology_type", "topologyDescription", "topologyType"),
    "waitForPrimaryChange": (
        "_wait_for_primary_change",
        "client",
        "priorTopologyDescription",
        "timeoutMS",
    ),
}
