"""`bulk_write` and `insert_many` as plans: batches of statements, one after the other.

A plan is a generator over operations, `result = yield operation`: the face that runs it does the
I/O. It knows what ends a bulk and what its outcome is. How a batch becomes messages, `bulk` knows.
"""

from __future__ import annotations

from mongokey.commands import arguments
from mongokey.commands.bulk import Batch, encode_statements, new_result, unanswered_needs_of
from mongokey.commands.collection_operations import (
    documents_of,
    ensure_id,
    take_documents,
    write_options,
)
from mongokey.commands.plan import GIVE_WAY
from mongokey.commands.write_requests import Run, add_to_runs
from mongokey.errors import (
    BulkWriteError,
    ExecutionTimeout,
    InvalidOperation,
    OperationFailure,
)
from mongokey.results import BulkWriteResult, InsertManyResult

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from mongokey.commands.inherited_options import InheritedOptions
    from mongokey.commands.plan import Plan
    from mongokey.execution.operation import Namespace


# So many statements are looked at before others have a turn: about a millisecond's work.
_AT_ONCE = 2048
# So many bytes of a bulk are kept encoded; the rest is encoded once more when it is sent.
_MOST_KEPT = 48_000_000


def insert_many(
    namespace: Namespace,
    options: InheritedOptions,
    documents: Iterable[Any],
    ordered: bool,
    bypass_document_validation: bool | None,
    comment: Any,
) -> Plan[InsertManyResult]:
    """Insert `documents`; each gets an ``_id`` if it has none."""
    run = Run("insert")
    inserted_ids: list[Any] = []
    given = documents_of(documents)
    while take_documents(given, run.statements, inserted_ids, _AT_ONCE):
        yield GIVE_WAY
    if not run.statements:
        raise TypeError("documents must be a non-empty list")
    yield from _carry_out(
        namespace, options, [run], ordered, bypass_document_validation, comment, None
    )
    return InsertManyResult(inserted_ids, not options.unacknowledged)


def bulk_write(
    namespace: Namespace,
    options: InheritedOptions,
    requests: list[Any],
    ordered: bool,
    bypass_document_validation: bool | None,
    comment: Any,
    let: Any,
) -> Plan[BulkWriteResult]:
    """Carry out `requests`, those of one kind that may go together in as few messages as can be."""
    arguments.check_list("requests", requests)
    if not requests:
        raise InvalidOperation("No operations to execute")
    groups: list[Run] = []
    by_command: dict[str, Run] = {}
    yield from _in_parts(
        requests, lambda part, start: add_to_runs(part, start, ordered, groups, by_command)
    )
    arguments.check_let(let)
    for run in groups:
        if run.command == "insert":
            yield from _in_parts(run.statements, _ensure_ids)
    if len(groups) > 1:
        # What cannot be encoded is found before the first is sent, for which it is kept.
        room = _MOST_KEPT
        for run in groups:
            while encode_statements(run, options, room):
                yield GIVE_WAY
            assert run.encoded is not None, "it was just made"
            room -= run.encoded.size
    result = yield from _carry_out(
        namespace, options, groups, ordered, bypass_document_validation, comment, let
    )
    if options.unacknowledged:
        return BulkWriteResult({}, False)
    return BulkWriteResult(result, True)


def _in_parts(statements: list[Any], work: Callable[[list[Any], int], object]) -> Plan[None]:
    """Call `work(part, start)` for one part of `statements` after the other."""
    for start in range(0, len(statements), _AT_ONCE):
        if start:
            yield GIVE_WAY
        work(statements[start : start + _AT_ONCE], start)


def _ensure_ids(documents: list[Any], _: int) -> None:
    for document in documents:
        ensure_id(document)


def _carry_out(
    namespace: Namespace,
    options: InheritedOptions,
    groups: list[Run],
    ordered: bool,
    bypass_document_validation: bool | None,
    comment: Any,
    let: Any,
) -> Plan[dict[str, Any]]:
    """Carry out a bulk; returns its result, in the form of `BulkWriteError.details`.

    Raises `BulkWriteError` when something was refused. Any other error that ends it in its midst
    gets the result so far as its `partial_result`.
    """
    batch = None
    result = new_result()
    refusals: list[Exception] = []
    needs = None
    if options.unacknowledged:
        needs = unanswered_needs_of(groups, bypass_document_validation)
    try:
        for run in groups:
            batch = Batch(
                namespace,
                options,
                run,
                bool(ordered),
                write_options(
                    bypass_document_validation, None if run.command == "insert" else let, comment
                ),
                result=result,
                refusals=refusals,
                needs=needs,
                last=run is groups[-1],
                # For events, all messages of a bulk belong together.
                operation_id=0 if batch is None else batch.operation_id,
            )
            yield batch
            while batch.more:
                yield batch
            if ordered and result["writeErrors"]:
                break
    except BaseException as error:
        if not options.unacknowledged:
            if batch is not None:
                batch.note_unsettled()
            error.partial_result = BulkWriteResult(result, True)  # type: ignore[attr-defined]
            raise
        if not isinstance(error, OperationFailure) or isinstance(error, ExecutionTimeout):
            raise
        # With w=0 nobody asked for the server's errors; they only stop the bulk.
    if options.unacknowledged:
        if refusals:
            # The server never saw it, so that nobody else could tell.
            raise refusals[0]
    elif result["writeErrors"] or result["writeConcernErrors"]:
        result["writeErrors"].sort(key=_position)
        raise BulkWriteError(result)
    return result


def _position(error: dict[str, Any]) -> Any:
    """Where in the bulk a write error belongs."""
    return error["index"]
