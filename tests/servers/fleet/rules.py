"""Which commands a role refuses, and the error that a real server gives then.

Knows commands by kind, error codes, and the labels and fields that MongoDB 4.4 and later put
into such errors (server-discovery-and-monitoring, retryable-writes and transactions in the public
specifications). Pure: must not know connections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bson

WRITES = frozenset(
    [
        "insert",
        "update",
        "delete",
        "findAndModify",
        "findandmodify",
        "bulkWrite",
        "create",
        "drop",
        "dropDatabase",
        "createIndexes",
        "dropIndexes",
        "collMod",
        "renameCollection",
        "convertToCapped",
        "createUser",
        "updateUser",
        "dropUser",
        "createRole",
        "dropRole",
        "commitTransaction",
        "abortTransaction",
        "replSetStepDown",
    ]
)
#: Commands that a server which is no primary answers only when the client says that it may.
READS = frozenset(
    [
        "find",
        "aggregate",
        "count",
        "distinct",
        "mapReduce",
        "explain",
        "listCollections",
        "listIndexes",
        "listDatabases",
        "collStats",
        "dbStats",
        "listSearchIndexes",
    ]
)
#: Writes that may carry a txnNumber outside a transaction.
RETRYABLE = frozenset({"insert", "update", "delete", "findAndModify", "findandmodify", "bulkWrite"})
#: Commands whose reply may have a cursor.
CURSORS = frozenset(["find", "aggregate", "listCollections", "listIndexes", "bulkWrite", "getMore"])
#: Commands that an arbiter, or a member without data, still answers.
ALWAYS = frozenset(
    [
        "hello",
        "ismaster",
        "isMaster",
        "ping",
        "buildInfo",
        "buildinfo",
        "connectionStatus",
        "serverStatus",
        "endSessions",
        "configureFailPoint",
        "saslStart",
        "saslContinue",
        "logout",
        "replSetGetStatus",
        "whatsmyuri",
    ]
)

NOT_PRIMARY_CODES = frozenset({10107, 13435, 13436, 11602, 10058, 189})
SHUTDOWN_CODES = frozenset({91, 11600})
#: Codes that get RetryableWriteError on a retryable write (retryable-writes specification).
RETRYABLE_CODES = (
    NOT_PRIMARY_CODES - {10058} | SHUTDOWN_CODES | {6, 7, 89, 134, 262, 9001, 317, 358, 384, 462}
)
#: Codes that get TransientTransactionError on a statement of a transaction.
TRANSIENT_CODES = RETRYABLE_CODES | {24, 112, 246, 251, 267}
#: Codes that get ResumableChangeStreamError on a getMore of a change stream (change-streams
#: specification).
RESUMABLE_CODES = RETRYABLE_CODES - {134, 317, 358, 384, 462} | {63, 133, 150, 234, 13388}
#: Codes of a server that takes no more work now (client-backpressure specification).
OVERLOADED_CODES = frozenset({462})

NAMES = {
    2: "BadValue",
    6: "HostUnreachable",
    7: "HostNotFound",
    13: "Unauthorized",
    20: "IllegalOperation",
    24: "LockTimeout",
    43: "CursorNotFound",
    50: "MaxTimeMSExpired",
    59: "CommandNotFound",
    64: "WriteConcernFailed",
    89: "NetworkTimeout",
    91: "ShutdownInProgress",
    112: "WriteConflict",
    134: "ReadConcernMajorityNotAvailableYet",
    189: "PrimarySteppedDown",
    225: "TransactionTooOld",
    251: "NoSuchTransaction",
    262: "ExceededTimeLimit",
    267: "PreparedTransactionInProgress",
    391: "ReauthenticationRequired",
    462: "IngressRequestRateLimitExceeded",
    9001: "SocketException",
    10058: "LegacyNotPrimary",
    10107: "NotWritablePrimary",
    11000: "DuplicateKey",
    11600: "InterruptedAtShutdown",
    11601: "Interrupted",
    11602: "InterruptedDueToReplStateChange",
    13435: "NotPrimaryNoSecondaryOk",
    13436: "NotPrimaryOrSecondary",
}


@dataclass(frozen=True)
class Refusal:
    """An error reply: its code and text, and labels where they are not the usual ones."""

    code: int
    message: str
    labels: Sequence[str] | None = None

    @property
    def name(self) -> str:
        return NAMES.get(self.code, f"Location{self.code}")


def writes(name: str, command: Mapping[str, Any]) -> bool:
    """Whether only a primary can do this."""
    if name in WRITES or command.get("autocommit") is False:
        return True
    # mapReduce into a collection writes; a pipeline that ends in $out or $merge may be run on a
    # secondary since MongoDB 5.0, which then writes to the primary.
    return name == "mapReduce" and command.get("out") not in (None, {"inline": 1})


def allows_secondary(command: Mapping[str, Any]) -> bool:
    """Whether the client says that a secondary may answer."""
    preference = command.get("$readPreference")
    mode = preference.get("mode") if isinstance(preference, Mapping) else None
    return mode not in (None, "primary")


def refusal(role: str, name: str, command: Mapping[str, Any]) -> Refusal | None:
    """Why a server in this role does not do the command; None when it does."""
    if role in ("primary", "mongos", "load_balancer"):
        return None
    if role == "standalone":
        if "txnNumber" in command:
            return Refusal(
                20, "Transaction numbers are only allowed on a replica set member or mongos"
            )
        if opens_change_stream(name, command):
            return Refusal(40573, "The $changeStream stage is only supported on replica sets")
        return None
    if name in ALWAYS:
        return None
    if writes(name, command):
        return Refusal(10107, "not primary")
    if role in ("secondary", "hidden"):
        if name in READS and not allows_secondary(command):
            return Refusal(13435, "not primary and secondaryOk=false")
        return None
    return Refusal(13436, "node is not in primary or recovering state")


def opens_change_stream(name: str, command: Mapping[str, Any]) -> bool:
    """Whether its cursor is a change stream's."""
    pipeline = command.get("pipeline")
    return (
        name == "aggregate"
        and isinstance(pipeline, Sequence)
        and len(pipeline) > 0
        and "$changeStream" in pipeline[0]
    )


