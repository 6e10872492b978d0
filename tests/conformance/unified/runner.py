"""Runs tests of the unified test format ("Executing a Test"), one at a time.

It knows the order of things: data, entities, operations, events, messages, outcome, and that all
is put back afterwards. What each of them is stands in the modules beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson.json_util

from tests.conformance.unified.deployments import Deployment
from tests.conformance.unified.drivers import Driver, RunnerError, only
from tests.conformance.unified.entities import ClientEntity, Entities
from tests.conformance.unified.errors import check_error
from tests.conformance.unified.events import check_events
from tests.conformance.unified.form import problems
from tests.conformance.unified.logs import check_messages
from tests.conformance.unified.matching import Matcher, Mismatch
from tests.conformance.unified.operations import prepare
from tests.conformance.unified.requirements import Version, parse_version
from tests.conformance.unified.runner_operations import RunnerOperations
from tests.conformance.unified.spans import check_spans
from tests.conformance.unified.times import lengthened

#: The newest schema of each major version that the runner has.
SCHEMAS: tuple[Version, ...] = ((1, 28, 0),)


@dataclass(frozen=True)
class TestFile:
    """A file of tests, as it stands in JSON."""

    __test__ = False

    text: str
    content: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> TestFile:
        text = path.read_text(encoding="utf-8")
        return cls(text, json.loads(text))

    def lengthened(self, factor: int) -> TestFile:
        """The same with all of its times multiplied."""
        return TestFile(self.text, lengthened(self.content, factor))

    @property
    def requirements(self) -> Any:
        return self.content.get("runOnRequirements")

    def check(self) -> None:
        """Raise `RunnerError` if it is of a schema or has a key that the runner does not know."""
        version = parse_version(self.content["schemaVersion"])
        if not any(version[0] == known[0] and version <= known for known in SCHEMAS):
            raise RunnerError(f"schema {self.content['schemaVersion']} is not known here")
        wrong = problems(self.content)
        if wrong:
            raise RunnerError("; ".join(wrong))

    def test(self, description: str) -> Mapping[str, Any]:
        """One of its tests."""
        for each in self.content["tests"]:
            if each["description"] == description:
                return dict(each)
        raise RunnerError(f"there is no test {description!r}")


class Run:
    """One test on one deployment."""

    def __init__(
        self, driver: Driver, deployment: Deployment, file: TestFile, description: str
    ) -> None:
        file.check()
        self.driver = driver
        self.deployment = deployment
        test = file.test(description)
        # The runner's own data in PyMongo's values, the rest in the driver's.
        own = {"data": file.content.get("initialData", ()), "outcome": test.pop("outcome", ())}
        self._own = bson.json_util.loads(json.dumps(own))
        self._test = driver.load(json.dumps(test))
        self._created = driver.load(json.dumps(file.content.get("createEntities", [])))
        self.entities = Entities(
            driver,
            deployment,
            count_connections="assertNumberConnectionsCheckedOut" in file.text,
            quick_heartbeats="configureFailPoint" in file.text,
        )
        self.entities.operate = self._operate_and_raise
        self.matcher = Matcher(driver, self.entities.value, self.entities.session_id)
        self._operations = RunnerOperations(self.entities, deployment, self.matcher, self._operate)

    def execute(self) -> None:
        """Run it; raises `Mismatch` or what went wrong."""
        only(
            self._test,
            "description",
            "runOnRequirements",
            "operations",
            "expectEvents",
            "expectLogMessages",
            "expectTracingMessages",
        )
        self.deployment.set_up(self._own["data"])
        with ExitStack() as stack:
            if self.entities.quick_heartbeats:
                stack.enter_context(self.driver.short_waits())
            stack.callback(self._turn_off_fail_points)
            stack.callback(self.entities.close)
            self.entities.create(self._created)
            for operation in self._test["operations"]:
                self._operate(operation)
            for entity in self.entities.of_class(ClientEntity):
                entity.events.disable()
            # Before the events are looked at: the outcome is read without a fail point.
            self._turn_off_fail_points()
            for expectation in self._test.get("expectEvents", ()):
                entity = self.entities.client(expectation["client"])
                check_events(self.matcher, entity.events, expectation)
            for expectation in self._test.get("expectLogMessages", ()):
                entity = self.entities.client(expectation["client"])
                if entity.logs is None:
                    raise RunnerError(f"{entity.name} observes no log messages")
                check_messages(self.matcher, entity.logs, expectation)
            for expectation in self._test.get("expectTracingMessages", ()):
                entity = self.entities.client(expectation["client"])
                if entity.spans is None:
                    raise RunnerError(f"{entity.name} is not traced")
                check_spans(self.matcher, entity.spans, expectation)
            self.deployment.check_outcome(self._own["outcome"])

    def _turn_off_fail_points(self) -> None:
        while self._operations.fail_points:
            self.deployment.turn_off(self._operations.fail_points.pop())

    # -- operations -----------------------------------------------------------------------------

    def _operate_and_raise(self, operation: Mapping[str, Any]) -> None:
        """For the callback of a transaction, whose errors are the driver's to see."""
        self._operate(operation, raises=True)

    def _operate(self, operation: Mapping[str, Any], *, raises: bool = False) -> None:
        if operation["object"] == "testRunner":
            self._operations.run(operation)
            return
        only(
            operation,
            "name",
            "object",
            "arguments",
            "expectResult",
            "expectError",
            "saveResultAsEntity",
            "ignoreResultAndError",
        )
        exclusive = {"expectError", "ignoreResultAndError"} & set(operation)
        if exclusive and {"expectResult", "saveResultAsEntity"} & set(operation):
            raise RunnerError(f"{', '.join(exclusive)} excludes what is said of a result")
        prepared = prepare(self.entities, operation)
        is_ignored = operation.get("ignoreResultAndError", False)
        errors = (
            self.driver.errors.PyMongoError,
            self.driver.bson.errors.BSONError,
            # What a method says to arguments that it refuses.
            TypeError,
            ValueError,
        )
        try:
            result = prepared.execute()
        except errors as error:
            if is_ignored and not raises:
                return
            if is_ignored or "expectError" not in operation:
                raise
            check_error(self.driver, self.matcher, error, operation["expectError"])
            if raises:
                raise
            return
        if is_ignored:
            return
        if "expectError" in operation:
            raise Mismatch(
                f"{operation['name']} gave {result!r}, expected was {operation['expectError']}"
            )
        if "expectResult" in operation:
            prepared.match(self.matcher, operation["expectResult"], result)
        if "saveResultAsEntity" in operation:
            if result is None:
                raise RunnerError(f"{operation['name']} has no result to be saved")
            self.entities.add(operation["saveResultAsEntity"], result)
