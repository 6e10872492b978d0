"""What operations of the format are in PyMongo's API: methods, their arguments, their results.

Tables for each kind of object; an argument that stands in no table is an error, as the format
asks. Operations on the runner itself stand in `runner_operations`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.conformance.unified import results
from tests.conformance.unified.drivers import Driver, RunnerError, single
from tests.conformance.unified.entities import (
    BucketEntity,
    ClientEntity,
    CursorEntity,
    EncryptionEntity,
    Entities,
)
from tests.conformance.unified.matching import UNSET, Matcher

#: How an operation's result is compared: as a document that may have further keys, as a list of
#: such documents, or as a value.
ROOT, ROOTS, VALUE = "root", "roots", "value"


@dataclass(frozen=True)
class Operation:
    """One method: `arguments` are its keywords by the format's names of them.

    `result` makes a document of what it returns; `compare` is ROOT, ROOTS or VALUE; `drain` says
    that it returns a cursor, to be read to its end.
    """

    method: str
    arguments: Mapping[str, str]
    result: Callable[[Driver, Any], Any] = results.as_is
    compare: str = VALUE
    drain: bool = False
    #: Arguments of the format that have to be there, where a method of PyMongo's has a default.
    required: tuple[str, ...] = ()
    #: Builds what the method takes, where that is not a matter of names.
    prepare: Callable[[Driver, dict[str, Any]], dict[str, Any]] | None = None
    #: Does it, where it is not one call of one method.
    run: Callable[[Driver, Any, dict[str, Any]], Any] | None = None


def snake(name: str) -> str:
    """A name of the format as Python spells it: maxTimeMS -> max_time_ms."""
    return re.sub(r"(?<=[a-z])[A-Z]+", lambda found: f"_{found[0].lower()}", name)


def _snake(names: str) -> dict[str, str]:
    return {name: snake(name) for name in names.split()}


def _same(names: str) -> dict[str, str]:
    return {name: name for name in names.split()}


# -- arguments ------------------------------------------------------------------------------------


def _return_document(driver: Driver, arguments: dict[str, Any]) -> dict[str, Any]:
    if "return_document" in arguments:
        name = str(arguments["return_document"]).upper()
        if name not in ("BEFORE", "AFTER"):
            raise RunnerError(f"{arguments['return_document']!r} is no returnDocument")
        enum = driver.module("collection").ReturnDocument
        arguments["return_document"] = getattr(enum, name)
    return arguments


def _batch_size_in_cursor(driver: Driver, arguments: dict[str, Any]) -> dict[str, Any]:
    """PyMongo has no argument for it here; the command's further fields are keywords."""
    if "batch_size" in arguments:
        arguments["cursor"] = {"batchSize": arguments.pop("batch_size")}
    return arguments


def _cursor_type(driver: Driver, arguments: dict[str, Any]) -> dict[str, Any]:
    if "cursor_type" in arguments:
        names = {
            "nonTailable": "NON_TAILABLE",
            "tailable": "TAILABLE",
            "tailableAwait": "TAILABLE_AWAIT",
        }
        enum = driver.module("cursor").CursorType
        arguments["cursor_type"] = getattr(enum, names[arguments["cursor_type"]])
    return arguments


REQUESTS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "insertOne": ("InsertOne", _snake("document")),
    "updateOne": (
        "UpdateOne",
        _snake("filter update upsert collation arrayFilters hint sort"),
    ),
    "updateMany": ("UpdateMany", _snake("filter update upsert collation arrayFilters hint")),
    "replaceOne": ("ReplaceOne", _snake("filter replacement upsert collation hint sort")),
    "deleteOne": ("DeleteOne", _snake("filter collation hint")),
    "deleteMany": ("DeleteMany", _snake("filter collation hint")),
}


@dataclass(frozen=True)
class _Request:
    """A request of a bulk write that is made when the write is: its refusals are the write's."""

    kind: type
    arguments: Mapping[str, Any]

    def make(self) -> Any:
        return self.kind(**self.arguments)


