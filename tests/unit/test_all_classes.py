"""What every class of the package has to do, found by walking it: errors pickle and copy with all
that they hold, and objects whose `__init__` did not finish can be printed."""

from __future__ import annotations

import copy
import importlib
import inspect
import multiprocessing
import pickle
import pkgutil
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import mongokey
from mongokey.auth import MongoCredential
from mongokey.auth.errors import AuthenticationFailed
from mongokey.auth.login_context import LoginContext
from mongokey.diagnostics import CERTAIN, Diagnosis
from mongokey.dns import Attempt, SRVError
from mongokey.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    MongoError,
    OperationFailure,
    ServerSelectionTimeoutError,
)
from mongokey.handshake import HelloReply

PASSWORD = "pencil-5ecret"


def all_classes() -> Iterator[type]:
    for module in pkgutil.walk_packages(mongokey.__path__, "mongokey."):
        if module.name.endswith("__main__"):
            continue
        try:
            found = importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("mongokey"):
                raise
            continue  # an extra that is not installed
        for each in vars(found).values():
            if isinstance(each, type) and each.__module__ == module.name:
                yield each


CLASSES = sorted(set(all_classes()), key=lambda cls: (cls.__module__, cls.__qualname__))
ERRORS = [cls for cls in CLASSES if issubclass(cls, BaseException)]

# Arguments of constructors, by the names of their parameters.
ARGUMENTS: dict[str, Any] = {
    "advice": "do something",
    "again": True,
    "attempts": [Attempt("SRV a.b.c", "127.0.0.1:53", "UDP", "NOERROR")],
    "cause": AutoReconnect("lost", ["reason"]),
    "code": 8000,
    "details": {"code": 8000, "errorLabels": ["FromDetails"], "nested": {"list": [1, None]}},
    "document": {"a": 1},
    "encrypted_fields": {"fields": [{"path": "a", "keyId": None}]},
    "error": "it failed",
    "error_labels": ["Given"],
    "errors": {("h", 1): AutoReconnect("lost", ["reason"]), ("h", None): "text"},
    "failure": "text",
    "found": [],
    "hint": Diagnosis("AUTH-CHANGED", CERTAIN, "text"),
    "diagnosis": Diagnosis("AUTH-CHANGED", CERTAIN, "text", ["seen"], "do this"),
    "kind": ConfigurationError,
    "library": "gssapi",
    "max_wire_version": 21,
    "message": "it failed",
    "messages": [("major", 1), ("minor", None)],
    "name": "a.b.c",
    "offset": 7,
    "path": "a.b",
    "permanent": True,
    "primary": ("h", 1),
    "reason": "TLS-WORD",
    "results": {"nInserted": 3, "writeErrors": [{"index": 1, "code": 11000}]},
    "said": "it failed",
    "settings": True,
    "text": "it failed",
    "timed_out": True,
    "verbose": True,
    "word": "WORD",
}


def make(cls: type[BaseException]) -> BaseException:
    given: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(cls.__init__).parameters.items())[1:]:
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            given[name] = ARGUMENTS[name]
    made = cls(**given) if given else cls("it failed", 7)
    made.extra = {"attribute": [1, 2]}  # type: ignore[attr-defined]
    made.__notes__ = ["a note"]  # type: ignore[attr-defined]  # add_note of Python 3.11
    if isinstance(made, MongoError):
        made._add_error_label("AddedLater")
    made.__cause__ = ConnectionResetError(104, "reset")
    return made


