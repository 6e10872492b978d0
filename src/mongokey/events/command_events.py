"""What is told of commands (command-logging-and-monitoring, "Events API").

Values only, with PyMongo's names and reprs. Documents that come from the wire are decoded when
somebody looks at them; what may hold a secret is an empty document.
"""

from __future__ import annotations

from mongokey._support.reprs import with_safe_repr
from mongokey.events.documents import RawDocument
from mongokey.events.redaction import is_sensitive, logs_in

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.bson.objectid import ObjectId


class _CommandEvent:
    __slots__ = (
        "_command_name",
        "_connection_id",
        "_database_name",
        "_operation_id",
        "_request_id",
        "_server_connection_id",
        "_service_id",
    )

    def __init__(
        self,
        command_name: str,
        request_id: int,
        connection_id: AddressLike,
        operation_id: int | None,
        service_id: ObjectId | None = None,
        database_name: str = "",
        server_connection_id: int | None = None,
    ) -> None:
        self._command_name = command_name
        self._request_id = request_id
        self._connection_id = connection_id
        self._operation_id = operation_id
        self._service_id = service_id
        self._database_name = database_name
        self._server_connection_id = server_connection_id

    @property
    def command_name(self) -> str:
        """The command's name: "find", "insert"."""
        return self._command_name

    @property
    def request_id(self) -> int:
        """The number of the message; the events of one command have the same."""
        return self._request_id

    @property
    def connection_id(self) -> AddressLike:
        """The address of the server that the command was sent to."""
        return self._connection_id

    @property
    def service_id(self) -> ObjectId | None:
        """The service behind a load balancer that the command was sent to."""
        return self._service_id

    @property
    def operation_id(self) -> int | None:
        """A number that all attempts of an operation share, and all commands of a bulk write."""
        return self._operation_id

    @property
    def database_name(self) -> str:
        """The database that the command was sent to."""
        return self._database_name

    @property
    def server_connection_id(self) -> int | None:
        """The server's own number of the connection, None if it did not tell."""
        return self._server_connection_id

    def _shown(self, *, duration_micros: int | None = None, failure: Any = None) -> str:
        fields = [
            f"{self._connection_id} db: {self._database_name!r}",
            f"command: {self._command_name!r}",
            f"operation_id: {self._operation_id}",
        ]
        if duration_micros is not None:
            fields.append(f"duration_micros: {duration_micros}")
        if failure is not None:
            fields.append(f"failure: {failure!r}")
        fields.append(f"service_id: {self._service_id}")
        fields.append(f"server_connection_id: {self._server_connection_id}")
        return f"<{type(self).__name__} {', '.join(fields)}>"


@with_safe_repr
class CommandStartedEvent(_CommandEvent):
    """A command is about to be sent."""

    __slots__ = ("_command",)

    def __init__(
        self,
        command: Mapping[str, Any],
        database_name: str,
        request_id: int,
        connection_id: AddressLike,
        operation_id: int | None,
        service_id: ObjectId | None = None,
        server_connection_id: int | None = None,
    ) -> None:
        if not command:
            raise ValueError(f"{command!r} is not a valid command")
        name = command.name if isinstance(command, RawDocument) else next(iter(command))
        super().__init__(
            name,
            request_id,
            connection_id,
            operation_id,
            service_id=service_id,
            database_name=database_name,
            server_connection_id=server_connection_id,
        )
        self._command: Mapping[str, Any] = command
        if is_sensitive(name) or logs_in(name, command):
            self._command = {}

    @property
    def command(self) -> Mapping[str, Any]:
        """The command as it is sent, a dict; the documents of a write stand in it as a list. Not to
        be changed: all listeners get the same."""
        if isinstance(self._command, RawDocument):
            self._command = self._command.decode()
        return self._command

    def __repr__(self) -> str:
        return self._shown()


class _EndEvent(_CommandEvent):
    __slots__ = ("_duration_micros",)

    def __init__(self, duration: datetime.timedelta, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._duration_micros = round(duration.total_seconds() * 1_000_000)

    @property
    def duration_micros(self) -> int:
        """How long it took to send the command and to receive the reply, in microseconds."""
        return self._duration_micros


@with_safe_repr
class CommandSucceededEvent(_EndEvent):
    """The server has answered with ``ok: 1``; or nobody asked for an answer."""

    __slots__ = ("_reply",)

    def __init__(
        self,
        duration: datetime.timedelta,
        reply: Mapping[str, Any],
        command_name: str,
        request_id: int,
        connection_id: AddressLike,
        operation_id: int | None,
        service_id: ObjectId | None = None,
        database_name: str = "",
        server_connection_id: int | None = None,
    ) -> None:
        super().__init__(
            duration,
            command_name,
            request_id,
            connection_id,
            operation_id,
            service_id=service_id,
            database_name=database_name,
            server_connection_id=server_connection_id,
        )
        self._reply: Mapping[str, Any] = reply
        if is_sensitive(command_name) or logs_in(command_name, reply):
            self._reply = {}

    @property
    def reply(self) -> Mapping[str, Any]:
        """The server's reply, a dict. Not to be changed: all listeners get the same."""
        if isinstance(self._reply, RawDocument):
            self._reply = self._reply.decode()
        return self._reply

    def __repr__(self) -> str:
        return self._shown(duration_micros=self._duration_micros)


@with_safe_repr
class CommandFailedEvent(_EndEvent):
    """The server has answered with an error, or the connection failed."""

    __slots__ = ("_failure",)

    def __init__(
        self,
        duration: datetime.timedelta,
        failure: Mapping[str, Any],
        command_name: str,
        request_id: int,
        connection_id: AddressLike,
        operation_id: int | None,
        service_id: ObjectId | None = None,
        database_name: str = "",
        server_connection_id: int | None = None,
    ) -> None:
        super().__init__(
            duration,
            command_name,
            request_id,
            connection_id,
            operation_id,
            service_id=service_id,
            database_name=database_name,
            server_connection_id=server_connection_id,
        )
        self._failure = failure

    @property
    def failure(self) -> Mapping[str, Any]:
        """The server's error reply, a dict; or ``errmsg`` and ``errtype`` of the driver's error."""
        return self._failure

    def __repr__(self) -> str:
        return self._shown(duration_micros=self._duration_micros, failure=self._failure)
