"""SASLprep (RFC 4013), under PyMongo's import path."""

from __future__ import annotations

from mongokey.auth import saslprep as own

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

__all__ = ["HAVE_STRINGPREP", "saslprep"]

HAVE_STRINGPREP = True


def saslprep(data: Any, prohibit_unassigned_code_points: bool | None = True) -> Any:
    """Prepare a user name or password; what is no str is returned as it is.

    Raises `ValueError`, naming the rule, for a string that is not allowed. With
    `prohibit_unassigned_code_points` those are refused that Unicode 3.2 did not have.
    """
    if not isinstance(data, str):
        return data
    return own.saslprep(data, allow_unassigned=not prohibit_unassigned_code_points)
