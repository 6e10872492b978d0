"""Fixtures of the tests against scripted servers."""

from __future__ import annotations

import pytest

from mongokey.topology import server_monitor
from tests.monitors import FACES, monitors_face_fixture

monitors_face = pytest.fixture(params=FACES)(monitors_face_fixture)


@pytest.fixture
def soon_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that failed may be checked again after 20 ms, not only after 500: many faults, one
    after the other, would take long otherwise."""
    monkeypatch.setattr(server_monitor, "MIN_HEARTBEAT_NS", 20_000_000)
