"""What `watch` asks for: the aggregation that opens a change stream.

It knows the arguments of `watch`. Where the stream begins, `change_stream_state` says.
"""

from __future__ import annotations

from copy import deepcopy

from mongokey.bson.timestamp import Timestamp
from mongokey.commands import arguments
from mongokey.commands.aggregate import aggregate_command
from mongokey.commands.change_stream_cursor import WatchCommand
from mongokey.commands.change_stream_state import ChangeStreamState

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from mongokey.commands.inherited_options import InheritedOptions
    from mongokey.execution.operation import Namespace


class Watch:
    """The arguments of one `watch`, checked; what was changeable is copied.

    Raises `TypeError` or `ValueError` for an argument that cannot be sent. What the server itself
    refuses (two starting points, unknown values, stages that are not allowed) is left to it.
    """

    __slots__ = ("_command_options", "_comment", "_pipeline", "state")

    def __init__(
        self,
        pipeline: Sequence[Mapping[str, Any]] | None,
        *,
        whole_cluster: bool,
        full_document: str | None,
        full_document_before_change: str | None,
        resume_after: Mapping[str, Any] | None,
        start_after: Mapping[str, Any] | None,
        start_at_operation_time: Timestamp | None,
        show_expanded_events: bool | None,
        max_await_time_ms: int | None,
        batch_size: int | None,
        collation: Any,
        comment: Any,
    ) -> None:
        pipeline = [] if pipeline is None else pipeline
        arguments.check_pipeline("pipeline", pipeline)
        options: dict[str, Any] = {}
        for name, option, value in (
            ("full_document", "fullDocument", full_document),
            (
                "full_document_before_change",
                "fullDocumentBeforeChange",
                full_document_before_change,
            ),
        ):
            if value is not None:
                arguments.check_string(name, value)
                options[option] = value
        if show_expanded_events:
            options["showExpandedEvents"] = True
        if whole_cluster:
            options["allChangesForCluster"] = True
        for name, token in (("resume_after", resume_after), ("start_after", start_after)):
            if token is not None:
                arguments.check_mapping(name, token)
        start = start_at_operation_time
        if start is not None and getattr(start, "_type_marker", 0) != Timestamp._type_marker:
            arguments.refuse_type("start_at_operation_time", "a Timestamp", start)
        self.state = ChangeStreamState(
            options,
            resume_after=resume_after,
            start_after=start_after,
            start_at_operation_time=start,
        )
        self._pipeline = deepcopy(pipeline)
        self._comment = deepcopy(comment)
        self._command_options = {
            "batchSize": batch_size,
            "maxAwaitTimeMS": max_await_time_ms,
            "collation": deepcopy(collation),
        }
        self.command_of(None)

    def command_of(self, target: str | None) -> tuple[dict[str, Any], int, dict[str, Any] | None]:
        """``(document, batch_size, get_more_extras)`` of the next aggregation over the collection
        `target`, or (None) over a database."""
        document, batch_size, _, extras = aggregate_command(
            target or 1,
            [self.state.stage(), *self._pipeline],
            self._command_options,
            self._comment,
        )
        if self._command_options["batchSize"] == 0:
            document["cursor"] = {"batchSize": 0}
        return document, batch_size, extras

    def command(self, namespace: Namespace, options: InheritedOptions) -> WatchCommand:
        """The operation that opens the stream, or opens it anew."""
        document, batch_size, extras = self.command_of(namespace.collection)
        command = WatchCommand(
            namespace,
            document,
            options=options.codec_options,
            batch_size=batch_size,
            get_more_extras=extras,
        )
        # timeoutMS is for each look, and not for all of them.
        command.tailable = True
        # A stage that writes is refused by the server: it is a read in any case.
        command.for_aggregation(options, False)
        return command
