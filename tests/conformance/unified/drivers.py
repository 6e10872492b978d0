"""The driver that a unified test runs: mongokey, or PyMongo to tell our faults from a server's.

It knows where a driver's names stand, and how its methods are called; the asyncio face is a
subclass, whose clients have the blocking API by `tests.faces`. Must not know tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import Any

from tests.faces import wrapper

#: BSON's type bytes by the names that the `$type` query operator has for them.
TYPES: Mapping[str, int] = {
    "double": 0x01,
    "string": 0x02,
    "object": 0x03,
    "array": 0x04,
    "binData": 0x05,
    "undefined": 0x06,
    "objectId": 0x07,
    "bool": 0x08,
    "date": 0x09,
    "null": 0x0A,
    "regex": 0x0B,
    "dbPointer": 0x0C,
    "javascript": 0x0D,
    "symbol": 0x0E,
    "javascriptWithScope": 0x0F,
    "int": 0x10,
    "timestamp": 0x11,
    "long": 0x12,
    "decimal": 0x13,
    "maxKey": 0x7F,
    "minKey": 0xFF,
}
#: What the alias "number" stands for.
NUMBERS = frozenset(TYPES[name] for name in ("double", "int", "long", "decimal"))

#: For tests with fail points: a server that is taken for lost is found again soon.
QUICK_HEARTBEAT_NS = 50_000_000


class Driver:
    """A driver by its name, "mongokey" or "pymongo"; its blocking face."""

    face = "blocking"

    def __init__(self, name: str) -> None:
        self.name = name
        self.root = import_module(name)

    def module(self, name: str) -> ModuleType:
        """A module under the driver's package."""
        return import_module(f"{self.name}.{name}")

    @cached_property
    def errors(self) -> ModuleType:
        return self.module("errors")

    @cached_property
    def bson(self) -> ModuleType:
        """PyMongo's stands beside it, mongokey's within it."""
        return import_module("bson" if self.name == "pymongo" else f"{self.name}.bson")

    @cached_property
    def json_util(self) -> ModuleType:
        return import_module(f"{self.bson.__name__}.json_util")

    @cached_property
    def client_class(self) -> type:
        return self.root.MongoClient  # type: ignore[no-any-return]

    @cached_property
    def database_class(self) -> type:
        return self.module("database").Database  # type: ignore[no-any-return]

    @cached_property
    def collection_class(self) -> type:
        return self.module("collection").Collection  # type: ignore[no-any-return]

    @cached_property
    def session_class(self) -> type:
        return self.module("client_session").ClientSession  # type: ignore[no-any-return]

    @cached_property
    def gridfs(self) -> ModuleType:
        """PyMongo's stands beside it, mongokey's within it."""
        return import_module("gridfs" if self.name == "pymongo" else f"{self.name}.gridfs")

    @property
    def has_time_limits(self) -> bool:
        """Whether timeoutMS is an argument of methods, as `timeout_ms`, and not only of the client
        and of a block."""
        return self.name == "mongokey"

    def bucket(self, database: Any, **options: Any) -> Any:
        """A bucket of GridFS."""
        return self.gridfs.GridFSBucket(database, **options)

    def client_encryption(self, client: Any, *arguments: Any, **options: Any) -> Any:
        """A `ClientEncryption`: of `kms_providers`, namespace, the client of the key vault."""
        return self.module("encryption").ClientEncryption(
            *arguments, key_vault_client=client, **options
        )

    def has_method(self, kind: str, name: str) -> bool:
        """Whether a client, database, collection, session, bucket or encryption has a method."""
        if kind == "bucket":
            return hasattr(self.gridfs.GridFSBucket, name)
        if kind == "clientEncryption":
            return hasattr(self.module("encryption").ClientEncryption, name)
        classes = {
            "client": self.client_class,
            "database": self.database_class,
            "collection": self.collection_class,
        }
        return hasattr(self.session_class if kind == "session" else classes[kind], name)

    # -- sessions -----------------------------------------------------------------------------

    def session_options(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `start_session`."""
        known = ("causalConsistency", "snapshot", "defaultTransactionOptions", "defaultTimeoutMS")
        only(spec, *known)
        options: dict[str, Any] = {}
        if "defaultTimeoutMS" in spec:
            options["default_timeout_ms"] = spec["defaultTimeoutMS"]
        if "causalConsistency" in spec:
            options["causal_consistency"] = spec["causalConsistency"]
        if "snapshot" in spec:
            options["snapshot"] = spec["snapshot"]
        if "defaultTransactionOptions" in spec:
            options["default_transaction_options"] = self._transaction_options(
                spec["defaultTransactionOptions"]
            )
        return options

    def _transaction_options(self, spec: Mapping[str, Any]) -> Any:
        only(spec, "readConcern", "writeConcern", "readPreference", "maxCommitTimeMS")
        options: dict[str, Any] = {"max_commit_time_ms": spec.get("maxCommitTimeMS")}
        if "readConcern" in spec:
            options["read_concern"] = self.read_concern(spec["readConcern"])
        if "writeConcern" in spec:
            options["write_concern"] = self.write_concern(spec["writeConcern"])
        if "readPreference" in spec:
            options["read_preference"] = self.read_preference(spec["readPreference"])
        return self.module("client_session").TransactionOptions(**options)

    def is_dirty(self, session: Any) -> bool:
        """Whether the server session of a session is not used again."""
        return bool(session._server_session.dirty)

    def pinned_address(self, session: Any) -> Any:
        """The server that a session's transaction is pinned to, (host, port), or None."""
        transaction = session._transaction
        if self.name == "pymongo":
            return transaction.pinned_address
        return None if transaction.server is None else transaction.server.address

    def transaction_state(self, session: Any) -> str:
        """What the format calls the state of a session's transaction."""
        state = session._transaction.state
        module = self.module("client_session" if self.name == "pymongo" else "sessions.transaction")
        states = module._TxnState if self.name == "pymongo" else module
        names = {
            "none": (states.NONE,),
            "starting": (states.STARTING,),
            "in_progress": (states.IN_PROGRESS,),
            "committed": (states.COMMITTED, states.COMMITTED_EMPTY),
            "aborted": (states.ABORTED,),
        }
        return next(name for name, members in names.items() if state in members)

    # -- calling ------------------------------------------------------------------------------

    def call(self, target: Any, method: str, **arguments: Any) -> Any:
        """What a method returns."""
        return getattr(target, method)(**arguments)

    def drain(self, cursor: Any) -> list[Any]:
        """All documents of a cursor."""
        return list(cursor)

    @contextmanager
    def short_waits(self) -> Iterator[None]:
        """Where servers may be checked again sooner than 500 ms after the last check, as the
        format allows for tests with fail points."""
        if self.name == "pymongo":
            yield
            return
        monitor = self.module("topology.server_monitor")
        former = monitor.MIN_HEARTBEAT_NS
        monitor.MIN_HEARTBEAT_NS = QUICK_HEARTBEAT_NS
        try:
            yield
        finally:
            monitor.MIN_HEARTBEAT_NS = former

    def quicken(self, client: Any) -> None:
        """Have a client that has done nothing yet check its servers often."""
        if self.name == "mongokey":
            # As options that are never less than 500 ms are checked, it cannot be said by one. A
            # copy, as clients of the same arguments may share their options.
            options = client._context.options
            quick = object.__new__(type(options))
            vars(quick).update(vars(options), heartbeat_frequency_ns=QUICK_HEARTBEAT_NS)
            client._context.options = quick

    def begin_discovery(self, client: Any) -> None:
        """Have a client look for its servers now, without waiting for them.

        PyMongo's do when they are made; ours with the first operation.
        """
        if self.name == "mongokey":
            client._topology.open()

    def pool_sizes(self, client: Any) -> list[int]:
        """How many connections wait in the pool of each server."""
        if self.name == "pymongo":
            return [len(each.pool.conns) for each in client._topology._servers.values()]
        return [pool.idle_count for pool in client._topology.pools]

    def topology_id(self, client: Any) -> str:
        """What log records of a client have as its id."""
        if self.name == "pymongo":
            return str(client._topology_id)
        return str(client._context.publisher.topology_id)

    # -- values -------------------------------------------------------------------------------

    def load(self, text: str) -> Any:
        """Extended JSON as the driver's values."""
        return self.json_util.loads(text)

    def element(self, value: Any) -> bytes:
        """A value as BSON: the type's byte, an empty name, the value."""
        encoded: bytes = self.bson.encode({"": value})
        return encoded[4:-1]

    def type_of(self, value: Any) -> int:
        """The byte of a value's BSON type."""
        return self.element(value)[0]

    def read_concern(self, spec: Mapping[str, Any]) -> Any:
        return self.module("read_concern").ReadConcern(only(spec, "level").get("level"))

    def write_concern(self, spec: Mapping[str, Any]) -> Any:
        only(spec, "w", "journal", "wtimeoutMS")
        return self.module("write_concern").WriteConcern(
            w=spec.get("w"), j=spec.get("journal"), wtimeout=spec.get("wtimeoutMS")
        )

    def read_preference(self, spec: Mapping[str, Any]) -> Any:
        only(spec, "mode", "tagSets", "maxStalenessSeconds", "hedge")
        module = self.module("read_preferences")
        kind = getattr(module, spec["mode"][0].upper() + spec["mode"][1:])
        if kind is module.Primary:
            only(spec, "mode")
            return kind()
        options = {
            "tag_sets": spec.get("tagSets"),
            "max_staleness": spec.get("maxStalenessSeconds", -1),
        }
        if "hedge" in spec:
            options["hedge"] = spec["hedge"]
        return kind(**options)

    def server_api(self, spec: Mapping[str, Any]) -> Any:
        only(spec, "version", "strict", "deprecationErrors")
        return self.module("server_api").ServerApi(
            spec["version"],
            strict=spec.get("strict"),
            deprecation_errors=spec.get("deprecationErrors"),
        )


class AsyncioDriver(Driver):
    """A driver's asyncio face: its classes wrapped, so that they are used as blocking ones."""

    face = "asyncio"

    @cached_property
    def client_class(self) -> type:
        return wrapper.client_class(self.root.AsyncMongoClient)  # type: ignore[no-any-return]

    database_class = wrapper.WrappedDatabase
    collection_class = wrapper.WrappedCollection
    session_class = wrapper.WrappedClientSession

    @property
    def has_time_limits(self) -> bool:
        """Whether timeoutMS is an argument of methods, as `timeout_ms`, and not only of the client
        and of a block."""
        return self.name == "mongokey"

    def bucket(self, database: Any, **options: Any) -> Any:
        return wrapper.made_of(self.gridfs.AsyncGridFSBucket, database, **options)

    def client_encryption(self, client: Any, *arguments: Any, **options: Any) -> Any:
        kind = self.module("asynchronous.encryption").AsyncClientEncryption
        return client._method(kind)(*arguments, key_vault_client=client, **options)

    def has_method(self, kind: str, name: str) -> bool:
        if kind == "bucket":
            return hasattr(self.gridfs.AsyncGridFSBucket, name)
        if kind == "clientEncryption":
            return hasattr(self.module("asynchronous.encryption").AsyncClientEncryption, name)
        home = {"client": "mongo_client", "session": "client_session"}.get(kind, kind)
        class_name = {"client": "AsyncMongoClient", "session": "AsyncClientSession"}.get(
            kind, f"Async{kind.capitalize()}"
        )
        return hasattr(getattr(self.module(f"asynchronous.{home}"), class_name), name)

    def begin_discovery(self, client: Any) -> None:
        client.aconnect()


#: The driver classes by the face that they test.
FACES: Mapping[str, type[Driver]] = {each.face: each for each in (Driver, AsyncioDriver)}


class RunnerError(Exception):
    """A test asks for what the format does not have, or the runner does not know.

    Never taken for an error that a test expects of the driver.
    """


def only(mapping: Mapping[str, Any], *known: str) -> Mapping[str, Any]:
    """The mapping, if it has no other keys than these; a key passed over would test less."""
    unknown = sorted(set(mapping) - set(known))
    if unknown:
        raise RunnerError(f"{', '.join(unknown)}: not known here; known are {', '.join(known)}")
    return mapping


def single(mapping: Mapping[str, Any]) -> tuple[str, Any]:
    """The only key of a mapping, and its value."""
    if len(mapping) != 1:
        raise RunnerError(f"one key is expected, not {list(mapping)}")
    return next(iter(mapping.items()))