def _requests(driver: Driver, arguments: dict[str, Any]) -> dict[str, Any]:
    return {**arguments, "requests": _made_of(driver, arguments["requests"])}


def _models(driver: Driver, arguments: dict[str, Any]) -> dict[str, Any]:
    return {**arguments, "models": _made_of(driver, arguments["models"], namespace="namespace")}


def _made_of(driver: Driver, specs: list[Any], **further: str) -> list[_Request]:
    """The requests of a bulk write; `further` are arguments that all of them have here."""
    operations = driver.module("operations")
    requests = []
    for each in specs:
        name, spec = single(each)
        if name not in REQUESTS:
            raise RunnerError(f"{name}: there is no such request")
        kind, known = REQUESTS[name]
        arguments = rename(spec, {**known, **further}, name)
        requests.append(_Request(getattr(operations, kind), arguments))
    return requests


def _bulk_write(driver: Driver, collection: Any, arguments: dict[str, Any]) -> Any:
    made = [request.make() for request in arguments.pop("requests")]
    return driver.call(collection, "bulk_write", requests=made, **arguments)


def _client_bulk_write(driver: Driver, client: Any, arguments: dict[str, Any]) -> Any:
    made = [model.make() for model in arguments.pop("models")]
    return driver.call(client, "bulk_write", models=made, **arguments)


def _modify_collection(driver: Driver, database: Any, arguments: dict[str, Any]) -> Any:
    name = arguments.pop("collection")
    command = {"collMod": name, **arguments}
    return driver.call(database, "command", command=command)


def _run_command(driver: Driver, arguments: dict[str, Any]) -> dict[str, Any]:
    # The command's name comes first in Python's dicts as it did in the file.
    name, command = arguments.pop("command_name", None), arguments["command"]
    if name is not None and next(iter(command)) != name:
        raise RunnerError(f"the command's first key is not {name}")
    return arguments


def _run_cursor_command(driver: Driver, database: Any, arguments: dict[str, Any]) -> Any:
    """PyMongo's `cursor_command`; what is for getMores is set on the cursor."""
    batch_size = arguments.pop("batch_size", None)
    max_time_ms = arguments.pop("max_time_ms", None)
    cursor_type = arguments.pop("cursor_type", None)
    if cursor_type not in (None, "tailable", "tailableAwait", "nonTailable"):
        raise RunnerError(f"{cursor_type!r} is no cursorType")
    if max_time_ms is not None:
        arguments["max_await_time_ms"] = max_time_ms
    cursor = driver.call(database, "cursor_command", **arguments)
    if batch_size is not None:
        cursor.batch_size(batch_size)
    return cursor


def _create_command_cursor(driver: Driver, database: Any, arguments: dict[str, Any]) -> Any:
    return CommandCursorEntity(driver, _run_cursor_command(driver, database, arguments))


def _create_change_stream(driver: Driver, target: Any, arguments: dict[str, Any]) -> Any:
    return CommandCursorEntity(driver, driver.call(target, "watch", **arguments))


class CommandCursorEntity(CursorEntity):
    """A cursor of a command, or a change stream, whose command has run when it is there: nothing is
    fetched before."""

    def __init__(self, driver: Driver, cursor: Any) -> None:
        self.driver = driver
        self.cursor = cursor
        self._first = []

    def iterate_once(self) -> Any:
        return self.driver.call(self.cursor, "try_next")


def _find(driver: Driver, collection: Any, arguments: dict[str, Any]) -> Any:
    """PyMongo has a method of the cursor for how long getMores wait."""
    await_time = arguments.pop("max_await_time_ms", None)
    cursor = driver.call(collection, "find", **arguments)
    return cursor if await_time is None else cursor.max_await_time_ms(await_time)


def _create_find_cursor(driver: Driver, collection: Any, arguments: dict[str, Any]) -> Any:
    return CursorEntity(driver, _find(driver, collection, arguments))


