"""The pytest plugin of tools/pymongo_tests.py: what each test of PyMongo's came to, and why.

It writes one line of JSON for each test into the file that `RESULTS_VARIABLE` names. Where mongokey
stands for PyMongo, a name of PyMongo's inside that mongokey has not is a `Missing`: it can be
imported and named, so that a file's other tests run, and using it fails the test with its name.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import threading
import weakref
from collections.abc import Iterable
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

RESULTS_VARIABLE = "PYMONGO_TESTS_RESULTS"

#: The names that were used, since the test that runs now began.
used: list[str] = []


class NeedsPrivate(Exception):
    """A test uses a name that mongokey has not."""


def _use(name: str) -> NeedsPrivate:
    used.append(name)
    return NeedsPrivate(name)


class Missing:
    """What stands for a name that there is not: it may be held and inherited from, not used."""

    def __init__(self, name: str) -> None:
        self.__dict__["missing_name"] = name

    def __mro_entries__(self, bases: tuple[type, ...]) -> tuple[type, ...]:
        name = self.missing_name

        def refuse(*_: Any, **__: Any) -> Any:
            raise _use(name)

        return (type(name.rpartition(".")[2], (), {"__new__": refuse}),)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        offered = HARNESS.get(self.missing_name, {})
        if name in offered:
            return offered[name]
        raise _use(f"{self.missing_name}.{name}")

    def __setattr__(self, name: str, value: object) -> None:
        raise _use(f"{self.missing_name}.{name}")

    def __repr__(self) -> str:
        return f"<no {self.missing_name}>"

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise _use(self.missing_name)

    def __hash__(self) -> int:
        return id(self)

    __call__ = __instancecheck__ = __subclasscheck__ = __iter__ = __getitem__ = _refuse
    __bool__ = __len__ = __contains__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__ = _refuse  # type: ignore[assignment]
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __int__ = __index__ = _refuse
    __enter__ = __exit__ = __str__ = __or__ = _refuse  # type: ignore[assignment]


class _MissingModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _offered(self.__name__, name)


class _Finder:
    """Finds a module of PyMongo's that mongokey has not, and lets one that it has lack nothing."""

    def __init__(self, stand_in: Any) -> None:
        self.stand_in = stand_in

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] not in ("pymongo", "bson", "gridfs"):
            return None
        try:
            spec = self.stand_in.find_spec(name, path, target)
        except ModuleNotFoundError:
            return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]
        spec.loader = _Completing(spec.loader)
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _MissingModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing in it."""


class _Completing:
    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> Any:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        self.loader.exec_module(module)
        _complete(name, sys.modules[name])


def _complete(public: str, module: ModuleType) -> None:
    """Have the tests find a `Missing` where the module has no such name; mongokey finds none."""
    before = vars(module).get("__getattr__")
    if getattr(before, "completes", False):
        return

    def find(name: str) -> Any:
        try:
            if before is not None:
                return before(name)
        except AttributeError:
            pass
        if name.startswith("__") or _asker() == "mongokey" or _is_module(f"{public}.{name}"):
            raise AttributeError(f"module {public!r} has no attribute {name!r}")
        return _offered(public, name)

    find.completes = True  # type: ignore[attr-defined]
    vars(module)["__getattr__"] = find


def _asker() -> str:
    """The package of the code that asks, whatever of the import system stands between."""
    frame = sys._getframe(2)
    while frame.f_back is not None and "importlib" in frame.f_globals.get("__name__", ""):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_module(name: str) -> bool:
    try:
        return _stand_in is not None and _stand_in.find_spec(name) is not None  # type: ignore[attr-defined]
    except ModuleNotFoundError:
        return False


def _yes() -> bool:
    return True


def _as_it_is(function: Any) -> Any:
    return function


class _Never:
    """False, and yet there."""

    def __bool__(self) -> bool:
        return False


async def _wait_for(condition: asyncio.Condition, timeout: float | None) -> bool:
    try:
        return await asyncio.wait_for(condition.wait(), timeout)
    except asyncio.TimeoutError:
        return False


class _Version(tuple[int, ...]):
    """A server's version, which the tests' helpers compare."""

    __slots__ = ()

    def __new__(cls, *numbers: int) -> _Version:
        return super().__new__(cls, (*numbers, 0, 0, 0, 0)[: max(4, len(numbers))])

    @classmethod
    def from_string(cls, text: str) -> _Version:
        release, _, rest = text.partition("-")
        return cls(*map(int, release.split(".")[:3]), *((-1,) if rest else ()))

    @classmethod
    def from_version_array(cls, numbers: Iterable[int]) -> _Version:
        first = list(numbers)
        return cls(*first[:3], *((-1,) if first[3] < 0 else ()))

    def at_least(self, *numbers: int) -> bool:
        return self >= type(self)(*numbers)

    def __str__(self) -> str:
        return ".".join(map(str, self))


# What only the tests' own helpers need, and what does as well for them.
_COUNTED = {"insert": "documents", "update": "updates", "delete": "deletes", "bulkWrite": "ops"}
_SENSITIVE = ("authenticate", "saslstart", "saslcontinue", "getnonce", "createuser", "updateuser")
HARNESS: dict[str, dict[str, Any]] = {
    "pymongo._csot": {"apply": _as_it_is},
    "pymongo.common": {"MAX_ADAPTIVE_RETRIES": 2, "Version": _Version},
    "pymongo.compression_support": {"_have_zlib": _yes},
    "pymongo.encryption_options": {"_HAVE_PYMONGOCRYPT": _Never()},
    "pymongo.helpers_shared": {"_SENSITIVE_COMMANDS": {*_SENSITIVE}},
    "pymongo.lock": {
        "_create_lock": threading.Lock,
        "_create_condition": threading.Condition,
        "_cond_wait": threading.Condition.wait,
        "_async_create_lock": asyncio.Lock,
        "_async_create_condition": asyncio.Condition,
        "_async_cond_wait": _wait_for,
    },
    "pymongo.pool_options": {"_AGENT_ENV_VARS": [], "_GENERIC_AGENT_ENV_VAR": "AI_AGENT"},
    "pymongo.synchronous.helpers": {"next": next, "iter": iter},
    "pymongo.asynchronous.helpers": {"anext": anext, "aiter": aiter},
    "pymongo.monitoring": {"_SENSITIVE_COMMANDS": {*_SENSITIVE}},
    "pymongo.message": {"_FIELD_MAP": _COUNTED},
    "pymongo.pool_shared": {"_TLS_SESSION_REUSE_LEAKS": False},
    "pymongo.ssl_support": {"HAVE_SSL": True, "_ssl": SimpleNamespace(IS_PYOPENSSL=False)},
}


#: PyMongo's bases of events, for which the unified runner asks `isinstance`: how their names begin.
_BASES = {
    "_CommandEvent": ("Command",),
    "_ConnectionEvent": ("Connection",),
    "_PoolEvent": ("Pool",),
    "_ServerEvent": ("ServerOpening", "ServerClosed", "ServerDescription"),
    "_ServerHeartbeatEvent": ("ServerHeartbeat",),
}


def _events(base: str) -> tuple[type, ...]:
    events = vars(import_module("pymongo.monitoring"))
    return tuple(
        found
        for name, found in events.items()
        if name.startswith(_BASES[base]) and name.endswith("Event")
    )


def _show_sessions() -> None:
    """Give a client's topology what the helpers look at: cluster time and idle sessions."""
    from mongokey.bson import decode
    from mongokey.bson.binary import Binary
    from mongokey.faces.client_base import ClientBase
    from mongokey.topology.topology import Topology

    begin = ClientBase._begin

    def begin_and_show(self: Any, options: Any) -> None:
        begin(self, options)
        executor = self._executor
        self._topology._executor_of_client = weakref.ref(executor)

    def max_cluster_time(self: Any) -> Any:
        encoded = self._executor_of_client().cluster_time.encoded
        return None if encoded is None else decode(encoded)

    def session_pool(self: Any) -> list[Any]:
        return [
            SimpleNamespace(session_id={"id": Binary(each.session_id, 4)})
            for each in self._executor_of_client().sessions.idle
        ]

    ClientBase._begin = begin_and_show  # type: ignore[method-assign]
    vars_of_topology: Any = Topology
    vars_of_topology.max_cluster_time = max_cluster_time
    vars_of_topology._session_pool = property(session_pool)
    vars_of_topology._topology_id = Topology.topology_id
    clients: Any = ClientBase
    clients._topology_settings = property(_settings_of)


