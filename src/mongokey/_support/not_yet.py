"""PyMongo's names that mongokey does not have yet, for the classes whose unknown attributes are
databases or collections: without this list `client.watch` would silently be a database.

It knows names only. `tests/unit/test_not_yet.py` keeps it true, by comparing both packages.
"""

from __future__ import annotations

NOT_YET: dict[str, frozenset[str]] = {
    "MongoClient": frozenset(),
    "Database": frozenset(),
    "Collection": frozenset(),
}
# What the blocking face lacks, the asyncio one lacks too.
NOT_YET.update({f"Async{owner}": names for owner, names in tuple(NOT_YET.items())})


def refuse(owner: str, name: str, kind: str) -> AttributeError:
    """The error for `name` of class `owner`, whose unknown attributes are of `kind`."""
    return AttributeError(
        f"{owner}.{name} is part of PyMongo's API and not there yet in this version of mongokey. "
        f"To access the {name} {kind}, use [{name!r}].",
        name=name,
    )