def _append_metadata(driver: Driver, client: Any, arguments: dict[str, Any]) -> Any:
    spec = arguments["driver_info_options"]
    info = driver.module("driver_info").DriverInfo(
        spec["name"], spec.get("version"), spec.get("platform")
    )
    return driver.call(client, "append_metadata", driver_info=info)


def _search_index_models(driver: Driver, arguments: dict[str, Any]) -> dict[str, Any]:
    made = driver.module("operations").SearchIndexModel
    return {**arguments, "models": [made(**each) for each in arguments["models"]]}


def _aggregation_options(driver: Driver, arguments: dict[str, Any]) -> dict[str, Any]:
    """PyMongo takes the aggregation's options by keyword."""
    options = arguments.pop("aggregation_options", {})
    return {**arguments, **rename(options, _same("batchSize"), "aggregationOptions")}


# -- tables ---------------------------------------------------------------------------------------

_FIND = {
    **_snake(
        "filter projection skip limit sort batchSize allowDiskUse collation comment hint let max"
        " maxTimeMS min noCursorTimeout returnKey showRecordId session cursorType"
    ),
    "allowPartialResults": "allow_partial_results",
    "maxAwaitTimeMS": "max_await_time_ms",
}
_AGGREGATE = {
    **_snake("pipeline session comment let"),
    **_same("allowDiskUse batchSize bypassDocumentValidation collation hint maxTimeMS"),
    **_same("maxAwaitTimeMS"),
}
_FIND_AND_MODIFY = {
    **_snake("filter projection sort hint session let comment"),
    **_same("collation maxTimeMS"),
}
_UPDATE = _snake(
    "filter update upsert arrayFilters bypassDocumentValidation collation hint session let comment"
)
_DELETE = _snake("filter collation hint session let comment")
_RUN_CURSOR_COMMAND = _snake(
    "command commandName readPreference session batchSize maxTimeMS comment cursorType"
)

_WATCH = Operation(
    "watch",
    {
        **_snake(
            "pipeline session comment batchSize collation fullDocument fullDocumentBeforeChange"
            " resumeAfter startAfter startAtOperationTime showExpandedEvents"
        ),
        "maxAwaitTimeMS": "max_await_time_ms",
    },
    run=_create_change_stream,
)

