"""Public home of `DriverInfo`, at the path where PyMongo's users import it from."""

from __future__ import annotations

from mongokey.handshake.driver_info import DriverInfo

__all__ = ["DriverInfo"]
