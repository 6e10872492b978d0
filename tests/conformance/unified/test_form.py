"""Files that the format does not allow are refused, and all others are not (suite `invalid`)."""

from __future__ import annotations

from typing import Any

import pytest

from tests import specifications
from tests.conformance.unified import form
from tests.conformance.unified.suites import SUITES

INVALID = "unified-test-format/invalid"
OTHERS = (*SUITES, "unified-test-format/valid-fail")


def test_the_suite_is_there() -> None:
    specifications.require(INVALID)
    assert len(list(specifications.suite(INVALID))) > 250


@pytest.mark.parametrize(
    "content", [pytest.param(content, id=name) for name, content in specifications.suite(INVALID)]
)
def test_what_the_format_does_not_allow_is_refused(content: Any) -> None:
    found = form.problems(content)
    assert found
    # It is said where.
    assert all(each.startswith("file") and ": " in each for each in found)


@pytest.mark.parametrize("suite", OTHERS)
def test_what_runs_is_as_the_format_wants_it(suite: str) -> None:
    specifications.require(suite)
    for name, content in specifications.suite(suite):
        assert form.problems(content) == [], f"{suite}/{name}"