COLLECTION: Mapping[str, Operation] = {
    "aggregate": Operation("aggregate", _AGGREGATE, compare=ROOTS, drain=True),
    "bulkWrite": Operation(
        "bulk_write",
        _snake("requests ordered bypassDocumentValidation session comment let"),
        results.bulk_write,
        # Tests say nothing of counts that cannot be other than 0.
        compare=ROOT,
        prepare=_requests,
        run=_bulk_write,
    ),
    "countDocuments": Operation(
        "count_documents",
        {**_snake("filter session comment"), **_same("skip limit hint collation maxTimeMS")},
    ),
    "createFindCursor": Operation(
        "find",
        _FIND,
        required=("filter",),
        prepare=_cursor_type,
        run=_create_find_cursor,
    ),
    "createIndex": Operation(
        "create_index",
        {
            **_snake("keys session comment"),
            **_same("name unique sparse expireAfterSeconds hidden partialFilterExpression"),
            **_same("maxTimeMS"),
        },
    ),
    "deleteMany": Operation("delete_many", _DELETE, results.delete),
    "deleteOne": Operation("delete_one", _DELETE, results.delete),
    "distinct": Operation(
        "distinct",
        {
            "fieldName": "key",
            **_snake("filter session comment hint"),
            **_same("collation maxTimeMS"),
        },
    ),
    "drop": Operation("drop", _snake("session comment"), results.nothing),
    "dropIndex": Operation(
        "drop_index",
        {"name": "index_or_name", **_snake("session comment"), **_same("maxTimeMS")},
        results.nothing,
    ),
    "dropIndexes": Operation(
        "drop_indexes", {**_snake("session comment"), **_same("maxTimeMS")}, results.nothing
    ),
    "estimatedDocumentCount": Operation(
        "estimated_document_count", {**_snake("comment"), **_same("maxTimeMS")}
    ),
    "find": Operation(
        "find",
        _FIND,
        compare=ROOTS,
        drain=True,
        required=("filter",),
        prepare=_cursor_type,
        run=_find,
    ),
    "findOne": Operation(
        "find_one", _FIND, compare=ROOT, required=("filter",), prepare=_cursor_type
    ),
    "findOneAndDelete": Operation("find_one_and_delete", _FIND_AND_MODIFY, compare=ROOT),
    "findOneAndReplace": Operation(
        "find_one_and_replace",
        {
            **_FIND_AND_MODIFY,
            **_snake("replacement upsert returnDocument"),
            **_same("bypassDocumentValidation"),
        },
        compare=ROOT,
        prepare=_return_document,
    ),
    "findOneAndUpdate": Operation(
        "find_one_and_update",
        {
            **_FIND_AND_MODIFY,
            **_snake("update upsert returnDocument arrayFilters"),
            **_same("bypassDocumentValidation"),
        },
        compare=ROOT,
        prepare=_return_document,
    ),
    "insertMany": Operation(
        "insert_many",
        _snake("documents ordered bypassDocumentValidation session comment"),
        results.insert_many,
    ),
    "insertOne": Operation(
        "insert_one",
        _snake("document bypassDocumentValidation session comment"),
        results.insert_one,
    ),
    "listIndexes": Operation("list_indexes", _snake("session comment"), compare=ROOTS, drain=True),
    "rename": Operation(
        "rename", {"to": "new_name", **_snake("session comment"), **_same("dropTarget")}
    ),
    "replaceOne": Operation(
        "replace_one",
        _snake(
            "filter replacement upsert bypassDocumentValidation collation hint session let sort"
            " comment"
        ),
        results.update,
    ),
    # As of bulkWrite: tests say nothing of counts that cannot be other than 0.
    "updateMany": Operation("update_many", _UPDATE, results.update, compare=ROOT),
    "updateOne": Operation("update_one", {**_UPDATE, "sort": "sort"}, results.update, compare=ROOT),
    "createChangeStream": _WATCH,
    "createSearchIndex": Operation("create_search_index", _snake("model")),
    "createSearchIndexes": Operation(
        "create_search_indexes", _snake("models"), prepare=_search_index_models
    ),
    "dropSearchIndex": Operation("drop_search_index", _snake("name"), results.nothing),
    "listSearchIndexes": Operation(
        "list_search_indexes",
        _snake("name aggregationOptions"),
        compare=ROOTS,
        drain=True,
        prepare=_aggregation_options,
    ),
    "updateSearchIndex": Operation(
        "update_search_index", _snake("name definition"), results.nothing
    ),
}
DATABASE: Mapping[str, Operation] = {
    "aggregate": Operation("aggregate", _AGGREGATE, compare=ROOTS, drain=True),
    "createCollection": Operation(
        "create_collection",
        {
            "collection": "name",
            **_same(
                "session viewOn pipeline capped size max validator changeStreamPreAndPostImages"
                " expireAfterSeconds timeseries clusteredIndex collation"
            ),
        },
        run=lambda driver, database, arguments: driver.call(
            # The specification's command alone, not PyMongo's question before it.
            database,
            "create_collection",
            check_exists=False,
            **arguments,
        ),
    ),
    "createCommandCursor": Operation(
        "cursor_command", _RUN_CURSOR_COMMAND, prepare=_run_command, run=_create_command_cursor
    ),
    "dropCollection": Operation(
        "drop_collection",
        {"collection": "name_or_collection", **_snake("session comment")},
        results.nothing,
    ),
    "listCollectionNames": Operation("list_collection_names", _snake("filter session comment")),
    "listCollections": Operation(
        "list_collections",
        _snake("filter session comment batchSize"),
        compare=ROOTS,
        drain=True,
        prepare=_batch_size_in_cursor,
    ),
    "modifyCollection": Operation(
        "command",
        _same("collection validator index changeStreamPreAndPostImages"),
        compare=ROOT,
        run=_modify_collection,
    ),
    "runCommand": Operation(
        "command",
        _snake("command commandName readPreference session"),
        compare=ROOT,
        prepare=_run_command,
    ),
    "runCursorCommand": Operation(
        "cursor_command",
        _RUN_CURSOR_COMMAND,
        compare=ROOTS,
        drain=True,
        prepare=_run_command,
        run=_run_cursor_command,
    ),
    "createChangeStream": _WATCH,
}
CLIENT: Mapping[str, Operation] = {
    "appendMetadata": Operation(
        "append_metadata", _snake("driverInfoOptions"), results.nothing, run=_append_metadata
    ),
    "close": Operation("close", {}, results.nothing),
    "dropDatabase": Operation(
        "drop_database",
        {"database": "name_or_database", **_snake("session comment")},
        results.nothing,
    ),
    "listDatabaseNames": Operation("list_database_names", _snake("filter session comment")),
    "listDatabases": Operation(
        "list_databases", _snake("filter session comment"), compare=ROOTS, drain=True
    ),
    "clientBulkWrite": Operation(
        "bulk_write",
        _snake(
            "models ordered verboseResults bypassDocumentValidation session comment let"
            " writeConcern"
        ),
        results.client_bulk_write,
        prepare=_models,
        run=_client_bulk_write,
    ),
    "createChangeStream": _WATCH,
}

