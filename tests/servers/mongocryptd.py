"""What stands in for mongocryptd, which is no free software: it marks the values of a command that
a JSON schema has encrypted (client-side-encryption; binary-encrypted, "Intent-to-encrypt marking").

It knows the commands that tests send, equality in filters, and the schema's ``encrypt`` and
``encryptMetadata``. What the real one refuses or proves of queries, it does not know.

`python -m tests.servers.mongocryptd --port N --idleShutdownTimeoutSecs=S` serves until nobody has
asked for so long; as a program that a driver starts.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

import bson
from bson import Binary

from tests.servers.scripted.answers import Answer, Request
from tests.servers.scripted.hello import standalone
from tests.servers.scripted.server import ScriptedServer

ALGORITHMS = {
    "AEAD_AES_256_CBC_HMAC_SHA_512-Deterministic": 1,
    "AEAD_AES_256_CBC_HMAC_SHA_512-Random": 2,
}
COMMANDS = (
    *("insert", "update", "delete", "find", "count", "distinct", "aggregate", "findAndModify"),
    *("findandmodify", "explain", "create", "createIndexes", "collMod"),
)


def marked_value(value: Any, encrypt: Mapping[str, Any], metadata: Mapping[str, Any]) -> Binary:
    """The placeholder of `value`: it says how, and with which key, it is to be encrypted."""
    given = {**metadata, **encrypt}
    placeholder: dict[str, Any] = {"v": value, "a": ALGORITHMS[given["algorithm"]]}
    key = given["keyId"]
    if isinstance(key, list):
        placeholder["ki"] = key[0]
    else:
        placeholder["ka"] = key
    return Binary(b"\0" + bson.encode(placeholder), 6)


class Marker:
    """Marks by one schema, and notes whether there was anything."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        self.found = False

    def document(self, document: Mapping[str, Any], schema: Any, metadata: Any) -> dict[str, Any]:
        metadata = {**metadata, **schema.get("encryptMetadata", {})}
        properties = schema.get("properties", {})
        return {
            name: self.value(value, properties.get(name, {}), metadata)
            for name, value in document.items()
        }

    def value(self, value: Any, schema: Any, metadata: Any) -> Any:
        if "encrypt" in schema:
            if isinstance(value, Binary) and value.subtype == 6:
                return value  # it was encrypted explicitly
            self.found = True
            return marked_value(value, schema["encrypt"], metadata)
        if isinstance(value, Mapping) and schema.get("bsonType") == "object":
            return self.document(value, schema, metadata)
        return value

    def whole(self, document: Any) -> Any:
        return self.document(document, self.schema, {})

    def filter(self, given: Any) -> Any:
        made: dict[str, Any] = {}
        for path, value in given.items():
            schema: Any = self.schema
            metadata = dict(schema.get("encryptMetadata", {}))
            for part in path.split("."):
                schema = schema.get("properties", {}).get(part, {})
                metadata.update(schema.get("encryptMetadata", {}))
            if isinstance(value, Mapping) and any(name.startswith("$") for name in value):
                made[path] = {
                    name: [self.value(each, schema, metadata) for each in operand]
                    if isinstance(operand, list)
                    else self.value(operand, schema, metadata)
                    for name, operand in value.items()
                }
            else:
                made[path] = self.value(value, schema, metadata)
        return made

    def update(self, given: Any) -> Any:
        if any(name.startswith("$") for name in given):
            return {name: self.filter(fields) for name, fields in given.items()}
        return self.whole(given)

    def command(self, command: dict[str, Any]) -> dict[str, Any]:
        name = next(iter(command))
        made = dict(command)
        if name == "insert":
            made["documents"] = [self.whole(each) for each in command["documents"]]
        elif name in ("update", "delete"):
            field = f"{name}s"
            made[field] = [
                {
                    **each,
                    "q": self.filter(each["q"]),
                    **({"u": self.update(each["u"])} if "u" in each else {}),
                }
                for each in command[field]
            ]
        elif name == "aggregate":
            made["pipeline"] = [
                {"$match": self.filter(each["$match"])} if "$match" in each else each
                for each in command["pipeline"]
            ]
        elif name == "explain":
            made["explain"] = self.command(command["explain"])
        for field in ("filter", "query"):
            if field in command:
                made[field] = self.filter(command[field])
        if name.lower() == "findandmodify" and "update" in command:
            made["update"] = self.update(command["update"])
        return made


class MongocryptdServer(ScriptedServer):
    """It, from `with` on. `marked` are the commands that it was asked about."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            hello={**standalone(), "iscryptd": True},
            on=dict.fromkeys(COMMANDS, self.mark),
            **options,
        )
        self.marked: list[dict[str, Any]] = []
        self.asked_at = time.monotonic()

    def mark(self, request: Request) -> Answer:
        self.asked_at = time.monotonic()
        command = {
            name: value
            for name, value in request.document.items()
            if name not in ("$db", "lsid", "$readPreference", "jsonSchema", "isRemoteSchema")
        }
        self.marked.append(request.document)
        schema = request.document.get("jsonSchema", {})
        marker = Marker(schema)
        if "refused" in command.get("filter", {}):
            return {"ok": 0, "errmsg": "cannot be encrypted so", "code": 51118}
        made = marker.command(command)
        return {
            "hasEncryptionPlaceholders": marker.found,
            "schemaRequiresEncryption": "encrypt" in str(schema),
            "result": made,
            "ok": 1.0,
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--idleShutdownTimeoutSecs", type=float, default=60.0)
    parser.add_argument("--pidfile")
    given = parser.parse_args()
    server = MongocryptdServer()
    server.port = given.port
    if given.pidfile:
        with open(given.pidfile, "a", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
    with server:
        waiting = threading.Event()
        while time.monotonic() - server.asked_at < given.idleShutdownTimeoutSecs:
            waiting.wait(0.05)


if __name__ == "__main__":
    main()
