"""Which tests are not run, or fail for a known reason, and that these are the expected ones.

Two kinds. What a test asks of its servers or of the driver decides by itself: expected_skips.json
says how many tests of a suite each reason keeps from running. What only running shows stands in
known_failures.json, by reason; such a test is run, and has to fail, unless the reason begins with
"sometimes: ".

`python -m pytest tests/conformance/unified --write-skips` writes expected_skips.json anew.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.conformance.unified.deployments import Deployment, Deployments
from tests.conformance.unified.drivers import Driver
from tests.conformance.unified.features import fail_points_of, missing
from tests.conformance.unified.requirements import unmet
from tests.conformance.unified.suites import SUITES, Case, cases, deployments_of, test_file

FOLDER = Path(__file__).parent
EXPECTED = FOLDER / "expected_skips.json"
KNOWN = FOLDER / "known_failures.json"


def place(
    case: Case, driver: Driver, deployments: Deployments, names: Sequence[str] | None = None
) -> Deployment | str:
    """The deployment that a test runs on, or why it runs on none; `names` replaces those of the
    suite."""
    file = test_file(case.suite, case.file)
    test = file.test(case.description)
    if "skipReason" in test:
        return f"the specification: {test['skipReason']}"
    lack = missing(driver, file.content, test)
    if lack is not None:
        return lack
    points = fail_points_of(test)
    reasons = []
    for name in names or deployments_of(case.suite, case.file):
        deployment = deployments.get(name)
        found = [
            *unmet(file.requirements, deployment.facts),
            *unmet(test.get("runOnRequirements"), deployment.facts),
            *(f"no fail point {each} there" for each in points - deployment.fail_points),
        ]
        if not found:
            return deployment
        reasons.append(found)

    def weight(found: list[str]) -> tuple[int, bool]:
        return len(found), any(each.startswith("needs a topology") for each in found)

    return ", ".join(dict.fromkeys(min(reasons, key=weight)))


def count_skips(driver: Driver, deployments: Deployments) -> dict[str, dict[str, int]]:
    """By suite, how many tests each reason keeps from running."""
    counts = {}
    for suite in SUITES:
        places = (place(case, driver, deployments) for case in cases(suite))
        reasons = Counter(each for each in places if isinstance(each, str))
        if reasons:
            counts[suite] = dict(sorted(reasons.items()))
    return counts


def expected_skips() -> dict[str, dict[str, int]]:
    """What is stored."""
    counts: dict[str, dict[str, int]] = json.loads(EXPECTED.read_text(encoding="utf-8"))
    return counts


def store(counts: Mapping[str, Any]) -> None:
    EXPECTED.write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")


@cache
def known_failures() -> dict[str, str]:
    """By ``suite/file: description``, where ``*`` stands for anything, why a test fails."""
    groups: dict[str, list[str]] = json.loads(KNOWN.read_text(encoding="utf-8"))
    return {test: reason for reason, tests in groups.items() for test in tests}


def known_failure(case: Case) -> str | None:
    """Why a test is known to fail, or None."""
    return next(
        (why for pattern, why in known_failures().items() if _fits(pattern, str(case))), None
    )


def is_always(reason: str) -> bool:
    """Whether a test with a known failure is to be run, as it fails each time."""
    return not reason.startswith("sometimes: ")


def without_case() -> list[str]:
    """Patterns of known failures that no test has."""
    names = [str(case) for suite in SUITES for case in cases(suite)]
    return [each for each in known_failures() if not any(_fits(each, name) for name in names)]


def _fits(pattern: str, name: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None