_TRANSACTION = _snake("readConcern writeConcern readPreference maxCommitTimeMS")
SESSION: Mapping[str, Operation] = {
    "abortTransaction": Operation("abort_transaction", {}, results.nothing),
    "commitTransaction": Operation("commit_transaction", {}, results.nothing),
    "endSession": Operation("end_session", {}, results.nothing),
    "startTransaction": Operation("start_transaction", _TRANSACTION, results.nothing),
    "withTransaction": Operation(
        "with_transaction", {"callback": "callback", **_TRANSACTION}, results.nothing
    ),
}


def _download(driver: Driver, bucket: Any, arguments: dict[str, Any]) -> Any:
    return driver.call(bucket, "open_download_stream", **arguments).read()


def _download_by_name(driver: Driver, bucket: Any, arguments: dict[str, Any]) -> Any:
    return driver.call(bucket, "open_download_stream_by_name", **arguments).read()


def _source(driver: Driver, arguments: dict[str, Any]) -> dict[str, Any]:
    (kind, source) = single(arguments["source"])
    if kind != "$$hexBytes":
        raise RunnerError(f"{kind} is no source")
    # Neither driver computes an MD5, whatever this says.
    arguments.pop("disableMD5", None)
    return {**arguments, "source": io.BytesIO(bytes.fromhex(source))}


_UPLOAD = {
    **_snake("filename source chunkSizeBytes metadata session"),
    **_same("disableMD5"),
}
BUCKET: Mapping[str, Operation] = {
    "delete": Operation("delete", {"id": "file_id", **_snake("session")}, results.nothing),
    "deleteByName": Operation("delete_by_name", _snake("filename session"), results.nothing),
    "download": Operation(
        "open_download_stream", {"id": "file_id", **_snake("session")}, run=_download
    ),
    "downloadByName": Operation(
        "open_download_stream_by_name",
        _snake("filename revision session"),
        run=_download_by_name,
    ),
    "find": Operation(
        "find",
        _snake("filter batchSize limit noCursorTimeout skip sort session"),
        compare=ROOTS,
        run=lambda driver, bucket, arguments: [
            found._file for found in driver.drain(driver.call(bucket, "find", **arguments))
        ],
    ),
    "rename": Operation(
        "rename", {"id": "file_id", **_snake("newFilename session")}, results.nothing
    ),
    "renameByName": Operation(
        "rename_by_name", _snake("filename newFilename session"), results.nothing
    ),
    "upload": Operation("upload_from_stream", _UPLOAD, prepare=_source),
    "uploadWithId": Operation(
        "upload_from_stream_with_id",
        {"id": "file_id", **_UPLOAD},
        results.nothing,
        prepare=_source,
    ),
}


