"""PyMongo's import path of what its databases of both faces share."""

from __future__ import annotations

from mongokey.commands.arguments import check_database_name

__all__: list[str] = []


# Under the name that it has been imported by for long.
_check_name = check_database_name
