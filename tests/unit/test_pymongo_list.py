"""The list of PyMongo's tests that mongokey does not pass (tools/pymongo_private.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tools import pymongo_tests

#: May be lowered, and raised for files that are compared for the first time alone: see
#: docs/pymongo-tests.md.
CEILING = 1717


@pytest.fixture(scope="module")
def listed() -> Any:
    return json.loads(pymongo_tests.PRIVATE.read_text(encoding="utf-8"))


def test_the_list_can_only_shrink(listed: Any) -> None:
    assert pymongo_tests.listed_tests(listed) <= listed["ceiling"] <= CEILING


def test_each_test_is_listed_once_and_with_a_reason(listed: Any) -> None:
    groups = [*((name, e["tests"]) for name, e in listed["names"].items())]
    groups += listed["different"].items()
    tests = [test for why, group in groups for test in group if why]
    assert len(tests) == len(set(tests)) == pymongo_tests.listed_tests(listed) > 0
    assert all(test.startswith("test/") and "::" in test for test in tests)
    assert all(entry["why"] for entry in listed["names"].values())


def test_outcomes_are_compared_test_by_test() -> None:
    def outcome(kind: str, *names: str) -> dict[str, Any]:
        return {"outcome": kind, "private": list(names), "text": ""}

    reference = {f"f::{name}": outcome("passed") for name in "abcd"} | {"f::e": outcome("skipped")}
    own = {"f::a": outcome("passed"), "f::b": outcome("failed", "x._y"), "f::c": outcome("passed")}
    found = pymongo_tests.judged("f", reference, own, {"f::b": "x._y", "f::c": "x._z"})
    assert (found["pymongo"], found["mongokey"]) == (4, 2)
    assert found["private"] == {"f::b": "x._y"}
    assert list(found["failing"]) == ["f::d"]
    assert found["failing"]["f::d"]["outcome"] == "not run"
    assert found["needless"] == ["f::c"]


def test_the_sample_passes() -> None:
    folder = pymongo_tests.CACHE / f"tests-{pymongo_tests.PYMONGO_VERSION}"
    if not Path(folder).is_dir():
        pytest.skip("PyMongo's tests are not at hand: python tools/pymongo_tests.py fetches them")
    (name,) = pymongo_tests.test_files(folder, ["test_binary.py"])
    outcomes = pymongo_tests.outcomes_of("mongokey", name, folder, pymongo_tests.CACHE, 60)
    assert len(outcomes) > 20
    assert {entry["outcome"] for entry in outcomes.values()} == {"passed"}