def _heed_knobs() -> None:
    """Have monitors check as often as the helper `client_knobs` says: PyMongo's tests wait for a
    check after each error of a server, which otherwise comes every 10 seconds."""
    from mongokey._support.deadline import Timeout
    from mongokey.topology.server_monitor import ServerMonitor

    common: Any = import_module("pymongo.common")
    usual = common.HEARTBEAT_FREQUENCY
    made = ServerMonitor.__init__

    def make(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        seconds = common.HEARTBEAT_FREQUENCY
        if seconds < usual and self._heartbeat.ns == usual * 1_000_000_000:
            self._heartbeat = Timeout(int(seconds * 1e9), "heartbeatFrequencyMS")

    ServerMonitor.__init__ = make  # type: ignore[method-assign]


def _kill_cursor_of(change_stream: Any, client: Any) -> Any:
    """In place of the helper `kill_change_stream_cursor`: have the server forget the cursor."""
    from mongokey.bson.int64 import Int64

    cursor = change_stream._server_cursor.server_cursor
    database = client[cursor.namespace.database]
    return database.command("killCursors", cursor.namespace.collection, cursors=[Int64(cursor.id)])


def _kill_cursors(cls: type) -> None:
    killer = vars(cls).get("kill_change_stream_cursor")
    if killer is None:
        return
    if asyncio.iscoroutinefunction(killer):
        context = sys.modules["test.asynchronous"].async_client_context
    else:
        context = sys.modules["test"].client_context
    cls.kill_change_stream_cursor = (  # type: ignore[attr-defined]
        lambda self, change_stream: _kill_cursor_of(change_stream, context.client)
    )


class _Settings:
    def __init__(self, topology_id: Any) -> None:
        self._topology_id = topology_id

    def __getattr__(self, name: str) -> Any:
        raise _use("MongoClient._topology_settings")


def _settings_of(client: Any) -> Any:
    return _Settings(client._topology.topology_id)


def _offered(module: str, name: str) -> Any:
    offered = HARNESS.get(module, {})
    if module == "pymongo.monitoring" and name in _BASES:
        return _events(name)
    if module == "pymongo.bulk_shared" and name == "BulkWriteError":
        return import_module("pymongo.errors").BulkWriteError
    return offered[name] if name in offered else Missing(f"{module}.{name}")


_stand_in = next((f for f in sys.meta_path if type(f).__module__ == "mongokey.stand_in"), None)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    if _stand_in is not None:
        sys.meta_path.insert(0, _Finder(_stand_in))  # type: ignore[arg-type]
        import pymongo

        _complete("pymongo", pymongo)
        _show_sessions()
        _heed_knobs()


def pytest_configure(config: pytest.Config) -> None:
    if _stand_in is not None:
        # PyMongo has no such advice; its tests make hundreds of clients, and warnings fail them.
        config.addinivalue_line("filterwarnings", "ignore::mongokey.errors.ManyClientsWarning")
    config.pluginmanager.register(_Recorder(os.environ[RESULTS_VARIABLE], _stand_in is not None))


_PRIVATE_ATTRIBUTE_SET = re.compile(
    r"cannot set '(?P<name>_\w+)' attribute of immutable type '(?P<owner>[\w.]+)'"
)
_PRIVATE_ATTRIBUTE = re.compile(
    r"AttributeError: (?:type object |module )?'?(?P<owner>[\w.]+)'?(?: object)? "
    r"(?:has no attribute|does not have the attribute|object attribute) '(?P<name>_\w+)'"
)


_PRIVATE_OPTION = re.compile(r"unknown option (?P<name>_\w+)")
_NO_TYPE = re.compile(r"not a type object \((?P<name>Missing)\)")


class _Recorder:
    def __init__(self, path: str, stands_in: bool) -> None:
        self.path = path
        self.stands_in = stands_in
        self.outcomes: dict[str, dict[str, Any]] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if not self.stands_in:
            return
        for cls in {base for item in items for base in getattr(item.cls, "__mro__", ())}:
            _kill_cursors(cls)
        # At the end it looks for PyMongo's threads among all objects, by PyMongo's own classes.
        for name in ("test", "test.asynchronous"):
            module = sys.modules.get(name)
            if module is not None:
                vars(module)["print_running_clients"] = _nothing

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and report.nodeid:
            self._note(report.nodeid, "failed", report.longreprtext)
            self._write(report.nodeid)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        used.clear()
        with open(self.path + ".now", "w") as file:
            file.write(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            expected = getattr(report, "wasxfail", None) is not None
            self._note(
                report.nodeid, "xfailed" if expected else report.outcome, report.longreprtext
            )

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._write(nodeid)
        if self.stands_in:
            # A test that sets them and fails is not to spoil those after it.
            for name in ("MongoClient", "AsyncMongoClient"):
                cls = getattr(import_module("pymongo"), name)
                cls.HOST, cls.PORT = "localhost", 27017

    def _note(self, nodeid: str, outcome: str, text: str) -> None:
        order = ("xfailed", "skipped", "passed", "failed")
        entry = self.outcomes.setdefault(nodeid, {"outcome": outcome, "private": [], "text": ""})
        if order.index(outcome) > order.index(entry["outcome"]):
            entry["outcome"] = outcome
        if outcome == "failed":
            found = [f"{m['owner']}.{m['name']}" for m in _PRIVATE_ATTRIBUTE.finditer(text)]
            found += [f"{m['owner']}.{m['name']}" for m in _PRIVATE_ATTRIBUTE_SET.finditer(text)]
            found += [f"MongoClient({m['name']}=)" for m in _PRIVATE_OPTION.finditer(text)]
            found += ["object.__new__ of a private class" for _ in _NO_TYPE.finditer(text)]
            entry["private"] = sorted({*entry["private"], *used, *found})
            entry["text"] += text[-4000:] + "\n"
        elif outcome == "skipped" and not entry["text"]:
            entry["text"] = text[-300:]

    def _write(self, nodeid: str) -> None:
        entry = self.outcomes.pop(nodeid, None)
        if entry is not None:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"id": nodeid, **entry}) + "\n")


def _nothing() -> None:
    """In place of one that looks at every object of the process."""
