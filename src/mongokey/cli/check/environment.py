"""What about this interpreter and machine makes logins fail: packages in each other's place.

Knows what to look at, and how the same is put right for this very interpreter. Imports nothing that
it looks at.
"""

from __future__ import annotations

import importlib.util
import os
import sys

from mongokey.diagnostics import CERTAIN, Diagnosis


def look_at_interpreter() -> list[Diagnosis]:
    """What is wrong with the packages of this interpreter."""
    found = _foreign_bson()
    return [] if found is None else [found]


def _foreign_bson() -> Diagnosis | None:
    """The stand-alone package `bson` in the place of PyMongo's, which programs that use PyMongo
    beside mongokey stumble over."""
    place = _place_of("bson")
    if place is None or not _installed("pymongo"):
        return None
    if os.path.exists(os.path.join(place, "son.py")):
        return None
    return Diagnosis(
        "ENV-BSON-PACKAGE",
        CERTAIN,
        "the stand-alone package bson has overwritten the bson that is part of PyMongo; mongokey "
        "has its own (mongokey.bson), programs that import PyMongo fail",
        [f"{place} has no son.py", f"interpreter {sys.executable}"],
        f"{sys.executable} -m pip uninstall -y bson && {sys.executable} -m pip install "
        "--force-reinstall pymongo",
    )


def _place_of(name: str) -> str | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    places = None if spec is None else spec.submodule_search_locations
    return next(iter(places), None) if places else None


def _installed(name: str) -> bool:
    return _place_of(name) is not None


__all__ = ["look_at_interpreter"]
