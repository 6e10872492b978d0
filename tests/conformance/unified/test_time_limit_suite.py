"""The suite of timeoutMS: it waits a lot, so it has a file, and thereby a process, of its own."""

from __future__ import annotations

import pytest

from tests.conformance.unified.deployments import Deployments
from tests.conformance.unified.drivers import Driver
from tests.conformance.unified.one_case import run_case
from tests.conformance.unified.suites import TIME_LIMITS, Case, cases

pytestmark = pytest.mark.live


@pytest.mark.parametrize("case", list(cases(TIME_LIMITS)), ids=str)
def test_unified(case: Case, driver: Driver, deployments: Deployments) -> None:
    run_case(case, driver, deployments)
