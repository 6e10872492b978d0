"""Commands about the collections of a database: list, create, drop and rename them."""

from __future__ import annotations

from functools import partial

from mongokey._support.server_codes import NAMESPACE_NOT_FOUND
from mongokey.commands import arguments
from mongokey.commands.command import Command, CursorCommand
from mongokey.commands.plan import all_documents
from mongokey.errors import CollectionInvalid, ConfigurationError
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
    further = {"nameOnly": only_names, **further}
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
    yield Command(namespace, document).for_writing(options)


def drop_collection(
    namespace: Namespace,
    options: InheritedOptions,
    name: str,
    comment: Any,
    encrypted_fields: None,
) -> Operation:
    """Drop the collection `name`; no error if there is none."""
    if encrypted_fields is not None:
        raise ConfigurationError("encrypted_fields is not supported by this version")
    arguments.check_string("name_or_collection", name)
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
