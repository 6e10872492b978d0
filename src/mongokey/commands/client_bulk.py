"""`MongoClient.bulk_write` as a plan: `bulkWrite` commands, one after the other, and their results.

It knows what ends a bulk, what its results cursors say and what its outcome is (crud specification,
bulk-write.md). How operations become messages, `client_batch` knows.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey._support.server_errors import concern_error_of, number_in
from mongokey.commands import arguments
from mongokey.commands.client_batch import ClientBatch
from mongokey.commands.client_bulk_result import ClientBulkWriteResult
from mongokey.commands.collection_operations import write_options
from mongokey.commands.plan import GIVE_WAY
from mongokey.errors import (
    ClientBulkWriteException,
    InvalidOperation,
    OperationFailure,
    ProtocolError,
)
from mongokey.results import DeleteResult, InsertOneResult, UpdateResult

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.commands.inherited_options import InheritedOptions
    from mongokey.commands.plan import Plan

# So many bytes of a bulk are kept encoded; the rest is encoded once more when it is sent.
_MOST_KEPT = 48_000_000
# So many results are looked at before others have a turn: about a millisecond's work.
_AT_ONCE = 512
_COUNTS = ("nInserted", "nUpserted", "nMatched", "nModified", "nDeleted")


def client_bulk_write(
    options: InheritedOptions,
    models: Any,
    ordered: bool,
    verbose_results: bool,
    bypass_document_validation: bool | None,
    comment: Any,
    let: Any,
) -> Plan[ClientBulkWriteResult]:
    """Carry out `models`, requests of `mongokey.operations` with a namespace each.

    Nothing is sent before all of them are encoded, and known to fit into what the server takes.
    Raises `ClientBulkWriteException` for what comes after that.
    """
    if options.unacknowledged:
        if verbose_results:
            raise InvalidOperation(
                "Cannot request unacknowledged write concern and verbose results"
            )
        if ordered:
            raise InvalidOperation("Cannot request unacknowledged write concern and ordered writes")
        if bypass_document_validation is not None:
            # PyMongo's class for it.
            raise OperationFailure(
                "Cannot set bypass_document_validation with unacknowledged write concern (w=0)"
            )
    arguments.check_list("models", models)
    if not models:
        raise InvalidOperation("No operations to execute")
    batch = ClientBatch(
        options,
        list(models),
        ordered=bool(ordered),
        errors_only=not verbose_results,
        extras=write_options(bypass_document_validation, let, comment),
        get_more_extras=None if comment is None else {"comment": comment},
    )
    while batch.encode(_MOST_KEPT):
        yield GIVE_WAY
    outcome = _Outcome(batch, options, bool(ordered), bool(verbose_results))
    try:
        while True:
            cursor = yield batch
            if not options.unacknowledged:
                yield from outcome.take_in(cursor)
            if not batch.done() or outcome.stops:
                break
    except BaseException as error:
        if options.unacknowledged or not batch.written:
            raise  # nothing is known of it, or nothing was sent
        outcome.note_unsettled()
        if isinstance(error, Exception):
            raise outcome.exception(error) from error
        # Such as a Ctrl-C, or a task that is cancelled.
        error.partial_result = outcome.partial_result  # type: ignore[attr-defined]
        raise
    if options.unacknowledged:
        return ClientBulkWriteResult({}, False, False)
    if outcome.failed:
        raise outcome.exception(None)
    return ClientBulkWriteResult(outcome.result, True, outcome.verbose)


class _Outcome:
    """What has become of a bulk so far; `result` is in the form of PyMongo's
    `ClientBulkWriteException.details`."""

    def __init__(
        self, batch: ClientBatch, options: InheritedOptions, ordered: bool, verbose: bool
    ) -> None:
        self.batch = batch
        self.options = options
        self.ordered = ordered
        self.verbose = verbose
        self.result: dict[str, Any] = {
            "anySuccessful": False,
            "error": None,
            "writeErrors": [],
            "writeConcernErrors": [],
            **dict.fromkeys(_COUNTS, 0),
            "insertResults": {},
            "updateResults": {},
            "deleteResults": {},
        }

    @property
    def stops(self) -> bool:
        """Whether no further operation is to be carried out."""
        return self.ordered and bool(self.result["writeErrors"])

    @property
    def failed(self) -> bool:
        return bool(self.result["writeErrors"] or self.result["writeConcernErrors"])

    @property
    def partial_result(self) -> ClientBulkWriteResult | None:
        """What was done, if it is known that something was."""
        if not self.result["anySuccessful"]:
            return None
        return ClientBulkWriteResult(self.result, True, self.verbose)

    def exception(self, error: Exception | None) -> ClientBulkWriteException:
        """The error of the whole, which `error` has ended, or (None) which came to its end."""
        self.result["error"] = error
        self.result["writeErrors"].sort(key=_position)
        made = ClientBulkWriteException(self.result, self.verbose)
        made.partial_result = self.partial_result
        return made

    def take_in(self, cursor: Any) -> Plan[None]:
        """Note the reply to the message, and all that its results cursor has."""
        batch = self.batch
        answer = batch.answer
        assert answer is not None, "it was read"
        self._note_answer(answer)
        seen = fetched = 0
        most = batch.end - batch.start
        try:
            while not self.stops:
                for document in cursor._take_batch():
                    seen += 1
                    if seen > most:
                        raise ProtocolError(
                            f"the server's results cursor has more than the {most} results that "
                            "there can be"
                        )
                    self._note(document)
                    if self.stops:
                        break
                    if seen % _AT_ONCE == 0:
                        yield GIVE_WAY
                if not cursor._has_more:
                    break
                fetched += 1
                # The first batch may be empty, and the last: not so all of them.
                if fetched > most + 2:
                    raise ProtocolError("the server's results cursor has no end")
                if not self.stops:
                    yield cursor
        finally:
            # One that was not read to its end is killed.
            cursor._give_up()

    def note_unsettled(self) -> None:
        """Count what a reply said whose message could not be repeated, when a failure ends all."""
        unsettled = self.batch.unsettled
        if unsettled is not None:
            answer, documents = unsettled
            self._note_answer(answer)
            for document in documents:
                self._note(document)

    def _note_answer(self, answer: dict[str, Any]) -> None:
        counts = {name: _count(answer, name) for name in _COUNTS}
        errors = _count(answer, "nErrors")
        concern_error = concern_error_of(answer)
        for name, count in counts.items():
            self.result[name] += count
        if concern_error is not None:
            self.result["writeConcernErrors"].append(concern_error)
        # In order, all before the one that failed were done.
        some_done = errors == 0 if self.ordered else errors < self.batch.end - self.batch.start
        if some_done or any(counts.values()):
            self.result["anySuccessful"] = True

    def _note(self, document: Any) -> None:
        """Note what became of one operation."""
        if self.batch.raw_results:
            document = self._decoded(document)
        batch = self.batch
        place = number_in(document, "idx") if "idx" in document else -1
        if not 0 <= place < batch.end - batch.start:
            raise ProtocolError(
                f"the server's results cursor has a result with idx {document.get('idx')!r:.100}, "
                f"and the command had {batch.end - batch.start} operations"
            )
        index = batch.start + place
        if not document.get("ok"):
            if place > 0:
                self.result["anySuccessful"] = self.result["anySuccessful"] or self.ordered
            self.result["writeErrors"].append(
                {**document, "idx": index, "op": batch.document_of(index)}
            )
            return
        self.result["anySuccessful"] = True
        if not self.verbose:
            return
        count = _count(document, "n")
        command = batch.command_of(index)
        if command == "insert":
            if count == 1:
                assert batch.identifiers is not None, "its results are wanted"
                self.result["insertResults"][index] = InsertOneResult(
                    batch.identifiers[index], True
                )
        elif command == "update":
            _count(document, "nModified")
            if not isinstance(document.get("upserted", {}), Mapping):
                raise ProtocolError("the server's results cursor has an `upserted` without _id")
            self.result["updateResults"][index] = UpdateResult(document, True, True)
        else:
            self.result["deleteResults"][index] = DeleteResult(document, True)

    def _decoded(self, raw: Any) -> dict[str, Any]:
        """A result, where the user's type decoders read what is the user's in it: the `_id` of a
        document that was upserted."""
        from mongokey.bson import decode

        document: dict[str, Any] = decode(raw.raw, self.batch.plain_options)
        upserted = raw.get("upserted")
        if isinstance(upserted, Mapping):
            options = self.options.codec_options.with_options(document_class=dict)
            document["upserted"] = decode(upserted.raw, options)  # type: ignore[attr-defined]
        return document


def _count(reply: Mapping[str, Any], name: str) -> int:
    """A count of the server's; 0 if it is not there."""
    count = number_in(reply, name)
    if count < 0:
        raise ProtocolError(f"the server's reply to a bulkWrite has {name} {count}")
    return count


def _position(error: Mapping[str, Any]) -> Any:
    """Where in the bulk a write error belongs."""
    return error["idx"]
