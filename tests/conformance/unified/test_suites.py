"""The suites of the specifications in the unified test format, against real servers.

`suites` says which; `skips` which of their tests are not run, and why.
"""

from __future__ import annotations

import pytest

from tests.conformance.unified import skips
from tests.conformance.unified.deployments import Deployments
from tests.conformance.unified.drivers import Driver
from tests.conformance.unified.runner import Run
from tests.conformance.unified.suites import SUITES, Case, cases, test_file
from tests.specifications import require

pytestmark = pytest.mark.live

CASES = [case for suite in SUITES for case in cases(suite)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_unified(case: Case, driver: Driver, deployments: Deployments) -> None:
    deployment = skips.place(case, driver, deployments)
    if isinstance(deployment, str):
        pytest.skip(deployment)
    known = skips.known_failure(case)
    if known is not None and not skips.is_always(known):
        pytest.skip(f"known failure: {known}")
    run = Run(driver, deployment, test_file(case.suite, case.file), case.description)
    try:
        run.execute()
    except Exception:
        if known is not None:
            pytest.skip(f"known failure: {known}")
        raise
    assert known is None, f"it passes; take it out of known_failures.json: {known}"


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
