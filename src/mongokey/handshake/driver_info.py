"""`DriverInfo`: how a library built on mongokey adds its name to the handshake.

Mirrors `pymongo.driver_info`; knows nothing of how the fields are joined (`metadata`).
"""

from __future__ import annotations

from collections import namedtuple


class DriverInfo(namedtuple("DriverInfo", ("name", "version", "platform"))):
    """Name, version and platform of a library that wraps the driver.

    `version` and `platform` may be None. Raises TypeError for values that are no strings.
    """

    __slots__ = ()

    def __new__(
        cls, name: str, version: str | None = None, platform: str | None = None
    ) -> DriverInfo:
        for field, value in (("name", name), ("version", version), ("platform", platform)):
            if value is not None and not isinstance(value, str):
                raise TypeError(
                    f"DriverInfo: {field} must be a str or None, not {type(value).__name__}"
                )
        return super().__new__(cls, name, version, platform)
