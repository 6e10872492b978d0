from collections.abc import Callable, Collection, Mapping
from typing import Any

from mongokey.bson.codec_options import CodecOptions
from mongokey.execution.operation import Namespace, Operation

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

class CursorCommand(Command): ...
