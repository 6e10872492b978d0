"""Where the public specifications' test data is, and how to read a suite of URI tests."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(
    os.environ.get(
        "MONGODB_SPECIFICATIONS", Path(__file__).resolve().parents[3] / "shared/specifications"
    )
)


def read_cases(*patterns: str) -> list[Any]:
    """The test cases of the files that match, as pytest params named file:description.

    Without the data there is one case that fails under CI and is skipped elsewhere.
    """
    cases = []
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            for case in json.loads(path.read_text(encoding="utf-8"))["tests"]:
                cases.append(pytest.param(case, id=f"{path.stem}:{case['description']}"))
    if not cases:
        cases.append(pytest.param(None, id="no-specifications"))
    return cases


def need(case: dict[str, Any] | None) -> dict[str, Any]:
    """The case, or a skip (failure under CI) because the data is missing."""
    if case is None:
        reason = f"the specifications' test data is not at {ROOT} (set MONGODB_SPECIFICATIONS)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return case