def is_retryable(name: str, command: Mapping[str, Any]) -> bool:
    """Whether the command is a write outside a transaction that may come a second time."""
    return name in RETRYABLE and "txnNumber" in command and "autocommit" not in command


def question(command: Mapping[str, Any]) -> bytes | None:
    """What a find of one document asks, whoever asks; None for other commands."""
    if "find" not in command or not (command.get("singleBatch") or command.get("limit") == 1):
        return None
    names = ("$db", "find", "filter", "sort", "projection", "skip")
    return bson.encode({name: command[name] for name in names if name in command})


def collection(command: Mapping[str, Any]) -> tuple[str, str]:
    """The database and the collection that a command is about, if it is about one."""
    return str(command.get("$db")), str(next(iter(command.values()), None))


def error_labels(
    code: int, name: str, command: Mapping[str, Any], *, streams: bool = False
) -> list[str]:
    """The labels that a server puts on an error of this code for this command; `streams` says that
    it is about the cursor of a change stream."""
    labels = []
    if streams and code in RESUMABLE_CODES:
        labels.append("ResumableChangeStreamError")
    if command.get("autocommit") is False:
        if name in ("commitTransaction", "abortTransaction"):
            if code in RETRYABLE_CODES:
                labels.append("RetryableWriteError")
            elif code in TRANSIENT_CODES:
                labels.append("TransientTransactionError")
        elif code in TRANSIENT_CODES:
            labels.append("TransientTransactionError")
    elif is_retryable(name, command) and code in RETRYABLE_CODES:
        labels.append("RetryableWriteError")
    if code in OVERLOADED_CODES:
        labels += ["SystemOverloadedError", "RetryableError"]
    return labels
