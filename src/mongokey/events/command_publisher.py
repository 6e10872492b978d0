"""A command between the event that it starts with and the one it ends with.

Knows which listeners and loggers are told, and that they are not shown secrets. It has a clock: the
duration is from here to there.
"""

from __future__ import annotations

from datetime import timedelta

from mongokey._support.system import monotonic_ns
from mongokey.errors import OperationFailure
from mongokey.events.command_events import (
    CommandFailedEvent,
    CommandStartedEvent,
    CommandSucceededEvent,
)
from mongokey.events.documents import RawDocument
from mongokey.events.redaction import is_hello, is_sensitive, logs_in, redacted_failure
from mongokey.wire.standalone import message_parts

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.bson.objectid import ObjectId
    from mongokey.events.publisher import Publisher

_UNACKNOWLEDGED_REPLY = {"ok": 1}


class CommandUnderWay:
    """One command on its way. After `started`, one of `succeeded` and `failed` is called, once."""

    __slots__ = (
        "_address",
        "_command_name",
        "_connection_id",
        "_database",
        "_operation_id",
        "_publisher",
        "_redacted",
        "_request_id",
        "_server_connection_id",
        "_service_id",
        "_started_ns",
    )

    #: It is over with the command's end, unlike what traces an operation.
    lasts = False

    def __init__(
        self,
        publisher: Publisher,
        name: str,
        database: str,
        *,
        request_id: int,
        operation_id: int,
        address: AddressLike,
        connection_id: int | None,
        server_connection_id: int | None,
        service_id: ObjectId | None,
    ) -> None:
        self._publisher = publisher
        self._command_name = name
        self._database = database
        self._request_id = request_id
        self._operation_id = operation_id
        self._address = address
        self._connection_id = connection_id
        self._server_connection_id = server_connection_id
        self._service_id = service_id
        self._redacted = is_sensitive(name)
        self._started_ns = 0

    def started(self, message: bytes) -> RawDocument | None:
        """`message`, a whole OP_MSG, is about to be sent. Returns its document, or None if that may
        hold a secret."""
        body, sections = message_parts(message)
        command = RawDocument(body, self._command_name, sections)
        if not self._redacted and is_hello(self._command_name):
            self._redacted = logs_in(self._command_name, command)
        self._log("Command started", command={} if self._redacted else command)
        listeners = self._publisher._commands
        if listeners:
            event = CommandStartedEvent(
                command,
                self._database,
                self._request_id,
                self._address,
                self._operation_id,
                service_id=self._service_id,
                server_connection_id=self._server_connection_id,
            )
            self._publisher._tell(listeners, "started", event)
        # What listeners take is not the server's.
        self._started_ns = monotonic_ns()
        return None if self._redacted else command

    def succeeded(self, reply: bytes | None) -> None:
        """The server's answer, in BSON, has ``ok: 1``; None if nobody asked for one."""
        duration_ns = monotonic_ns() - self._started_ns
        shown: Mapping[str, Any] = _UNACKNOWLEDGED_REPLY if reply is None else RawDocument(reply)
        if self._redacted:
            shown = {}
        self._log("Command succeeded", durationMS=duration_ns / 1e6, reply=shown)
        listeners = self._publisher._commands
        if listeners:
            event = CommandSucceededEvent(
                timedelta(microseconds=duration_ns / 1000), shown, *self._ids(), **self._more_ids()
            )
            self._publisher._tell(listeners, "succeeded", event)

    def refused(self, reply: bytes) -> None:
        """The server's answer, in BSON, is an error."""
        failure: Mapping[str, Any] = RawDocument(reply).decode()
        self._end_failed(redacted_failure(failure) if self._redacted else failure)

    def failed(self, error: BaseException) -> None:
        """It could not be sent, or no answer came."""
        details = error.details if isinstance(error, OperationFailure) else None
        if isinstance(details, dict):
            self._end_failed(redacted_failure(details) if self._redacted else details)
            return
        kind = type(error).__name__
        # A KeyboardInterrupt has no text.
        text = str(error) or f"operation interrupted by {kind}"
        self._end_failed({"errmsg": text, "errtype": kind})

    def _end_failed(self, failure: Mapping[str, Any]) -> None:
        duration_ns = monotonic_ns() - self._started_ns
        self._log("Command failed", durationMS=duration_ns / 1e6, failure=failure)
        listeners = self._publisher._commands
        if listeners:
            event = CommandFailedEvent(
                timedelta(microseconds=duration_ns / 1000),
                failure,
                *self._ids(),
                **self._more_ids(),
            )
            self._publisher._tell(listeners, "failed", event)

    def _ids(self) -> tuple[Any, ...]:
        return self._command_name, self._request_id, self._address, self._operation_id

    def _more_ids(self) -> dict[str, Any]:
        return {
            "service_id": self._service_id,
            "database_name": self._database,
            "server_connection_id": self._server_connection_id,
        }

    def _log(self, message: str, **fields: Any) -> None:
        service_id = self._service_id
        self._publisher._log(
            "command",
            message,
            clientId=self._publisher.topology_id,
            commandName=self._command_name,
            databaseName=self._database,
            requestId=self._request_id,
            operationId=self._operation_id,
            driverConnectionId=self._connection_id,
            serverConnectionId=self._server_connection_id,
            serverHost=self._address[0],
            serverPort=self._address[1],
            serviceId=None if service_id is None else str(service_id),
            **fields,
        )
