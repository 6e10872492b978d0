"""Fixtures of the unified tests: the deployments, and the driver under test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.unified.deployments import Deployments, opened
from tests.conformance.unified.drivers import FACES, Driver


@pytest.fixture(scope="session")
def deployments(request: pytest.FixtureRequest) -> Iterator[Deployments]:
    with opened(request) as made:
        yield made


@pytest.fixture(scope="module")
def driver(face: str) -> Driver:
    return FACES[face]("mongokey")