def _of_key(driver: Driver, arguments: dict[str, Any]) -> dict[str, Any]:
    """The options of a data key, which the format has apart."""
    options = dict(arguments.pop("opts", None) or {})
    known = {
        "masterKey": "master_key",
        "keyAltNames": "key_alt_names",
        "keyMaterial": "key_material",
        "provider": "provider",
    }
    return {**arguments, **rename(options, known, "a data key")}


_KEY = _snake("id keyAltName")
ENCRYPTION: Mapping[str, Operation] = {
    "addKeyAltName": Operation("add_key_alt_name", _KEY),
    "createDataKey": Operation(
        "create_data_key", {"kmsProvider": "kms_provider", "opts": "opts"}, prepare=_of_key
    ),
    "deleteKey": Operation("delete_key", _snake("id"), results.delete),
    "getKey": Operation("get_key", _snake("id")),
    "getKeyByAltName": Operation("get_key_by_alt_name", _snake("keyAltName")),
    "getKeys": Operation("get_keys", {}, drain=True, compare=ROOTS),
    "removeKeyAltName": Operation("remove_key_alt_name", _KEY),
    "rewrapManyDataKey": Operation(
        "rewrap_many_data_key",
        {"filter": "filter", "opts": "opts"},
        results.rewrapped,
        prepare=_of_key,
    ),
    "encrypt": Operation(
        "encrypt",
        {"value": "value", "opts": "opts"},
        prepare=lambda driver, arguments: {
            "value": arguments["value"],
            **rename(
                arguments["opts"],
                {
                    "keyId": "key_id",
                    "keyAltName": "key_alt_name",
                    "algorithm": "algorithm",
                },
                "encrypt",
            ),
        },
    ),
    "decrypt": Operation("decrypt", _snake("value")),
}

#: What all operations may have, where the driver has them.
_TIME = _snake("timeoutMS timeoutMode")

#: Operations of the format that PyMongo's API has never had, or does not have any more.
NOT_IN_API: Mapping[str, frozenset[str]] = {
    "collection": frozenset({"count", "mapReduce", "listIndexNames"}),
    "database": frozenset({"listCollectionObjects"}),
    "client": frozenset({"listDatabaseObjects"}),
    "session": frozenset({"getSnapshotTime"}),
    "bucket": frozenset({"drop"}),
}
#: By the kind of an entity, its operations.
TABLES: Mapping[str, Mapping[str, Operation]] = {
    "client": CLIENT,
    "database": DATABASE,
    "collection": COLLECTION,
    "session": SESSION,
    "bucket": BUCKET,
    "clientEncryption": ENCRYPTION,
}
CURSOR = frozenset({"iterateUntilDocumentOrError", "iterateOnce", "close"})


def rename(spec: Mapping[str, Any], known: Mapping[str, str], what: str) -> dict[str, Any]:
    """Arguments under the names that the method has for them; an unknown one is an error."""
    unknown = sorted(set(spec) - set(known))
    if unknown:
        raise RunnerError(f"{what} has no argument {', '.join(unknown)}")
    return {known[name]: value for name, value in spec.items()}


@dataclass
class Prepared:
    """An operation with everything that it takes; `execute` is the driver's part."""

    execute: Callable[[], Any]
    compare: str = VALUE

    def match(self, matcher: Matcher, expected: Any, actual: Any) -> None:
        """Raise `Mismatch` unless a result is as expected."""
        if actual is None and isinstance(expected, Mapping) and "$$unsetOrMatches" in expected:
            actual = UNSET
        if self.compare == ROOTS:
            matcher.match_roots(expected, actual, "result")
        else:
            matcher.match(expected, actual, root=self.compare == ROOT, path="result")


