from collections.abc import Collection as AbstractCollection
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Generic, TypeVar, overload

from mongokey.bson.codec_options import CodecOptions
from mongokey.commands.command import CursorCommand
from mongokey.commands.inherited_options import InheritedOptions, OptionsHolder
from mongokey.cursor import CommandCursor, Cursor
from mongokey.execution.execution import Executor
from mongokey.execution.operation import Namespace
from mongokey.read_concern import ReadConcern
from mongokey.read_preferences import _ServerMode
from mongokey.results import DeleteResult, InsertOneResult, UpdateResult
from mongokey.sessions.explicit_session import ExplicitSession
from mongokey.write_concern import WriteConcern

_Document = TypeVar("_Document", bound=Mapping[str, Any])
_Result = TypeVar("_Result")
_Core = TypeVar("_Core", bound=Core)
_Keys = str | Sequence[str | tuple[str, Any]] | Mapping[str, Any]

class Core(OptionsHolder):
    @property
    def _executor(self) -> Any: ...
    def _inherited_in(self, session: Any) -> InheritedOptions: ...
    def _limit_time(self: _Core, timeout_ms: float | None) -> _Core: ...
    def _carried_out_by(self: _Core, executor: Executor) -> _Core: ...
    def _transaction_preference(self, session: Any) -> _ServerMode | None: ...

class BlockingCalls:
    @overload
    def _execute(
        self,
        step: CursorCommand,
        session: ExplicitSession | None = None,
        timeout_ms: float | None = None,
        timeout_mode: str | None = None,
    ) -> CommandCursor[Any]: ...
    @overload
    def _execute(
        self,
        step: Any,
        session: ExplicitSession | None = None,
        timeout_ms: float | None = None,
        timeout_mode: str | None = None,
    ) -> Any: ...
    def _run(
        self,
        plan: Generator[Any, Any, _Result],
        session: ExplicitSession | None = None,
        timeout_ms: float | None = None,
        timeout_mode: str | None = None,
    ) -> _Result: ...

class ClientCore(Core, Generic[_Document]):
    def _set_up(self, inherited: InheritedOptions, executor: Executor) -> None: ...

class DatabaseCore(Core, Generic[_Document]):
    def __init__(
        self,
        client: ClientCore[_Document],
        name: str,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def _namespace(self) -> Namespace: ...
    def command(
        self,
        command: str | Mapping[str, Any],
        value: Any = 1,
        check: bool = True,
        allowable_errors: AbstractCollection[int | str] | None = None,
        read_preference: _ServerMode | None = None,
        codec_options: CodecOptions[Any] | None = None,
        session: ExplicitSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]: ...

class CollectionCore(Core, Generic[_Document]):
    def __init__(
        self,
        database: DatabaseCore[_Document],
        name: str,
        create: bool | None = False,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
        session: ExplicitSession | None = None,
        **kwargs: Any,
    ) -> None: ...
    def _create(self, session: Any, options: dict[str, Any]) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def _namespace(self) -> Namespace: ...
    def _bind(self, cursor: Cursor[_Document]) -> None: ...
    def insert_one(
        self,
        document: Any,
        bypass_document_validation: bool | None = None,
        session: ExplicitSession | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> InsertOneResult: ...
    def update_one(
        self,
        filter: Mapping[str, Any],
        update: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        upsert: bool = False,
        bypass_document_validation: bool | None = None,
        collation: Any = None,
        array_filters: Sequence[Mapping[str, Any]] | None = None,
        hint: _Keys | None = None,
        session: ExplicitSession | None = None,
        let: Mapping[str, Any] | None = None,
        sort: _Keys | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> UpdateResult: ...
    def update_many(
        self,
        filter: Mapping[str, Any],
        update: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        upsert: bool = False,
        array_filters: Sequence[Mapping[str, Any]] | None = None,
        bypass_document_validation: bool | None = None,
        collation: Any = None,
        hint: _Keys | None = None,
        session: ExplicitSession | None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> UpdateResult: ...
    def replace_one(
        self,
        filter: Mapping[str, Any],
        replacement: Mapping[str, Any],
        upsert: bool = False,
        bypass_document_validation: bool | None = None,
        collation: Any = None,
        hint: _Keys | None = None,
        session: ExplicitSession | None = None,
        let: Mapping[str, Any] | None = None,
        sort: _Keys | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> UpdateResult: ...
    def delete_one(
        self,
        filter: Mapping[str, Any],
        collation: Any = None,
        hint: _Keys | None = None,
        session: ExplicitSession | None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> DeleteResult: ...
    def delete_many(
        self,
        filter: Mapping[str, Any],
        collation: Any = None,
        hint: _Keys | None = None,
        session: ExplicitSession | None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
        *,
        timeout_ms: float | None = None,
    ) -> DeleteResult: ...
    def find_one(self, filter: Any = None, *args: Any, **kwargs: Any) -> _Document | None: ...
    def find(self, *args: Any, **kwargs: Any) -> Cursor[_Document]: ...
