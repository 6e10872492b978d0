"""Compares the names and signatures of mongokey's classes with PyMongo's: both faces.

`python tools/compare_api.py` prints the differences; with `--write` it stores them in
tests/unit/api_differences.json, which a test keeps true. A difference is a public name that only
one of both has, another kind (a coroutine function, a property that is awaited, a plain method), or
another parameter (its name, place, kind, default). Annotations are not compared.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from pathlib import Path
from typing import Any

STORED = Path(__file__).resolve().parent.parent / "tests" / "unit" / "api_differences.json"


def classes() -> list[tuple[Any, Any]]:
    """(mongokey's class, PyMongo's), blocking and asyncio."""
    import pymongo
    import pymongo.asynchronous.client_session
    import pymongo.asynchronous.collection
    import pymongo.asynchronous.command_cursor
    import pymongo.asynchronous.cursor
    import pymongo.asynchronous.database
    import pymongo.client_session
    import pymongo.collection
    import pymongo.command_cursor
    import pymongo.cursor
    import pymongo.database

    import mongokey
    import mongokey.aio as aio
    from mongokey import client_session
    from mongokey.asynchronous.client_session import AsyncClientSession

    return [
        (mongokey.MongoClient, pymongo.MongoClient),
        (mongokey.database.Database, pymongo.database.Database),
        (mongokey.collection.Collection, pymongo.collection.Collection),
        (mongokey.cursor.Cursor, pymongo.cursor.Cursor),
        (mongokey.cursor.CommandCursor, pymongo.command_cursor.CommandCursor),
        (client_session.ClientSession, pymongo.client_session.ClientSession),
        (client_session.SessionOptions, pymongo.client_session.SessionOptions),
        (client_session.TransactionOptions, pymongo.client_session.TransactionOptions),
        (AsyncClientSession, pymongo.asynchronous.client_session.AsyncClientSession),
        (aio.AsyncMongoClient, pymongo.AsyncMongoClient),
        (aio.AsyncDatabase, pymongo.asynchronous.database.AsyncDatabase),
        (aio.AsyncCollection, pymongo.asynchronous.collection.AsyncCollection),
        (aio.AsyncCursor, pymongo.asynchronous.cursor.AsyncCursor),
        (aio.AsyncCommandCursor, pymongo.asynchronous.command_cursor.AsyncCommandCursor),
    ]


# What every object has, or what only a type checker or a copier asks for.
NOT_COMPARED = frozenset(dir(object)) | {
    *("__dict__", "__weakref__", "__module__", "__slots__", "__doc__", "__annotations__"),
    *("__orig_bases__", "__parameters__", "__class_getitem__", "__abstractmethods__"),
    *("__getattr__", "__reduce_cython__", "__setstate_cython__", "__pyx_vtable__", "__del__"),
    *("__firstlineno__", "__static_attributes__", "__type_params__", "__match_args__"),
}
# These are methods of the language: it calls them in one way.
SPECIAL_NAMES_ONLY = True


def names_of(cls: type) -> set[str]:
    """Its public names, and the special ones that it or a base other than `object` defines."""
    found = set()
    for name in dir(cls):
        special = name.startswith("__") and name.endswith("__")
        if name in NOT_COMPARED or (name.startswith("_") and not special):
            continue
        if getattr(cls, name, None) is not None:  # such as __iter__ = None
            found.add(name)
    return found


def kind_of(cls: type, name: str) -> str:
    """What a name stands for, in the words that differences are told in."""
    found = inspect.getattr_static(cls, name)
    if isinstance(found, (classmethod, staticmethod)):
        return type(found).__name__
    if isinstance(found, property):
        return "awaited property" if is_async(found.fget) else "property"
    if inspect.isgetsetdescriptor(found) or inspect.ismemberdescriptor(found):
        return "property"
    if callable(found):
        return "coroutine function" if is_async(found) else "method"
    return "value"


def is_async(function: Any) -> bool:
    """Whether it is awaited; PyMongo wraps some of its coroutine functions."""
    return inspect.iscoroutinefunction(inspect.unwrap(function))


def parameters_of(cls: type, name: str) -> list[str] | None:
    """The parameters after `self`; None where they cannot be known."""
    found = getattr(cls, name)
    if name == "__init__":
        found = cls.__init__  # type: ignore[misc]
    try:
        parameters = list(inspect.signature(inspect.unwrap(found)).parameters.values())
    except (TypeError, ValueError):
        return None
    if parameters and parameters[0].name in ("self", "cls"):
        del parameters[0]
    return [str(each.replace(annotation=inspect.Parameter.empty)) for each in parameters]


def differences(ours: type, theirs: type) -> dict[str, str]:
    """Name -> how it differs."""
    found = {}
    mine, pymongos = names_of(ours), names_of(theirs)
    for name in pymongos - mine:
        found[name] = "only PyMongo has it"
    for name in mine - pymongos:
        found[name] = "only mongokey has it"
    for name in mine & pymongos:
        kinds = kind_of(ours, name), kind_of(theirs, name)
        if name == "__anext__":
            continue  # no coroutine function here: what it returns is a coroutine all the same
        if kinds[0] != kinds[1]:
            found[name] = f"{kinds[0]}, in PyMongo {kinds[1]}"
        elif kinds[0] in ("method", "coroutine function") and not name.startswith("__"):
            told = parameter_difference(parameters_of(ours, name), parameters_of(theirs, name))
            if told:
                found[name] = told
    told = parameter_difference(parameters_of(ours, "__init__"), parameters_of(theirs, "__init__"))
    if told:
        found["__init__"] = told
    return dict(sorted(found.items()))


def parameter_difference(ours: list[str] | None, theirs: list[str] | None) -> str:
    """What differs in the parameters, empty for nothing."""
    if ours is None or theirs is None or ours == theirs:
        return ""
    return f"({', '.join(ours)}), in PyMongo ({', '.join(theirs)})"


def compared() -> dict[str, dict[str, str]]:
    """All differences: our class's name -> name -> difference."""
    return {ours.__name__: differences(ours, theirs) for ours, theirs in classes()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="store the differences for the test")
    found = compared()
    text = json.dumps(found, indent=2, sort_keys=True) + "\n"
    if parser.parse_args().write:
        STORED.write_text(text)
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
