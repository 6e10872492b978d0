"""What `Collection.bulk_write` and `MongoClient.bulk_write` are given: one request for each write,
as PyMongo has them.

Each request checks its arguments and knows the statement it becomes. How statements are grouped
stands in `runs`; how they are sent, in `commands.bulk_write` and `commands.client_bulk`.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import GenericAlias

from mongokey._support.reprs import with_safe_repr
from mongokey.commands import arguments

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.commands.bulk import EncodedStatements


# For errors: what there is.
REQUESTS = (
    "one of mongokey.operations (InsertOne, UpdateOne, UpdateMany, ReplaceOne, DeleteOne, "
    "DeleteMany)"
)


# Parts of a statement that may be left out -> their names as arguments.
_OPTIONAL = {
    "collation": "collation",
    "arrayFilters": "array_filters",
    "hint": "hint",
    "sort": "sort",
}


class _Part:
    """A part of a request's statement, under PyMongo's private name for it; None where there is
    none. For programs that know it."""

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key

    def __get__(self, request: WriteRequest | None, owner: type | None = None) -> Any:
        return self if request is None else request.statement.get(self._key)


@with_safe_repr
class WriteRequest:
    """One write. `command` is the server's command for it; `multi` says that it may touch many
    documents, and so cannot be tried again; `_replaces`, that its update is a whole document.

    `_namespace` is "database.collection", which only `MongoClient.bulk_write` looks at."""

    command: str
    multi = False
    _replaces = False

    __slots__ = ("_namespace", "statement")

    # InsertOne[dict] at run time too, as PyMongo's generic classes have it.
    __class_getitem__: Any = classmethod(GenericAlias)

    def __init__(self, statement: Any, namespace: str | None) -> None:
        self.statement = statement
        self._namespace = namespace

    def check(self) -> None:
        """Raise what the arguments' checks raise. They ran when the request was made, but what it
        was made of may have changed since: an update that was emptied would replace."""

    def _add_to_bulk(self, bulk: Any) -> None:
        """Tell a collector of writes that others have made for PyMongo's requests, as mongomock
        has, which one this is."""
        raise NotImplementedError

    def _options(self) -> dict[str, Any]:
        given = self.statement
        return {name: given[key] for key, name in _OPTIONAL.items() if key in given}

    def __eq__(self, other: object) -> bool:
        if type(other) is type(self):
            return bool(self.statement == other.statement and self._namespace == other._namespace)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        namespace = "" if self._namespace is None else f", namespace={self._namespace!r}"
        return f"{type(self).__name__}({self.statement!r}{namespace})"


class InsertOne(WriteRequest):
    """Insert `document`; it gets an ``_id`` when it is sent, if it has none."""

    command = "insert"
    __slots__ = ()

    def __init__(self, document: Any, namespace: str | None = None) -> None:
        super().__init__(document, namespace)

    @property
    def _doc(self) -> Any:
        return self.statement

    def _add_to_bulk(self, bulk: Any) -> None:
        bulk.add_insert(self.statement)


def _update(
    filter: Any,
    update: Any,
    upsert: bool | None,
    collation: Any,
    array_filters: Any,
    hint: Any,
    sort: Any,
) -> dict[str, Any]:
    arguments.check_mapping("filter", filter)
    statement = {"q": filter, "u": update}
    if upsert is not None:
        statement["upsert"] = arguments.check_bool("upsert", upsert)
    if collation is not None:
        statement["collation"] = arguments.collation_document(collation)
    if array_filters is not None:
        arguments.check_list("array_filters", array_filters)
        statement["arrayFilters"] = array_filters
    if hint is not None:
        statement["hint"] = arguments.hint_value(hint)
    if sort is not None:
        statement["sort"] = arguments.update_sort(sort)
    return statement


class _Update(WriteRequest):
    command = "update"
    __slots__ = ()
    _filter, _doc, _upsert = _Part("q"), _Part("u"), _Part("upsert")
    _collation, _hint, _sort = _Part("collation"), _Part("hint"), _Part("sort")
    _array_filters = _Part("arrayFilters")

    def _add_to_bulk(self, bulk: Any) -> None:
        bulk.add_update(self._filter, self._doc, self.multi, bool(self._upsert), **self._options())


class UpdateOne(_Update):
    """Update the first document that `filter` matches, with ``$`` operators or a pipeline."""

    __slots__ = ()

    def __init__(
        self,
        filter: Any,
        update: Any,
        upsert: bool | None = None,
        collation: Any = None,
        array_filters: list[Any] | None = None,
        hint: Any = None,
        namespace: str | None = None,
        sort: Any = None,
    ) -> None:
        statement = _update(filter, update, upsert, collation, array_filters, hint, sort)
        super().__init__(statement, namespace)
        self.check()

    def check(self) -> None:
        arguments.check_update(self.statement["u"])


class UpdateMany(_Update):
    """Update every document that `filter` matches."""

    multi = True
    __slots__ = ()

    def __init__(
        self,
        filter: Any,
        update: Any,
        upsert: bool | None = None,
        collation: Any = None,
        array_filters: list[Any] | None = None,
        hint: Any = None,
        namespace: str | None = None,
    ) -> None:
        statement = _update(filter, update, upsert, collation, array_filters, hint, None)
        statement["multi"] = True
        super().__init__(statement, namespace)
        self.check()

    def check(self) -> None:
        arguments.check_update(self.statement["u"])


class ReplaceOne(_Update):
    """Replace the first document that `filter` matches."""

    _replaces = True
    __slots__ = ()

    def __init__(
        self,
        filter: Any,
        replacement: Any,
        upsert: bool | None = None,
        collation: Any = None,
        hint: Any = None,
        namespace: str | None = None,
        sort: Any = None,
    ) -> None:
        statement = _update(filter, replacement, upsert, collation, None, hint, sort)
        super().__init__(statement, namespace)
        self.check()

    def check(self) -> None:
        arguments.check_replacement(self.statement["u"])

    def _add_to_bulk(self, bulk: Any) -> None:
        bulk.add_replace(self._filter, self._doc, bool(self._upsert), **self._options())


class DeleteOne(WriteRequest):
    """Delete the first document that `filter` matches."""

    command = "delete"
    limit = 1
    __slots__ = ()
    _filter, _collation, _hint = _Part("q"), _Part("collation"), _Part("hint")

    def __init__(
        self, filter: Any, collation: Any = None, hint: Any = None, namespace: str | None = None
    ) -> None:
        arguments.check_mapping("filter", filter)
        statement = {"q": filter, "limit": self.limit}
        if collation is not None:
            statement["collation"] = arguments.collation_document(collation)
        if hint is not None:
            statement["hint"] = arguments.hint_value(hint)
        super().__init__(statement, namespace)

    def _add_to_bulk(self, bulk: Any) -> None:
        bulk.add_delete(self._filter, self.limit, **self._options())


class DeleteMany(DeleteOne):
    """Delete every document that `filter` matches."""

    multi = True
    limit = 0
    __slots__ = ()


class Run:
    """Requests of one command that go together: their statements, and where they stood in the
    bulk (empty: just so)."""

    __slots__ = ("command", "encoded", "indexes", "multi", "statements")

    def __init__(self, command: str) -> None:
        self.command = command
        self.statements: list[Any] = []
        self.indexes: list[int] = []
        self.multi = False
        # The first of the statements, where they were encoded before anything was sent.
        self.encoded: EncodedStatements | None = None


def add_to_runs(
    requests: Sequence[Any],
    start: int,
    ordered: bool,
    groups: list[Run],
    by_command: dict[str, Run],
) -> None:
    """Add `requests`, whose first one is at `start` in the bulk, to `groups` of one command each.

    In order where that matters: a new group at each change of command. Otherwise one group for
    each command, which `by_command` has too. Raises `TypeError` for what is no request, and what
    their checks raise.
    """
    for index, request in enumerate(requests, start):
        if not isinstance(request, WriteRequest):
            arguments.refuse_type(
                f"the request at index {index}",
                REQUESTS,
                request,
            )
        request.check()
        if ordered:
            run = groups[-1] if groups and groups[-1].command == request.command else None
        else:
            run = by_command.get(request.command)
        if run is None:
            run = by_command[request.command] = Run(request.command)
            groups.append(run)
        run.statements.append(request.statement)
        run.indexes.append(index)
        run.multi = run.multi or request.multi
