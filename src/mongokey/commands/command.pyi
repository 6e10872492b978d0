from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from mongokey.bson.codec_options import CodecOptions
from mongokey.commands.inherited_options import InheritedOptions
from mongokey.execution.execution import Executor
from mongokey.execution.operation import Namespace, Operation
from mongokey.read_preferences import _ServerMode

_Self = TypeVar("_Self", bound=Command)

class Command(Operation):
    def __init__(
        self,
        namespace: Namespace,
        document: Mapping[str, Any],
        *,
        parse: Callable[[Any], Any] | None = None,
        options: CodecOptions[Any] | None = None,
        retryable_read: bool = False,
        retryable_write: bool = False,
        check_write_concern: bool = False,
    ) -> None: ...
    @property
    def document(self) -> Mapping[str, Any]: ...
    def for_reading(self: _Self, options: InheritedOptions) -> _Self: ...
    def for_writing(self: _Self, options: InheritedOptions) -> _Self: ...
    def for_ending_transaction(self: _Self) -> _Self: ...
    def without_answer(self, needs: tuple[int, str, str] | None = None) -> None: ...
    def needing(self, wire_version: int, otherwise: str) -> Command: ...
    def reading_by(self: _Self, preference: _ServerMode | None) -> _Self: ...
    def allow_errors(self, errors: Collection[int | str] | None) -> None: ...

class FieldCommand(Command):
    def __init__(
        self,
        namespace: Namespace,
        document: Mapping[str, Any],
        field: bytes,
        array: bool,
        *,
        options: CodecOptions[Any] | None = None,
        retryable_read: bool = False,
        retryable_write: bool = False,
        check_write_concern: bool = False,
    ) -> None: ...

class CursorCommand(Command):
    def __init__(
        self,
        namespace: Namespace,
        document: Mapping[str, Any],
        *,
        options: CodecOptions[Any] | None = None,
        batch_size: int = 0,
        get_more_extras: dict[str, Any] | None = None,
        needs_cursor: bool = False,
        retryable_read: bool = False,
    ) -> None: ...
    def in_raw_batches(self) -> CursorCommand: ...
    def in_time_of(self, executor: Executor, mode: str | None) -> CursorCommand: ...
    def for_aggregation(self, options: InheritedOptions, writes: bool) -> CursorCommand: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def get_more_extras(self) -> dict[str, Any] | None: ...

def user_cursor_command(
    namespace: Namespace,
    command: str | Mapping[str, Any],
    value: Any,
    read_preference: _ServerMode | None,
    codec_options: CodecOptions[Any] | None,
    comment: Any,
    max_await_time_ms: int | None,
    options: dict[str, Any],
) -> CursorCommand: ...
