"""PyMongo's numbers of server types, at the path where its users import them from."""

from __future__ import annotations

from typing import NamedTuple


class _ServerTypes(NamedTuple):
    Unknown: int = 0
    Mongos: int = 1
    RSPrimary: int = 2
    RSSecondary: int = 3
    RSArbiter: int = 4
    RSOther: int = 5
    RSGhost: int = 6
    Standalone: int = 7
    LoadBalancer: int = 8


SERVER_TYPE = _ServerTypes()

__all__ = ["SERVER_TYPE"]
