"""Public home of `ServerDescription`, at the path where PyMongo's users import it from."""

from __future__ import annotations

from mongokey.topology.server_description import ServerDescription

__all__ = ["ServerDescription"]
