"""Checks and forms of the arguments that collections and cursors share.

Pure functions over plain values, with PyMongo's rules and error classes. They must not know
collections, operations or the wire.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Mapping, Sequence, Set

from mongokey.errors import ConfigurationError, InvalidName, InvalidOperation

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any, NoReturn

    KeySpec = Any  # str | Sequence[str | tuple[str, Any]] | Mapping[str, Any]

ASCENDING = 1
DESCENDING = -1

# Fields that the driver itself puts into a command.
_DRIVERS_FIELDS = frozenset(
    {"$db", "$readPreference", "$clusterTime", "lsid", "txnNumber", "startTransaction"}
    | {"autocommit"}
)


def refuse_type(option: str, expected: str, value: Any) -> NoReturn:
    """Raise the TypeError for an argument of the wrong type; the value itself is not shown."""
    raise TypeError(f"{option} must be {expected}, not {type(value).__name__}")


def check_mapping(option: str, value: Any) -> None:
    """`value` must be a mapping: a dict, SON, RawBSONDocument or another Mapping."""
    if not isinstance(value, Mapping):
        refuse_type(option, "a mapping (dict, SON, RawBSONDocument…)", value)


def filter_or_id(filter: Any) -> Any:
    """What `find_one` takes: a filter, or the ``_id`` of the document."""
    if filter is None or isinstance(filter, Mapping):
        return filter
    return {"_id": filter}


def check_list(option: str, value: Any) -> None:
    """`value` must be a list."""
    if not isinstance(value, list):
        refuse_type(option, "a list", value)


def check_string(option: str, value: Any) -> None:
    """`value` must be a str."""
    if not isinstance(value, str):
        refuse_type(option, "a string", value)


def as_int64(option: str, value: int) -> int:
    """`value` itself, an int; raises `OverflowError` if BSON has no number for it."""
    if not -(2**63) <= value < 2**63:
        raise OverflowError(f"{option} must fit 64 bits: MongoDB can only handle 8-byte ints")
    return value


def check_bool(option: str, value: Any) -> bool:
    """`value` must be True or False."""
    if not isinstance(value, bool):
        refuse_type(option, "a bool", value)
    return value


def check_let(let: Any) -> Any:
    """`let`, the variables of a command, must be a mapping, or None for none."""
    if let is not None:
        check_mapping("let", let)
    return let


def check_pipeline(option: str, pipeline: Any) -> None:
    """`pipeline` must be a list of stages, each a mapping."""
    check_list(option, pipeline)
    for index, stage in enumerate(pipeline):
        if not isinstance(stage, Mapping):
            refuse_type(f"the stage at index {index} of {option}", "a mapping", stage)


def check_update(update: Any) -> None:
    """`update` must be a non-empty mapping of ``$`` operators, or a pipeline (a list)."""
    if isinstance(update, list):
        if not update:
            raise ValueError("an update pipeline cannot be empty")
        check_pipeline("update", update)
        return
    if not isinstance(update, Mapping):
        refuse_type("update", "a mapping or a list (a pipeline)", update)
    if not update:
        raise ValueError("update cannot be empty")
    first = next(iter(update))
    if not str(first).startswith("$"):
        raise ValueError(
            f"update only works with $ operators, and {first!r} is none: "
            f"use {{'$set': …}} to change fields, replace_one to replace the document"
        )


def check_replacement(replacement: Any) -> None:
    """`replacement` must be a mapping whose first key is no ``$`` operator."""
    check_mapping("replacement", replacement)
    first = next(iter(replacement), "")
    if str(first).startswith("$"):
        raise ValueError(
            f"replacement can not include $ operators, and {first!r} is one: use update_one"
        )


def index_pairs(keys: KeySpec, direction: Any = None) -> Sequence[Any] | Mapping[str, Any]:
    """The forms that PyMongo takes for a sort or an index, as a list of pairs or a mapping."""
    if direction is not None:
        if not isinstance(keys, str):
            refuse_type("the key before a direction", "a string", keys)
        return [(keys, direction)]
    if isinstance(keys, str):
        return [(keys, ASCENDING)]
    if isinstance(keys, Mapping):
        return keys
    if not isinstance(keys, list | tuple):
        # A set has no order, but for the items of a dict.
        if isinstance(keys, Iterable) and not isinstance(keys, bytes | Set):
            return list(keys)
        if isinstance(keys, ItemsView):
            return list(keys)
        refuse_type("keys", "a string, a mapping or a list of (key, direction) pairs", keys)
    return keys


def index_document(pairs: Sequence[Any] | Mapping[str, Any]) -> dict[str, Any]:
    """``[("a", 1), "b"]`` as the document ``{"a": 1, "b": 1}``."""
    if not pairs:
        raise ValueError("the list of keys must not be empty")
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    document: dict[str, Any] = {}
    for item in items:
        if isinstance(item, str):
            key, value = item, ASCENDING
        elif not isinstance(item, list | tuple):
            refuse_type("each key of an index or sort", "a string or a (key, direction) pair", item)
        elif len(item) != 2:
            raise ValueError(f"a (key, direction) pair was expected, not {len(item)} values")
        else:
            key, value = item
        if not isinstance(key, str):
            refuse_type("the key of an index or sort", "a string", key)
        if not isinstance(value, str | int | float | Mapping):
            refuse_type(f"the direction of {key!r}", "1, -1, a string or a mapping", value)
        document[key] = value
    return document


def update_sort(sort: KeySpec) -> dict[str, Any]:
    """The sort of an update or replacement: as of a query, but an empty mapping is sent as such."""
    pairs = index_pairs(sort)
    return {} if isinstance(pairs, Mapping) and not pairs else index_document(pairs)


def index_name(document: Mapping[str, Any]) -> str:
    """The name that MongoDB's tools give to an index: ``a_1_b_-1``."""
    return "_".join(f"{key}_{value}" for key, value in document.items())


