"""The public specifications' test data: found beside the checkout, never copied into it.

The folder is named by MONGODB_SPECIFICATIONS, or is ../shared/specifications beside the
checkout. Where it is missing a suite is skipped with the reason, but fails under CI.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def folder() -> Path | None:
    """The specifications' folder, or None when this machine has none."""
    named = os.environ.get("MONGODB_SPECIFICATIONS")
    path = Path(named) if named else ROOT.parent / "shared" / "specifications"
    return path if path.is_dir() else None


def suite(name: str) -> Iterator[tuple[str, Any]]:
    """Each JSON file under the suite's folder, as (path within it without suffix, content).

    Yields nothing when the specifications are missing; `require` then says so in a test.
    """
    base = folder()
    if base is None:
        return
    for path in sorted((base / name).rglob("*.json")):
        yield path.relative_to(base / name).with_suffix("").as_posix(), json.loads(path.read_text())


def require(name: str) -> Path:
    """The suite's folder; skips the test (under CI: fails it) when it is not there."""
    base = folder()
    if base is not None and (base / name).is_dir():
        return base / name
    reason = (
        f"the specifications' test data ({name}) is missing: set MONGODB_SPECIFICATIONS to a"
        " folder with the JSON files of github.com/mongodb/specifications"
    )
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
