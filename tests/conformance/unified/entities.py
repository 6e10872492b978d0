"""The entities of a running test: clients, databases, collections, cursors, threads, values.

It knows how an entity is made from its description and ended after the test. What is done with
them stands in the modules of operations.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.conformance.unified.deployments import Deployment
from tests.conformance.unified.drivers import Driver, RunnerError, only, single
from tests.conformance.unified.events import COMMAND, EventCollector
from tests.conformance.unified.logs import LogCollector
from tests.conformance.unified.matching import Mismatch
from tests.conformance.unified.spans import SpanCollector

#: How long `waitForThread` waits, as the format says.
THREAD_WAIT = 10.0
#: How many answers `iterateUntilDocumentOrError` takes without a document.
MOST_ANSWERS = 20


@dataclass
class ClientEntity:
    """A client and what is observed of it."""

    name: str
    client: Any
    events: EventCollector
    logs: LogCollector | None = None
    spans: SpanCollector | None = None


@dataclass
class BucketEntity:
    """A bucket of GridFS."""

    bucket: Any


@dataclass
class EncryptionEntity:
    """A `ClientEncryption`."""

    encryption: Any


#: The local master key of the specification's test data (client-side-encryption/tests/README.md).
LOCAL_MASTER_KEY = (
    "Mng0NCt4ZHVUYUJCa1kxNkVyNUR1QURhZ2h2UzR2d2RrZzh0cFBwM3R6NmdWMDFBMUN3YkQ5aXRRMkhGRGdQV09wOGVN"
    "YUMxT2k3NjZKelhaQmRCZGJkTXVyZG9uSjFk"
)


class CursorEntity:
    """A cursor whose first document is fetched when it is made, and handed out first."""

    def __init__(self, driver: Driver, cursor: Any) -> None:
        self.driver = driver
        self.cursor = cursor
        self._first: list[Any] = []
        with contextlib.suppress(StopIteration):
            self._first.append(driver.call(cursor, "next"))

    def iterate_once(self) -> Any:
        """The next document, or None if one more answer of the server has none."""
        if self._first:
            return self._first.pop()
        try:
            return self.driver.call(self.cursor, "next")
        except StopIteration:
            return None

    def iterate_until_document(self) -> Any:
        """The next document, however many answers of the server it takes."""
        for _ in range(MOST_ANSWERS):
            document = self.iterate_once()
            if document is not None:
                return document
            if not self.cursor.alive:
                raise Mismatch("the cursor is at its end, a document was expected")
        raise Mismatch(f"no document came with {MOST_ANSWERS} answers")

    def close(self) -> None:
        """Close it; the format says that errors of closing are not looked at."""
        with contextlib.suppress(self.driver.errors.PyMongoError):
            self.driver.call(self.cursor, "close")


class ThreadEntity:
    """A thread that carries out operations one after the other."""

    def __init__(self, name: str) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def run(self, job: Callable[[], None]) -> None:
        """Begin a job as soon as those before it are done."""
        self._work.put(job)

    def finish(self) -> None:
        """Wait until every job is done; raises what one of them raised."""
        self._work.put(None)
        self._thread.join(THREAD_WAIT)
        if self._thread.is_alive():
            raise Mismatch(f"{self._thread.name} did not end within {THREAD_WAIT:g} s")
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _serve(self) -> None:
        for job in iter(self._work.get, None):
            try:
                job()
            except BaseException as error:
                self._error = error
                return


@dataclass
class Entities:
    """The entity map of one test: a name belongs to one entity only."""

    driver: Driver
    deployment: Deployment
    count_connections: bool = False
    #: For tests with fail points: a server that is taken for lost is found again soon.
    quick_heartbeats: bool = False
    #: Carries out an operation of the test, and raises its error even where it was expected.
    operate: Callable[[Mapping[str, Any]], None] | None = None
    _entities: dict[str, Any] = field(default_factory=dict)
    _session_ids: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, entity: Any) -> None:
        """Keep an entity. A name that is taken is an error."""
        with self._lock:
            if name in self._entities:
                raise RunnerError(f"there is an entity {name!r} already")
            self._entities[name] = entity

    def get(self, name: str, kind: type | None = None) -> Any:
        """The entity of that name, which has to be of that class."""
        with self._lock:
            if name not in self._entities:
                raise RunnerError(f"there is no entity {name!r}")
            entity = self._entities[name]
        if kind is not None and not isinstance(entity, kind):
            raise RunnerError(f"{name!r} is a {type(entity).__name__}, not a {kind.__name__}")
        return entity

    def client(self, name: str) -> ClientEntity:
        entity: ClientEntity = self.get(name, ClientEntity)
        return entity

    def value(self, name: str) -> Any:
        """A BSON value that was saved."""
        value = self.get(name)
        try:
            self.driver.element(value)
        except (TypeError, self.driver.bson.errors.BSONError):
            raise RunnerError(f"{name!r} is no BSON value but {value!r}") from None
        return value

    def session_id(self, name: str) -> Any:
        return self._session_ids[name]

    def session(self, name: str) -> Any:
        return self.get(name, self.driver.session_class)

    def is_session(self, entity: Any) -> bool:
        """Whether an entity is a session; a driver without sessions has none."""
        return bool(self._session_ids) and isinstance(entity, self.driver.session_class)

    def of_class(self, kind: type) -> Iterator[Any]:
        """Every entity of that class."""
        with self._lock:
            found = [each for each in self._entities.values() if isinstance(each, kind)]
        yield from found

    # -- making -------------------------------------------------------------------------------

    def create(self, descriptions: list[Mapping[str, Any]]) -> None:
        """Make entities, each from its description."""
        for description in descriptions:
            kind, spec = single(description)
            make = getattr(self, f"_make_{kind}", None)
            if make is None:
                raise RunnerError(f"{kind}: there are no entities of that kind here")
            self.add(spec["id"], make(spec))

    def _make_client(self, spec: Mapping[str, Any]) -> ClientEntity:
        only(
            spec,
            "id",
            "uriOptions",
            "useMultipleMongoses",
            "observeEvents",
            "ignoreCommandMonitoringEvents",
            "observeSensitiveCommands",
            "observeLogMessages",
            "observeTracingMessages",
            "serverApi",
            "awaitMinPoolSizeMS",
        )
        events = EventCollector(
            spec.get("observeEvents", ()),
            ignored=spec.get("ignoreCommandMonitoringEvents", ()),
            sensitive=spec.get("observeSensitiveCommands", False),
            count_connections=self.count_connections,
        )
        options = self.deployment.client_options(self.driver, spec.get("uriOptions", {}))
        is_quick = self.quick_heartbeats and "heartbeatFrequencyMS" not in options
        if is_quick:
            # The shortest that the option may be.
            options["heartbeatFrequencyMS"] = 500
        if self.driver.name == "mongokey":
            # The specifications' servers refuse a secret once, by a fail point.
            options.setdefault("loginBackoffMS", 0)
        if "serverApi" in spec:
            options["server_api"] = self.driver.server_api(spec["serverApi"])
        listeners = events.listeners(self.driver)
        if listeners:
            options["event_listeners"] = listeners
        is_direct = options.get("directConnection", False)
        uri = self.deployment.uri(spec.get("useMultipleMongoses"), direct=is_direct)
        logs = spans = None
        if "observeTracingMessages" in spec:
            spans = SpanCollector(self.driver, spec["observeTracingMessages"])
            options["tracing"] = spans.option
        if "observeLogMessages" in spec:
            logs = LogCollector(self.driver, spec["observeLogMessages"])
            logs.start()
        try:
            client = self.driver.client_class(uri, **options)
        except BaseException:
            if logs is not None:
                logs.stop()
            raise
        entity = ClientEntity(spec["id"], client, events, logs, spans)
        if is_quick:
            self.driver.quicken(client)
        if logs is not None:
            logs.follow(client)
        if logs is not None or events.kinds - COMMAND:
            self.driver.begin_discovery(client)
        wait_ms = spec.get("awaitMinPoolSizeMS", 0)
        if wait_ms and spec.get("uriOptions", {}).get("minPoolSize", 0):
            self._await_pools(entity, spec["uriOptions"]["minPoolSize"], wait_ms)
        return entity

    def _await_pools(self, entity: ClientEntity, size: int, wait_ms: int) -> None:
        self.driver.begin_discovery(entity.client)

        def are_full() -> bool:
            sizes = self.driver.pool_sizes(entity.client)
            return bool(sizes) and min(sizes) >= size

        wait_until(are_full, wait_ms / 1000, f"pools of {size} connections")
        entity.events.restart()

    def _make_database(self, spec: Mapping[str, Any]) -> Any:
        only(spec, "id", "client", "databaseName", "databaseOptions")
        client = self.client(spec["client"]).client
        options = self._options(spec.get("databaseOptions", {}))
        return client.get_database(spec["databaseName"], **options)

    def _make_collection(self, spec: Mapping[str, Any]) -> Any:
        only(spec, "id", "database", "collectionName", "collectionOptions")
        database = self.get(spec["database"], self.driver.database_class)
        options = self._options(spec.get("collectionOptions", {}))
        return database.get_collection(spec["collectionName"], **options)

    def _make_bucket(self, spec: Mapping[str, Any]) -> BucketEntity:
        only(spec, "id", "database", "bucketOptions")
        database = self.get(spec["database"], self.driver.database_class)
        given = dict(spec.get("bucketOptions", {}))
        # Neither driver computes an MD5, whatever this says.
        given.pop("disableMD5", None)
        options = {
            name: given.pop(key)
            for key, name in (("bucketName", "bucket_name"), ("chunkSizeBytes", "chunk_size_bytes"))
            if key in given
        }
        options |= self._options(given)
        if "read_concern" in options:
            # PyMongo's buckets have the database's.
            database = database.with_options(read_concern=options.pop("read_concern"))
        if "timeout_ms" in options:
            # And their timeoutMS.
            database = database.with_options(timeout_ms=options.pop("timeout_ms"))
        return BucketEntity(self.driver.bucket(database, **options))

    def _make_clientEncryption(self, spec: Mapping[str, Any]) -> EncryptionEntity:
        only(spec, "id", "clientEncryptionOpts")
        given = dict(spec["clientEncryptionOpts"])
        only(given, "keyVaultClient", "keyVaultNamespace", "kmsProviders", "keyExpirationMS")
        providers = {
            name: {key: self._filled_in(key, value) for key, value in provider.items()}
            for name, provider in given["kmsProviders"].items()
        }
        return EncryptionEntity(
            self.driver.client_encryption(
                self.client(given["keyVaultClient"]).client,
                providers,
                given["keyVaultNamespace"],
                codec_options=self.driver.bson.CodecOptions(),
                key_expiration_ms=given.get("keyExpirationMS"),
            )
        )

    @staticmethod
    def _filled_in(key: str, value: Any) -> Any:
        """A field of a KMS provider; the tests' own where a placeholder stands."""
        if not isinstance(value, Mapping):
            return value
        return {"key": LOCAL_MASTER_KEY, "privateKey": "cHJpdmF0ZUtleQo="}.get(key, "placeholder")

    def _options(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        only(spec, "readConcern", "readPreference", "writeConcern", "timeoutMS")
        options = {}
        if "timeoutMS" in spec:
            options["timeout_ms"] = spec["timeoutMS"]
        if "readConcern" in spec:
            options["read_concern"] = self.driver.read_concern(spec["readConcern"])
        if "readPreference" in spec:
            options["read_preference"] = self.driver.read_preference(spec["readPreference"])
        if "writeConcern" in spec:
            options["write_concern"] = self.driver.write_concern(spec["writeConcern"])
        return options

    def _make_session(self, spec: Mapping[str, Any]) -> Any:
        only(spec, "id", "client", "sessionOptions")
        client = self.client(spec["client"]).client
        options = self.driver.session_options(spec.get("sessionOptions", {}))
        session = self.driver.call(client, "start_session", **options)
        # It is asked for when the session may have ended.
        self._session_ids[spec["id"]] = session.session_id
        return session

    def _make_thread(self, spec: Mapping[str, Any]) -> ThreadEntity:
        only(spec, "id")
        return ThreadEntity(spec["id"])

    # -- ending -------------------------------------------------------------------------------

    def close(self) -> None:
        """End every entity; the first error of a thread is raised when all are ended."""
        failure: BaseException | None = None
        for thread in self.of_class(ThreadEntity):
            try:
                thread.finish()
            except BaseException as error:
                failure = failure or error
        for cursor in self.of_class(CursorEntity):
            cursor.close()
        if self._session_ids:
            for session in self.of_class(self.driver.session_class):
                self.driver.call(session, "end_session")
        for entity in self.of_class(ClientEntity):
            self.driver.call(entity.client, "close")
            if entity.logs is not None:
                entity.logs.stop()
        if failure is not None:
            raise failure


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition that nobody reports; raises `Mismatch` when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Mismatch(f"{what}: not within {seconds:g} s")
        time.sleep(0.005)
