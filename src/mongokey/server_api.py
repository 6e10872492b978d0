"""The Stable API that a client declares, under PyMongo's import path.

``MongoClient(server_api=ServerApi(ServerApiVersion.V1))`` sends `apiVersion` and its kin with each
command (source/versioned-api/versioned-api.md). Which commands carry them, others know.
"""

from __future__ import annotations

from mongokey._support.reprs import with_safe_repr

__all__ = ["ServerApi", "ServerApiVersion"]


class ServerApiVersion:
    """The versions of the Stable API."""

    V1 = "1"


@with_safe_repr
class ServerApi:
    """A version of the Stable API, and how strictly the server is to keep to it.

    :param version: a value of `ServerApiVersion`
    :param strict: True makes the server refuse commands that are not in the API; default None
        leaves it to the server
    :param deprecation_errors: True makes the server refuse commands that are deprecated in it;
        default None leaves it to the server

    Raises `ValueError` for another version and `TypeError` for what is no bool.
    """

    __slots__ = ("_deprecation_errors", "_strict", "_version")

    def __init__(
        self, version: str, strict: bool | None = None, deprecation_errors: bool | None = None
    ) -> None:
        if version != ServerApiVersion.V1:
            raise ValueError(
                f"there is no version {version!r} of the Stable API: use ServerApiVersion.V1"
            )
        for name, value in (("strict", strict), ("deprecation_errors", deprecation_errors)):
            if value is not None and not isinstance(value, bool):
                raise TypeError(f"{name} must be a bool or None, not {type(value).__name__}")
        self._version = version
        self._strict = strict
        self._deprecation_errors = deprecation_errors

    @property
    def version(self) -> str:
        """What is sent as `apiVersion`."""
        return self._version

    @property
    def strict(self) -> bool | None:
        """What is sent as `apiStrict`, if it is not None."""
        return self._strict

    @property
    def deprecation_errors(self) -> bool | None:
        """What is sent as `apiDeprecationErrors`, if it is not None."""
        return self._deprecation_errors

    def __repr__(self) -> str:
        shown = [repr(self._version)]
        if self._strict is not None:
            shown.append(f"strict={self._strict}")
        if self._deprecation_errors is not None:
            shown.append(f"deprecation_errors={self._deprecation_errors}")
        return f"ServerApi({', '.join(shown)})"
