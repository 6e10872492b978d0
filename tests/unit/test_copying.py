"""Which extension classes pickle and copy: those that are meant to, and no other.

A copy made field by field would own a socket, a buffer or a TLS session twice.
"""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import mongokey
from mongokey.bson import CodecOptions, Int64, ObjectId
from mongokey.handshake import HelloReply
from mongokey.results import (
    BulkWriteResult,
    DeleteResult,
    InsertManyResult,
    InsertOneResult,
    UpdateResult,
)

# One instance of each class that pickles.
MEANT = [
    ObjectId("0123456789abcdef01234567"),
    Int64(7),
    InsertOneResult(5, True),
    InsertManyResult([1, 2], True),
    UpdateResult({"n": 3, "nModified": 2, "ok": 1.0}, True),
    DeleteResult({"n": 4}, False),
    BulkWriteResult({"nInserted": 9}, True),
    # Part of the facts of a failed login, which pickle with their error.
    HelloReply({"ok": 1.0, "setName": "rs0", "maxWireVersion": 21}),
]
HEAP_TYPE = 1 << 9


def extension_modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(mongokey.__path__, "mongokey."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        if not (getattr(module, "__file__", None) or ".py").endswith((".py", ".pyc")):
            yield module


CLASSES = sorted(
    {
        each
        for module in extension_modules()
        for each in vars(module).values()
        if isinstance(each, type)
        and each.__module__ == module.__name__
        and not each.__flags__ & HEAP_TYPE
    },
    key=lambda each: (each.__module__, each.__name__),
)
# The words of Python, of Cython for a constructor with arguments, and of our own streams.
REFUSAL = r"cannot pickle|no default __reduce__|an? \w*Stream is made by"
OTHERS = [each for each in CLASSES if each not in {type(one) for one in MEANT}]


def one_socket() -> int:
    """The number of a connected socket."""
    import socket

    ours, theirs = socket.socketpair()
    theirs.close()
    return ours.detach()


def bare(kind: type) -> Any:
    """An instance that was not initialized."""
    arguments = {"Attempts": [], "_View": b"", "CodecContext": CodecOptions()}
    if kind.__name__ in arguments:
        return kind.__new__(kind, arguments[kind.__name__])
    if kind.__name__ in ("SocketStream", "OpenSSLStream", "SSLStream"):
        return kind.__new__(kind, one_socket(), "peer")
    if kind.__name__.endswith("LoopStream"):
        closed = SimpleNamespace(is_running=lambda: False, is_closed=lambda: True)
        return kind.__new__(kind, one_socket(), "peer", closed)
    return kind.__new__(kind)


def test_the_walk_finds_the_extension_classes() -> None:
    names = {each.__name__ for each in CLASSES}
    cores = {"ClientCore", "CollectionCore", "CursorCore"}
    assert {"Pool", "Connection", "SSLStream", "Find", "Stream", *cores} <= names
    assert {type(one) for one in MEANT} <= set(CLASSES)


@pytest.mark.parametrize("kind", OTHERS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_a_class_that_is_not_meant_to_refuses(kind: type) -> None:
    assert not hasattr(kind, "__setstate_cython__")
    assert not hasattr(kind, "__reduce_cython__")
    one = bare(kind)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=REFUSAL):
            pickle.dumps(one, protocol)
    with pytest.raises(TypeError, match="cannot pickle"):
        copy.copy(one)
    with pytest.raises(TypeError, match="cannot pickle"):
        copy.deepcopy(one)


FACES = [
    mongokey.MongoClient,
    mongokey.database.Database,
    mongokey.collection.Collection,
    mongokey.cursor.Cursor,
    mongokey.cursor.CommandCursor,
]


@pytest.mark.parametrize("kind", FACES)
@pytest.mark.parametrize("subclass", [False, True])
def test_the_classes_of_users_and_their_subclasses_refuse_too(kind: type, subclass: bool) -> None:
    made = type("Mine", (kind,), {}) if subclass else kind
    one: Any = made.__new__(made)
    one.note = "mine"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(one, protocol)
    if kind is mongokey.cursor.Cursor:
        return  # it copies itself, by rules of its own (PyMongo: an unevaluated clone)
    with pytest.raises(TypeError, match="cannot pickle"):
        copy.copy(one)
    with pytest.raises(TypeError, match="cannot pickle"):
        copy.deepcopy(one)


@pytest.mark.parametrize("one", MEANT, ids=lambda one: type(one).__name__)
def test_a_value_comes_back_as_it_was(one: Any) -> None:
    copies = [
        pickle.loads(pickle.dumps(one, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ]
    for other in [*copies, copy.copy(one), copy.deepcopy(one)]:
        assert type(other) is type(one)
        assert repr(other) == repr(one)


def test_a_refused_copy_leaves_the_client_alone() -> None:
    client: mongokey.MongoClient[dict[str, Any]] = mongokey.MongoClient(
        "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=1"
    )
    with pytest.raises(TypeError):
        copy.copy(client)
    with pytest.raises(TypeError):
        copy.deepcopy({"db": client.shop, "orders": client.shop.orders})
    assert client.shop.orders.full_name == "shop.orders"
    client.close()


def test_an_instance_that_was_not_initialized_does_not_crash() -> None:
    """`cls.__new__(cls)` is what every copying library starts with."""
    program = """
import tests.unit.test_copying as here
for kind in here.OTHERS:
    one = here.bare(kind)
    print(kind.__module__, kind.__name__, flush=True)
    for name in dir(one):
        print(" ", name, flush=True)
        try:
            found = getattr(one, name)
        except Exception:
            continue
        # What waits for others has nobody to wait for, and would for ever.
        if name.startswith("__") or name in ("borrow", "check_out", "checkout", "select", "wait"):
            continue
        for arguments in ((), (None,), (b"x",), ("x",), (1, 2)):
            try:
                found(*arguments)
            except Exception:
                continue
    for call in (repr, str, hash, bool, len, iter, next):
        print(" ", call.__name__, flush=True)
        try:
            call(one)
        except Exception:
            continue
    del one
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert run.returncode == 0, (run.stdout[-200:], run.stderr[-300:])