def plain(value: Any) -> Any:
    """`value` in a form that compares by what it holds."""
    if isinstance(value, BaseException):
        return (type(value), str(value), plain(vars(value)), plain(value.__cause__))
    if isinstance(value, dict):
        return {plain(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(plain, value))
    slots = getattr(type(value), "__slots__", None)
    if type(value).__module__.startswith("mongokey") and isinstance(slots, tuple) and slots:
        return (type(value), *(plain(getattr(value, name, None)) for name in slots))
    return value


def everything(error: BaseException) -> list[Any]:
    attributes = [
        getattr(error, name)
        for name in ("code", "details", "document", "errors", "login", "timeout")
        if hasattr(error, name)
    ]
    return [
        type(error),
        str(error),
        repr(error),
        error.args,
        plain(vars(error)),
        plain(error.__cause__),
        error.__suppress_context__,
        plain(attributes),
    ]


def pickled(error: Any, protocol: int = pickle.DEFAULT_PROTOCOL) -> Any:
    return pickle.loads(pickle.dumps(error, protocol))


def test_the_walk_finds_the_classes() -> None:
    assert len(CLASSES) > 200
    assert {SRVError, AuthenticationFailed, mongokey.errors.InvalidBSON} <= set(ERRORS)


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_every_error_pickles_and_copies_with_all_that_it_holds(cls: type[BaseException]) -> None:
    error = make(cls)
    before = everything(error)
    if issubclass(cls, mongokey.errors.MongoError | mongokey.errors.BSONError):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert everything(pickled(error, protocol)) == before
        for again in (copy.copy(error), copy.deepcopy(error)):
            assert again is not error
            assert everything(again) == before
    else:
        again = pickled(error)
        assert (type(again), again.args, str(again)) == (cls, error.args, str(error))
        assert plain(vars(again)) == plain(vars(error))
    assert everything(error) == before, "the error itself is as it was"


class KeywordOnly(OperationFailure):
    def __init__(self, *, table: str) -> None:
        super().__init__(f"no table {table}", 26, {"errmsg": table})
        self.table = table


class Odd(SRVError):
    def __init__(self, first: int, *rest: int) -> None:
        super().__init__(f"{first} {rest}", Diagnosis("DNS-FAILED", CERTAIN, "odd"), "name")
        self.rest = rest


@pytest.mark.parametrize("error", [KeywordOnly(table="x"), Odd(1, 2, 3)])
def test_subclasses_with_constructors_of_their_own_do_too(error: MongoError) -> None:
    for again in (pickled(error), copy.copy(error), copy.deepcopy(error)):
        assert everything(again) == everything(error)


def test_what_cannot_be_pickled_travels_as_text() -> None:
    class Local(Exception):
        pass

    lock = threading.Lock()
    error = ServerSelectionTimeoutError("none", {("h", 1): Local("x"), "lock": [lock]})
    error.__cause__ = Local("the reason")
    again = pickled(error)
    assert again.errors[("h", 1)] == "Local('x')"
    assert "lock" in again.errors["lock"][0]
    assert isinstance(again.errors["lock"][0], str)
    assert str(again.__cause__) == "Local: the reason"
    assert copy.copy(error).errors is error.errors


class Unreadable(Exception):
    """Pickles, and cannot be read again: what hung a pool."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("unreadable")


def test_a_cause_that_cannot_be_read_again_does_not_take_the_error_along() -> None:
    error = AutoReconnect("lost")
    error.__cause__ = Unreadable(1, 2)
    assert str(pickled(error).__cause__) == "Unreadable: unreadable"


def test_the_facts_of_a_login_go_along_without_its_secrets() -> None:
    credential = MongoCredential(
        "MONGODB-AWS", "$external", "AKIAIOSFODNN7EXAMPLE", PASSWORD, {"AWS_SESSION_TOKEN": "t0ken"}
    )
    context = LoginContext(credential, ("h", 1), "MONGODB-AWS", HelloReply({"ok": 1, "hello": 1}))
    context.offered = ["A", "B"]
    context.diagnostic_context = threading.Lock()
    error = AuthenticationFailed("refused", 18, {"code": 18})
    error.login = context
    error.diagnoses = (Diagnosis("AUTH-CHANGED", CERTAIN, "text", ["seen"], "do this"),)
    data = pickle.dumps(error)
    for secret in (PASSWORD, "t0ken", "AKIAIOSFODNN7EXAMPLE"):
        assert secret.encode() not in data
    assert pickle.loads(data).diagnoses == error.diagnoses
    again = pickle.loads(data).login
    assert (again.address, again.mechanism, again.offered) == (("h", 1), "MONGODB-AWS", ["A", "B"])
    assert again.hello.document == {"ok": 1, "hello": 1}
    assert again.tried() == context.tried(), "it says the same in words"
    assert copy.copy(error).login is context


def raise_srv_error(number: int) -> None:
    attempt = Attempt("SRV a.b.c", "127.0.0.1:53", "UDP", "no answer")
    diagnosis = Diagnosis("DNS-TIMEOUT", CERTAIN, "no answer")
    raise SRVError(f"no answer {number}", diagnosis, "a.b.c", [attempt])


def raise_bulk_error(number: int) -> None:
    raise BulkWriteError({"nInserted": number, "writeErrors": []})


@pytest.mark.parametrize("task", [raise_srv_error, raise_bulk_error])
def test_a_pool_of_processes_gets_the_error(task: Any) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result = pool.apply_async(task, (5,))
        with pytest.raises(MongoError) as caught:
            result.get(60)
    if isinstance(caught.value, SRVError):
        assert (caught.value.code, caught.value.name) == ("DNS-TIMEOUT", "a.b.c")
        assert caught.value.attempts[0].outcome == "no answer"
        assert caught.value.timeout
    else:
        assert caught.value.details == {"nInserted": 5, "writeErrors": []}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_an_object_whose_init_did_not_finish_can_be_printed(cls: type) -> None:
    try:
        half_made = cls.__new__(cls)
    except TypeError:
        return  # abstract, or made whole by __new__
    assert isinstance(repr(half_made), str)
    assert isinstance(str(half_made), str)


def test_a_failing_constructor_leaves_objects_that_can_be_printed() -> None:
    class Remembered(mongokey.client_options.ClientOptions):
        pass

    with pytest.raises(ConfigurationError) as caught:
        mongokey.MongoClient("mongodb://h/?heartbeatFrequencyMS=1", username="u", password=PASSWORD)
    frames = inspect.getinnerframes(caught.tb)
    assert frames
    for frame in frames:
        for value in frame.frame.f_locals.values():
            repr(value)
    assert "not initialized" in repr(Remembered.__new__(Remembered))