def prepare(entities: Entities, operation: Mapping[str, Any]) -> Prepared:
    """Find out what an operation of an entity is; raises `RunnerError` if there is none such."""
    entity = entities.get(operation["object"])
    name = operation["name"]
    driver = entities.driver
    spec = operation.get("arguments", {})
    if "timeoutMS" in spec and not _takes_time(entities, entity):
        # A block around the call.
        rest = {key: value for key, value in spec.items() if key != "timeoutMS"}
        within = prepare(entities, {**operation, "arguments": rest})

        def execute_in_time() -> Any:
            with driver.root.timeout(spec["timeoutMS"] / 1000):
                return within.execute()

        return Prepared(execute_in_time, within.compare)
    if isinstance(entity, CursorEntity):
        return _prepare_cursor(entity, name, spec)
    kind = kind_of(entities, entity)
    known = TABLES[kind].get(name)
    if known is None:
        raise RunnerError(f"{name}: a {kind} has no such operation here")
    lacking = [each for each in known.required if each not in spec]
    if lacking:
        raise RunnerError(f"{name} needs {', '.join(lacking)}")
    arguments = rename(_resolve(entities, spec), {**known.arguments, **_TIME}, name)
    if known.prepare is not None:
        arguments = known.prepare(driver, arguments)
    target = entity
    if isinstance(entity, ClientEntity):
        target = entity.client
    elif isinstance(entity, BucketEntity):
        target = entity.bucket
    elif isinstance(entity, EncryptionEntity):
        target = entity.encryption

    def execute() -> Any:
        if known.run is not None:
            result = known.run(driver, target, arguments)
        else:
            result = driver.call(target, known.method, **arguments)
        return driver.drain(result) if known.drain else known.result(driver, result)

    return Prepared(execute, known.compare)


def _takes_time(entities: Entities, entity: Any) -> bool:
    """Whether the methods of an entity have a timeoutMS among their arguments."""
    if isinstance(entity, CursorEntity) or not entities.driver.has_time_limits:
        return False
    return kind_of(entities, entity) in ("client", "database", "collection", "session")


def kind_of(entities: Entities, entity: Any) -> str:
    """The kind of an entity, as the tables have it."""
    if isinstance(entity, ClientEntity):
        return "client"
    if isinstance(entity, BucketEntity):
        return "bucket"
    if isinstance(entity, EncryptionEntity):
        return "clientEncryption"
    if isinstance(entity, entities.driver.database_class):
        return "database"
    if isinstance(entity, entities.driver.collection_class):
        return "collection"
    if entities.is_session(entity):
        return "session"
    raise RunnerError(f"a {type(entity).__name__} has no operations here")


def _resolve(entities: Entities, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with names of sessions and descriptions of options made what they stand for."""
    arguments = dict(spec)
    if "session" in arguments:
        arguments["session"] = entities.session(arguments["session"])
    if isinstance(arguments.get("callback"), list):
        arguments["callback"] = _callback(entities, arguments["callback"])
    for name, make in (
        ("readConcern", entities.driver.read_concern),
        ("readPreference", entities.driver.read_preference),
        ("writeConcern", entities.driver.write_concern),
    ):
        if name in arguments:
            arguments[name] = make(arguments[name])
    return arguments


def _callback(entities: Entities, operations: list[Any]) -> Callable[[Any], None]:
    """What `with_transaction` calls: it carries out operations of the test."""
    operate = entities.operate
    assert operate is not None, "the runner sets it"

    def callback(session: Any) -> None:
        for operation in operations:
            operate(operation)

    return callback


def _prepare_cursor(entity: CursorEntity, name: str, spec: Mapping[str, Any]) -> Prepared:
    if spec:
        raise RunnerError(f"{name} of a cursor has no arguments")
    if name == "iterateUntilDocumentOrError":
        return Prepared(entity.iterate_until_document, ROOT)
    if name == "iterateOnce":
        return Prepared(entity.iterate_once, ROOT)
    if name == "close":
        return Prepared(entity.close)
    raise RunnerError(f"{name}: a cursor has no such operation")
