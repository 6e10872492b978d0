"""What `help()` and editors show: each public method of the faces has a docstring and a signature,
also where it is compiled."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import pytest

#: By the module of the blocking face, its classes; the asyncio face has the same names behind
#: "Async".
CLASSES = {
    "mongo_client": ["MongoClient"],
    "database": ["Database"],
    "collection": ["Collection"],
    "cursor": ["Cursor"],
    "command_cursor": ["CommandCursor"],
    "change_stream": ["ChangeStream"],
    "client_session": ["ClientSession"],
}
GRIDFS = ["GridFS", "GridFSBucket", "GridIn", "GridOut"]
FACES: list[type[Any]] = [
    getattr(import_module(f"mongokey.{package}.{module}"), prefix + name)
    for package, prefix in (("synchronous", ""), ("asynchronous", "Async"))
    for module, names in CLASSES.items()
    for name in names
] + [
    getattr(import_module("mongokey.gridfs"), prefix + name)
    for prefix in ("", "Async")
    for name in GRIDFS
]


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_each_public_method_says_what_it_takes_and_does(face: type[Any]) -> None:
    methods = {
        name: getattr(face, name)
        for name in dir(face)
        if not name.startswith("_") and callable(getattr(face, name))
    }
    assert methods
    assert [name for name, method in methods.items() if not inspect.getdoc(method)] == []
    for name, method in methods.items():
        parameters = inspect.signature(method).parameters
        assert parameters or isinstance(inspect.getattr_static(face, name), staticmethod), name
