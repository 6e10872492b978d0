"""The suites of the specifications in the unified test format, against real servers.

`suites` says which; `skips` which of their tests are not run, and why. Suites that take long have
a file of their own, since a file's tests run in one process.
"""

from __future__ import annotations

import pytest

from tests.conformance.unified import skips
from tests.conformance.unified.deployments import Deployments
from tests.conformance.unified.drivers import Driver
from tests.conformance.unified.one_case import run_case
from tests.conformance.unified.suites import BY_THEMSELVES, SUITES, Case, cases
from tests.specifications import require

pytestmark = pytest.mark.live

CASES = [case for suite in SUITES if suite not in BY_THEMSELVES for case in cases(suite)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_unified(case: Case, driver: Driver, deployments: Deployments) -> None:
    run_case(case, driver, deployments)


@pytest.mark.parametrize("suite", SUITES)
def test_the_suite_is_there(suite: str) -> None:
    require(suite)
    assert any(cases(suite))


def test_the_skips_are_the_expected_ones(
    driver: Driver, deployments: Deployments, request: pytest.FixtureRequest
) -> None:
    for suite in SUITES:
        require(suite)
    counts = skips.count_skips(driver, deployments)
    if request.config.getoption("--write-skips"):
        skips.store(counts)
    assert counts == skips.expected_skips()


def test_every_known_failure_is_a_test() -> None:
    for suite in SUITES:
        require(suite)
    assert skips.without_case() == []
