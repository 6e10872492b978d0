from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from mongokey.commands.command import CursorCommand
from mongokey.commands.cursor_state import CursorState
from mongokey.commands.find_query import FindQuery
from mongokey.execution.execution import Executor

_Document = TypeVar("_Document", bound=Mapping[str, Any])
_Self = TypeVar("_Self", bound=BatchCursor[Any])
_CommandSelf = TypeVar("_CommandSelf", bound=BlockingCommandCursor[Any])
_Keys = str | Sequence[str | tuple[str, Any]] | Mapping[str, Any]

class BatchCursor(CursorState, Generic[_Document]):
    def __iter__(self) -> Iterator[_Document]: ...
    def __next__(self) -> _Document: ...
    def next(self) -> _Document: ...
    def to_list(self, length: int | None = None) -> list[_Document]: ...
    def close(self) -> None: ...
    def __enter__(self: _Self) -> _Self: ...
    def __exit__(self, *exc_info: object) -> None: ...
    @property
    def _owner(self) -> Any: ...
    @property
    def alive(self) -> bool: ...
    @property
    def cursor_id(self) -> int | None: ...
    @property
    def address(self) -> tuple[str, int | None] | None: ...
    @property
    def session(self) -> None: ...

class BlockingCursor(BatchCursor[_Document]):
    def __init__(
        self,
        collection: Any,
        filter: Mapping[str, Any] | None = None,
        projection: Mapping[str, Any] | Sequence[str] | None = None,
        skip: int = 0,
        limit: int = 0,
        no_cursor_timeout: bool = False,
        cursor_type: int = 0,
        sort: _Keys | None = None,
        allow_partial_results: bool = False,
        oplog_replay: bool = False,
        batch_size: int = 0,
        collation: Any = None,
        hint: _Keys | None = None,
        max_scan: int | None = None,
        max_time_ms: int | None = None,
        max: _Keys | None = None,
        min: _Keys | None = None,
        return_key: bool | None = None,
        show_record_id: bool | None = None,
        snapshot: bool | None = None,
        comment: Any = None,
        session: None = None,
        allow_disk_use: bool | None = None,
        let: Mapping[str, Any] | None = None,
    ) -> None: ...
    @property
    def _query(self) -> FindQuery: ...
    def _replace_query(self, query: FindQuery) -> None: ...
    def _check_not_started(self) -> None: ...
    def _rewind(self) -> None: ...

class BlockingCommandCursor(BatchCursor[_Document]):
    @classmethod
    def _open(
        cls: type[_CommandSelf], owner: Any, executor: Executor, command: CursorCommand
    ) -> _CommandSelf: ...
    @classmethod
    def _of(cls: type[_CommandSelf], documents: list[Any]) -> _CommandSelf: ...
    def batch_size(self: _CommandSelf, batch_size: int) -> _CommandSelf: ...
    def try_next(self) -> _Document | None: ...
