"""The runner finds what it has to find: files that must fail, and one test with one thing wrong.

Each is run with mongokey and with PyMongo, whose listeners the runner was written for.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.unified.deployments import Deployments
from tests.conformance.unified.drivers import Driver, RunnerError
from tests.conformance.unified.features import missing
from tests.conformance.unified.matching import Mismatch
from tests.conformance.unified.runner import Run, TestFile
from tests.conformance.unified.suites import Case, cases, test_file
from tests.specifications import require

pytestmark = pytest.mark.live

VALID_FAIL = "unified-test-format/valid-fail"
DRIVERS = ["mongokey", "pymongo"]


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize("case", list(cases(VALID_FAIL)), ids=str)
def test_what_must_fail_fails(case: Case, name: str, deployments: Deployments) -> None:
    require(VALID_FAIL)
    driver = Driver(name)
    file = test_file(case.suite, case.file)
    lack = missing(driver, file.content, file.test(case.description))
    if lack is not None:
        pytest.skip(lack)
    with pytest.raises((Mismatch, RunnerError, driver.errors.PyMongoError, ValueError)):
        Run(driver, deployments.get("replicaset"), file, case.description).execute()


DATABASE, COLLECTION = "unified_runner", "things"
RIGHT: dict[str, Any] = {
    "description": "one thing wrong",
    "schemaVersion": "1.10",
    "createEntities": [
        {
            "client": {
                "id": "client0",
                "observeEvents": [
                    "commandStartedEvent",
                    "commandSucceededEvent",
                    "commandFailedEvent",
                    "connectionCheckedInEvent",
                ],
            }
        },
        {"database": {"id": "database0", "client": "client0", "databaseName": DATABASE}},
        {
            "collection": {
                "id": "collection0",
                "database": "database0",
                "collectionName": COLLECTION,
            }
        },
        {"thread": {"id": "thread0"}},
    ],
    "initialData": [
        {
            "collectionName": COLLECTION,
            "databaseName": DATABASE,
            "documents": [{"_id": 1, "x": 11}],
        }
    ],
    "tests": [
        {
            "description": "test",
            "operations": [
                {
                    "name": "find",
                    "object": "collection0",
                    "arguments": {"filter": {"_id": 1}},
                    "expectResult": [{"_id": 1, "x": 11}],
                },
                {
                    "name": "insertOne",
                    "object": "collection0",
                    "arguments": {"document": {"_id": 1}},
                    "expectError": {"isClientError": False, "errorCode": 11000},
                },
                {
                    "name": "runOnThread",
                    "object": "testRunner",
                    "arguments": {
                        "thread": "thread0",
                        "operation": {
                            "name": "insertOne",
                            "object": "collection0",
                            "arguments": {"document": {"_id": 2}},
                            "expectResult": {"$$unsetOrMatches": {"insertedId": 2}},
                        },
                    },
                },
                {
                    "name": "waitForThread",
                    "object": "testRunner",
                    "arguments": {"thread": "thread0"},
                },
                {
                    "name": "assertEventCount",
                    "object": "testRunner",
                    "arguments": {
                        "client": "client0",
                        "event": {"commandStartedEvent": {"commandName": "insert"}},
                        "count": 2,
                    },
                },
                {
                    "name": "assertNumberConnectionsCheckedOut",
                    "object": "testRunner",
                    "arguments": {"client": "client0", "connections": 0},
                },
            ],
            "expectEvents": [
                {
                    "client": "client0",
                    "events": [
                        {
                            "commandStartedEvent": {
                                "command": {"find": COLLECTION, "filter": {"_id": 1}},
                                "commandName": "find",
                                "databaseName": DATABASE,
                            }
                        },
                        {
                            "commandSucceededEvent": {
                                "reply": {"ok": 1, "cursor": {"$$exists": True}}
                            }
                        },
                        {"commandStartedEvent": {"command": {"insert": COLLECTION}}},
                        {"commandSucceededEvent": {"commandName": "insert"}},
                        {"commandStartedEvent": {"command": {"insert": COLLECTION}}},
                        {"commandSucceededEvent": {"commandName": "insert"}},
                    ],
                },
                {
                    "client": "client0",
                    "eventType": "cmap",
                    "events": [{"connectionCheckedInEvent": {}}] * 3,
                },
            ],
            "outcome": [
                {
                    "collectionName": COLLECTION,
                    "databaseName": DATABASE,
                    "documents": [{"_id": 1, "x": 11}, {"_id": 2}],
                }
            ],
        }
    ],
}

Change = Callable[[dict[str, Any]], None]


def _operation(position: int, **fields: Any) -> Change:
    return lambda test: test["operations"][position].update(fields)


def _argument(position: int, **fields: Any) -> Change:
    return lambda test: test["operations"][position]["arguments"].update(fields)


def _events(change: Callable[[list[Any]], Any], which: int = 0) -> Change:
    def apply(test: dict[str, Any]) -> None:
        change(test["expectEvents"][which]["events"])

    return apply


def _set_event(position: int, event: dict[str, Any]) -> Change:
    def change(events: list[Any]) -> None:
        events[position] = event

    return _events(change)


def _in_thread(test: dict[str, Any]) -> None:
    operation = test["operations"][2]["arguments"]["operation"]
    operation["expectResult"] = {"insertedId": 3}


def _forgotten_thread(test: dict[str, Any]) -> None:
    _in_thread(test)
    del test["operations"][3]


def _outcome(documents: list[Any]) -> Change:
    return lambda test: test["outcome"][0].update(documents=documents)


#: What is changed in the test, which then must not pass any more.
WRONG: dict[str, Change] = {
    "result's value": _operation(0, expectResult=[{"_id": 1, "x": 12}]),
    "result's field": _operation(0, expectResult=[{"_id": 1, "x": 11, "y": 1}]),
    "too few results": _operation(0, expectResult=[]),
    "too many results": _operation(0, expectResult=[{"_id": 1}, {"_id": 2}]),
    "no error expected": lambda test: test["operations"][1].pop("expectError"),
    "error expected": lambda test: (
        test["operations"][0].pop("expectResult"),
        test["operations"][0].update(expectError={"isError": True}),
    )[-1],
    "error's code": _operation(1, expectError={"errorCode": 11001}),
    "error's origin": _operation(1, expectError={"isClientError": True}),
    "error's text": _operation(1, expectError={"errorContains": "no such text"}),
    "error's label": _operation(1, expectError={"errorLabelsContain": ["RetryableWriteError"]}),
    "error's name": _operation(1, expectError={"errorCodeName": "BadValue"}),
    "error's result": _operation(1, expectError={"expectResult": {"insertedCount": 0}}),
    "error's response": _operation(1, expectError={"errorResponse": {"code": 1}}),
    "error's unknown fact": _operation(1, expectError={"isErrorOf": "client"}),
    "result in a thread": _in_thread,
    "result in a thread nobody waits for": _forgotten_thread,
    "count of events": _argument(4, count=1),
    "count of connections": _argument(5, connections=1),
    "event missing at the end": _events(
        lambda events: events.append({"commandStartedEvent": {"commandName": "ping"}})
    ),
    "event unexpected at the end": _events(lambda events: events.pop()),
    "event unexpected in the middle": _events(lambda events: events.pop(2)),
    "event unexpected at all": _events(lambda events: events.clear()),
    "event's kind": _set_event(1, {"commandFailedEvent": {"commandName": "find"}}),
    "event's command": _set_event(0, {"commandStartedEvent": {"command": {"find": "other"}}}),
    "event's command's field": _set_event(
        0, {"commandStartedEvent": {"command": {"filter": {"$$exists": False}}}}
    ),
    "event's command's name": _set_event(0, {"commandStartedEvent": {"commandName": "count"}}),
    "event's database": _set_event(0, {"commandStartedEvent": {"databaseName": "other"}}),
    "event's reply": _set_event(1, {"commandSucceededEvent": {"reply": {"ok": 0}}}),
    "event's service id": _set_event(0, {"commandStartedEvent": {"hasServiceId": True}}),
    "event's unknown fact": _set_event(0, {"commandStartedEvent": {"name": "find"}}),
    "event of another type": _set_event(0, {"connectionCheckedInEvent": {}}),
    "pool's event missing": _events(
        lambda events: events.append({"connectionCheckedInEvent": {}}), which=1
    ),
    "pool's event unexpected": _events(lambda events: events.pop(), which=1),
    "outcome's field": _outcome([{"_id": 1, "x": 11, "y": 1}, {"_id": 2}]),
    "outcome's further field": _outcome([{"_id": 1}, {"_id": 2}]),
    "outcome's document missing": _outcome([{"_id": 1, "x": 11}]),
    "outcome's document too many": _outcome([{"_id": 1, "x": 11}, {"_id": 2}, {"_id": 3}]),
    "outcome empty": _outcome([]),
    "operation's object": _operation(0, object="nothing"),
    "operation's name": _operation(0, name="findAll"),
    "operation's unknown field": _operation(0, expectNothing=True),
    "operation's argument": _argument(0, offset=1),
    "message nobody observes": lambda test: test.update(
        expectLogMessages=[{"client": "client0", "messages": []}]
    ),
    "unknown part": lambda test: test.update(expectTracingMessages={}),
}


def _file(change: Change | None = None) -> TestFile:
    content = copy.deepcopy(RIGHT)
    if change is not None:
        change(content["tests"][0])
    return TestFile(json.dumps(content), content)


@pytest.mark.parametrize("name", DRIVERS)
def test_what_is_right_passes(name: str, deployments: Deployments) -> None:
    driver = Driver(name)
    Run(driver, deployments.get("replicaset"), _file(), "test").execute()


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize("wrong", WRONG)
def test_one_thing_wrong_is_found(wrong: str, name: str, deployments: Deployments) -> None:
    driver = Driver(name)
    file = _file(WRONG[wrong])
    with pytest.raises((Mismatch, RunnerError, driver.errors.PyMongoError)):
        Run(driver, deployments.get("replicaset"), file, "test").execute()


@pytest.mark.parametrize("version", ["0.9", "1.29", "1.28.1", "2.0"])
def test_files_of_other_schemas_are_refused(version: str, deployments: Deployments) -> None:
    content = {**RIGHT, "schemaVersion": version}
    with pytest.raises(RunnerError, match="schema"):
        Run(
            Driver("mongokey"),
            deployments.get("replicaset"),
            TestFile(json.dumps(content), content),
            "test",
        )


@pytest.mark.parametrize("version", ["1.0", "1.28", "1.28.0"])
def test_files_of_older_schemas_are_read(version: str) -> None:
    content = {**RIGHT, "schemaVersion": version}
    TestFile(json.dumps(content), content).check()