def hint_value(hint: Any) -> Any:
    """A hint is the name of an index, or its keys."""
    if hint is None or isinstance(hint, str):
        return hint
    return index_document(index_pairs(hint))


def projection_document(projection: Any) -> Mapping[str, Any] | None:
    """A projection is a mapping, or a list of the names of fields to return."""
    if projection is None or isinstance(projection, Mapping):
        return projection
    if isinstance(projection, Sequence | Set) and not isinstance(projection, str | bytes):
        names = list(projection)
        for name in names:
            check_string("each field of a projection", name)
        return dict.fromkeys(names, 1)
    refuse_type("projection", "a mapping or a list of field names", projection)


def collation_document(collation: Any) -> Any:
    """A `Collation`, or a mapping with its fields."""
    if collation is None or isinstance(collation, Mapping):
        return collation
    document = getattr(collation, "document", None)
    if isinstance(document, Mapping):
        return document
    refuse_type("collation", "a Collation or a mapping", collation)


def refuse_unacknowledged(command: Mapping[str, Any], *names: str) -> None:
    """Raise `ConfigurationError` if one of `names` is in a command or statement with w=0."""
    for name in names:
        if name in command:
            raise ConfigurationError(
                f"{name} needs an acknowledged write (w > 0): otherwise nobody would learn that "
                f"the server refused it"
            )


def concern_document(option: str, concern: Any) -> Mapping[str, Any]:
    """A `ReadConcern` or `WriteConcern`, or a mapping with its fields."""
    document = getattr(concern, "document", concern)
    check_mapping(option, document)
    return document  # type: ignore[no-any-return]


def add_options(
    command: dict[str, Any], options: Mapping[str, Any], comment: Any = None
) -> dict[str, Any]:
    """Add `comment` and the keyword arguments of a method to its command; None is left out.

    Raises `ConfigurationError` for an option that would replace what the method's own arguments
    say, or what the driver sets, and `TypeError` for an option of the wrong type.
    """
    own = tuple(command)
    if comment is not None:
        command["comment"] = comment
    for name, value in options.items():
        if name in own or name in _DRIVERS_FIELDS:
            setter = "the method's own arguments set" if name in own else "mongokey sets"
            raise ConfigurationError(
                f"the option {name!r} cannot be given by keyword: it is a field of the command "
                f"{own[0]!r} that {setter}"
            )
        if value is None:
            continue
        if name == "hint":
            value = hint_value(value)
        elif name == "collation":
            value = collation_document(value)
        elif name == "let":
            check_let(value)
        elif name in ("readConcern", "writeConcern"):
            value = concern_document(name, value)
        command[name] = value
    return command


def check_database_name(name: str) -> None:
    """PyMongo's rule for database names. Raises `InvalidName`."""
    if name == "$external":
        return
    if not name:
        raise InvalidName("database name cannot be the empty string")
    for character in ' .$/\\\x00"':
        if character in name:
            raise InvalidName(f"database names cannot contain the character {character!r}")


def check_collection_name(name: Any) -> None:
    """PyMongo's rule for collection names. Raises `InvalidName` or `TypeError`."""
    check_string("name", name)
    if not name or ".." in name:
        raise InvalidName("collection names cannot be empty")
    if "$" in name and not name.startswith(("oplog.$main", "$cmd")):
        raise InvalidName(f"collection names must not contain '$': {name!r}")
    if name[0] == "." or name[-1] == ".":
        raise InvalidName(f"collection names must not start or end with '.': {name!r}")
    if "\x00" in name:
        raise InvalidName("collection names must not contain the null character")


def plain_namespace(namespace: Any) -> str:
    """The "database.collection" of a write of `MongoClient.bulk_write`, a plain str.

    Raises `InvalidOperation` where there is none, `InvalidName` and `TypeError` for what is none.
    """
    if namespace is None or namespace == "":
        raise InvalidOperation(
            "MongoClient.bulk_write requires a namespace to be provided for each write operation: "
            "namespace='database.collection'"
        )
    check_string("namespace", namespace)
    plain = str.__str__(namespace)
    database, dot, collection = plain.partition(".")
    if not dot:
        raise InvalidName(f"the namespace {plain[:200]!r} is not 'database.collection'")
    check_database_name(database)
    check_collection_name(collection)
    return plain
