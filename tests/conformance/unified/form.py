"""The form of a test file: which keys stand where, and of what types their values are.

Rules of the unified test format, made of small ones. It knows nothing of what a key means; that a
file keeps to its form does not say that its names stand for something.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

#: Tells what is wrong with a value that stands at a place.
Rule = Callable[[Any, str], Iterator[str]]


def problems(file: Any) -> list[str]:
    """What is wrong with the form of a test file, each with its place; empty for nothing."""
    return list(FILE(file, "file"))


# -- rules ----------------------------------------------------------------------------------------


def anything(value: Any, place: str) -> Iterator[str]:
    return iter(())


def _of(kind: type, word: str) -> Rule:
    def rule(value: Any, place: str) -> Iterator[str]:
        # A bool is no number here.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            yield f"{place}: {word} is needed, not {value!r}"

    return rule


TEXT, FLAG, WHOLE = _of(str, "a string"), _of(bool, "a boolean"), _of(int, "an integer")
DOCUMENT = _of(dict, "a document")


def words(*known: Any) -> Rule:
    """One of a few values."""

    def rule(value: Any, place: str) -> Iterator[str]:
        if not any(value == each and type(value) is type(each) for each in known):
            yield f"{place}: {value!r} is none of {', '.join(map(str, known))}"

    return rule


def matching(pattern: str) -> Rule:
    """A string of that form."""

    def rule(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, str) or not re.search(pattern, value):
            yield f"{place}: {value!r} is not of the form {pattern}"

    return rule


def listed(each: Rule, least: int = 0) -> Rule:
    """A list of at least so many items, each by a rule."""

    def rule(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{place}: a list is needed, not {value!r}"
            return
        if len(value) < least:
            yield f"{place}: at least {least} is needed"
        for number, item in enumerate(value):
            yield from each(item, f"{place}[{number}]")

    return rule


def keyed(
    required: Mapping[str, Rule] | None = None,
    optional: Mapping[str, Rule] | None = None,
    *,
    least: int = 0,
    most: int | None = None,
) -> Rule:
    """A document with these keys and no others; `least` and `most` say how many."""
    needed = dict(required or {})
    known = {**needed, **(optional or {})}

    def rule(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{place}: a document is needed, not {value!r}"
            return
        yield from (f"{place}: {key} is missing" for key in needed if key not in value)
        if len(value) < least or (most is not None and len(value) > most):
            yield f"{place}: {len(value)} keys are too few or too many"
        for key, item in value.items():
            if key in known:
                yield from known[key](item, f"{place}.{key}")
            else:
                yield f"{place}: {key} is not known"

    return rule


def one_of(*rules: Rule) -> Rule:
    """By one of several rules; tells what is wrong by the one that has the least to say."""

    def rule(value: Any, place: str) -> Iterator[str]:
        return iter(min((list(each(value, place)) for each in rules), key=len))

    return rule


def without(*pairs: tuple[str, str]) -> Rule:
    """A document that does not have both keys of a pair."""

    def rule(value: Any, place: str) -> Iterator[str]:
        for one, other in pairs:
            if isinstance(value, dict) and one in value and other in value:
                yield f"{place}: {one} and {other} cannot stand together"

    return rule


def every(*rules: Rule) -> Rule:
    """By all of several rules."""

    def rule(value: Any, place: str) -> Iterator[str]:
        for each in rules:
            yield from each(value, place)

    return rule


def _later(name: str) -> Rule:
    """A rule that is made further down."""
    return lambda value, place: globals()[name](value, place)  # type: ignore[no-any-return]


# -- the format -----------------------------------------------------------------------------------

VERSION = matching(r"^[0-9]+(\.[0-9]+){1,2}$")
REQUIREMENT = keyed(
    optional={
        "maxServerVersion": VERSION,
        "minServerVersion": VERSION,
        "topologies": listed(
            words("single", "replicaset", "sharded", "sharded-replicaset", "load-balanced"), 1
        ),
        "serverless": words("require", "forbid", "allow"),
        "serverParameters": every(DOCUMENT, lambda value, place: _not_empty(value, place)),
        "auth": FLAG,
        "authMechanism": TEXT,
        "csfle": one_of(FLAG, keyed(optional={"minLibmongocryptVersion": VERSION}, least=1)),
    },
    least=1,
)


def _not_empty(value: Any, place: str) -> Iterator[str]:
    if value == {}:
        yield f"{place}: at least 1 key is needed"


OPTIONS = keyed(
    optional={
        **dict.fromkeys(("readConcern", "readPreference", "writeConcern"), DOCUMENT),
        "timeoutMS": WHOLE,
    }
)
LEVEL = words(
    *("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug", "trace")
)
COMPONENTS = ("command", "topology", "serverSelection", "connection")
CMAP = (
    *("poolCreatedEvent", "poolReadyEvent", "poolClearedEvent", "poolClosedEvent"),
    *("connectionCreatedEvent", "connectionReadyEvent", "connectionClosedEvent"),
    *("connectionCheckOutStartedEvent", "connectionCheckOutFailedEvent"),
    *("connectionCheckedOutEvent", "connectionCheckedInEvent"),
)
COMMAND = ("commandStartedEvent", "commandSucceededEvent", "commandFailedEvent")
SDAM = (
    *("serverDescriptionChangedEvent", "topologyDescriptionChangedEvent"),
    *("serverHeartbeatStartedEvent", "serverHeartbeatSucceededEvent"),
    *("serverHeartbeatFailedEvent", "topologyOpeningEvent", "topologyClosedEvent"),
)
STORED = [name[0].upper() + name[1:] for name in (*CMAP, *COMMAND, *SDAM)]

SECRET = one_of(TEXT, keyed({"$$placeholder": anything}))
_TOKEN = keyed({"accessToken": SECRET})


def _secrets(*names: str) -> Rule:
    return keyed(optional=dict.fromkeys(names, SECRET))


#: By the provider's type; a name may follow it.
KMS: Mapping[str, Rule] = {
    "aws": _secrets("accessKeyId", "secretAccessKey", "sessionToken"),
    "azure": one_of(
        _secrets("tenantId", "clientId", "clientSecret", "identityPlatformEndpoint"), _TOKEN
    ),
    "gcp": one_of(_secrets("email", "privateKey", "endpoint"), _TOKEN),
    "kmip": _secrets("endpoint"),
    "local": _secrets("key"),
}


def _kms(value: Any, place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place}: a document is needed, not {value!r}"
        return
    for name, options in value.items():
        kind, colon, named = name.partition(":")
        if kind not in KMS or (colon and not re.fullmatch(r"\w+", named, re.ASCII)):
            yield f"{place}: {name} is no provider of keys"
        else:
            yield from KMS[kind](options, f"{place}.{name}")


_ID = {"id": TEXT}
ENTITY = keyed(
    optional={
        "client": keyed(
            _ID,
            {
                "uriOptions": DOCUMENT,
                "useMultipleMongoses": FLAG,
                "observeEvents": listed(words(*COMMAND, *CMAP, *SDAM), 1),
                "ignoreCommandMonitoringEvents": listed(TEXT, 1),
                "storeEventsAsEntities": listed(
                    keyed({**_ID, "events": listed(words(*STORED), 1)}), 1
                ),
                "observeLogMessages": keyed(optional=dict.fromkeys(COMPONENTS, LEVEL), least=1),
                "observeTracingMessages": keyed(optional={"enableCommandPayload": FLAG}),
                "serverApi": keyed({"version": TEXT}, {"strict": FLAG, "deprecationErrors": FLAG}),
                "observeSensitiveCommands": FLAG,
                "autoEncryptOpts": keyed(
                    {"keyVaultNamespace": TEXT, "kmsProviders": _kms},
                    {
                        **dict.fromkeys(
                            ("schemaMap", "extraOptions", "encryptedFieldsMap"), DOCUMENT
                        ),
                        "bypassAutoEncryption": FLAG,
                        "bypassQueryAnalysis": FLAG,
                        "keyExpirationMS": WHOLE,
                    },
                ),
                "awaitMinPoolSizeMS": WHOLE,
            },
        ),
        "clientEncryption": keyed(
            {
                **_ID,
                "clientEncryptionOpts": keyed(
                    {"keyVaultClient": TEXT, "keyVaultNamespace": TEXT, "kmsProviders": _kms},
                    {"keyExpirationMS": WHOLE},
                ),
            }
        ),
        "database": keyed(
            {**_ID, "client": TEXT, "databaseName": TEXT}, {"databaseOptions": OPTIONS}
        ),
        "collection": keyed(
            {**_ID, "database": TEXT, "collectionName": TEXT}, {"collectionOptions": OPTIONS}
        ),
        "session": keyed({**_ID, "client": TEXT}, {"sessionOptions": DOCUMENT}),
        "bucket": keyed({**_ID, "database": TEXT}, {"bucketOptions": DOCUMENT}),
        "thread": keyed(_ID),
    },
    least=1,
    most=1,
)


def _create_options(value: Any, place: str) -> Iterator[str]:
    yield from DOCUMENT(value, place)
    if isinstance(value, dict) and "writeConcern" in value:
        yield f"{place}: writeConcern is the runner's own"


DATA = keyed(
    {"collectionName": TEXT, "databaseName": TEXT, "documents": listed(DOCUMENT)},
    {"createOptions": _create_options},
)

_TOLD = {
    "commandName": TEXT,
    "databaseName": TEXT,
    "hasServiceId": FLAG,
    "hasServerConnectionId": FLAG,
}
COMMAND_EVENT = keyed(
    optional={
        "commandStartedEvent": keyed(optional={"command": DOCUMENT, **_TOLD}),
        "commandSucceededEvent": keyed(optional={"reply": DOCUMENT, **_TOLD}),
        "commandFailedEvent": keyed(optional=_TOLD),
    },
    least=1,
    most=1,
)
CMAP_EVENT = keyed(
    optional={
        **dict.fromkeys(CMAP, keyed()),
        "poolClearedEvent": keyed(
            optional={"hasServiceId": FLAG, "interruptInUseConnections": FLAG}
        ),
        **dict.fromkeys(
            ("connectionClosedEvent", "connectionCheckOutFailedEvent"),
            keyed(optional={"reason": TEXT}),
        ),
    },
    least=1,
    most=1,
)
_SERVER = keyed(
    optional={
        "type": words(
            *("Standalone", "Mongos", "PossiblePrimary", "RSPrimary", "RSSecondary", "RSOther"),
            *("RSArbiter", "RSGhost", "LoadBalancer", "Unknown"),
        )
    }
)
_TOPOLOGY = keyed(
    optional={
        "type": words(
            *("Single", "Unknown", "ReplicaSetNoPrimary", "ReplicaSetWithPrimary"),
            *("Sharded", "LoadBalanced"),
        )
    }
)


def _change(description: Rule) -> Rule:
    return keyed(optional={"previousDescription": description, "newDescription": description})


SDAM_EVENT = keyed(
    optional={
        "serverDescriptionChangedEvent": _change(_SERVER),
        "topologyDescriptionChangedEvent": _change(_TOPOLOGY),
        **dict.fromkeys(
            [name for name in SDAM if "Heartbeat" in name], keyed(optional={"awaited": FLAG})
        ),
        "topologyOpeningEvent": keyed(),
        "topologyClosedEvent": keyed(),
    },
    least=1,
    most=1,
)
EVENTS = {"command": COMMAND_EVENT, "cmap": CMAP_EVENT, "sdam": SDAM_EVENT}


def _events(value: Any, place: str) -> Iterator[str]:
    kind = value.get("eventType", "command") if isinstance(value, dict) else "command"
    each = EVENTS.get(kind, anything) if isinstance(kind, str) else anything
    yield from keyed(
        {"client": TEXT, "events": listed(each)},
        {"eventType": words(*EVENTS), "ignoreExtraEvents": FLAG},
    )(value, place)


LOG = keyed(
    {"level": LEVEL, "component": words(*COMPONENTS), "data": DOCUMENT},
    {"failureIsRedacted": FLAG},
)
LOGS = keyed(
    {"client": TEXT, "messages": listed(LOG)},
    {"ignoreExtraMessages": FLAG, "ignoreMessages": listed(LOG)},
)
SPAN = keyed({"name": TEXT, "attributes": DOCUMENT}, {"nested": listed(_later("SPAN"), 1)})
SPANS = keyed({"client": TEXT, "spans": listed(SPAN, 1)}, {"ignoreExtraSpans": FLAG})

ERROR = keyed(
    optional={
        "isError": words(True),
        "isClientError": FLAG,
        "isTimeoutError": FLAG,
        "errorContains": TEXT,
        "errorCode": WHOLE,
        "errorCodeName": TEXT,
        "errorLabelsContain": listed(TEXT, 1),
        "errorLabelsOmit": listed(TEXT, 1),
        "writeErrors": DOCUMENT,
        "writeConcernErrors": listed(DOCUMENT),
        "errorResponse": DOCUMENT,
        "expectResult": anything,
    },
    least=1,
)
OPERATION = every(
    keyed(
        {"name": TEXT, "object": TEXT},
        {
            "arguments": DOCUMENT,
            "ignoreResultAndError": FLAG,
            "expectError": ERROR,
            "expectResult": anything,
            "saveResultAsEntity": TEXT,
        },
    ),
    without(
        ("expectError", "expectResult"),
        ("expectError", "saveResultAsEntity"),
        ("ignoreResultAndError", "expectResult"),
        ("ignoreResultAndError", "expectError"),
        ("ignoreResultAndError", "saveResultAsEntity"),
    ),
)
TEST = keyed(
    {"description": TEXT, "operations": listed(OPERATION)},
    {
        "runOnRequirements": listed(REQUIREMENT, 1),
        "skipReason": TEXT,
        "expectEvents": listed(_events, 1),
        "expectLogMessages": listed(LOGS, 1),
        "expectTracingMessages": listed(SPANS, 1),
        "outcome": listed(DATA, 1),
    },
)
FILE = keyed(
    {"description": TEXT, "schemaVersion": VERSION, "tests": listed(TEST, 1)},
    {
        "runOnRequirements": listed(REQUIREMENT, 1),
        "createEntities": listed(ENTITY, 1),
        "initialData": listed(DATA, 1),
        "_yamlAnchors": DOCUMENT,
    },
)
