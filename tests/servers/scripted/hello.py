"""What each kind of server answers to hello, as documents for `ScriptedServer.hello`.

Knows the fields of a hello reply by the kind of server; must not know how they are sent, nor the
fields that belong to one login (`saslSupportedMechs`, `speculativeAuthenticate`).
"""

from __future__ import annotations

from typing import Any

MAX_MESSAGE = 48_000_000


def standalone(**fields: Any) -> dict[str, Any]:
    """The hello reply of a standalone server; `fields` are added, those given as None removed."""
    document = {
        "helloOk": True,
        "ismaster": True,
        "isWritablePrimary": True,
        "maxBsonObjectSize": 16 * 1024 * 1024,
        "maxMessageSizeBytes": MAX_MESSAGE,
        "maxWriteBatchSize": 100_000,
        "logicalSessionTimeoutMinutes": 30,
        "minWireVersion": 0,
        "maxWireVersion": 21,
        "readOnly": False,
        "ok": 1.0,
    }
    document.update(fields)
    return {name: value for name, value in document.items() if value is not None}


def _member(**fields: Any) -> dict[str, Any]:
    return standalone(**{"setName": "rs", "setVersion": 1, "secondary": False, **fields})


def primary(**fields: Any) -> dict[str, Any]:
    """The hello reply of a replica set's primary. `hosts` and `me` are the server's own address
    unless given."""
    return _member(**fields)


def secondary(**fields: Any) -> dict[str, Any]:
    """The hello reply of a replica set's secondary."""
    return _member(**{"ismaster": False, "isWritablePrimary": False, "secondary": True, **fields})


def arbiter(**fields: Any) -> dict[str, Any]:
    """The hello reply of an arbiter."""
    return _member(**{"ismaster": False, "isWritablePrimary": False, "arbiterOnly": True, **fields})


def ghost(**fields: Any) -> dict[str, Any]:
    """The hello reply of a member whose replica set has no configuration yet."""
    return standalone(
        **{"ismaster": False, "isWritablePrimary": False, "isreplicaset": True, **fields}
    )


def mongos(**fields: Any) -> dict[str, Any]:
    """The hello reply of a mongos."""
    return standalone(**{"msg": "isdbgrid", **fields})


def too_old() -> dict[str, Any]:
    """The hello reply of MongoDB 2.6, which no current driver speaks to."""
    return standalone(
        helloOk=None, isWritablePrimary=None, maxWireVersion=2, logicalSessionTimeoutMinutes=None
    )


def too_new() -> dict[str, Any]:
    """The hello reply of a server that has left all of today's wire versions behind."""
    return standalone(minWireVersion=9_999, maxWireVersion=10_000)
