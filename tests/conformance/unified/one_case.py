"""One test of a suite, carried out, or skipped with its reason."""

from __future__ import annotations

import pytest

from tests.conformance.unified import skips
from tests.conformance.unified.deployments import Deployments
from tests.conformance.unified.drivers import Driver
from tests.conformance.unified.runner import Run
from tests.conformance.unified.suites import Case, test_file


def run_case(case: Case, driver: Driver, deployments: Deployments) -> None:
    """Run it on the deployment that is its place; a known failure that always fails has to fail."""
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
