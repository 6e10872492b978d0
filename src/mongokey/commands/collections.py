"""Commands about the collections of a database: list, create, drop and rename them."""

from __future__ import annotations

from functools import partial

from mongokey._support.server_codes import NAMESPACE_NOT_FOUND
from mongokey.commands import arguments
from mongokey.commands.command import Command, CursorCommand
from mongokey.commands.plan import all_documents
from mongokey.errors import CollectionInvalid
from mongokey.execution.operation import Namespace

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.commands.inherited_options import InheritedOptions
    from mongokey.commands.plan import Plan
    from mongokey.execution.operation import Operation


def list_collections(
    namespace: Namespace, filter: Any, comment: Any, further: dict[str, Any]
) -> CursorCommand:
    """A cursor over the collections, a document for each (enumerate-collections)."""
    document: dict[str, Any] = {"listCollections": 1}
    if filter is not None:
        arguments.check_mapping("filter", filter)
        document["filter"] = filter
    arguments.add_options(document, {"cursor": {}, **further}, comment)
    return CursorCommand(namespace, document, retryable_read=True)


def list_collection_names(
    namespace: Namespace, filter: Any, comment: Any, further: dict[str, Any]
) -> Plan[list[str]]:
    """The names of the collections."""
    # Where only names are asked for, the server does not lock the collections.
    only_names = filter is None or (isinstance(filter, dict) and set(filter) <= {"name"})
    if only_names:
        further = {"nameOnly": True, **further}
    command = list_collections(namespace, filter, comment, further)
    return [each["name"] for each in (yield from all_documents(command))]


def collection_options(namespace: Namespace, comment: Any) -> Plan[dict[str, Any]]:
    """The options the collection was created with; empty if there is none."""
    by_name = {"name": namespace.collection}
    command = list_collections(namespace, by_name, comment, {})
    for each in (yield from all_documents(command)):
        options: dict[str, Any] = each.get("options", {})
        return options
    return {}


def create_collection(
    namespace: Namespace,
    options: InheritedOptions,
    name: str,
    check_exists: bool,
    further: dict[str, Any],
) -> Plan[None]:
    """Create the collection `name` with options (capped, validator, timeseries…).

    Raises `CollectionInvalid` if it exists (looked up first, with `check_exists`).
    """
    document = arguments.add_options({"create": name}, further)
    if check_exists and (yield from list_collection_names(namespace, {"name": name}, None, {})):
        raise CollectionInvalid(f"collection {name} already exists")
    fields = document.get("encryptedFields")
    if not fields:
        yield Command(namespace, document).for_writing(options)
        return
    # client-side-encryption, "Create Collection Helper".
    for helper in _helper_collections(fields, name):
        index = {"key": {"_id": 1}, "unique": True}
        command = Command(namespace, {"create": helper, "clusteredIndex": index})
        yield command.needing(*_QUERYABLE_ENCRYPTION).for_writing(options)
    yield Command(namespace, document).for_writing(options)
    safe = {"name": "__safeContent___1", "key": {"__safeContent__": 1}}
    yield Command(namespace, {"createIndexes": name, "indexes": [safe]}).for_writing(options)


# The wire version that has Queryable Encryption as drivers know it, and what is said of others.
_QUERYABLE_ENCRYPTION = (
    21,
    "Driver support of Queryable Encryption is incompatible with server. Upgrade server to use "
    "Queryable Encryption: it needs MongoDB 7.0 or newer",
)


def _helper_collections(encrypted_fields: Any, name: str) -> tuple[str, str]:
    """The collections that belong to the encrypted collection `name`."""
    arguments.check_mapping("encryptedFields", encrypted_fields)
    return (
        encrypted_fields.get("escCollection", f"enxcol_.{name}.esc"),
        encrypted_fields.get("ecocCollection", f"enxcol_.{name}.ecoc"),
    )


def drop_collection(
    namespace: Namespace,
    options: InheritedOptions,
    name: str,
    comment: Any,
    encrypted_fields: Any,
    ask_server: bool,
) -> Plan[dict[str, Any]]:
    """Drop the collection `name`, and those that belong to its encrypted fields, which the server
    may know; no error if there is none. The result is the reply."""
    arguments.check_string("name_or_collection", name)
    if encrypted_fields is None and ask_server:
        found = yield from collection_options(Namespace(namespace.database, name), None)
        encrypted_fields = found.get("encryptedFields")
    if encrypted_fields:
        for helper in _helper_collections(encrypted_fields, name):
            yield _drop(namespace, options, helper, comment)
    reply: dict[str, Any] = yield _drop(namespace, options, name, comment)
    return reply


def _drop(namespace: Namespace, options: InheritedOptions, name: str, comment: Any) -> Operation:
    document: dict[str, Any] = {"drop": name}
    if comment is not None:
        document["comment"] = comment
    command = Command(namespace, document).for_writing(options)
    command.allow_errors([NAMESPACE_NOT_FOUND, "ns not found"])
    return command


def rename_collection(
    namespace: Namespace,
    options: InheritedOptions,
    new_name: str,
    comment: Any,
    further: dict[str, Any],
) -> Operation:
    """Rename the collection within its database; ``dropTarget`` replaces another.

    `options` are the collection's, as in PyMongo; the command is sent to "admin".
    """
    arguments.check_collection_name(new_name)
    document = {
        "renameCollection": f"{namespace.database}.{namespace.collection}",
        "to": f"{namespace.database}.{new_name}",
    }
    arguments.add_options(document, further, comment)
    return Command(Namespace("admin"), document).for_writing(options)


def validate_collection(
    namespace: Namespace,
    name: str,
    scandata: bool,
    full: bool,
    background: bool | None,
    comment: Any,
) -> Operation:
    """Check the collection `name`; the result is the server's findings.

    Raises `CollectionInvalid` where they are bad.
    """
    arguments.check_string("name_or_collection", name)
    document: dict[str, Any] = {"validate": name, "scandata": scandata, "full": full}
    arguments.add_options(document, {"background": background}, comment)
    return Command(namespace, document, parse=partial(_checked_findings, name))


def _checked_findings(name: str, findings: dict[str, Any]) -> dict[str, Any]:
    # A router tells what each shard has found.
    shards = findings["raw"].values() if "raw" in findings else [findings]
    if not all(each.get("valid", False) for each in shards):
        raise CollectionInvalid(f"the collection {name} is invalid: {findings!r}")
    return findings
