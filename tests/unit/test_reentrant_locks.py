"""A signal handler may run an operation while its own thread holds a lock of the driver: every lock
that an operation's thread takes itself can be taken again by that thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from mongokey._support.clock import monotonic_ns
from mongokey.auth.turns import LoginTurns
from mongokey.handshake import ClientMetadata
from mongokey.topology.topology import Topology


def in_a_thread(call: Callable[[], Any]) -> list[Any]:
    """What `call` returned, as the only item; empty when it waits for itself."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    thread.join(10)
    return found


def test_a_first_login_may_begin_within_another_s_beginning() -> None:
    turns = LoginTurns()

    def call() -> bool:
        with turns._lock:
            return turns.begin(monotonic_ns())[1]

    assert in_a_thread(call) == [True]


def test_metadata_can_be_appended_while_it_is_appended() -> None:
    metadata = ClientMetadata("app")

    def call() -> bool:
        with metadata._lock:
            metadata.append(("wrapper", "1.0", None))
            return len(metadata._infos) == 1

    assert in_a_thread(call) == [True]


def test_discovery_can_be_asked_for_while_dns_is_asked() -> None:
    asked = []

    def discover() -> tuple[list[tuple[str, int]], None, bool]:
        asked.append(1)
        if len(asked) == 1:
            with pytest.raises(RuntimeError, match="no connection here"):
                topology.select()
        return [("db.example", 27017)], None, False

    def connect(address: Any, *_: Any) -> Any:
        raise RuntimeError("no connection here")

    topology = Topology([], connect, lambda address: None, resolve_srv=discover)  # type: ignore[arg-type, return-value]

    def call() -> int:
        with pytest.raises(RuntimeError, match="no connection here"):
            topology.select()
        return len(asked)

    assert in_a_thread(call) == [2]
